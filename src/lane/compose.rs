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

/// Why a message is not what its template was written for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Failure {
    #[error("{0}; it goes out as the fallback text")]
    Fallback(#[from] RenderError),
    /// The messenger's own file cannot be used for this event.
    #[error("{0}; the common template is used")]
    Common(String),
}

impl Composer {
    /// The message in the messenger's form, part by part. Where the template cannot give one it is the fallback text,
    /// and why comes beside it. `own`: as the admin wrote it for this messenger alone, where there is such a file and
    /// the messenger would take what it says.
    pub fn compose(
        &self,
        template: &str,
        document: &Document<'_>,
        channel: &str,
        messenger: Messenger,
        own: bool,
    ) -> (Vec<Content>, Option<Failure>) {
        let rendered = self.templates.render(template, document, channel, messenger, &self.locale);
        let (mut message, mut failure) = match rendered {
            Ok(message) => (message, None),
            Err(error) => (template::fallback(document, self.locale.language), Some(error.into())),
        };
        message.own = message.own.filter(|_| own);
        let unfit = message.unfit.take().filter(|_| own);
        if let Some(why) = unfit.or_else(|| Content::own(messenger, &message)?.err()) {
            failure = Some(Failure::Common(why));
        }
        (Content::parts(messenger, message), failure)
    }
}
