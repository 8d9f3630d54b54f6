//! A Slack message as a person sees it.

use serde_json::Value;

use super::super::record::Seen;
use super::methods::{flag, parsed, text};
use super::mrkdwn::{Reading, read};

const TOP: Reading = Reading { styles: true, addresses: true, everybody: false, names: false };

/// Everything the arguments of a post would show. Where blocks stand, `text` is only a fallback: not seen, but it notifies.
pub(super) fn message(arguments: &Value) -> Seen {
    let mut seen = Seen::default();
    let names = flag(arguments, "link_names") || text(arguments, "parse") == Some("full");
    let styles = arguments.get("mrkdwn").is_none() || flag(arguments, "mrkdwn");
    let mut fallback = Seen::default();
    read(
        text(arguments, "text").unwrap_or_default(),
        Reading { styles, names, everybody: names, ..TOP },
        &mut fallback,
    );
    match parsed(arguments, "blocks") {
        Some(Value::Array(list)) if !list.is_empty() => {
            blocks(&list, &mut seen);
            seen.pings.append(&mut fallback.pings);
        }
        _ => seen = fallback,
    }
    if let Some(markdown) = text(arguments, "markdown_text") {
        line(&mut seen);
        read(markdown, Reading { styles: false, ..TOP }, &mut seen);
    }
    for attachment in parsed(arguments, "attachments").iter().filter_map(Value::as_array).flatten() {
        for part in ["pretext", "title", "text"] {
            if let Some(text) = attachment[part].as_str() {
                line(&mut seen);
                read(text, TOP, &mut seen);
            }
        }
        blocks(attachment["blocks"].as_array().map(Vec::as_slice).unwrap_or_default(), &mut seen);
    }
    seen
}

fn blocks(list: &[Value], seen: &mut Seen) {
    for block in list {
        line(seen);
        match block["type"].as_str() {
            Some("rich_text") => rich_text(block, seen),
            Some("markdown") => {
                read(block["text"].as_str().unwrap_or_default(), Reading { styles: false, ..TOP }, seen);
            }
            Some("table") => {
                for row in items(block, "rows") {
                    line(seen);
                    for (column, cell) in row.as_array().into_iter().flatten().enumerate() {
                        seen.text.push_str(if column > 0 { " | " } else { "" });
                        match cell["type"].as_str() {
                            Some("rich_text") => rich_text(cell, seen),
                            _ => seen.text.push_str(cell["text"].as_str().unwrap_or_default()),
                        }
                    }
                }
            }
            _ => {
                for text in [&block["text"], &block["title"]].into_iter().filter(|text| text.is_object()) {
                    text_object(text, seen);
                }
                for part in items(block, "fields").iter().chain(items(block, "elements")).chain([&block["accessory"]]) {
                    if part.is_object() {
                        line(seen);
                        element(part, seen);
                    }
                }
            }
        }
    }
}

fn element(part: &Value, seen: &mut Seen) {
    if part["text"].is_string() {
        return text_object(part, seen);
    }
    let from = seen.text.len();
    text_object(&part["text"], seen);
    if let Some(url) = part["url"].as_str() {
        let label = seen.text[from..].to_owned();
        seen.link(&label, url);
    }
}

fn text_object(object: &Value, seen: &mut Seen) {
    let text = object["text"].as_str().unwrap_or_default();
    match object["type"].as_str() {
        Some("mrkdwn") => {
            let free = object["verbatim"] != true;
            read(text, Reading { addresses: free, everybody: free, ..TOP }, seen);
        }
        _ => seen.text.push_str(text),
    }
}

fn rich_text(block: &Value, seen: &mut Seen) {
    for part in items(block, "elements") {
        line(seen);
        let from = seen.text.len();
        match part["type"].as_str() {
            Some("rich_text_list") => list(part, seen),
            Some("rich_text_preformatted") => {
                inline(part, seen);
                seen.span("pre", from);
            }
            Some("rich_text_quote") => {
                inline(part, seen);
                seen.span("quote", from);
            }
            _ => inline(part, seen),
        }
    }
}

fn list(part: &Value, seen: &mut Seen) {
    let first = part["offset"].as_u64().unwrap_or(0) + 1;
    let indent = "  ".repeat(part["indent"].as_u64().unwrap_or(0) as usize);
    for (number, item) in (first..).zip(items(part, "elements")) {
        line(seen);
        seen.text.push_str(&indent);
        match part["style"].as_str() {
            Some("ordered") => seen.text.push_str(&format!("{number}. ")),
            _ => seen.text.push_str("• "),
        }
        inline(item, seen);
    }
}

fn inline(part: &Value, seen: &mut Seen) {
    for element in items(part, "elements") {
        let from = seen.text.len();
        let word = |name: &str| element[name].as_str().unwrap_or_default();
        match element["type"].as_str() {
            Some("link") => {
                let label = element["text"].as_str().unwrap_or(word("url"));
                seen.text.push_str(label);
                seen.link(label, word("url"));
            }
            Some("user") => ping(seen, format!("@{}", word("user_id")), format!("<@{}>", word("user_id"))),
            Some("usergroup") => {
                ping(seen, format!("@{}", word("usergroup_id")), format!("<!subteam^{}>", word("usergroup_id")));
            }
            Some("broadcast") => ping(seen, format!("@{}", word("range")), format!("<!{}>", word("range"))),
            Some("channel") => seen.text.push_str(&format!("#{}", word("channel_id"))),
            Some("emoji") => seen.text.push_str(&format!(":{}:", word("name"))),
            Some("date") => match element["fallback"].as_str() {
                Some(fallback) => seen.text.push_str(fallback),
                None => seen.text.push_str(&element["timestamp"].to_string()),
            },
            _ => seen.text.push_str(word("text")),
        }
        for style in ["bold", "italic", "strike", "code", "underline"] {
            if element["style"][style] == true {
                seen.span(style, from);
            }
        }
    }
}

fn ping(seen: &mut Seen, shown: String, written: String) {
    seen.text.push_str(&shown);
    seen.pings.push(written);
}

fn items<'a>(object: &'a Value, name: &str) -> &'a [Value] {
    object[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// What comes next stands on its own line.
fn line(seen: &mut Seen) {
    if !seen.text.is_empty() && !seen.text.ends_with('\n') {
        seen.text.push('\n');
    }
}
