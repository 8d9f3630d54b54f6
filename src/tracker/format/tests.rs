use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::*;
use crate::message::{Button, Link, Style};

fn run(text: &str, style: &str, link: Option<&str>) -> Run {
    let has = |letter| style.contains(letter);
    let style = Style { bold: has('b'), italic: has('i'), strike: has('s'), code: has('c') };
    Run { text: text.into(), style, link: link.and_then(Link::parse) }
}

fn paragraph(runs: Vec<Run>) -> Message {
    Message { blocks: vec![Block::Paragraph(runs)], ..Message::default() }
}

/// All markup that a reader of Markdown may know, but for signs that are only shown otherwise.
fn read(markdown: &str) -> Vec<Event<'_>> {
    Parser::new_ext(markdown, Options::all() - Options::ENABLE_SMART_PUNCTUATION).collect()
}

/// What a reader sees, one blank for any white space.
fn seen(markdown: &str) -> String {
    let mut text = String::new();
    for event in read(markdown) {
        match event {
            Event::Text(part) | Event::Code(part) => text.push_str(&part),
            Event::SoftBreak | Event::HardBreak | Event::End(_) => text.push(' '),
            _ => {}
        }
    }
    spaced(&text)
}

fn spaced(text: &str) -> String {
    let shown: String = text.chars().filter(|c| *c != NOTHING).map(|c| if c.is_control() { ' ' } else { c }).collect();
    shown.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_message_is_markdown() {
    let message = Message {
        blocks: vec![
            Block::Paragraph(vec![
                run("Принято ", "", None),
                run("Маша", "b", None),
                run(": \"ок\"", "i", None),
                run("!", "bis", None),
                run("code `x`", "c", None),
                run("\nвторая @ivanov, #1 ", "", None),
                run("PR (7)", "", Some("https://a.b/x(1)?q=1&copy=2")),
            ]),
            Block::Item { depth: 0, marker: Marker::Bullet, runs: vec![run("- один\nдва", "", None)] },
            Block::Item { depth: 1, marker: Marker::Number(3), runs: vec![run("три", "s", None)] },
            Block::Item { depth: 5, marker: Marker::Bullet, runs: vec![run("глубже", "", None)] },
            Block::Quote(vec![run("1. цитата\n\n2) её конец", "", None)]),
            Block::Code { language: Some("rust {x}".into()), text: "let a = 1;\n```\n<b>".into() },
        ],
        buttons: vec![Button::new("Открыть", Link::parse("https://a.b/").unwrap()).unwrap()],
        ..Message::default()
    };
    insta::assert_snapshot!(markdown(&message).replace(NOTHING, "¤"));
}

#[test]
fn signs_are_text() {
    for text in [
        "*a* _b_ ~~c~~ `d` [e](https://x.y) ![f](g)",
        "# heading\n## more\n===\n---\n- item\n+ item\n* item\n1. item\n2) item\n> quote\n    code\n\tcode",
        "```\ncode\n```\n~~~\ncode\n~~~",
        "| a | b |\n|---|---|\n| c | d |\n#| || a || |#",
        "<b>x</b> <https://x.y> &lt; &copy; <!-- x -->",
        "{% note %} x {% endnote %} {{ var }} {#id .class}",
        "$x$ $$y$$ ^up^ ++under++ ==mark== ##mono## ::: x\n: definition\n[^1]: note\n[x]: https://x.y",
        ":smile: 12:30 :+1: https://a.b:80/c_d_e",
        "\\* \\ a\\\nb",
        "a\u{b}b\u{0}c\u{85}d",
    ] {
        let made = markdown(&paragraph(vec![run(text, "", None)]));
        let markup: Vec<_> = read(&made)
            .into_iter()
            .filter(|event| {
                !matches!(
                    event,
                    Event::Start(Tag::Paragraph)
                        | Event::End(TagEnd::Paragraph)
                        | Event::Text(_)
                        | Event::SoftBreak
                        | Event::HardBreak
                )
            })
            .collect();
        assert!(markup.is_empty(), "{text:?} -> {made:?}: {markup:?}");
        assert_eq!(seen(&made), spaced(text), "{made:?}");
    }
}

#[test]
fn nobody_is_called() {
    let made = markdown(&paragraph(vec![run("@ivanov a@b.c (@all", "", None), run("@x", "b", None)]));
    assert!(!made.contains("@i") && !made.contains("@b") && !made.contains("@a") && !made.contains("@x"), "{made}");
}

const SIGNS: &str = r"[a-zя0-9 \n\t`~!@#$%^&*()_+={}\[\]|\\:;<>,.?/'-]{0,24}";
const LINK: &str = "https://a.b/?x=1&amp;y";

proptest! {
    /// Whatever an author wrote, in whatever style a template shows it.
    #[test]
    fn text_is_text(
        texts in proptest::collection::vec((SIGNS, "[bisc]{0,3}", any::<bool>()), 1..6),
        quoted: bool,
    ) {
        let runs = texts.iter().map(|(text, style, link)| run(text, style, link.then_some(LINK))).collect();
        let block = if quoted { Block::Quote(runs) } else { Block::Paragraph(runs) };
        let made = markdown(&Message { blocks: vec![block], ..Message::default() });
        for event in read(&made) {
            let made_by_us = matches!(
                event,
                Event::Start(Tag::Paragraph | Tag::BlockQuote(None) | Tag::Link { .. })
                    | Event::Start(Tag::Strong | Tag::Emphasis | Tag::Strikethrough)
                    | Event::End(_) | Event::Text(_) | Event::Code(_) | Event::SoftBreak | Event::HardBreak
            );
            prop_assert!(made_by_us, "{event:?} in {made:?}");
            if let Event::Start(Tag::Link { dest_url, .. }) = event {
                prop_assert_eq!(&*dest_url, LINK);
            }
        }
        let said: String = texts.iter().map(|(text, ..)| text.as_str()).collect();
        let bare = |text: &str| text.split_whitespace().collect::<String>();
        prop_assert_eq!(bare(&seen(&made)), bare(&spaced(&said)), "{:?}", made);
    }

    #[test]
    fn code_stays_in_its_block(text in "[`~a \\n]{1,30}") {
        let block = Block::Code { language: None, text: text.clone() };
        let made = markdown(&Message { blocks: vec![block], ..Message::default() });
        let events = read(&made);
        let [Event::Start(Tag::CodeBlock(_)), inner @ .., Event::End(TagEnd::CodeBlock)] = &events[..] else {
            panic!("{made:?}: {events:?}");
        };
        let shown = |event: &Event<'_>| match event {
            Event::Text(text) => text.to_string(),
            other => panic!("{other:?} in {made:?}"),
        };
        prop_assert_eq!(inner.iter().map(shown).collect::<String>(), format!("{text}\n"));
    }
}
