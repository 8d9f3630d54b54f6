use proptest::prelude::*;

use super::*;
use crate::message::Style;

fn told(message: Message) -> Vec<String> {
    let part = |part: TelegramContent| {
        let text: Vec<u16> = part.text.encode_utf16().collect();
        let entity = |entity: &MessageEntity| {
            let covered = String::from_utf16_lossy(&text[entity.offset..entity.offset + entity.length]);
            let kind = match &entity.kind {
                MessageEntityKind::TextLink { url } => url.to_string(),
                MessageEntityKind::Pre { language } => format!("pre {}", language.as_deref().unwrap_or("-")),
                kind => format!("{kind:?}").to_lowercase(),
            };
            format!("{kind}[{covered}]")
        };
        let entities: Vec<_> = part.entities.iter().map(entity).collect();
        format!("{} / {}", part.text, entities.join(" "))
    };
    TelegramContent::parts(message).into_iter().map(part).collect()
}

fn run(text: &str, marks: &str) -> Run {
    let has = |mark: char| marks.contains(mark);
    let style = Style { bold: has('b'), italic: has('i'), strike: has('s'), code: has('c') };
    Run { style, link: has('l').then(|| Link::parse("https://t.ru/T-1")).flatten(), ..Run::plain(text) }
}

fn paragraph(runs: &[(&str, &str)]) -> Block {
    Block::Paragraph(runs.iter().map(|(text, marks)| run(text, marks)).collect())
}

#[test]
fn blocks_become_text_and_entities() {
    let item = |depth, marker, text: &str| Block::Item { depth, marker, runs: vec![run(text, "")] };
    for (blocks, form) in [
        (vec![paragraph(&[("a", "")]), paragraph(&[("b", "")])], "a\n\nb / "),
        (vec![item(0, Marker::Bullet, "x"), item(1, Marker::Number(12), "y")], "• x\n  12. y / "),
        (
            vec![paragraph(&[("Дело ", ""), ("горит", "b"), (" 🔥 ", ""), ("TEST-1", "l")])],
            "Дело горит 🔥 TEST-1 / bold[горит] https://t.ru/T-1[TEST-1]",
        ),
        (vec![paragraph(&[("a", "b"), ("b", "bi"), ("c", "i")])], "abc / bold[ab] italic[b] italic[c]"),
        (vec![paragraph(&[("a", "bi"), ("b", "b"), ("c", "bs")])], "abc / bold[abc] italic[a] strikethrough[c]"),
        (vec![paragraph(&[("a", "bic"), ("b", "cl")])], "ab / code[a] https://t.ru/T-1[b]"),
        (vec![Block::Quote(vec![run("q", "b")]), paragraph(&[("p", "")])], "q\np / blockquote[q] bold[q]"),
        (vec![Block::Code { language: Some("rust".into()), text: "fn\n x".into() }], "fn\n x / pre rust[fn\n x]"),
        (vec![Block::Code { language: None, text: "  x\n".into() }], "x / pre -[x]"),
        (vec![paragraph(&[(" a ", "b"), (" ", "")])], "a / bold[a]"),
        (vec![paragraph(&[("👨‍👩‍👧‍👦", "b"), (" שלום", "i")])], "👨‍👩‍👧‍👦 שלום / bold[👨‍👩‍👧‍👦] italic[ שלום]"),
    ] {
        assert_eq!(told(Message { blocks, ..Message::default() }), [form]);
    }
    let mail = Run { link: Link::parse("mailto:a@b.ru"), ..Run::plain("mail") };
    assert_eq!(told(Message::new(vec![Block::Paragraph(vec![mail])])), ["mail / "], "Telegram links to http alone");
}

#[test]
fn what_cannot_be_seen_is_not_sent() {
    assert_eq!(told(Message::default()), Vec::<String>::new());
    assert_eq!(
        told(Message { blocks: vec![paragraph(&[("\u{200b} \u{2060}", "b")])], ..Message::default() }),
        Vec::<String>::new()
    );
}

