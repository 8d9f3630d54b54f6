use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::message::Link;

fn run(text: &str, marks: &str) -> Run {
    let has = |mark: char| marks.contains(mark);
    let style = Style { bold: has('b'), italic: has('i'), strike: has('s'), code: has('c') };
    Run { style, link: has('l').then(|| Link::parse("https://t.ru/T-1")).flatten(), ..Run::plain(text) }
}

fn paragraph(runs: &[(&str, &str)]) -> Block {
    Block::Paragraph(runs.iter().map(|(text, marks)| run(text, marks)).collect())
}

#[test]
fn a_message_becomes_rich_text() {
    let item = |depth, marker, text: &str| Block::Item { depth, marker, runs: vec![run(text, "")] };
    let message = Message::new(vec![
        paragraph(&[("TEST-1", "l"), (" <!channel> & ", ""), ("горит", "bi")]),
        paragraph(&[("next", "")]),
        item(0, Marker::Bullet, "a"),
        item(1, Marker::Number(3), "b"),
        item(1, Marker::Number(4), "c"),
        item(1, Marker::Number(9), "d"),
        Block::Code { language: Some("rust".into()), text: "x < y".into() },
        Block::Quote(vec![run("q", "s")]),
    ]);
    let parts = SlackContent::parts(message);
    let list = |style: &str, items: &[&str]| {
        let section = |text: &&str| json!({"type": "rich_text_section", "elements": [{"type": "text", "text": text}]});
        json!({"type": "rich_text_list", "style": style, "elements": items.iter().map(section).collect::<Vec<_>>()})
    };
    let with = |mut value: serde_json::Value, more: serde_json::Value| {
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        value
    };
    assert_eq!(
        serde_json::to_value(&parts).unwrap(),
        json!([{
            "text": "TEST-1 &lt;!channel&gt; &amp; горит\n\nnext\n• a\n  3. b\n  4. c\n  9. d\nx &lt; y\nq",
            "blocks": [{"type": "rich_text", "elements": [
                {"type": "rich_text_section", "elements": [
                    {"type": "link", "url": "https://t.ru/T-1", "text": "TEST-1"},
                    {"type": "text", "text": " <!channel> & "},
                    {"type": "text", "text": "горит", "style": {"bold": true, "italic": true}},
                    {"type": "text", "text": "\n\n"},
                    {"type": "text", "text": "next"},
                ]},
                list("bullet", &["a"]),
                with(list("ordered", &["b", "c"]), json!({"indent": 1, "offset": 2})),
                with(list("ordered", &["d"]), json!({"indent": 1, "offset": 8})),
                {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": "x < y"}]},
                {"type": "rich_text_quote", "elements": [{"type": "text", "text": "q", "style": {"strike": true}}]},
            ]}],
        }])
    );
    let json = serde_json::to_string(&parts[0]).unwrap();
    assert_eq!(serde_json::from_str::<SlackContent>(&json).unwrap(), parts[0]);
}

#[test]
fn a_late_message_says_so_in_either_form() {
    let part = SlackContent::parts(Message::new(vec![paragraph(&[("a & b", "")])])).remove(0).late("delayed 14 min");
    assert_eq!(part.message.text.as_deref(), Some("a &amp; b\n\ndelayed 14 min"));
    let last = part.elements().last();
    assert!(matches!(last, Some(SlackRichTextElement::Section(section)) if section.elements.len() == 2));
    assert_eq!(part.plain().message.text, part.message.text);
    assert_eq!(part.plain().late("x").message.text.as_deref(), Some("a &amp; b\n\ndelayed 14 min\n\nx"));
}

#[test]
fn the_fallback_is_cut_between_characters() {
    for (text, longest, cut) in
        [("a&b", 7, "a&amp;b"), ("a&b", 6, "a…"), ("a<🔥", 7, "a&lt;🔥"), ("a<🔥", 6, "a&lt;…"), ("ab", 1, "…")]
    {
        assert_eq!(escaped(text, longest), cut);
    }
}

#[test]
fn many_elements_stand_in_several_blocks() {
    let pair = |i: usize| [Block::Quote(vec![run("q", "")]), paragraph(&[(&i.to_string(), "")])];
    let parts = SlackContent::parts(Message::new((0..40).flat_map(pair).collect()));
    assert_eq!(parts.len(), 1);
    assert_eq!(parts[0].message.blocks.as_ref().map(Vec::len), Some(2));
}

fn blocks() -> impl Strategy<Value = Vec<Block>> {
    let text = prop_oneof![
        any::<String>().prop_filter("no run is empty", |text| !text.is_empty()),
        "[a-zA-Zа-я@<& \n👨‍👩‍👧]{1,2500}",
    ];
    let run = (text, "[bisc]?[bil]?").prop_map(|(text, marks)| run(&text, &marks));
    let runs = proptest::collection::vec(run, 1..40);
    let block = (runs, 0..4, 0..9_u8).prop_map(|(runs, kind, depth)| match kind {
        0 => Block::Paragraph(runs),
        1 => Block::Item { depth, marker: Marker::Number(u64::from(depth)), runs },
        2 => Block::Quote(runs),
        _ => Block::Code { language: None, text: runs.into_iter().take(3).map(|run| run.text).collect() },
    });
    proptest::collection::vec(block, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn every_part_is_one_that_slack_takes(blocks in blocks()) {
        let whole: String = blocks.iter().flat_map(Block::texts).collect();
        let shortened = vec![Run::plain("… shortened")];
        let parts = SlackContent::parts(Message { blocks, shortened, ..Message::default() });
        for part in &parts {
            for part in [part.clone(), part.clone().late(&"&".repeat(100))] {
                let text = part.message.text.clone().unwrap_or_default();
                prop_assert!(text.encode_utf16().count() <= LONGEST_FALLBACK && !text.is_empty());
                prop_assert!(!text.contains('<') && text.split('&').skip(1).all(|rest| ["amp;", "lt;", "gt;"].iter().any(|end| rest.starts_with(end))));
                prop_assert!(part.message.blocks.iter().flatten().count() <= 50);
                prop_assert!(escaped(&flat(part.elements()), usize::MAX).encode_utf16().count() <= LONGEST_TEXT);
                let json = serde_json::to_string(&part.message.blocks).unwrap_or_default();
                prop_assert!(!json.contains(r#""text":"""#), "an empty text is refused");
            }
        }
        // What is drawn between the runs is digits, bullets and white space.
        let bare = |text: &str| text.replace(|c: char| is_blank(c.encode_utf8(&mut [0; 4])) || "•.0123456789".contains(c), "");
        let sent = bare(&parts.iter().map(|part| flat(part.elements())).collect::<String>());
        let whole = bare(&whole);
        prop_assert!(sent == whole || sent.strip_suffix("…shortened").is_some_and(|head| whole.starts_with(head)));
    }
}
