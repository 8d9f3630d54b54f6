//! What our triggers called, out of Tracker's webhook log. Source: T 1.4, 1.5.
//!
//! One answer holds a hundred calls at most, and nothing says whether there were more. So a stretch of time of which a
//! hundred come back, or more bytes than an answer may have, is asked for again in halves.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use secrecy::SecretString;

use super::client::Api;
use super::error::Error;
use super::queue::{Fired, Trigger};
use super::trigger::{Wanted, Watched};
use crate::clock::Clock;
use crate::transport::TransportError;

/// What Tracker gives in one answer (T 1.5).
const MOST: usize = 100;
/// Between two questions: what is done on issues has Tracker's rate for itself meanwhile.
const PAUSE: Duration = Duration::from_millis(500);
/// The shortest stretch that can be asked for, in milliseconds.
const SHORTEST: i64 = 1;

/// The header by which a call names itself, see `source/dedupe.rs`.
const NAMES_ITSELF: &str = "idempotency-key";

/// The triggers of a queue that call one source, and the address that they call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OfSource {
    endpoint: String,
    triggers: Vec<String>,
}

impl OfSource {
    /// Ours by name and address, whether they are active or not. `public_url`: as `connect` takes it.
    pub fn among(triggers: &[Trigger], public_url: &str, source: &str) -> Self {
        let nothing = SecretString::default();
        let wanted = Watched::ALL.map(|watched| Wanted::of(watched, public_url, source, &nothing));
        let ours = triggers.iter().filter(|trigger| wanted.iter().any(|wanted| wanted.is(trigger)));
        let endpoint = wanted.first().map_or_else(String::new, |wanted| wanted.endpoint().to_owned());
        Self { endpoint, triggers: ours.filter_map(|trigger| trigger.id.clone()).collect() }
    }
}

/// One try of a call that may have been missed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tried {
    pub at: Timestamp,
    pub method: Method,
    /// Without the question mark.
    pub query: String,
    pub body: String,
    /// Somebody answered that all is well.
    pub answered: bool,
}

/// A stretch of time that was read whole.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stretch {
    /// Oldest first.
    pub tried: Vec<Tried>,
    /// In milliseconds since 1970.
    pub until: i64,
    /// Calls of which the log does not keep enough to take them.
    pub lost: usize,
}

/// A walk through the log from one time to another, in milliseconds since 1970.
pub struct Walk<'a> {
    pub api: &'a Api,
    pub clock: &'a Clock,
    pub queue: &'a str,
    pub of: OfSource,
    /// All before it was read.
    pub at: i64,
    pub to: i64,
    /// How much is asked for at once: what fitted last time.
    pub step: i64,
}

/// What one question brought.
enum Page {
    Whole(Vec<Fired>),
    /// There may be more than could be told.
    Full(Vec<Fired>),
}

impl Walk<'_> {
    /// The next stretch. `None`: all is read, or so many `questions` were asked that none is left. Dropped in the middle
    /// it has read nothing.
    ///
    /// # Errors
    /// Tracker's. Nothing of the stretch counts then.
    pub async fn next(&mut self, questions: &mut usize) -> Result<Option<Stretch>, Error> {
        'shorter: while self.at < self.to {
            let until = self.at.saturating_add(self.step).min(self.to);
            let (mut tried, mut lost, mut most) = (Vec::new(), 0, 0);
            for number in 0..self.of.triggers.len() {
                if *questions == 0 {
                    return Ok(None);
                }
                *questions -= 1;
                self.clock.sleep(PAUSE).await;
                let fired = match self.ask(&self.of.triggers[number], until).await? {
                    Page::Whole(fired) => fired,
                    Page::Full(fired) if until - self.at <= SHORTEST => {
                        lost += 1; // one at least: nobody can say how many
                        fired
                    }
                    Page::Full(_) => {
                        self.step = ((until - self.at) / 2).max(SHORTEST);
                        self.of.triggers.swap(0, number); // who called so often is asked first from now on
                        continue 'shorter;
                    }
                };
                most = most.max(fired.len());
                for fired in fired {
                    match self.entry(fired) {
                        Entry::Tried(one) => tried.push(one),
                        Entry::Ended => {}
                        Entry::Lost => lost += 1,
                    }
                }
            }
            self.at = until;
            if most < MOST / 2 {
                self.step = self.step.saturating_mul(2);
            }
            tried.sort_by_key(|one| one.at);
            return Ok(Some(Stretch { tried, until, lost }));
        }
        Ok(None)
    }

    async fn ask(&self, trigger: &str, until: i64) -> Result<Page, Error> {
        let time = |ms| Timestamp::from_millisecond(ms).map_err(|error| Error::Impossible(error.to_string()));
        // From a little before: whether Tracker counts the ends in is not documented.
        match self.api.webhook_log(self.queue, trigger, time(self.at - 1)?, time(until)?, MOST).await {
            Ok(fired) if fired.len() < MOST => Ok(Page::Whole(fired)),
            Ok(fired) => Ok(Page::Full(fired)),
            Err(error) if is_overlong(&error) => Ok(Page::Full(Vec::new())),
            Err(Error::NotFound(_)) => Ok(Page::Whole(Vec::new())), // the trigger is gone since it was listed
            Err(error) => Err(error),
        }
    }

    fn entry(&self, fired: Fired) -> Entry {
        let status = fired.response.and_then(|response| response.status_code);
        // Refused by us: unreadable, another secret, too long. What stands before a bridge that is down says anything else.
        if matches!(status, Some(400 | 401 | 413)) {
            return Entry::Ended;
        }
        let answered = matches!(status, Some(200..300));
        // What cannot be compared is taken for accepted where anybody said so.
        let dark = if answered { Entry::Ended } else { Entry::Lost };
        let (Some(at), Some(request)) = (fired.start_time, fired.request) else { return dark };
        let (Some(endpoint), Some(body)) = (request.endpoint, request.body) else { return dark };
        // It is known by a value that the log masks.
        if request.headers.is_some_and(|it| it.keys().any(|name| name.eq_ignore_ascii_case(NAMES_ITSELF))) {
            return dark;
        }
        let (address, query) = endpoint.split_once('?').unwrap_or((&endpoint, ""));
        if address != self.of.endpoint {
            return Entry::Ended; // the trigger called somebody else then
        }
        let method = request.method.as_deref().unwrap_or("POST").parse().unwrap_or(Method::POST);
        Entry::Tried(Tried { at, method, query: query.to_owned(), body, answered })
    }
}

enum Entry {
    Tried(Tried),
    /// It is nobody's duty to take it.
    Ended,
    Lost,
}

fn is_overlong(error: &Error) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if matches!(error.downcast_ref(), Some(TransportError::Overlong(_))) {
            return true;
        }
        next = error.source();
    }
    false
}
