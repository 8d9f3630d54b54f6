//! Templates and an event → what both messengers get.

use std::collections::BTreeMap;
use std::fs;

use campanile::delivery::Messenger;
use campanile::event::Document;
use campanile::lane::Composer;
use campanile::message::Language;
use campanile::messenger::Content;
use campanile::simulator::Seen;
use campanile::template::{Locale, Templates};
use jiff::tz::TimeZone;

use super::{findings, sent};

const BETWEEN: &str = "\n====\n";

/// What the first line of a section may be.
const NAMES: [&str; 5] =
    ["x.md.hbs", "x.slack.json.hbs", "x.telegram.html.hbs", "partials/head.hbs", "partials/tail.hbs"];

/// `input`: files, each with its name in the first line, and an event's document, with lines `====` between them.
pub fn check(input: &[u8]) {
    let input = String::from_utf8_lossy(input);
    let (files, document) = input.rsplit_once(BETWEEN).unwrap_or((&input, "{}"));
    let files: BTreeMap<&str, &str> = files.split(BETWEEN).map(named).collect();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("partials")).unwrap();
    for (name, text) in &files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let (templates, found) = Templates::load(Some(folder.path()));
    let front = format!("{}/", folder.path().display());
    findings::hold(&found, |file| files.get(file.strip_prefix(&front)?).map(|text| text.as_bytes()));

    let locale = Locale { language: Language::Ru, time_zone: TimeZone::UTC };
    let composer = Composer { templates, locale };
    let document = Document::new(document, Some(7));
    let own_words = files.values().copied().collect::<Vec<_>>().concat();
    for messenger in [Messenger::Slack, Messenger::Telegram] {
        // In its own form, and in the common one that goes out where its messenger refuses that.
        for own in [true, false] {
            let (parts, _) = composer.compose("x", &document, "ops", messenger, own);
            assert!(!parts.is_empty(), "a delivery without a message");
            // Of an admin's own blocks not all is checked before Slack does; they go out as plain text then.
            let taken = |form: &Content| !(messenger == Messenger::Slack && form.is_own());
            sent::hold(messenger, &parts, taken, |seen| pings(messenger, seen, &own_words));
        }
    }
}

fn named(section: &str) -> (&'static str, &str) {
    let (name, text) = section.split_once('\n').unwrap_or(("", section));
    NAMES.into_iter().find(|known| *known == name).map_or((NAMES[0], section), |name| (name, text))
}

/// Only a template's own words call anybody.
fn pings(messenger: Messenger, seen: &Seen, own_words: &str) {
    match messenger {
        // `<@U1|ann>`, `<!here>`, `<!subteam^S1>`: the name stands in the template.
        Messenger::Slack => {
            for ping in &seen.pings {
                let name = ping.trim_matches(['<', '>', '!', '@']).split('|').next().unwrap_or_default();
                let name = name.rsplit('^').next().unwrap_or_default();
                assert!(own_words.contains(name) || own_words.contains('\\'), "{ping} in {}", seen.text);
            }
        }
        // A template that can write `@`, also by a reference or an escape, may mean what it says.
        Messenger::Telegram => {
            let may = own_words.contains(['@', '&', '\\']) || own_words.contains("tg:");
            assert!(may || seen.pings.is_empty(), "{:?} in {}", seen.pings, seen.text);
        }
    }
}
