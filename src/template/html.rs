//! `<name>.telegram.html.hbs`: Telegram's HTML with stand-ins → the HTML that is sent. Variables are text, or targets of
//! links that a person may follow; whatever Telegram would refuse is refused here.
//! Source of the grammar: core.telegram.org/bots/api#html-style; td `MessageEntity.cpp`, `parse_html`.

use super::own::Flaw;
use super::stand_in::{Shown, is_frame, verbatim};
use crate::message::Link;

const TAGS: [&str; 17] = [
    "a",
    "b",
    "strong",
    "i",
    "em",
    "u",
    "ins",
    "s",
    "strike",
    "del",
    "code",
    "pre",
    "blockquote",
    "span",
    "tg-spoiler",
    "tg-emoji",
    "tg-time",
];

/// # Errors
/// The first thing that Telegram would not take, with its byte in `source`.
pub(super) fn html(source: &str) -> Result<String, Flaw> {
    let mut writer =
        Writer { source, at: 0, out: String::with_capacity(source.len()), shown: Shown::default(), open: Vec::new() };
    while let Some(rest) = source.get(writer.at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("</") {
            writer.end_tag()?;
        } else if rest.starts_with('<') {
            writer.start_tag()?;
        } else {
            let text = &rest[..rest.find('<').unwrap_or(rest.len())];
            writer.at += text.len();
            writer.text(text);
        }
    }
    match writer.open.pop() {
        Some(tag) => Err(Flaw::new(tag.at, format!("`<{}>` is never closed", tag.name))),
        None => Ok(writer.out),
    }
}

struct Tag<'a> {
    name: &'a str,
    at: usize,
    /// A link that nobody may follow goes, its text stays.
    written: bool,
}

struct Writer<'a> {
    source: &'a str,
    at: usize,
    out: String,
    shown: Shown,
    open: Vec<Tag<'a>>,
}

impl<'a> Writer<'a> {
    fn text(&mut self, text: &str) {
        let is_open = |names: &[&str]| self.open.iter().any(|tag| names.contains(&tag.name));
        // Telegram looks for names everywhere but in code.
        let text = match is_open(&["code", "pre"]) && !is_open(&["a"]) {
            true => verbatim(&decoded(text)),
            false => self.shown.text(&decoded(text)),
        };
        escape(&text, &mut self.out);
    }

    /// What stands between the angle brackets, without a slash at its front.
    fn inner(&mut self, open: &str) -> Result<&'a str, Flaw> {
        let start = self.at + open.len();
        let mut quote = None;
        let end = self.source[start..].char_indices().find(|(_, c)| match quote {
            Some(_) if quote == Some(*c) => {
                quote = None;
                false
            }
            Some(_) => false,
            None if *c == '"' || *c == '\'' => {
                quote = Some(*c);
                false
            }
            None => *c == '>',
        });
        let Some((length, _)) = end else {
            return Err(Flaw::new(self.at, "this `<` begins no tag").hint("write `&lt;` where it is meant as text"));
        };
        self.at = start + length + 1;
        Ok(&self.source[start..start + length])
    }

    fn start_tag(&mut self) -> Result<(), Flaw> {
        let at = self.at;
        let inner = self.inner("<")?;
        let (name, attributes) = inner.split_once(char::is_whitespace).unwrap_or((inner, ""));
        let Some(name) = TAGS.into_iter().find(|known| known.eq_ignore_ascii_case(name)) else {
            let hint = match name.trim_end_matches('/').to_ascii_lowercase().as_str() {
                "br" | "p" | "div" => "end the line instead".to_owned(),
                _ => format!("the tags are {}; write `&lt;` where `<` is meant as text", TAGS.join(", ")),
            };
            return Err(Flaw::new(at, format!("Telegram knows no `<{}>`", verbatim(name))).hint(hint));
        };
        let attributes = Attributes::read(attributes, at)?;
        let written = attributes.written(name, at)?;
        if let Some(attribute) = &written {
            self.out.push_str(&format!("<{name}{attribute}>"));
        }
        self.open.push(Tag { name, at, written: written.is_some() });
        Ok(())
    }

    fn end_tag(&mut self) -> Result<(), Flaw> {
        let at = self.at;
        let name = self.inner("</")?.trim();
        match self.open.pop() {
            None => Err(Flaw::new(at, format!("`</{}>` closes nothing", verbatim(name)))),
            Some(tag) if name.is_empty() || tag.name.eq_ignore_ascii_case(name) => {
                if tag.written {
                    self.out.push_str(&format!("</{}>", tag.name));
                }
                Ok(())
            }
            Some(tag) => Err(Flaw::new(at, format!("`</{}>` stands where `<{}>` is open", verbatim(name), tag.name))
                .hint(format!("close it with `</{}>`", tag.name))),
        }
    }
}

