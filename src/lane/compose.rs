//! From an event's document and a template to the parts that go out.

use crate::delivery::Messenger;
use crate::event::Document;
use crate::messenger::Content;
use crate::template::{self, Locale, RenderError, Templates};

/// Templates and the language they speak: all that a message takes besides its event.
pub struct Composer {
    pub templates: Templates,
    pub locale: Locale,
}

impl Composer {
    /// The message in the messenger's form, part by part. Where the template cannot give one it is the fallback text,
    /// and why comes beside it.
    pub fn compose(
        &self,
        template: &str,
        document: &Document<'_>,
        channel: &str,
        messenger: Messenger,
    ) -> (Vec<Content>, Option<RenderError>) {
        let (message, failure) = match self.templates.render(template, document, channel, messenger, &self.locale) {
            Ok(message) => (message, None),
            Err(error) => (template::fallback(document, self.locale.language), Some(error)),
        };
        (Content::parts(messenger, message), failure)
    }
}
