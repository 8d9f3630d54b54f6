//! What is said when no template can say it.

use serde_json::Value;

use super::helpers::truncate;
use super::stand_in::shown;
use super::words::happened;
use crate::event::Document;
use crate::message::{self, Block, Language, Link, Message, Run, Runs, Style};

/// Longest summary in a fallback text, in characters.
const LONGEST_SUMMARY: usize = 300;

/// The message when a template is missing, broken, fails or says nothing: the issue, what happened, the summary (or the
/// review, or the bench) and where to read more. It is never blank.
pub fn fallback(document: &Document<'_>, language: Language) -> Message {
    let document = &Value::Object(document.members(|root| matches!(root, "event" | "issue" | "review" | "bench")));
    let text = |paths: &[&str]| paths.iter().find_map(|path| at(document, path)).unwrap_or_default();
    let summary = text(&["/issue/summary", "/review/title", "/bench/branch"]);
    let url = text(&["/issue/url", "/review/url", "/bench/url"]);
    let mut runs = Runs::default();
    let mut line = |text: &str, link: Option<Link>| {
        runs.push(text.trim(), Style::default(), link.as_ref());
        runs.break_line();
    };
    let (key, happened) = (text(&["/issue/key"]), happened(language, text(&["/event/kind"])));
    let head = [key, &happened].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
    line(&shown(&head.join(" · ")), None);
    line(&truncate(&shown(summary), LONGEST_SUMMARY), None);
    line(&truncate(&shown(url), LONGEST_SUMMARY), Link::parse(url));
    let told = Message::new(vec![Block::Paragraph(runs.take())]);
    let told = if told.is_blank() { Message::new(vec![Block::Paragraph(vec![Run::plain("?")])]) } else { told };
    Message { shortened: shortened(document, language), ..told }
}

/// The last line of a message that had to be shortened.
pub(super) fn shortened(document: &Value, language: Language) -> Vec<Run> {
    let words = message::shortened(language);
    let Some(key) = at(document, "/issue/key") else { return vec![Run::plain(words)] };
    let key = truncate(&shown(key), 64);
    match at(document, "/issue/url").and_then(Link::parse) {
        Some(link) => vec![Run::plain(format!("{words}: ")), Run { link: Some(link), ..Run::plain(key) }],
        None => vec![Run::plain(format!("{words}: {key}"))],
    }
}

fn at<'a>(document: &'a Value, pointer: &str) -> Option<&'a str> {
    document.pointer(pointer)?.as_str().filter(|text| !message::is_blank(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told_in(language: Language, document: &Value) -> String {
        fallback(&document.into(), language).blocks.iter().flat_map(Block::texts).collect()
    }

    fn told(document: &Value) -> String {
        told_in(Language::En, document)
    }

    #[test]
    fn a_fallback_names_the_event() {
        let document = json!({
            "event": {"kind": "issue.created"},
            "issue": {"key": "TEST-1", "summary": "<!channel> *@here*", "url": "https://tracker.yandex.ru/TEST-1"},
        });
        assert_eq!(told(&document), "TEST-1 · created\n<!channel> *@\u{2060}here*\nhttps://tracker.yandex.ru/TEST-1");
        assert_eq!(
            told_in(Language::Ru, &document),
            "TEST-1 · создана\n<!channel> *@\u{2060}here*\nhttps://tracker.yandex.ru/TEST-1"
        );
        assert_eq!(told(&json!({"event": {"kind": "issue.x_@y"}, "issue": {"key": "T-1"}})), "T-1 · x @\u{2060}y");
        assert_eq!(
            told(&json!({"event": {"kind": "bench.ready"}, "bench": {"url": "javascript:1"}})),
            "bench is ready\njavascript:1"
        );
        assert_eq!(
            told(&json!({"event": {"kind": "x"}, "issue": {"summary": "a".repeat(1_000)}})).chars().count(),
            303
        );
        assert_eq!(told(&json!(null)), "?");
    }

    #[test]
    fn the_end_of_a_shortened_message_leads_to_the_issue() {
        let told = |document| shortened(&document, Language::Ru);
        let link = Link::parse("https://t.ru/T-1");
        assert_eq!(
            told(json!({"issue": {"key": "T-1", "url": "https://t.ru/T-1"}})),
            vec![Run::plain("… сокращено: "), Run { link, ..Run::plain("T-1") }]
        );
        assert_eq!(told(json!({"issue": {"key": "T-1"}})), vec![Run::plain("… сокращено: T-1")]);
        assert_eq!(told(json!({})), vec![Run::plain("… сокращено")]);
    }
}
