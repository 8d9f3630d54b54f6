//! `{{…}}` in a trigger's address, headers and body (section 2).

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value;
use url::form_urlencoded;

use super::field::{FieldKind, is_empty};
use super::issue::{Change, Issue};
use super::{Language, Tracker};

/// What becomes of a variable without a value: section 2.5 knows all of them, and which is true is not settled.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Empty {
    /// No call at all.
    NoCall,
    /// Nothing: `""` in quotes, a hole without.
    #[default]
    Nothing,
    Null,
    /// The variable itself.
    Placeholder,
}

/// What a trigger sees when it fires.
pub(super) struct Scene<'a> {
    pub tracker: &'a Tracker,
    pub issue: &'a Issue,
    pub change: &'a Change,
}

/// A variable's value on its way through the modifiers.
enum Variable {
    Text(String),
    Number(String),
    Time(Timestamp),
    Day(Date),
    /// An id.
    User(String),
    /// With `id` and `display`.
    Object(Value),
    /// A name that nothing can be asked of.
    Name(String),
    Many(Vec<Variable>),
    /// A JSON literal: the last modifier was `json`.
    Literal(String),
}

const MONTHS: &str = "января февраля марта апреля мая июня июля августа сентября октября ноября декабря";

impl Scene<'_> {
    /// The text with all variables replaced; none where an empty one forbids the call.
    pub fn render(&self, text: &str) -> Option<String> {
        let (mut rendered, mut rest) = (String::new(), text);
        while let Some((before, (name, after))) =
            rest.split_once("{{").and_then(|(before, inner)| Some((before, inner.split_once("}}")?)))
        {
            rendered.push_str(before);
            match (self.variable(name), self.tracker.options.empty) {
                (Some(Some(value)), _) => rendered.push_str(&self.text(&value)),
                (None, _) | (Some(None), Empty::Placeholder) => rendered.push_str(&format!("{{{{{name}}}}}")),
                (Some(None), Empty::Nothing) => {}
                (Some(None), Empty::Null) => rendered.push_str("null"),
                (Some(None), Empty::NoCall) => return None,
            }
            rest = after;
        }
        rendered.push_str(rest);
        Some(rendered)
    }

    /// None: no variable. None within: it has no value.
    fn variable(&self, name: &str) -> Option<Option<Variable>> {
        let mut path = name.split('.');
        let comment = self.change.comment.and_then(|id| self.issue.comments.iter().find(|comment| comment.id == id));
        let mut value = match (path.next()?, path.clone().next()) {
            ("issue", Some("local")) => {
                path.next();
                let (key, queue) = (path.next()?, Some(self.issue.queue()));
                let mut fields = self.tracker.fields.iter();
                let field = fields.find(|field| field.queue.as_deref() == queue && field.key == key);
                field.and_then(|field| of(field.kind, &self.issue.value(&field.id), self.tracker)).map(|value| {
                    match value {
                        Variable::Text(text) => Variable::Name(text), // here too
                        value => value,
                    }
                })
            }
            ("issue", Some(_)) => self.of_issue(path.next()?)?,
            ("userComment", Some(part)) => {
                path.next();
                match part {
                    "id" => comment.map(|comment| Variable::Number(comment.id.to_string())),
                    // `.json` is not known to work, section 9
                    "text" => comment.map(|comment| Variable::Name(comment.text.clone())),
                    "author" => comment.map(|comment| Variable::User(comment.by.clone())),
                    _ => return None,
                }
            }
            ("generatedComment", Some(_)) => return Some(None), // automation writes no comments here
            ("currentUser", _) => Some(Variable::User(self.change.by.clone())),
            ("currentDateTime", _) => Some(Variable::Time(self.change.at)),
            _ => return None,
        };
        for modifier in path {
            value = match value {
                Some(value) => self.modified(value, modifier)?,
                None => None,
            };
        }
        Some(value)
    }

    fn of_issue(&self, name: &str) -> Option<Option<Variable>> {
        let id = match name {
            "key" => return Some(Some(Variable::Text(self.issue.key.clone()))),
            "id" => return Some(Some(Variable::Text(self.issue.id.clone()))),
            "votes" => return Some(Some(Variable::Number("0".to_owned()))),
            "author" => "createdBy",
            "dueDate" => "deadline",
            other => other,
        };
        let kind = self.tracker.field(id, self.issue.queue())?.kind;
        Some(of(kind, &self.issue.value(id), self.tracker))
    }

    /// None: the modifier is not for such a value. None within: that part of it is empty.
    fn modified(&self, value: Variable, modifier: &str) -> Option<Option<Variable>> {
        let some = |variable| Some(Some(variable));
        match (value, modifier) {
            (Variable::Many(list), "json") => {
                let literal = |one| match self.modified(one, "json") {
                    Some(Some(Variable::Literal(literal))) => Some(literal),
                    _ => None,
                };
                let list: Option<Vec<_>> = list.into_iter().map(literal).collect();
                some(Variable::Literal(format!("[{}]", list?.join(","))))
            }
            (Variable::Many(list), modifier) => {
                let list: Option<Vec<_>> = list.into_iter().map(|one| self.modified(one, modifier)).collect();
                some(Variable::Many(list?.into_iter().flatten().collect()))
            }
            (Variable::Text(text), "json") => some(Variable::Literal(Value::from(text).to_string())),
            (Variable::Number(number), "json") => some(Variable::Literal(number)),
            (Variable::Text(text) | Variable::Name(text), "urlEncodeUTF8") => {
                some(Variable::Text(form_urlencoded::byte_serialize(text.as_bytes()).collect()))
            }
            (Variable::Time(at), "iso8601") => some(Variable::Text(at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())),
            (Variable::Time(at), "unixEpoch") => some(Variable::Number(at.as_millisecond().to_string())),
            (Variable::Time(at), "date") => some(Variable::Day(at.to_zoned(TimeZone::UTC).date())),
            (Variable::Day(day), "iso8601") => some(Variable::Text(day.to_string())),
            (Variable::Day(day), "date") => some(Variable::Day(day)),
            (Variable::Object(object), part @ ("id" | "display")) => Some(plain(&object[part])),
            (Variable::User(id), part) => {
                let user = self.tracker.user(&id).ok()?;
                some(match part {
                    "login" => Variable::Text(user.login.clone()),
                    "firstName" => Variable::Text(user.first.clone()),
                    "lastName" | "lastname" => Variable::Text(user.last.clone()),
                    "email" => Variable::Text(user.email()),
                    "uid" => Variable::Number(id),
                    "passportUid" => Variable::Number(user.passport_uid().to_string()),
                    _ => return None,
                })
            }
            _ => None,
        }
    }

    fn text(&self, value: &Variable) -> String {
        let day = |day: &Date| {
            let month = MONTHS.split(' ').nth(day.month() as usize - 1).unwrap_or_default();
            format!("{:02} {month} {}", day.day(), day.year())
        };
        match value {
            Variable::Text(text) | Variable::Number(text) | Variable::Name(text) | Variable::Literal(text) => {
                text.clone()
            }
            Variable::Time(at) => day(&at.to_zoned(TimeZone::UTC).date()),
            Variable::Day(date) => day(date),
            Variable::User(id) => self.tracker.user(id).map(|user| user.display()).unwrap_or_default(),
            Variable::Object(object) => object["display"].as_str().unwrap_or_default().to_owned(),
            Variable::Many(list) => list.iter().map(|one| self.text(one)).collect::<Vec<_>>().join(", "),
        }
    }
}

