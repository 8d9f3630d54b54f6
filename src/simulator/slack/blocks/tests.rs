//! Both sides of every limit of blocks, and what is said beyond it.

use serde_json::{Value, json};

use super::check;

/// The refusals of blocks, or `ok`.
fn judged(blocks: Value) -> Vec<String> {
    match check(&blocks) {
        Ok(()) => vec!["ok".to_owned()],
        Err(refused) if refused.code == "invalid_blocks" => {
            let errors = refused.more["errors"].as_array().unwrap();
            errors.iter().map(|error| error.as_str().unwrap().to_owned()).collect()
        }
        Err(refused) => vec![refused.code],
    }
}

pub fn x(length: usize) -> String {
    "x".repeat(length)
}

pub fn many(count: usize, item: Value) -> Value {
    vec![item; count].into()
}

fn text(kind: &str, length: usize) -> Value {
    json!({"type": kind, "text": x(length)})
}

fn section(length: usize) -> Value {
    json!({"type": "section", "text": text("mrkdwn", length)})
}

fn actions(element: Value) -> Value {
    json!([{"type": "actions", "elements": [element]}])
}

fn plain_button() -> Value {
    json!({"type": "button", "text": text("plain_text", 5)})
}

/// A button with one member set.
fn button(member: &str, value: Value) -> Value {
    let mut button = plain_button();
    button[member] = value;
    actions(button)
}

pub fn rich(element: Value) -> Value {
    json!([{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [element]}]}])
}

