//! A checked template and an event's document → a message.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::AtomicUsize;

use handlebars::template::Template;
use handlebars::{Context, Output, RenderContext, Renderable};
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::check::Needs;
use super::fallback::{fallback, shortened};
use super::front::{ButtonSource, Front};
use super::helpers::{Ago, Code, Date, Each, Happened, Json, LinkTo};
use super::own::{Dialect, Trial, trial_documents};
use super::stand_in::LONGEST_OUTPUT;
use super::{Checked, Locale, RenderError, Shared, blocks, front, markdown, scan};
use crate::delivery::Messenger;
use crate::event::Document;
use crate::message::{Button, Form, Language, Message, Own, is_blank};

/// What only templates know of the place they write to.
#[derive(Clone, Copy)]
pub(super) struct Channel<'a> {
    pub name: &'a str,
    pub messenger: Messenger,
}

impl Checked {
    pub(super) fn render(
        &self,
        shared: &Shared,
        document: &Document<'_>,
        channel: Option<Channel<'_>>,
        locale: &Locale,
    ) -> Result<Message, RenderError> {
        let context = Context::from(self.members(document, channel));
        let rendering = self.rendering(shared, &context, locale);
        let markdown = rendering.text(&self.template, self.dialect, self.lines_before)?;
        let message = markdown::message(&markdown);
        if message.is_blank() {
            return Err(RenderError::Empty { file: self.file.clone() });
        }
        let (buttons, silent, unfurl) = rendering.front(&self.front);
        let shortened = shortened(context.data(), locale.language);
        Ok(Message { shortened, buttons, silent, unfurl, ..message })
    }

    /// The messenger's own form. A notification of Slack's blocks without a text says what the fallback says.
    pub(super) fn own(
        &self,
        shared: &Shared,
        document: &Document<'_>,
        channel: Option<Channel<'_>>,
        locale: &Locale,
    ) -> Result<Own, RenderError> {
        let context = Context::from(self.members(document, channel));
        let rendering = self.rendering(shared, &context, locale);
        let text = rendering.text(&self.template, self.dialect, self.lines_before)?;
        let unfit = |message| RenderError::Unfit { file: self.file.clone(), message };
        let form = match self.dialect.own(&text).map_err(|flaw| unfit(flaw.message))? {
            Some(Form::Blocks { blocks, text }) if is_blank(&text) => {
                Form::Blocks { blocks, text: blocks::plain(&fallback(document, locale.language)) }
            }
            Some(form) => form,
            None => return Err(unfit("it is no messenger's own".to_owned())),
        };
        let (buttons, silent, unfurl) = rendering.front(&self.front);
        Ok(Own { form, buttons, silent, unfurl })
    }

    /// What is wrong with what the template renders for the events of a trial; places are in `text`.
    pub(super) fn try_out(&self, text: &str, shared: &Shared) -> Option<scan::Flaw> {
        let trial = Trial::new(text)?;
        let locale = Locale { language: Language::En, time_zone: TimeZone::UTC };
        let channel = Channel { name: "ops", messenger: self.dialect.messenger()? };
        trial_documents().into_iter().find_map(|document| {
            let context = Context::from(self.members(&(&document).into(), Some(channel)));
            let rendering = self.rendering(shared, &context, &locale);
            let rendered = rendering.text(&trial.template, self.dialect, 0).ok()?;
            Trial::flaw(text, &rendered, self.dialect)
        })
    }

    fn rendering<'a>(&'a self, shared: &'a Shared, context: &'a Context, locale: &'a Locale) -> Rendering<'a> {
        Rendering { file: &self.file, helpers: &self.needs.helpers, shared, context, locale }
    }

    /// What the template names, and the issue, for where a shortened message leads.
    fn members(&self, document: &Document<'_>, channel: Option<Channel<'_>>) -> Value {
        let mut members = document.members(|root| root == "issue" || self.needs.roots.contains(root));
        if let Some(channel) = channel.filter(|_| self.needs.roots.contains("channel")) {
            let (name, messenger) = (channel.name.into(), channel.messenger.as_str().into());
            let channel = Map::from_iter([("name".to_owned(), name), ("messenger".to_owned(), messenger)]);
            members.insert("channel".into(), channel.into());
        }
        members.into()
    }
}

