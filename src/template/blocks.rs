//! `<name>.slack.json.hbs`: `{"blocks": […], "text": "…"}` with stand-ins → Slack's blocks. A variable is text in every
//! place where Slack shows text, and a link where it opens one; it can be nothing else.

use serde_json::{Map, Value};

use super::own::Flaw;
use super::stand_in::{is_frame, shown_as, verbatim};
use crate::message::{Form, Link, Message};

/// Members that a person reads, and those that nobody sees and that call nobody.
const TEXTS: [&str; 8] =
    ["text", "alt_text", "accessibility_label", "title", "value", "action_id", "block_id", "fallback"];

/// # Errors
/// What Slack would not take, or what a variable must not be, with its byte in `source`.
pub(super) fn blocks(source: &str) -> Result<Form, Flaw> {
    let mut root: Value = serde_json::from_str(source).map_err(|error| {
        let line: usize = source.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let mut at = (line + error.column().saturating_sub(1)).min(source.len());
        while !source.is_char_boundary(at) {
            at -= 1;
        }
        let what = error.to_string();
        let what = what.split(" at line").next().unwrap_or_default();
        Flaw::new(at, format!("this is no JSON: {what}"))
            .hint("a variable stands between quotes; write `{{json value}}` without them for a number or a whole value")
    })?;
    let Value::Object(members) = &mut root else { return Err(shape("the file must be an object with `blocks`")) };
    if let Some(other) = members.keys().find(|key| !matches!(key.as_str(), "blocks" | "text")) {
        return Err(shape(format!("`{}` is unknown beside `blocks` and `text`", verbatim(other))));
    }
    let text = match members.remove("text") {
        None => String::new(),
        Some(Value::String(text)) => mrkdwn(&text),
        Some(_) => return Err(shape("`text` must be a text")),
    };
    let Some(Value::Array(mut blocks)) = members.remove("blocks") else { return Err(shape("`blocks` must be a list")) };
    for (index, block) in blocks.iter_mut().enumerate() {
        let at = format!("blocks[{index}]");
        if !block["type"].is_string() {
            return Err(shape(format!("{at} has no `type`")));
        }
        value(block, &at)?;
    }
    Ok(Form::Blocks { blocks, text })
}

/// A message as the text of a notification.
pub(super) fn plain(message: &Message) -> String {
    let texts: Vec<String> = message.blocks.iter().map(|block| block.texts().collect()).collect();
    texts.join("\n").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// JSON keeps no places: of what is found in the tree, the member is named instead.
fn shape(message: impl Into<String>) -> Flaw {
    Flaw::new(0, message)
}

fn value(given: &mut Value, at: &str) -> Result<(), Flaw> {
    match given {
        Value::Array(items) => {
            items.iter_mut().enumerate().try_for_each(|(index, item)| value(item, &format!("{at}[{index}]")))
        }
        Value::Object(members) => object(members, at),
        Value::String(text) if !is_frame(text) => {
            Err(shape(format!("{at}: a variable stands only in texts and links")))
        }
        _ => Ok(()),
    }
}

fn object(members: &mut Map<String, Value>, at: &str) -> Result<(), Flaw> {
    if members.keys().any(|key| !is_frame(key)) {
        return Err(shape(format!("{at}: a variable is no member's name")));
    }
    let kind = members.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    for (name, member) in members.iter_mut() {
        let at = format!("{at}.{name}");
        let Value::String(text) = member else {
            value(member, &at)?;
            continue;
        };
        let is_link = name == "url" || name.ends_with("_url");
        *text = match name.as_str() {
            "text" if kind == "mrkdwn" => mrkdwn(text),
            _ if is_frame(text) => continue,
            // Slack reads Markdown in it, where a variable could be markup.
            "text" if kind == "markdown" => {
                return Err(shape(format!("{at}: in a `markdown` block a variable would be markup; write `mrkdwn`")));
            }
            _ if is_link => match Link::parse(&verbatim(text)).filter(Link::is_web) {
                Some(link) => link.as_str().to_owned(),
                None => return Err(Flaw { of_event: true, ..shape(format!("{at} leads nowhere")) }),
            },
            name if TEXTS.contains(&name) => verbatim(text),
            _ => return Err(shape(format!("{at}: a variable stands only in texts and links"))),
        };
    }
    if kind == "mrkdwn" {
        // Otherwise Slack looks for names in the text and calls whom it finds.
        members.insert("verbatim".to_owned(), true.into());
    }
    Ok(())
}

/// Slack's own markup with the variables escaped. Of `<target|label>` the target may hold a variable only where it is a
/// link: else whoever writes it could call anybody.
fn mrkdwn(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        out.push_str(&escaped(&rest[..start]));
        let inner = &rest[start + 1..];
        let end = inner.find(['>', '\n', '<']).filter(|end| inner[*end..].starts_with('>'));
        match end {
            Some(end) => {
                out.push_str(&control(&inner[..end]));
                rest = &inner[end + 1..];
            }
            None => {
                out.push('<');
                rest = inner;
            }
        }
    }
    out + &escaped(rest)
}