#[test]
fn every_limit_holds_on_both_sides() {
    let option = |length| json!({"text": text("plain_text", length), "value": "v"});
    let overflow = |count| actions(json!({"type": "overflow", "options": many(count, option(5))}));
    let confirm = |title, words, yes| {
        button(
            "confirm",
            json!({"title": text("plain_text", title), "text": text("mrkdwn", words),
            "confirm": text("plain_text", yes), "deny": text("plain_text", 30)}),
        )
    };
    let image = |alt| json!([{"type": "image", "image_url": "https://a.b/c.png", "alt_text": x(alt)}]);
    let fields = |count, length| json!([{"type": "section", "fields": many(count, text("mrkdwn", length))}]);
    let context = |count| json!([{"type": "context", "elements": many(count, text("mrkdwn", 9))}]);
    let url = |length: usize| format!("https://a.b/{}", x(length - 12));
    let elements = |count| json!([{"type": "actions", "elements": many(count, plain_button())}]);
    let id = |length| json!([{"type": "divider", "block_id": x(length)}]);
    let markdown = |length| json!([{"type": "markdown", "text": x(length)}]);
    let select = |count| actions(json!({"type": "static_select", "options": many(count, option(5))}));
    let list = |indent: i64| {
        json!([{"type": "rich_text", "elements": [{"type": "rich_text_list", "style": "bullet",
        "indent": indent, "elements": [{"type": "rich_text_section", "elements": [{"type": "text", "text": "a"}]}]}]}])
    };
    let table: Vec<(&str, Value, Value)> = vec![
        ("blocks", many(50, json!({"type": "divider"})), many(51, json!({"type": "divider"}))),
        ("section", json!([section(3000)]), json!([section(3001)])),
        ("text is not empty", json!([section(1)]), json!([section(0)])),
        ("fields", fields(10, 1), fields(11, 1)),
        ("field", fields(1, 2000), fields(1, 2001)),
        (
            "header",
            json!([{"type": "header", "text": text("plain_text", 150)}]),
            json!([{"type": "header", "text": text("plain_text", 151)}]),
        ),
        ("context", context(10), context(11)),
        ("actions", elements(25), elements(26)),
        ("button text", button("text", text("plain_text", 75)), button("text", text("plain_text", 76))),
        ("button value", button("value", x(2000).into()), button("value", x(2001).into())),
        ("button url", button("url", url(3000).into()), button("url", url(3001).into())),
        ("action_id", button("action_id", x(255).into()), button("action_id", x(256).into())),
        ("alt_text", image(2000), image(2001)),
        ("alt_text is not empty", image(1), image(0)),
        ("markdown", markdown(12_000), markdown(12_001)),
        ("confirm title", confirm(100, 300, 30), confirm(101, 300, 30)),
        ("confirm text", confirm(100, 300, 30), confirm(100, 301, 30)),
        ("confirm button", confirm(100, 300, 30), confirm(100, 300, 31)),
        ("overflow", overflow(5), overflow(6)),
        ("overflow needs two", overflow(2), overflow(1)),
        (
            "option",
            actions(json!({"type": "overflow", "options": many(2, option(75))})),
            actions(json!({"type": "overflow", "options": many(2, option(76))})),
        ),
        ("select", select(100), select(101)),
        ("block_id", id(255), id(256)),
        (
            "all text",
            json!([section(3000), section(3000), section(3000), section(2000)]),
            json!([section(3000), section(3000), section(3000), section(2001)]),
        ),
        (
            "rich text counts",
            rich(json!({"type": "text", "text": x(11_000)})),
            rich(json!({"type": "text", "text": x(11_001)})),
        ),
        (
            "rich text is not empty",
            rich(json!({"type": "text", "text": "a"})),
            rich(json!({"type": "text", "text": ""})),
        ),
        ("rich link", rich(json!({"type": "link", "url": url(3000)})), rich(json!({"type": "link", "url": url(3001)}))),
        ("indent", list(8), list(9)),
        (
            "units",
            json!([{"type": "header", "text": {"type": "plain_text", "text": "🔔".repeat(75)}}]),
            json!([{"type": "header", "text": {"type": "plain_text", "text": "🔔".repeat(76)}}]),
        ),
    ];
    for (what, within, beyond) in table {
        assert_eq!(judged(within), ["ok"], "{what}");
        assert_ne!(judged(beyond), ["ok"], "{what}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let table = [
        (json!([{"type": "sektion"}]), "unsupported type: sektion [json-pointer:/blocks/0]"),
        (json!([{}]), "missing required field: type [json-pointer:/blocks/0]"),
        (json!(["x"]), "must be an object [json-pointer:/blocks/0]"),
        (json!([{"type": "section"}]), "must define either `text` or `fields` [json-pointer:/blocks/0]"),
        (json!([{"type": "header"}]), "missing required field: text [json-pointer:/blocks/0]"),
        (json!([section(3001)]), "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"),
        (
            json!([{"type": "header", "text": text("mrkdwn", 3)}]),
            "unsupported type: mrkdwn [json-pointer:/blocks/0/text]",
        ),
        (json!([{"type": "section", "text": "x"}]), "must be an object [json-pointer:/blocks/0/text]"),
        (
            json!([{"type": "section", "text": {"type": "plain_text", "text": "x", "verbatim": true}}]),
            "invalid additional property: verbatim [json-pointer:/blocks/0/text]",
        ),
        (
            json!([{"type": "section", "text": {"type": "mrkdwn", "text": 3}}]),
            "must be a string [json-pointer:/blocks/0/text/text]",
        ),
        (json!([{"type": "divider", "colour": "red"}]), "invalid additional property: colour [json-pointer:/blocks/0]"),
        (
            json!([{"type": "divider", "block_id": "a"}, {"type": "divider", "block_id": "a"}]),
            "block_id already exists [json-pointer:/blocks/1/block_id]",
        ),
        (
            rich(json!({"type": "text", "text": "x", "style": {"blink": true}})),
            "invalid additional property: blink [json-pointer:/blocks/0/elements/0/elements/0/style]",
        ),
        (
            rich(json!({"type": "text", "text": "x", "style": {"bold": 1}})),
            "must be a boolean [json-pointer:/blocks/0/elements/0/elements/0/style/bold]",
        ),
        (
            rich(json!({"type": "link", "url": "relative/path"})),
            "invalid url [json-pointer:/blocks/0/elements/0/elements/0/url]",
        ),
        (
            rich(json!({"type": "broadcast", "range": "all"})),
            "must be one of: here, channel, everyone [json-pointer:/blocks/0/elements/0/elements/0/range]",
        ),
        (
            json!([{"type": "rich_text", "elements": []}]),
            "no less than 1 items allowed [json-pointer:/blocks/0/elements]",
        ),
        (
            json!([{"type": "rich_text", "elements": [{"type": "rich_text_preformatted", "elements":
            [{"type": "user", "user_id": "U1"}]}]}]),
            "unsupported type: user [json-pointer:/blocks/0/elements/0/elements/0]",
        ),
        (
            json!([{"type": "rich_text", "elements": [{"type": "rich_text_list", "style": "roman", "elements":
            [{"type": "rich_text_section", "elements": [{"type": "text", "text": "x"}]}]}]}]),
            "must be one of: bullet, ordered [json-pointer:/blocks/0/elements/0/style]",
        ),
    ];
    for (blocks, error) in table {
        assert_eq!(judged(blocks), [error]);
    }
    assert_eq!(judged(json!({})), ["invalid_blocks_format"]);
}
