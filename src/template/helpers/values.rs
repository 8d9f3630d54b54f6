//! Helpers that make a value of their parameters.

use handlebars::{
    Context, Handlebars, Helper, HelperDef, JsonRender, JsonValue, RenderContext, RenderError, ScopedJson,
};
use jiff::Timestamp;
use unicode_segmentation::GraphemeCursor;

use crate::message::Language;
use crate::template::{Locale, date, plural, words};

pub(super) fn register(registry: &mut Handlebars<'_>) {
    registry.register_helper("truncate", Box::new(Truncate));
    registry.register_helper("default", Box::new(Default));
    registry.register_helper("join", Box::new(Join));
    registry.register_helper("upper", Box::new(Upper));
    registry.register_helper("lower", Box::new(Lower));
    registry.register_helper("plural", Box::new(Plural));
}

/// `{{date event.at}}`, `{{date event.at "%H:%M"}}`.
pub(crate) struct Date<'a> {
    pub locale: &'a Locale,
}

/// `{{ago event.at}}`: counted from when the event was received, so that every rendering says the same. A message that
/// comes late says so by itself.
pub(crate) struct Ago<'a> {
    pub locale: &'a Locale,
    /// `None`: the document does not say, and the time is told as a date.
    pub now: Option<Timestamp>,
}

/// `{{happened event.kind}}`
pub(crate) struct Happened {
    pub language: Language,
}

/// A helper that makes a value of its parameters.
macro_rules! value_helper {
    ($type:ty, |$this:ident, $params:ident| $value:expr) => {
        impl HelperDef for $type {
            fn call_inner<'reg: 'rc, 'rc>(
                &self,
                helper: &Helper<'rc>,
                _: &'reg Handlebars<'reg>,
                _: &'rc Context,
                _: &mut RenderContext<'reg, 'rc>,
            ) -> Result<ScopedJson<'rc>, RenderError> {
                let $this = self;
                let $params = |index| helper.param(index).map_or(&JsonValue::Null, |param| param.value());
                Ok(ScopedJson::Derived($value))
            }
        }
    };
}

value_helper!(Date<'_>, |this, param| {
    let format = param(1).as_str().unwrap_or(date::USUAL);
    date::told(&param(0).render(), format, this.locale).into()
});

value_helper!(Ago<'_>, |this, param| {
    let text = param(0).render();
    let told = this.now.and_then(|now| date::ago(&text, now, this.locale));
    told.unwrap_or_else(|| date::told(&text, date::USUAL, this.locale)).into()
});

value_helper!(Happened, |this, param| words::happened(this.language, &param(0).render()).into());

/// `{{truncate issue.summary 80}}`
struct Truncate;
value_helper!(Truncate, |_this, param| {
    let text = param(0).render();
    match param(1).as_u64().and_then(|most| usize::try_from(most).ok()) {
        Some(most) => truncate(&text, most).into(),
        None => text.into(),
    }
});

/// `{{default issue.assignee.display "nobody"}}`
struct Default;
value_helper!(Default, |_this, param| {
    let given = !param(0).render().trim().is_empty();
    param(if given { 0 } else { 1 }).clone()
});

/// `{{join issue.tags ", "}}`, `{{join issue.followers ", " "login"}}`; without a member's name an object gives what it
/// is called.
struct Join;
value_helper!(Join, |_this, param| {
    let separator = param(1).render();
    match param(0) {
        JsonValue::Array(list) => {
            let texts = list.iter().map(|element| called(element, param(2).as_str()));
            texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(&separator).into()
        }
        single => called(single, param(2).as_str()).into(),
    }
});

/// `{{upper issue.priority.key}}`
struct Upper;
value_helper!(Upper, |_this, param| param(0).render().to_uppercase().into());

/// `{{lower issue.key}}`
struct Lower;
value_helper!(Lower, |_this, param| param(0).render().to_lowercase().into());

/// `{{plural n "vote" "votes"}}`, `{{plural n "голос" "голоса" "голосов"}}`: the form alone. What is no number takes the
/// last form.
struct Plural;
value_helper!(Plural, |_this, param| {
    let number = param(0).render().trim().parse::<f64>().ok().filter(|number| number.is_finite());
    let forms: Vec<&JsonValue> = [1, 2, 3].map(param).into_iter().filter(|form| !form.is_null()).collect();
    let form = number.map_or(forms.len().saturating_sub(1), |number| plural::form(number, forms.len()));
    forms.get(form).map(|form| JsonValue::clone(form)).unwrap_or_default()
});

fn called(element: &JsonValue, member: Option<&str>) -> String {
    match (element, member) {
        (JsonValue::Object(map), Some(member)) => map.get(member).map(JsonValue::render).unwrap_or_default(),
        (JsonValue::Object(map), None) => ["display", "key", "login"]
            .iter()
            .find_map(|name| map.get(*name))
            .map(JsonValue::render)
            .unwrap_or_default(),
        (element, _) => element.render(),
    }
}

/// At most so many characters, then `…` where there were more. What a reader sees as one character stays whole.
pub(crate) fn truncate(text: &str, most: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(most) else { return text.to_owned() };
    let mut cursor = GraphemeCursor::new(end, text.len(), true);
    let whole = match cursor.is_boundary(text, 0) {
        Ok(false) => cursor.prev_boundary(text, 0).ok().flatten().filter(|whole| *whole > 0),
        _ => None,
    };
    format!("{}…", text[..whole.unwrap_or(end)].trim_end())
}

pub(super) fn length(literal: &JsonValue) -> Result<(), String> {
    match literal.as_u64() {
        Some(1..) => Ok(()),
        _ => Err("`truncate` takes a number of characters from 1".to_owned()),
    }
}

pub(super) fn form(literal: &JsonValue) -> Result<(), String> {
    if literal.is_string() { Ok(()) } else { Err("`plural` takes its forms as texts in quotes".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_text_keeps_whole_characters() {
        for (text, most, kept) in [
            ("short", 5, "short"),
            ("longer", 5, "longe…"),
            ("two words", 4, "two…"),
            ("по-русски", 3, "по-…"),
            ("ab👨‍👩‍👧‍👦c", 4, "ab…"),
            ("e\u{301}e\u{301}", 3, "e\u{301}…"),
            ("👨‍👩‍👧‍👦", 2, "👨\u{200d}…"),
        ] {
            assert_eq!(truncate(text, most), kept);
        }
    }
}
