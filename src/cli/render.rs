//! `campanile render`: a template's messages for one event, on both messengers or in one channel.

use std::io::{IsTerminal, Write};
use std::path::Path;

use serde_json::{Value, json};

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
    let of = |place: &Place<'_>| Preview::new(place, template, &told.document(), &composer);
    let places = match named {
        Some(channel) => vec![Place::of(channel)],
        None => [Messenger::Slack, Messenger::Telegram].map(|messenger| Place::first(config, messenger)).into(),
    };
    let previews: Vec<Preview> = places.iter().map(of).collect::<Result<_, _>>()?;
    if json {
        let bodies = previews.iter().map(|preview| (preview.messenger.as_str().to_owned(), json!(preview.bodies)));
        json_line(out, &Value::Object(bodies.collect()))?;
    } else {
        for preview in &previews {
            writeln!(out, "{}, channel {}:", preview.messenger.as_str(), preview.channel)?;
            writeln!(out, "{}", indented(&preview.text()))?;
        }
    }
    let Some(why) = previews.into_iter().find_map(|preview| preview.failure) else { return Ok(End::Done) };
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
