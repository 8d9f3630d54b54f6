//! `campanile explain`: what each route makes of an event, and what would be sent.

use std::io::Write;
use std::path::Path;

use super::event::EventFile;
use super::preview::{Place, Preview};
use super::{End, Stop, configured, indented, json_line, table, templates, visible};
use crate::app::composer;
use crate::event::family;

pub fn explain(config: &Path, event: &EventFile, json: bool, out: &mut dyn Write) -> Result<End, Stop> {
    let loaded = configured(config)?;
    let told = event.read(&loaded.config)?;
    let document = told.document();
    let explained = loaded.router.explain(&document);
    if json {
        return json_line(out, &explained);
    }
    writeln!(out, "{}\n", visible(&told.kind))?;
    let rows = explained.iter().map(|route| {
        let matched = if route.matched { "yes" } else { "no" };
        vec![matched.into(), route.route.clone(), route.why.clone()]
    });
    write!(out, "{}", table(&["MATCHED", "ROUTE", "WHY"], rows))?;
    let planned = loaded.router.route(&document).planned;
    if planned.is_empty() {
        writeln!(out, "\nNothing would be sent.")?;
    }
    let composer = composer(&loaded.config, templates(&loaded.config).0);
    for planned in planned {
        let Some(channel) = loaded.config.channels.iter().find(|channel| channel.name == planned.channel) else {
            continue;
        };
        let template = planned.template.as_deref().unwrap_or_else(|| family(&told.kind));
        let preview = Preview::new(&Place::of(channel), template, &document, &composer)?;
        let (messenger, route) = (preview.messenger.as_str(), visible(&planned.route));
        writeln!(out, "\nTo {} ({messenger}), template `{template}`, by route `{route}`:", preview.channel)?;
        write!(out, "{}", indented(&preview.text()))?;
        if let Some(why) = &preview.failure {
            writeln!(out, "    (the fallback text, because {why})")?;
        }
    }
    Ok(End::Done)
}
