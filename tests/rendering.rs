//! From an event's document to what a messenger is sent: whatever an issue's author writes arrives as text.

use campanile::delivery::Messenger;
use campanile::event::Document;
use campanile::message::{Language, is_blank};
use campanile::messenger::Content;
use campanile::template::{Locale, Templates, fallback};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A variable in every position that Markdown has.
const EVERYWHERE: &str = r#"---
buttons:
  - {text: "{{issue.summary}}", url: "{{issue.url}}"}
  - {text: "{{code issue.summary}}", url: "https://example.com/{{issue.summary}}"}
silent: "{{issue.summary}}"
unfurl: "{{issue.summary}}"
---
# {{issue.summary}}
plain {{issue.summary}} **bold {{issue.summary}}** *{{issue.summary}}* ~~{{issue.summary}}~~ `{{issue.summary}}`
[{{issue.summary}}](https://example.com/) [target]({{issue.summary}}) ![{{issue.summary}}]({{issue.url}})

- {{issue.summary}}
  1. {{issue.summary}}

> {{issue.summary}}
> > {{issue.summary}}

```{{issue.summary}}
{{issue.summary}}
```
<b>{{issue.summary}}</b> {{truncate issue.summary 100000}} {{join issue.tags ", "}} {{default comment.text issue.summary}}
{{code issue.summary}} {{link issue.summary "https://example.com/"}} {{link issue.summary issue.summary}} **{{upper issue.summary}}** {{lower issue.summary}}
{{json issue}} {{ago issue.summary}} {{plural issue.summary "one" issue.summary}}
- {{code issue.summary "text"}}
> {{code issue.summary issue.summary}}
"#;

fn templates(source: &str) -> Templates {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.md.hbs"), source).unwrap();
    let (templates, findings) = Templates::load(Some(folder.path()));
    assert_eq!(findings, vec![]);
    templates
}

fn parts(templates: &Templates, document: &Value, messenger: Messenger) -> Vec<Content> {
    let locale = Locale { language: Language::En, time_zone: TimeZone::UTC };
    let document = &Document::from(document);
    let message = templates.render("t", document, "ops", messenger, &locale);
    Content::parts(messenger, message.unwrap_or_else(|_| fallback(document, Language::En)))
}

/// What a person reads, part after part.
fn visible(parts: &[Content]) -> String {
    let text = |part: &Content| match part.plain() {
        Content::Slack(part) => {
            part.message.text.unwrap_or_default().replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        }
        Content::Telegram(part) => part.text,
    };
    parts.iter().map(text).collect()
}

/// A text as a message keeps it: without control characters, marks of direction, and white space, which may be trimmed
/// where a part ends. The guard after an @ is left out on both sides.
fn kept(text: &str) -> String {
    let removed = |c: char| {
        c.is_whitespace() || c < ' ' || matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{2060}')
    };
    text.replace(removed, "")
}

/// `@name` where Telegram would look for one: outside code, and not guarded.
fn pings(part: &Content) -> bool {
    let Content::Telegram(part) = part.plain() else { return false };
    part.text.match_indices('@').any(|(at, _)| part.text[at + 1..].starts_with(char::is_alphanumeric))
}

fn document(text: &str) -> Value {
    json!({
        "event": {"kind": "issue.created"},
        "issue": {"key": "TEST-1", "url": text, "summary": text, "tags": [text, text]},
    })
}

#[test]
fn known_texts_arrive_as_they_are() {
    let templates = templates("**{{issue.summary}}** {{issue.key}}");
    for text in [
        "Дело «горит»: 5 < 7 & 8 > 6",
        "семья 👨‍👩‍👧‍👦 и флаг 🇷🇺",
        "שלום עולם (مرحبا)",
        "<!channel> *b* _i_ `c` [x](javascript:1) \\ &amp;",
        "\u{F0041}\u{10FFFF}\u{E000}",
        "a\"b'c{{d}}",
    ] {
        for messenger in Messenger::ALL {
            let parts = parts(&templates, &document(text), messenger);
            assert_eq!(visible(&parts), format!("{text} TEST-1"), "{messenger}");
            assert_eq!(parts.len(), 1);
        }
    }
}

#[test]
fn names_are_guarded_and_directions_removed() {
    let templates = templates("{{issue.summary}}");
    let parts = parts(&templates, &document("@here @ops\u{202e} x@y.z"), Messenger::Telegram);
    assert_eq!(visible(&parts), "@\u{2060}here @\u{2060}ops x@\u{2060}y.z");
}

#[test]
fn a_hundred_thousand_characters_are_shortened_with_the_way_to_the_whole() {
    let templates = templates("{{issue.key}}\n\n> {{issue.summary}}");
    for (word, messenger) in
        [("слово ", Messenger::Telegram), ("&<>@👨‍👩‍👧 ", Messenger::Slack), ("@a", Messenger::Telegram)]
    {
        let mut document = document(&word.repeat(100_000 / word.chars().count()));
        document["issue"]["url"] = json!("https://tracker.yandex.ru/TEST-1");
        let parts = parts(&templates, &document, messenger);
        assert_eq!(parts.len(), 4);
        assert!(visible(&parts).ends_with("… shortened: TEST-1"));
        assert!(parts[3].to_json().is_ok_and(|json| json.contains("https://tracker.yandex.ru/TEST-1")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn any_string_in_any_variable_arrives_and_pings_nobody(
        text in prop_oneof![any::<String>(), "[-*_~`#>\\[\\]()!<&;\\\\ \n\t@a-zа-я👨\u{200d}👩\u{301}\u{202e}]{0,80}"]
    ) {
        let everywhere = templates(EVERYWHERE);
        let alone = templates("{{issue.summary}}");
        for messenger in Messenger::ALL {
            for (templates, times) in [(&everywhere, 18), (&alone, 1)] {
                let parts = parts(templates, &document(&text), messenger);
                prop_assert!(!parts.is_empty() && parts.len() <= 4);
                let shown = kept(&visible(&parts));
                if !kept(&text).is_empty() && !is_blank(&text) {
                    prop_assert!(shown.matches(&kept(&text)).count() >= times || overlaps(&kept(&text)), "{shown}");
                    prop_assert!(shown.contains(&kept(&text)));
                }
                prop_assert!(!parts.iter().any(pings));
                for part in &parts {
                    let back = Content::from_json(messenger, &part.to_json().unwrap());
                    prop_assert_eq!(&back.unwrap(), part);
                }
            }
        }
    }
}

/// A text that ends as it begins may be found less often than it stands there.
fn overlaps(text: &str) -> bool {
    text.char_indices().skip(1).any(|(at, _)| text.starts_with(&text[at..]))
}