/// Names with their values, references decoded.
struct Attributes(Vec<(String, String)>);

impl Attributes {
    fn read(mut rest: &str, at: usize) -> Result<Self, Flaw> {
        let mut all = Vec::new();
        loop {
            rest = rest.trim_start();
            if rest.is_empty() {
                return Ok(Self(all));
            }
            let end = rest.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(rest.len());
            let name = &rest[..end];
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
                return Err(Flaw::new(at, format!("`{}` is no attribute of a tag", verbatim(name)))
                    .hint("Telegram knows no `<b/>`, and a variable is no attribute"));
            }
            rest = rest[end..].trim_start();
            let Some(value) = rest.strip_prefix('=').map(str::trim_start) else {
                all.push((name.to_ascii_lowercase(), String::new()));
                continue;
            };
            let Some(quote) = value.chars().next().filter(|c| *c == '"' || *c == '\'') else {
                return Err(Flaw::new(at, format!("the value of `{name}` stands without quotes")));
            };
            // The tag's own end was found outside quotes, so they close.
            let (value, after) = value[1..].split_once(quote).unwrap_or((&value[1..], ""));
            all.push((name.to_ascii_lowercase(), decoded(value)));
            rest = after;
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// As they are sent with the tag. `None`: the tag goes, its text stays.
    fn written(&self, name: &str, at: usize) -> Result<Option<String>, Flaw> {
        let quoted = |name: &str, value: &str| {
            let mut out = format!(" {name}=\"");
            escape(value, &mut out);
            out + "\""
        };
        let needs = |attribute: &str| {
            let given = self.get(attribute).filter(|value| !value.is_empty());
            given.ok_or_else(|| Flaw::new(at, format!("`<{name}>` needs `{attribute}`")))
        };
        let word = |value: &str| value.chars().all(|c| c.is_ascii_alphanumeric() || "+#-_. ".contains(c));
        let plain = |attribute: &str, value: &str| {
            let value = verbatim(value);
            (!value.is_empty() && word(&value)).then(|| quoted(attribute, &value))
        };
        Ok(match name {
            "a" => {
                let target = needs("href")?;
                match is_frame(target) {
                    true => Some(quoted("href", target)),
                    false => Link::parse(&verbatim(target)).map(|link| quoted("href", link.as_str())),
                }
            }
            "code" => Some(self.get("class").and_then(|class| plain("class", class)).unwrap_or_default()),
            "span" if self.get("class") == Some("tg-spoiler") => Some(quoted("class", "tg-spoiler")),
            "span" => return Err(Flaw::new(at, "`<span>` needs `class=\"tg-spoiler\"`")),
            "blockquote" => Some(self.get("expandable").map(|_| " expandable".to_owned()).unwrap_or_default()),
            "tg-emoji" => plain("emoji-id", needs("emoji-id")?),
            "tg-time" => {
                let format = self.get("format").and_then(|format| plain("format", format)).unwrap_or_default();
                plain("unix", needs("unix")?).map(|unix| unix + &format)
            }
            _ => Some(String::new()),
        })
    }
}

/// Of the character references the four names that Telegram knows, and numbers.
fn decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let named = after.split_once(';').and_then(|(name, after)| Some((reference(name)?, after)));
        let (c, after) = named.unwrap_or(('&', after));
        out.push(c);
        rest = after;
    }
    out.push_str(rest);
    out
}

