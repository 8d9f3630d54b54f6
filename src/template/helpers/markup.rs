//! Helpers that write marks of their own round a variable's text, which stays text.

use handlebars::{Context, Handlebars, Helper, HelperDef, HelperResult, JsonRender, JsonValue, Output, RenderContext};

use crate::message::{Link, is_blank};
use crate::template::stand_in;

pub(super) fn register(registry: &mut Handlebars<'_>) {
    registry.register_helper("code", Box::new(Code));
    registry.register_helper("link", Box::new(LinkTo));
}

/// A helper that writes a text of its parameters, which are texts too; an absent one is empty.
macro_rules! markup_helper {
    ($type:ty, |$param:ident| $text:expr) => {
        impl HelperDef for $type {
            fn call<'reg: 'rc, 'rc>(
                &self,
                helper: &Helper<'rc>,
                _: &'reg Handlebars<'reg>,
                _: &'rc Context,
                _: &mut RenderContext<'reg, 'rc>,
                out: &mut dyn Output,
            ) -> HelperResult {
                let $param = |index| helper.param(index).map(|param| param.value().render()).unwrap_or_default();
                let text: String = $text;
                Ok(out.write(if text.is_empty() { stand_in::NOTHING } else { &text })?)
            }
        }
    };
}

/// `{{code comment.id}}` in the line, a block where the text has several lines; `{{code comment.text "sql"}}` always a
/// block.
struct Code;
markup_helper!(Code, |param| {
    let (text, language) = (param(0), param(1));
    let (text, is_block) = (text.trim_end(), !language.is_empty() || text.trim_end().contains('\n'));
    let language = if is_language(&language) { &language } else { "" };
    if is_blank(text) {
        String::new()
    } else if is_block {
        format!("\n```{language}\n{}\n```\n", stand_in::escape(text))
    } else {
        format!("`{}`", stand_in::escape(text))
    }
});

/// `{{link issue.key issue.url}}`: where the URL is none that a person may follow, the text alone; where the text is
/// absent, the URL is the text.
struct LinkTo;
markup_helper!(LinkTo, |param| {
    let (text, url) = (param(0), param(1));
    let text = if is_blank(&text) { &url } else { &text };
    match Link::parse(&url) {
        _ if is_blank(text) => String::new(),
        Some(url) => format!("[{}]({})", stand_in::escape(text), stand_in::escape(url.as_str())),
        None => stand_in::escape(text),
    }
});

fn is_language(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+#-_.".contains(&b))
}

pub(super) fn language(literal: &JsonValue) -> Result<(), String> {
    match literal.as_str().is_some_and(is_language) {
        true => Ok(()),
        false => Err("`code` takes a language's name in quotes, as in \"sql\"".to_owned()),
    }
}