/// A kept value of a field.
fn of(kind: FieldKind, kept: &Value, tracker: &Tracker) -> Option<Variable> {
    if is_empty(kept) {
        return None;
    }
    match (kind, kept) {
        (FieldKind::User | FieldKind::Users, Value::String(id)) => Some(Variable::User(id.clone())),
        (FieldKind::Date, Value::String(day)) => day.parse().ok().map(Variable::Day),
        (FieldKind::Time, Value::String(at)) => {
            Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", at).ok().map(Variable::Time)
        }
        (FieldKind::Word(_) | FieldKind::Queue, kept) => {
            let shown = tracker.shown(kind, kept, Language::Ru);
            shown["display"].as_str().map(|name| Variable::Name(name.to_owned()))
        }
        (_, Value::Array(list)) => Some(Variable::Many(list.iter().filter_map(|one| of(kind, one, tracker)).collect())),
        (_, Value::Object(project)) if project.contains_key("primary") => {
            Some(Variable::Object(kept["primary"].clone()))
        }
        (_, kept) => plain(kept),
    }
}

fn plain(value: &Value) -> Option<Variable> {
    match value {
        Value::String(text) => Some(Variable::Text(text.clone())),
        Value::Number(number) => Some(Variable::Number(number.to_string())),
        Value::Object(_) => Some(Variable::Object(value.clone())),
        _ => None,
    }
}
