//! `campanile render`: a template's messages for one event, on both messengers.

use std::io::{IsTerminal, Write};
use std::path::Path;

use serde_json::json;

use super::event::EventFile;
use super::preview::{Place, Preview};
use super::{End, Refusal, Stop, check, complain, configured, indented, json_line, tell, templates};
use crate::app::composer;
use crate::delivery::Messenger;
use crate::finding::suggest;
use crate::lane::Failure;
use crate::template::RenderError;

pub fn render(
    config: &Path,
    template: &str,
    event: &EventFile,
    channel: Option<&str>,
    json: bool,
    out: &mut dyn Write,
) -> Result<End, Stop> {
    let loaded = configured(config)?;
    let config = &loaded.config;
    let (templates, findings) = templates(config);
    if !templates.names().contains(&template) {
        let hint = suggest(template, "templates", templates.names());
        return Err(Refusal::new(format!("there is no template `{template}`")).hint(hint).into());
    }
    let named = config.channels.iter().find(|known| Some(known.name.as_str()) == channel);
    if let (Some(name), None) = (channel, named) {
        let known = config.channels.iter().map(|channel| channel.name.as_str());
        return Err(Refusal::new(format!("no channel is named `{name}`"))
            .hint(suggest(name, "channels", known))
            .into());
    }
    let told = event.read(config)?;
    let composer = composer(config, templates);
    let of = |messenger| {
        let named = named.filter(|channel| channel.conversation.messenger() == messenger);
        let place = named.map_or_else(|| Place::first(config, messenger), Place::of);
        Preview::new(&place, template, &told.document(), &composer)
    };
    let (slack, telegram) = (of(Messenger::Slack)?, of(Messenger::Telegram)?);
    if json {
        json_line(out, &json!({ "slack": slack.bodies, "telegram": telegram.bodies }))?;
    } else {
        for preview in [&slack, &telegram] {
            writeln!(out, "{}, channel {}:", preview.messenger.as_str(), preview.channel)?;
            writeln!(out, "{}", indented(&preview.text()))?;
        }
    }
    let Some(why) = slack.failure.or(telegram.failure) else { return Ok(End::Done) };
    match &why {
        Failure::Fallback(RenderError::Broken(first)) => {
            let of_file: Vec<_> = findings.into_iter().filter(|finding| finding.file == first.file).collect();
            tell(&check::text(&of_file, std::io::stderr().is_terminal()));
        }
        other => complain(&other.to_string(), None),
    }
    tell("hint: until it is mended, such messages go out as you see them here\n");
    Ok(End::Refused)
}
