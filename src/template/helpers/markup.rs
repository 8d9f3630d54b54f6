//! Helpers that write marks of their own round a variable's text, which stays text.

use handlebars::{Context, Handlebars, Helper, HelperDef, HelperResult, JsonRender, JsonValue, Output, RenderContext};

use crate::message::{Link, is_blank};
use crate::template::own::Dialect;
use crate::template::stand_in;

/// A helper that writes a text of its parameters, which are texts too; an absent one is empty.
macro_rules! markup_helper {
    ($type:ty, |$this:ident, $param:ident| $text:expr) => {
        impl HelperDef for $type {
            fn call<'reg: 'rc, 'rc>(
                &self,
                helper: &Helper<'rc>,
                _: &'reg Handlebars<'reg>,
                _: &'rc Context,
                _: &mut RenderContext<'reg, 'rc>,
                out: &mut dyn Output,
            ) -> HelperResult {
                let $this = self;
                let $param = |index| helper.param(index).map(|param| param.value().render()).unwrap_or_default();
                let text: String = $text;
                Ok(out.write(if text.is_empty() { stand_in::NOTHING } else { &text })?)
            }
        }
    };
}

/// `{{code comment.id}}` in the line, a block where the text has several lines; `{{code comment.text "sql"}}` always a
/// block.
pub(crate) struct Code {
    pub dialect: Dialect,
}

markup_helper!(Code, |this, param| {
    let (text, language) = (param(0), param(1));
    let (text, is_block) = (text.trim_end(), !language.is_empty() || text.trim_end().contains('\n'));
    let language = if is_language(&language) { &language } else { "" };
    if is_blank(text) {
        String::new()
    } else {
        let code = stand_in::escape(text);
        match (this.dialect, is_block) {
            (Dialect::Plain, _) => code,
            (Dialect::Markdown, true) => format!("\n```{language}\n{code}\n```\n"),
            (Dialect::Markdown, false) => format!("`{code}`"),
            (Dialect::Html, true) if language.is_empty() => format!("<pre>{code}</pre>"),
            (Dialect::Html, true) => format!("<pre><code class=\"language-{language}\">{code}</code></pre>"),
            (Dialect::Html, false) => format!("<code>{code}</code>"),
            // Slack has no way to write a backtick in code.
            (Dialect::Json, true) => format!("```{}```", stand_in::escape(&text.replace('`', "'"))),
            (Dialect::Json, false) => format!("`{}`", stand_in::escape(&text.replace('`', "'"))),
        }
    }
});

/// `{{link issue.key issue.url}}`: where the URL is none that a person may follow, the text alone; where the text is
/// absent, the URL is the text.
pub(crate) struct LinkTo {
    pub dialect: Dialect,
}

markup_helper!(LinkTo, |this, param| {
    let (text, url) = (param(0), param(1));
    let text = if is_blank(&text) { &url } else { &text };
    match Link::parse(&url) {
        _ if is_blank(text) => String::new(),
        Some(url) => {
            let (text, url) = (stand_in::escape(text), stand_in::escape(url.as_str()));
            match this.dialect {
                Dialect::Plain => text,
                Dialect::Markdown => format!("[{text}]({url})"),
                Dialect::Html => format!("<a href=\"{url}\">{text}</a>"),
                Dialect::Json => format!("<{url}|{text}>"),
            }
        }
        None => stand_in::escape(text),
    }
});

/// `{{json body}}`: any value as JSON; what is absent is nothing. Where the template itself is JSON, a value of it.
pub(crate) struct Json {
    pub dialect: Dialect,
}

impl HelperDef for Json {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let value = helper.param(0).map_or(&JsonValue::Null, |param| param.value());
        let text = match (self.dialect, value) {
            (Dialect::Json, value) => escaped(value).to_string(),
            (_, JsonValue::Null) => stand_in::NOTHING.to_owned(),
            (_, value) => stand_in::escape(&value.to_string()),
        };
        Ok(out.write(&text)?)
    }
}

/// The value with all its texts as stand-ins. What is absent stays `null`, which no text of a block may be.
fn escaped(value: &JsonValue) -> JsonValue {
    match value {
        JsonValue::String(text) => stand_in::escape(text).into(),
        JsonValue::Array(list) => list.iter().map(escaped).collect(),
        JsonValue::Object(map) => map.iter().map(|(key, value)| (stand_in::escape(key), escaped(value))).collect(),
        other => other.clone(),
    }
}

fn is_language(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+#-_.".contains(&b))
}

pub(super) fn language(literal: &JsonValue) -> Result<(), String> {
    match literal.as_str().is_some_and(is_language) {
        true => Ok(()),
        false => Err("`code` takes a language's name in quotes, as in \"sql\"".to_owned()),
    }
}