fn control(inner: &str) -> String {
    let (target, label) = inner.split_once('|').map_or((inner, None), |(target, label)| (target, Some(label)));
    let label = label.map(|label| escaped(label).replace('\n', " "));
    if is_frame(target) {
        return format!("<{target}{}>", label.map(|label| format!("|{label}")).unwrap_or_default());
    }
    match Link::parse(&verbatim(target)) {
        Some(link) => {
            let url = link.as_str().replace('&', "&amp;").replace('|', "%7C").replace('<', "%3C").replace('>', "%3E");
            format!(
                "<{url}{}>",
                label.filter(|label| !label.is_empty()).map(|label| format!("|{label}")).unwrap_or_default()
            )
        }
        None => label.unwrap_or_else(|| escaped(target)),
    }
}

/// The template's own text as it is, variables escaped.
fn escaped(text: &str) -> String {
    shown_as(text, |c, of_variable, out| match c {
        '&' if of_variable => out.push_str("&amp;"),
        '<' if of_variable => out.push_str("&lt;"),
        '>' if of_variable => out.push_str("&gt;"),
        c => out.push(c),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::template::stand_in::escape as var;

    fn section(text: &str) -> String {
        json!({"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text}}]}).to_string()
    }

    #[test]
    fn a_variable_in_mrkdwn_is_text_or_a_link() {
        let (x, url) = (var("<!here> & \"x\""), var("https://a.b/?a=1&b|c"));
        for (text, sent) in [
            (format!("*{x}* <!channel> a < b"), "*&lt;!here&gt; &amp; \"x\"* <!channel> a < b".to_owned()),
            (format!("<{url}|{x}>"), "<https://a.b/?a=1&amp;b%7Cc|&lt;!here&gt; &amp; \"x\">".into()),
            (format!("<{url}>"), "<https://a.b/?a=1&amp;b%7Cc>".into()),
            (format!("<{}|t> <{}>", var("!channel"), var("@U1")), "t @U1".into()),
            (format!("<!{}> <@{}>", var("here"), var("U1")), "!here @U1".into()),
            (format!("<https://a.b/{}|t>", var("x y")), "<https://a.b/x%20y|t>".into()),
            (format!("<{}|t>", var("")), "t".into()),
            ("<https://a.b|t> <!date^1^{ago}|x>".into(), "<https://a.b|t> <!date^1^{ago}|x>".into()),
            (format!("<@U1|{}>", var("a\nb")), "<@U1|a b>".into()),
        ] {
            let Ok(Form::Blocks { blocks, .. }) = blocks(&section(&text)) else { panic!("{text}") };
            assert_eq!(blocks[0]["text"], json!({"type": "mrkdwn", "text": sent, "verbatim": true}), "{text}");
        }
    }

    #[test]
    fn a_variable_is_nothing_else() {
        let x = var("channel");
        let (text, url) = (var("a \"b\" <c>"), var("https://a.b/?x&y"));
        let own = |source: String| blocks(&source).map_err(|flaw| flaw.message);
        let button = json!({"type": "button", "text": {"type": "plain_text", "text": text}, "url": url});
        let given = json!({"blocks": [{"type": "actions", "elements": [button]}], "text": format!("{text} <!here>")});
        let Ok(Form::Blocks { blocks: sent, text: told }) = own(given.to_string()) else { panic!() };
        assert_eq!(sent[0]["elements"][0]["text"]["text"], "a \"b\" <c>");
        assert_eq!(
            (&sent[0]["elements"][0]["url"], told.as_str()),
            (&json!("https://a.b/?x&y"), "a \"b\" &lt;c&gt; <!here>")
        );
        for (block, found) in [
            (json!({"type": "broadcast", "range": x}), "blocks[0].range: a variable stands only in texts and links"),
            (json!({"type": x}), "blocks[0].type: a variable stands only in texts and links"),
            (json!({"type": "x", "user_id": [x]}), "blocks[0].user_id[0]: a variable stands only in texts and links"),
            (json!({"type": "x", x.clone(): 1}), "blocks[0]: a variable is no member's name"),
            (
                json!({"type": "markdown", "text": x}),
                "blocks[0].text: in a `markdown` block a variable would be markup; write `mrkdwn`",
            ),
            (json!({"type": "image", "image_url": var("javascript:1")}), "blocks[0].image_url leads nowhere"),
            (json!("x"), "blocks[0] has no `type`"),
        ] {
            assert_eq!(own(json!({"blocks": [block]}).to_string()).map(drop), Err(found.to_owned()));
        }
        for (source, found) in [
            ("[]", "the file must be an object with `blocks`"),
            ("{\"text\": \"x\"}", "`blocks` must be a list"),
            ("{\"blocks\": [], \"channel\": \"C1\"}", "`channel` is unknown beside `blocks` and `text`"),
            ("{\"blocks\": [,]}", "this is no JSON: expected value"),
        ] {
            assert_eq!(own(source.to_owned()).map(drop), Err(found.to_owned()));
        }
    }
}
