//! The helpers of templates. Each gives a value that is escaped like any variable.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};

use handlebars::{
    BlockContext, BlockParamHolder, Context, Handlebars, Helper, HelperDef, HelperResult, JsonRender, JsonValue,
    Output, RenderContext, RenderError, Renderable, ScopedJson,
};
use unicode_segmentation::GraphemeCursor;

use super::{Locale, date, stand_in};

/// Rounds of all loops of one rendering together.
pub(super) const MOST_ROUNDS: usize = 10_000;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    Value,
    Block,
}

/// `Err`: what is wrong with a value that stands in the template itself.
type LiteralCheck = fn(&JsonValue) -> Result<(), String>;

/// What a check has to know of a helper.
pub(super) struct Known {
    pub name: &'static str,
    pub form: Form,
    pub takes: RangeInclusive<usize>,
    pub usage: &'static str,
    /// Its first parameter is printed, so it has to be a text.
    pub prints: bool,
    /// What its second parameter has to be where it stands in the template itself.
    pub literal: Option<LiteralCheck>,
}

const fn known(name: &'static str, form: Form, takes: RangeInclusive<usize>, usage: &'static str) -> Known {
    Known { name, form, takes, usage, prints: false, literal: None }
}

const KNOWN: [Known; 14] = [
    known("if", Form::Block, 1..=1, "one value"),
    known("unless", Form::Block, 1..=1, "one value"),
    known("each", Form::Block, 1..=1, "one list"),
    known("with", Form::Block, 1..=1, "one value"),
    known("lookup", Form::Value, 2..=2, "a value and a member's name"),
    known("eq", Form::Value, 2..=2, "two values"),
    known("ne", Form::Value, 2..=2, "two values"),
    known("not", Form::Value, 1..=1, "one value"),
    known("and", Form::Value, 2..=usize::MAX, "at least two values"),
    known("or", Form::Value, 2..=usize::MAX, "at least two values"),
    known("join", Form::Value, 2..=3, "a list, a separator and perhaps a member's name"),
    Known { prints: true, ..known("default", Form::Value, 2..=2, "a value and what stands for it") },
    Known {
        prints: true,
        literal: Some(length),
        ..known("truncate", Form::Value, 2..=2, "a text and a number of characters")
    },
    Known {
        prints: true,
        literal: Some(date::check),
        ..known("date", Form::Value, 1..=2, "a time and perhaps a format")
    },
];

/// Names that Handlebars itself gives a meaning which templates here do not have.
pub(super) const RESERVED: [&str; 9] =
    ["log", "raw", "len", "gt", "gte", "lt", "lte", "helperMissing", "blockHelperMissing"];

pub(super) fn find(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|known| known.name)
}

/// Handlebars with our helpers; `each` and `date` come with each rendering.
pub(super) fn registry() -> Handlebars<'static> {
    let mut registry = Handlebars::new();
    RESERVED.iter().for_each(|name| registry.unregister_helper(name));
    registry.unregister_helper("each");
    registry.register_escape_fn(stand_in::escape);
    registry.register_helper("helperMissing", Box::new(Nothing));
    registry.register_helper("truncate", Box::new(Truncate));
    registry.register_helper("default", Box::new(Default));
    registry.register_helper("join", Box::new(Join));
    registry
}

/// What an absent variable writes.
struct Nothing;

impl HelperDef for Nothing {
    fn call<'reg: 'rc, 'rc>(
        &self,
        _: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        Ok(out.write(stand_in::NOTHING)?)
    }
}

/// `{{#each list}}`: Handlebars' own, with an end.
pub(super) struct Each<'a> {
    pub rounds: &'a AtomicUsize,
}

impl HelperDef for Each<'_> {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        render: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let (Some(over), Some(template)) = (helper.param(0), helper.template()) else { return Ok(()) };
        let elements: Vec<(Option<&str>, &JsonValue)> = match over.value() {
            JsonValue::Array(list) => list.iter().take(MOST_ROUNDS).map(|value| (None, value)).collect(),
            JsonValue::Object(map) => {
                map.iter().take(MOST_ROUNDS).map(|(key, value)| (Some(key.as_str()), value)).collect()
            }
            _ => Vec::new(),
        };
        if elements.is_empty() {
            return helper.inverse().map_or(Ok(()), |otherwise| otherwise.render(registry, context, render, out));
        }
        let last = elements.len() - 1;
        for (index, (key, value)) in elements.into_iter().enumerate() {
            if self.rounds.fetch_add(1, Ordering::Relaxed) >= MOST_ROUNDS {
                break;
            }
            let name = key.map_or_else(|| index.to_string(), str::to_owned);
            let mut block = BlockContext::new();
            block.set_local_var("first", (index == 0).into());
            block.set_local_var("last", (index == last).into());
            block.set_local_var("index", index.into());
            if let Some(key) = key {
                block.set_local_var("key", key.into());
            }
            let element = match over.context_path() {
                Some(path) => {
                    block.base_path_mut().extend(path.iter().cloned().chain([name.clone()]));
                    BlockParamHolder::path(Vec::new())
                }
                None => {
                    block.set_base_value(value.clone());
                    BlockParamHolder::value(value.clone())
                }
            };
            if let Some(name) = helper.block_param() {
                block.set_block_param(name, element);
            } else if let Some((value_name, key_name)) = helper.block_param_pair() {
                block.set_block_param(value_name, element);
                let key = key.map_or_else(|| JsonValue::from(index), JsonValue::from);
                block.set_block_param(key_name, BlockParamHolder::value(key));
            }
            render.push_block(block);
            let round = template.render(registry, context, render, out);
            render.pop_block();
            round?;
        }
        Ok(())
    }
}

/// `{{date event.at}}`, `{{date event.at "%H:%M"}}`.
pub(super) struct Date<'a> {
    pub locale: &'a Locale,
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
pub(super) fn truncate(text: &str, most: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(most) else { return text.to_owned() };
    let mut cursor = GraphemeCursor::new(end, text.len(), true);
    let whole = match cursor.is_boundary(text, 0) {
        Ok(false) => cursor.prev_boundary(text, 0).ok().flatten().filter(|whole| *whole > 0),
        _ => None,
    };
    format!("{}…", text[..whole.unwrap_or(end)].trim_end())
}

fn length(literal: &JsonValue) -> Result<(), String> {
    match literal.as_u64() {
        Some(1..) => Ok(()),
        _ => Err("`truncate` takes a number of characters from 1".to_owned()),
    }
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
