//! A messenger's own template files: what their text must be, checked by trial at load and again at each rendering.

use handlebars::template::Template;
use serde_json::{Map, Value, json};

use super::{blocks, html, scan};
use crate::delivery::Messenger;
use crate::event;
use crate::message::Form;

/// What a template's text is written in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Dialect {
    /// No markup: a value of front matter.
    Plain,
    /// Both messengers'.
    Markdown,
    /// Telegram's.
    Html,
    /// Slack's blocks.
    Json,
}

/// Where in a rendered text, in bytes, and what is wrong there.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Flaw {
    pub at: usize,
    pub message: String,
    pub hint: Option<String>,
    /// It lies in what this event brought, not in the template.
    pub of_event: bool,
}

impl Flaw {
    pub fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), hint: None, of_event: false }
    }

    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl Dialect {
    /// All that a template file may be, by the end of its name.
    pub const ENDS: [(&str, Self); 3] =
        [(".md.hbs", Self::Markdown), (".slack.json.hbs", Self::Json), (".telegram.html.hbs", Self::Html)];

    /// Whose own it is.
    pub fn messenger(self) -> Option<Messenger> {
        match self {
            Self::Plain | Self::Markdown => None,
            Self::Html => Some(Messenger::Telegram),
            Self::Json => Some(Messenger::Slack),
        }
    }

    /// What was rendered, in the messenger's form. `None`: it has none.
    pub fn own(self, rendered: &str) -> Result<Option<Form>, Flaw> {
        match self {
            Self::Plain | Self::Markdown => Ok(None),
            Self::Html => html::html(rendered).map(|html| Some(Form::Html(html))),
            Self::Json => blocks::blocks(rendered).map(Some),
        }
    }
}

/// First of the characters that mark lines in a trial: private use, in no template.
const FIRST_MARK: u32 = 0x10_0000;

/// A template whose every line begins with a mark, so that a place in what it renders can be told in the source.
pub(super) struct Trial {
    pub template: Template,
}

impl Trial {
    /// `None` where the marked source cannot be compiled, which the source could.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.replace(|c: char| u32::from(c) >= FIRST_MARK, "\u{FFFD}");
        let mut marked = String::with_capacity(2 * text.len());
        let (mut at, tags) = (0, scan::tags(&text));
        for (number, line) in (0..).zip(text.split_inclusive('\n')) {
            if !tags.iter().any(|tag| tag.start < at && at < tag.end) {
                marked.extend(char::from_u32(FIRST_MARK + number));
            }
            marked.push_str(line);
            at += line.len();
        }
        Template::compile(&marked).ok().map(|template| Self { template })
    }

    /// What is wrong with a rendering of it, and where in `text`.
    pub fn flaw(text: &str, rendered: &str, dialect: Dialect) -> Option<scan::Flaw> {
        let (mut clean, mut lines) = (String::with_capacity(rendered.len()), Vec::new());
        for c in rendered.chars() {
            match u32::from(c).checked_sub(FIRST_MARK) {
                Some(line) => lines.push((clean.len(), line as usize)),
                None => clean.push(c),
            }
        }
        let flaw = dialect.own(&clean).err().filter(|flaw| !flaw.of_event)?;
        let (start, line) = lines.iter().rev().find(|(start, _)| *start <= flaw.at).copied().unwrap_or_default();
        let line_start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
        // Up to the first tag the line was rendered as it is; what follows is told to begin there.
        let before = clean.get(start..flaw.at).unwrap_or_default();
        let same = before.chars().zip(text[line_start..].chars()).take_while(|(a, b)| a == b);
        let at = line_start + same.map(|(c, _)| c.len_utf8()).sum::<usize>();
        Some(scan::Flaw { hint: flaw.hint, ..scan::Flaw::new(at, flaw.message) })
    }
}

/// The events of a trial: one that has everything, and one that has only what every event has. Each branch that depends
/// on a member's presence is tried.
pub(super) fn trial_documents() -> [Value; 2] {
    let mut full = json!({"body": {}, "event": {"received_at": "2026-05-20T09:15:00Z"}});
    for path in event::PATHS.iter().filter(|path| !path.ends_with(".**")) {
        let list = event::LISTS.iter().find(|list| path.starts_with(*list));
        let names: Vec<&str> = path.split('.').collect();
        let (last, way) = names.split_last().unwrap_or((&"", &[]));
        let mut node = &mut full;
        let mut walked = String::new();
        for name in way {
            walked.push_str(name);
            node = &mut node[*name];
            if list == Some(&walked.as_str()) {
                node = match node {
                    Value::Array(list) => &mut list[0],
                    node => {
                        *node = json!([{}]);
                        &mut node[0]
                    }
                };
            }
            walked.push('.');
        }
        if list == Some(path) {
            node[*last] = json!(["x"]);
        } else if node[*last].is_null() {
            node[*last] = sample(path, last);
        }
    }
    let head = json!({"kind": "issue.updated", "source": "tracker", "received_at": "2026-05-20T09:15:00Z"});
    [full, Value::Object(Map::from_iter([("event".to_owned(), head)]))]
}

fn sample(path: &str, name: &str) -> Value {
    match name {
        "url" => "https://example.com/x".into(),
        "at" | "received_at" => "2026-05-20T09:15:00Z".into(),
        "deadline" => "2026-05-21".into(),
        "id" if path == "event.id" => 1.into(),
        "degraded" => true.into(),
        _ => "x".into(),
    }
}
