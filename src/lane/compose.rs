//! From an event's document and a template to the parts that go out.

use std::collections::BTreeMap;

use crate::delivery::{Action, Messenger, Words};
use crate::event::Document;
use crate::messenger::Content;
use crate::template::{self, Locale, RenderError, Templates};
use crate::tracker::format::markdown;

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

    /// An action with the texts that its event makes of the route's.
    ///
    /// # Errors
    /// Why a text cannot be made, for people.
    pub fn action(&self, action: &Action, document: &Document<'_>) -> Result<Action, String> {
        let say = |text: &String| {
            let said = self.templates.say(text, document, &self.locale);
            said.map_err(|error| format!("a text fails: {error}"))
        };
        let fields = |fields: &BTreeMap<String, String>| {
            let said = fields.iter().map(|(key, text)| Ok((key.clone(), say(text)?)));
            said.collect::<Result<BTreeMap<_, _>, String>>()
        };
        Ok(match action {
            Action::Set { fields: set, was } => {
                // Another bench may have taken the field since: who goes takes only his own with him.
                let known = document.members(|root| matches!(root, "event" | "body"));
                let member = |root: &str, name: &str| known.get(root)?.get(name)?.as_str().map(str::to_owned);
                let is_gone = member("event", "kind").as_deref() == Some("bench.gone");
                let gone = is_gone.then(|| member("body", "url")).flatten();
                Action::Set { fields: fields(set)?, was: gone.or_else(|| was.clone()) }
            }
            Action::Transition { to, by, fields: of_screen } => {
                Action::Transition { to: to.clone(), by: by.clone(), fields: fields(of_screen)? }
            }
            Action::Comment(Words::Text(text)) => Action::Comment(Words::Text(say(text)?)),
            Action::Comment(Words::Template(name)) => {
                let message = self.templates.render_for_issue(name, document, &self.locale);
                Action::Comment(Words::Text(markdown(&message.map_err(|error| error.to_string())?)))
            }
            Action::Link { key, application } => match say(key)?.trim() {
                "" => {
                    let why = "there is nothing to link: the event is of no review and of no bench with a branch";
                    return Err(why.into());
                }
                key => Action::Link { key: key.to_owned(), application: application.clone() },
            },
        })
    }
}