fn reference(name: &str) -> Option<char> {
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16),
                None => number.parse(),
            };
            // A reference must not make a stand-in either.
            char::from_u32(code.ok()?).filter(|c| is_frame(c.encode_utf8(&mut [0; 4])))
        }
    }
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::stand_in::escape as var;

    #[test]
    fn frames_are_tags_and_variables_are_text() {
        let x = var("<b>&\"@here");
        let url = var("https://a.b/?x=1&y=\"2\"");
        for (source, sent) in [
            (
                format!("<B>{x}</b> a &lt; b & c &#39;"),
                "<b>&lt;b&gt;&amp;&quot;@\u{2060}here</b> a &lt; b &amp; c '".into(),
            ),
            (
                format!("<a href=\"{url}\">{x}</a>"),
                "<a href=\"https://a.b/?x=1&amp;y=%222%22\">&lt;b&gt;&amp;&quot;@\u{2060}here</a>".to_owned(),
            ),
            (format!("<a href='{}'>t</a>", var("tg://user?id=1")), "t".into()),
            (format!("<a href=\"{}\">t</a>", var("")), "t".into()),
            (format!("<a href=\"tg://user?id={}\">t</a>", var("1")), "t".into()),
            ("<a href='tg://user?id=7'>t</a>".into(), "<a href=\"tg://user?id=7\">t</a>".into()),
            (
                "<pre><code class='language-rust'>x</code></pre>".into(),
                "<pre><code class=\"language-rust\">x</code></pre>".into(),
            ),
            (format!("<code class='language-{x}'>x</code>"), "<code>x</code>".into()),
            (
                "<blockquote expandable>x</><span class=\"tg-spoiler\">y</span>".into(),
                "<blockquote expandable>x</blockquote><span class=\"tg-spoiler\">y</span>".into(),
            ),
            (format!("{}here", var("@")), "@\u{2060}here".into()),
            (format!("<b>{}</b>{}", var("@"), var("here")), "<b>@</b>\u{2060}here".into()),
        ] {
            assert_eq!(html(&source).as_ref(), Ok(&sent), "{source}");
        }
    }

    #[test]
    fn what_telegram_refuses_is_refused() {
        for (source, found) in [
            ("a<br>", "1 Telegram knows no `<br>`"),
            ("a < b", "2 this `<` begins no tag"),
            ("a < b > c", "2 Telegram knows no `<>`"),
            ("<b>x", "0 `<b>` is never closed"),
            ("<b><i>x</b></i>", "7 `</b>` stands where `<i>` is open"),
            ("x</b>", "1 `</b>` closes nothing"),
            ("<b/>", "0 Telegram knows no `<b/>`"),
            ("<a>x</a>", "0 `<a>` needs `href`"),
            ("<a href=https://a.b>x</a>", "0 the value of `href` stands without quotes"),
            ("<span>x</span>", "0 `<span>` needs `class=\"tg-spoiler\"`"),
            ("<b \"x\">x</b>", "0 `\"x\"` is no attribute of a tag"),
            ("<!-- x -->", "0 Telegram knows no `<!-->`"),
        ] {
            let told = html(source).map_err(|flaw| format!("{} {}", flaw.at, flaw.message));
            assert_eq!(told, Err(found.to_owned()), "{source}");
        }
        assert!(html(&format!("<{}>x</b>", var("b"))).is_err());
        assert!(html(&format!("<b {}>x</b>", var("class"))).is_err());
    }
}