#[test]
fn plain_text_pings_nobody_who_stood_in_code() {
    let message = Message::new(vec![paragraph(&[("🔥 @here ", ""), ("@ops", "c"), (" x@", "b")])]);
    let part = TelegramContent::parts(message).remove(0).late("delayed 14 min");
    assert_eq!(part.text, "🔥 @here @ops x@\n\ndelayed 14 min");
    assert_eq!(part.entities.last(), Some(&MessageEntity::italic(18, 14)));
    let plain = part.plain();
    assert_eq!((plain.text.as_str(), plain.entities.len()), ("🔥 @here @\u{2060}ops x@\n\ndelayed 14 min", 0));
}

#[test]
fn the_stored_form_comes_back() {
    let message = Message::new(vec![
        paragraph(&[("a", "b"), ("b", "l")]),
        Block::Code { language: Some("c".into()), text: "x".into() },
    ]);
    let part = TelegramContent::parts(message).remove(0);
    let json = serde_json::to_string(&part).unwrap();
    assert_eq!(
        json,
        r#"{"text":"ab\nx","entities":[{"type":"bold","offset":0,"length":1},{"type":"text_link","url":"https://t.ru/T-1","offset":1,"length":1},{"type":"pre","language":"c","offset":3,"length":1}]}"#
    );
    assert_eq!(serde_json::from_str::<TelegramContent>(&json).unwrap(), part);
}

fn blocks() -> impl Strategy<Value = Vec<Block>> {
    let text = prop_oneof![
        any::<String>().prop_filter("no run is empty", |text| !text.is_empty()),
        "[a-zA-Zа-я@ \n👨‍👩‍👧]{1,1500}",
    ];
    let run = (text, "[bisc]?[bil]?").prop_map(|(text, marks)| run(&text, &marks));
    let runs = proptest::collection::vec(run, 1..60);
    let block = (runs, 0..5, 0..9_u8).prop_map(|(runs, kind, depth)| match kind {
        0 => Block::Paragraph(runs),
        1 => Block::Item { depth, marker: Marker::Number(u64::from(depth)), runs },
        2 => Block::Quote(runs),
        3 => Block::Code { language: None, text: runs.into_iter().take(3).map(|run| run.text).collect() },
        _ => Block::Paragraph(runs.into_iter().take(1).collect()),
    });
    proptest::collection::vec(block, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn every_part_is_one_that_telegram_takes(blocks in blocks()) {
        // What is drawn between the runs is digits, bullets and white space.
        let bare = |text: &str| text.replace(|c: char| is_blank(c.encode_utf8(&mut [0; 4])) || "•.0123456789".contains(c), "");
        let whole = bare(&blocks.iter().flat_map(Block::texts).collect::<String>());
        let parts = TelegramContent::parts(Message { blocks, shortened: vec![Run::plain("… shortened: "), run("TEST-1", "l")], ..Message::default() });
        let sent = bare(&parts.iter().map(|part| part.text.as_str()).collect::<String>());
        prop_assert!(sent == whole || sent.strip_suffix("…shortened:TEST-").is_some_and(|head| whole.starts_with(head)));
        for part in parts {
            let plain = part.plain();
            let late = part.clone().late(&"я".repeat(100));
            for part in [part, plain, late] {
                let text: Vec<u16> = part.text.encode_utf16().collect();
                prop_assert!(!is_blank(&part.text) && part.text.trim() == part.text);
                prop_assert!(text.len() <= LONGEST_TEXT && part.entities.len() <= MOST_ENTITIES);
                for (index, entity) in part.entities.iter().enumerate() {
                    let (from, to) = (entity.offset, entity.offset + entity.length);
                    prop_assert!(from < to && to <= text.len());
                    prop_assert!(String::from_utf16(&text[from..to]).is_ok(), "no half of a character");
                    for inner in &part.entities[index + 1..] {
                        let (start, end) = (inner.offset, inner.offset + inner.length);
                        prop_assert!(end <= to || start >= to, "they nest");
                        prop_assert!(start >= from, "the outer one comes first");
                    }
                }
            }
        }
    }
}
