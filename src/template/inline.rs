//! Handlebars that stand elsewhere than in a template's own text: a value of front matter, a text of a route's `issue:`.
//! Their variables are written as they are; none of them becomes markup.

use std::collections::BTreeSet;

use handlebars::template::Template;

use super::load::{self, Source};
use super::partials::Partials;
use super::scan::{self, Flaw};
use super::{Locale, RenderError, Templates, check, render, stand_in};
use crate::event::Document;

/// What errors call a text that is in no file of the folder.
const FILE: &str = "a text of config.yaml";

/// Longest text of an action, in bytes.
const LONGEST: usize = 16 * 1024;

/// What is wrong with a text, and where in it.
#[derive(Debug, Eq, PartialEq)]
pub struct Mistake {
    /// In bytes.
    pub at: usize,
    pub message: String,
    pub hint: Option<String>,
}

/// Everything that is wrong with a text of an action, in its order. Such a text has no partials and no channel.
pub fn check_text(text: &str) -> Vec<Mistake> {
    if text.len() > LONGEST {
        let message = format!("a text in here has at most {} KiB", LONGEST / 1024);
        let hint = Some("write it to a template".to_owned());
        return vec![Mistake { at: 0, message, hint }];
    }
    let flaws = action(text).err().unwrap_or_default().into_iter();
    flaws.map(|Flaw { at, message, hint, .. }| Mistake { at, message, hint }).collect()
}

/// What a text of an action names of an event: roots, with the first member of each.
pub fn text_reads(text: &str) -> BTreeSet<String> {
    action(text).map(|(_, needs)| needs.paths).unwrap_or_default()
}

impl Templates {
    /// What a text of an action says about the event's document, word for word: nothing is escaped, line ends are kept.
    /// Output ends where a message's does.
    ///
    /// # Errors
    /// The text has a mistake that [`check_text`] finds, or fails for this event.
    pub fn say(&self, text: &str, document: &Document<'_>, locale: &Locale) -> Result<String, RenderError> {
        let source = Source::new(FILE.to_owned(), text);
        let (template, needs) = action(&source.text).map_err(|flaws| match flaws.into_iter().next() {
            Some(flaw) => RenderError::Broken(source.finding(flaw)),
            None => RenderError::Unfit { file: FILE.to_owned(), message: "it cannot be used".to_owned() },
        })?;
        let rendered = render::value(&self.shared, FILE, &template, &needs, document, locale)?;
        Ok(stand_in::verbatim(&rendered))
    }
}

/// A text, and what its rendering needs.
pub(super) fn compile(text: &str, partials: &Partials) -> Result<(Template, check::Needs), Vec<Flaw>> {
    let template = load::compile(text, None)?;
    let needs = check::check(text, &template, partials)?;
    Ok((template, needs))
}

fn action(text: &str) -> Result<(Template, check::Needs), Vec<Flaw>> {
    let is_partial = |tag: &str| tag.trim_start_matches(['{', '~', ' ']).starts_with('>');
    let partial = scan::tags(text).into_iter().find(|tag| is_partial(&text[tag.clone()]));
    if let Some(tag) = partial {
        let hint = "write the words here, or name a template that has the partial";
        return Err(vec![Flaw::new(tag.start, "a text in here takes no partials").hint(hint)]);
    }
    let (template, needs) = compile(text, &Partials::default())?;
    if needs.roots.contains("channel") {
        let at = text.find("channel").unwrap_or(0);
        return Err(vec![Flaw::new(at, "what is done to an issue goes to no channel")]);
    }
    Ok((template, needs))
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use serde_json::{Value, json};

    use super::*;
    use crate::message::Language;

    fn mistakes(text: &str) -> Vec<(usize, String, String)> {
        check_text(text).into_iter().map(|it| (it.at, it.message, it.hint.unwrap_or_default())).collect()
    }

    fn said(text: &str, document: &Value) -> Result<String, RenderError> {
        let locale = Locale { language: Language::En, time_zone: TimeZone::UTC };
        Templates::load(None).0.say(text, &document.into(), &locale)
    }

    #[test]
    fn a_text_of_an_action_is_checked_as_a_template_is() {
        for (text, at, message, hint) in [
            ("Accepted by {{actor.dispaly}}", 14, "no event has `actor.dispaly`", "did you mean `actor.display`?"),
            ("я {{actor}}", 5, "`actor` is not a text", "write `{{actor.display}}`"),
            ("{{uper issue.key}}", 2, "there is no helper `uper`", "did you mean `upper`?"),
            ("{{#if bench}}", 0, "`{{#if}}` is never closed", "close it with `{{/if}}`"),
            ("{{bench.url", 0, "this `{{` is never closed", ""),
            ("a {{> head}}", 2, "a text in here takes no partials", "name a template"),
            ("a {{~ > head}}", 2, "a text in here takes no partials", "name a template"),
            ("to {{channel.name}}", 5, "what is done to an issue goes to no channel", ""),
            (&"x".repeat(LONGEST + 1), 0, "at most 16 KiB", "write it to a template"),
        ] {
            let found = mistakes(text);
            let [(place, told, way_out)] = found.as_slice() else { panic!("{text}: {found:?}") };
            assert_eq!(*place, at, "{text}");
            assert!(told.contains(message) && way_out.contains(hint), "{text}: {told} ({way_out})");
        }
        for right in ["", "plain", "{{bench.url}}", "{{#each changes}}{{field}} {{/each}}", &"x".repeat(LONGEST)] {
            assert_eq!(check_text(right), [], "{right}");
        }
        assert_eq!(check_text("{{actor.a}} {{actor.b}}").len(), 2);
    }

    #[test]
    fn what_is_said_is_word_for_word_what_the_event_brought() {
        let document = json!({
            "actor": {"display": "Анна *«<b>&\" {{x}}"},
            "comment": {"text": "one\r\n\n  two @here"},
            "event": {"kind": "review.approved", "received_at": "2026-05-20T09:15:00Z"},
        });
        for (text, told) in [
            ("{{actor.display}}", "Анна *«<b>&\" {{x}}"),
            ("> {{comment.text}}\r\n\r\n  — {{actor.display}}", "> one\n\n  two @here\n\n  — Анна *«<b>&\" {{x}}"),
            ("{{bench.url}}", ""),
            ("{{happened event.kind}} {{date event.received_at \"%H:%M\"}}", "approved 09:15"),
            ("{{#if bench}}x{{else if comment}}y{{/if}}", "y"),
        ] {
            assert_eq!(said(text, &document).as_deref(), Ok(told), "{text}");
        }
    }

    #[test]
    fn a_text_that_cannot_be_said_is_an_error_with_its_place() {
        let told = |text| said(text, &json!({})).unwrap_err().to_string();
        assert_eq!(told("a\n{{actor.nam}}"), "a text of config.yaml:2:3: no event has `actor.nam`");
        let fails = said("\n{{body.list.name}}", &json!({"body": {"list": ["x"]}}));
        assert!(fails.unwrap_err().to_string().starts_with("a text of config.yaml:2:1: "));
    }
}
