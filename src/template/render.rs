//! A checked template and an event's document → a message.

use std::io;
use std::sync::atomic::AtomicUsize;

use handlebars::{Context, Output, RenderContext, Renderable};
use serde_json::{Map, Value};

use super::helpers::{Ago, Date, Each};
use super::stand_in::LONGEST_OUTPUT;
use super::{Checked, Locale, RenderError, Templates, fallback, markdown};
use crate::delivery::Messenger;
use crate::event::Document;
use crate::message::Message;

/// What only templates know of the place they write to.
#[derive(Clone, Copy)]
pub(super) struct Channel<'a> {
    pub name: &'a str,
    pub messenger: Messenger,
}

impl Checked {
    pub(super) fn render(
        &self,
        templates: &Templates,
        document: &Document<'_>,
        channel: Channel<'_>,
        locale: &Locale,
    ) -> Result<Message, RenderError> {
        let context = Context::from(self.members(document, channel));
        let markdown = self.markdown(templates, &context, locale)?;
        let message = markdown::message(&markdown);
        if message.is_blank() {
            return Err(RenderError::Empty { file: self.file.clone() });
        }
        Ok(Message { shortened: fallback::shortened(context.data(), locale.language), ..message })
    }

    /// What the template names, and the issue, for where a shortened message leads.
    fn members(&self, document: &Document<'_>, channel: Channel<'_>) -> Value {
        let mut members = document.members(|root| root == "issue" || self.needs.roots.contains(root));
        if self.needs.roots.contains("channel") {
            let (name, messenger) = (channel.name.into(), channel.messenger.as_str().into());
            let channel = Map::from_iter([("name".to_owned(), name), ("messenger".to_owned(), messenger)]);
            members.insert("channel".into(), channel.into());
        }
        members.into()
    }

    fn markdown(&self, templates: &Templates, context: &Context, locale: &Locale) -> Result<String, RenderError> {
        let rounds = AtomicUsize::new(0);
        let mut render = RenderContext::new(None);
        if self.needs.helpers.contains("each") {
            render.register_local_helper("each", Box::new(Each { rounds: &rounds }));
        }
        if self.needs.helpers.contains("date") {
            render.register_local_helper("date", Box::new(Date { locale }));
        }
        if self.needs.helpers.contains("ago") {
            let now = context.data().pointer("/event/received_at").and_then(|now| now.as_str()?.parse().ok());
            render.register_local_helper("ago", Box::new(Ago { locale, now }));
        }
        let mut output = Bounded { text: String::with_capacity(1_024), room: LONGEST_OUTPUT, full: false };
        match self.template.render(&templates.registry, context, &mut render, &mut output) {
            Err(error) if !output.full => Err(RenderError::Failed {
                file: error
                    .template_name
                    .as_deref()
                    .and_then(|name| templates.partials.file(name))
                    .unwrap_or(&self.file)
                    .into(),
                line: error.line_no.unwrap_or(0),
                column: error.column_no.unwrap_or(0),
                message: error.reason().to_string(),
            }),
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
