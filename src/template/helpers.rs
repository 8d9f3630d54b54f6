//! The helpers of templates. Each gives a value that is escaped like any variable, but for the two that write markup.

mod markup;
mod values;

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};

use handlebars::{
    BlockContext, BlockParamHolder, Context, Handlebars, Helper, HelperDef, HelperResult, JsonValue, Output,
    RenderContext, Renderable,
};

use super::{date, stand_in};
pub(super) use markup::{Code, Json, LinkTo};
pub(super) use values::{Ago, Date, Happened, truncate};

/// Rounds of all loops of one rendering together.
pub(super) const MOST_ROUNDS: usize = 10_000;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    Value,
    Block,
    /// It writes its own marks round a value, so it is none for another helper.
    Markup,
}

/// `Err`: what is wrong with a value that stands in the template itself.
type LiteralCheck = fn(&JsonValue) -> Result<(), String>;

/// What a check has to know of a helper.
pub(super) struct Known {
    pub name: &'static str,
    pub form: Form,
    pub takes: RangeInclusive<usize>,
    pub usage: &'static str,
    pub example: &'static str,
    /// So many of its first parameters are printed, so they have to be texts.
    pub prints: usize,
    /// What its further parameters have to be where they stand in the template itself.
    pub literal: Option<LiteralCheck>,
}

const fn known(
    name: &'static str,
    form: Form,
    takes: RangeInclusive<usize>,
    usage: &'static str,
    example: &'static str,
) -> Known {
    Known { name, form, takes, usage, example, prints: 0, literal: None }
}

const MANY: usize = usize::MAX;

/// Every helper, in the order in which README tells of them.
const KNOWN: [Known; 22] = [
    known("if", Form::Block, 1..=1, "one value", "{{#if comment}}…{{/if}}"),
    known("unless", Form::Block, 1..=1, "one value", "{{#unless issue.assignee}}…{{/unless}}"),
    known("each", Form::Block, 1..=1, "one list", "{{#each issue.tags}}{{this}}{{/each}}"),
    known("with", Form::Block, 1..=1, "one value", "{{#with issue.assignee}}{{display}}{{/with}}"),
    known("lookup", Form::Value, 2..=2, "a value and a member's name", "{{lookup issue.fields \"team\"}}"),
    known("eq", Form::Value, 2..=2, "two values", "{{#if (eq issue.status.key \"open\")}}…{{/if}}"),
    known("ne", Form::Value, 2..=2, "two values", "{{#if (ne issue.status.key \"open\")}}…{{/if}}"),
    known("not", Form::Value, 1..=1, "one value", "{{#if (not comment)}}…{{/if}}"),
    known("and", Form::Value, 2..=MANY, "at least two values", "{{#if (and actor comment)}}…{{/if}}"),
    known("or", Form::Value, 2..=MANY, "at least two values", "{{#if (or actor comment)}}…{{/if}}"),
    Known {
        prints: 1,
        ..known(
            "default",
            Form::Value,
            2..=2,
            "a value and what stands for it",
            "{{default issue.status.display \"new\"}}",
        )
    },
    Known {
        prints: 1,
        literal: Some(values::length),
        ..known("truncate", Form::Value, 2..=2, "a text and a number of characters", "{{truncate issue.summary 80}}")
    },
    known(
        "join",
        Form::Value,
        2..=3,
        "a list, a separator and perhaps a member's name",
        "{{join issue.followers \", \" \"login\"}}",
    ),
    Known { prints: 1, ..known("upper", Form::Value, 1..=1, "a text", "{{upper issue.priority.key}}") },
    Known { prints: 1, ..known("lower", Form::Value, 1..=1, "a text", "{{lower issue.key}}") },
    Known {
        prints: 1,
        literal: Some(date::check),
        ..known("date", Form::Value, 1..=2, "a time and perhaps a format", "{{date event.at \"%H:%M\"}}")
    },
    Known { prints: 1, ..known("ago", Form::Value, 1..=1, "a time", "{{ago issue.deadline}}") },
    Known { prints: 1, ..known("happened", Form::Value, 1..=1, "an event's kind", "{{happened event.kind}}") },
    Known {
        prints: 1,
        literal: Some(values::form),
        ..known(
            "plural",
            Form::Value,
            3..=4,
            "a number and two forms, or three as in Russian",
            "{{plural body.votes \"vote\" \"votes\"}}",
        )
    },
    known("json", Form::Markup, 1..=1, "one value", "{{json body}}"),
    Known {
        prints: 1,
        literal: Some(markup::language),
        ..known("code", Form::Markup, 1..=2, "a text and perhaps a language", "{{code comment.text \"sql\"}}")
    },
    Known { prints: 2, ..known("link", Form::Markup, 2..=2, "a text and a URL", "{{link issue.key issue.url}}") },
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

#[cfg(test)]
pub(super) fn examples() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().map(|known| known.example)
}

/// Handlebars with our helpers; those that depend on more than their parameters come with each rendering.
pub(super) fn registry() -> Handlebars<'static> {
    let mut registry = Handlebars::new();
    RESERVED.iter().for_each(|name| registry.unregister_helper(name));
    registry.unregister_helper("each");
    registry.register_escape_fn(stand_in::escape);
    registry.register_helper("helperMissing", Box::new(Nothing));
    values::register(&mut registry);
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