/// What a text that stands in no template renders to, its variables as stand-ins. `file` is the name that errors give.
pub(super) fn value(
    shared: &Shared,
    file: &str,
    template: &Template,
    needs: &Needs,
    document: &Document<'_>,
    locale: &Locale,
) -> Result<String, RenderError> {
    let context = Context::from(Value::from(document.members(|root| needs.roots.contains(root))));
    let rendering = Rendering { file, helpers: &needs.helpers, shared, context: &context, locale };
    rendering.text(template, Dialect::Plain, 0)
}

/// One rendering of a template and what belongs to it.
struct Rendering<'a> {
    file: &'a str,
    helpers: &'a BTreeSet<&'static str>,
    shared: &'a Shared,
    context: &'a Context,
    locale: &'a Locale,
}

impl Rendering<'_> {
    /// What the front matter says: buttons, silent, unfurl. A value of it that fails says nothing: the message is worth
    /// more.
    fn front(&self, front: &Front) -> (Vec<Button>, bool, bool) {
        let value = |template: &Template| self.text(template, Dialect::Plain, 0).unwrap_or_default();
        let is_true = |template: &Option<Template>| template.as_ref().is_some_and(|it| front::is_true(&value(it)));
        let button = |it: &ButtonSource| front::button(&value(&it.text), &value(&it.url));
        (front.buttons.iter().filter_map(button).collect(), is_true(&front.silent), is_true(&front.unfurl))
    }

    fn text(&self, template: &Template, dialect: Dialect, lines_before: usize) -> Result<String, RenderError> {
        let (context, locale, helpers) = (self.context, self.locale, self.helpers);
        let rounds = AtomicUsize::new(0);
        let mut render = RenderContext::new(None);
        if helpers.contains("each") {
            render.register_local_helper("each", Box::new(Each { rounds: &rounds }));
        }
        if helpers.contains("date") {
            render.register_local_helper("date", Box::new(Date { locale }));
        }
        if helpers.contains("ago") {
            let now = context.data().pointer("/event/received_at").and_then(|now| now.as_str()?.parse().ok());
            render.register_local_helper("ago", Box::new(Ago { locale, now }));
        }
        if helpers.contains("happened") {
            render.register_local_helper("happened", Box::new(Happened { language: locale.language }));
        }
        for name in helpers {
            match *name {
                "code" => render.register_local_helper(name, Box::new(Code { dialect })),
                "link" => render.register_local_helper(name, Box::new(LinkTo { dialect })),
                "json" => render.register_local_helper(name, Box::new(Json { dialect })),
                _ => {}
            }
        }
        let mut output = Bounded { text: String::with_capacity(1_024), room: LONGEST_OUTPUT, full: false };
        match template.render(&self.shared.registry, context, &mut render, &mut output) {
            Err(error) if !output.full => {
                let partial = error.template_name.as_deref().and_then(|name| self.shared.partials.file(name));
                Err(RenderError::Failed {
                    file: partial.unwrap_or(self.file).to_owned(),
                    line: error.line_no.map_or(0, |line| line + if partial.is_some() { 0 } else { lines_before }),
                    column: error.column_no.unwrap_or(0),
                    message: error.reason().to_string(),
                })
            }
            _ => Ok(output.text),
        }
    }
}

/// Output that ends: what is over the bound is not written, and the rendering stops there.
struct Bounded {
    text: String,
    /// Characters that may still come.
    room: usize,
    full: bool,
}

impl Output for Bounded {
    fn write(&mut self, text: &str) -> io::Result<()> {
        match text.char_indices().nth(self.room) {
            None => {
                self.room -= text.chars().count();
                self.text.push_str(text);
                Ok(())
            }
            Some((end, _)) => {
                self.text.push_str(&text[..end]);
                self.full = true;
                Err(io::Error::other("the message is too long"))
            }
        }
    }
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
