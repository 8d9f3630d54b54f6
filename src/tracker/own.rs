//! Who Campanile is in Tracker, so that it knows its own changes when they come back as events.

use super::client::Api;
use super::error::Error;
use super::issue::User;
use super::look::Look;
use crate::event::{Event, Person};

/// The token's owner. Tracker names people now by one id and now by another.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Own {
    user: User,
}

/// # Errors
/// Tracker's refusal, or that there was no answer.
pub async fn own(api: &Api) -> Result<Own, Error> {
    Ok(Own::of(api.myself().await?))
}

impl Own {
    pub(super) fn of(user: User) -> Self {
        Self { user }
    }

    pub fn login(&self) -> Option<&str> {
        self.user.login.as_deref()
    }

    /// By any name that both have.
    pub fn is(&self, user: &User) -> bool {
        self.user.names().any(|own| user.names().any(|name| name == own))
    }

    /// By login, or by the e-mail where there is no login.
    pub fn is_person(&self, person: &Person) -> bool {
        match (&person.login, &person.email) {
            (Some(login), _) => self.user.names().any(|own| own.eq_ignore_ascii_case(login)),
            (None, Some(email)) => self.user.email.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(email)),
            (None, None) => false,
        }
    }

    /// Whether the event is of our own making: by the actor that its body names, else by the changelog. The issue's
    /// last change says nothing: it may be ours and later than what somebody else did.
    pub fn did(&self, event: &Event, look: Option<&Look>) -> bool {
        if event.review.is_some() || event.bench.is_some() {
            return false; // these name people of a code host, or of a pipeline
        }
        match event.actor.as_ref().filter(|actor| actor.login.is_some() || actor.email.is_some()) {
            Some(actor) => self.is_person(actor),
            None => look.is_some_and(|look| look.did_all(|user| self.is(user))),
        }
    }
}
