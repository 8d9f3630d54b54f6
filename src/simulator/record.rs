//! What a simulator remembers: every call in order of arrival, and the messages that stand.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::call::{Call, Given};

/// One call, from its last byte on. Calls that were cut before it do not count as arrived.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// 1 for the first call, without gaps.
    pub seq: u64,
    pub at: Timestamp,
    pub call: Arc<Call>,
    /// The fault that met this call, by name.
    pub fault: Option<&'static str>,
    pub given: Given,
    /// The service did what the call asked, whether or not the caller could learn of it.
    pub accepted: bool,
}

impl Deref for Arrival {
    type Target = Call;

    fn deref(&self) -> &Call {
        &self.call
    }
}

/// A message that stands in a conversation, in its newest edition.
#[derive(Clone, Debug)]
pub struct Posted {
    /// Slack's `ts`, Telegram's `message_id`.
    pub id: String,
    pub conversation: String,
    /// Slack: the parent's `ts`. Telegram: the message it replies to.
    pub thread: Option<String>,
    pub at: Timestamp,
    pub seen: Seen,
    pub edits: u32,
    /// The arguments of the call that made this edition.
    pub body: Value,
}

impl Deref for Posted {
    type Target = Seen;

    fn deref(&self) -> &Seen {
        &self.seen
    }
}

/// A message as a person sees it, without markup.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Seen {
    pub text: String,
    pub links: Vec<Link>,
    pub spans: Vec<Span>,
    /// Everybody whom the message would notify: `@name`, `<@U1>`, `<!here>`, `tg://user?id=1`, as written.
    pub pings: Vec<String>,
}

impl Seen {
    /// Notes that the text from byte `from` on has this style. Nothing where there is no text.
    pub(super) fn span(&mut self, style: &str, from: usize) {
        if let Some(text) = self.text.get(from..).filter(|text| !text.is_empty()) {
            self.spans.push(Span { style: style.to_owned(), text: text.to_owned() });
        }
    }

    pub(super) fn link(&mut self, text: &str, url: &str) {
        self.links.push(Link { text: text.to_owned(), url: url.to_owned() });
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    pub text: String,
    pub url: String,
}

/// Text of one style: `bold`, `italic`, `underline`, `strike`, `spoiler`, `code`, `pre`, `quote`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Span {
    pub style: String,
    pub text: String,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    pub connections: u64,
    pub calls: u64,
    pub accepted: u64,
    /// Of the accepted calls, those that made a new message.
    pub posted: u64,
    /// Answered 429.
    pub rate_limited: u64,
    /// Answered with anything else that is no success.
    pub refused: u64,
}

/// The whole memory of one simulator. In lean mode only the counts move.
#[derive(Default)]
pub struct Record {
    lean: bool,
    counts: Counts,
    arrivals: Vec<Arrival>,
    posts: Vec<Option<Posted>>,
    places: HashMap<(String, String), usize>,
}

impl Record {
    pub(super) fn new(lean: bool) -> Self {
        Self { lean, ..Self::default() }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    pub fn arrivals(&self) -> &[Arrival] {
        &self.arrivals
    }

    /// The messages that stand, of all conversations, oldest first.
    pub fn standing(&self) -> impl DoubleEndedIterator<Item = &Posted> {
        self.posts.iter().flatten()
    }

    /// The messages that stand in one conversation, oldest first.
    pub fn posted<'a>(&'a self, conversation: &'a str) -> impl DoubleEndedIterator<Item = &'a Posted> {
        self.standing().filter(move |post| post.conversation == conversation)
    }

    pub(super) fn connected(&mut self) {
        self.counts.connections += 1;
    }

    pub(super) fn arrive(&mut self, at: Timestamp, call: &Arc<Call>, fault: Option<&'static str>) -> u64 {
        self.counts.calls += 1;
        let seq = self.counts.calls;
        if !self.lean {
            let call = Arc::clone(call);
            self.arrivals.push(Arrival { seq, at, call, fault, given: Given::Nothing, accepted: false });
        }
        seq
    }

    pub(super) fn settle(&mut self, seq: u64, given: &Given) {
        let accepted = matches!(given, Given::Done);
        match given {
            Given::Done => self.counts.accepted += 1,
            Given::RateLimited { .. } => self.counts.rate_limited += 1,
            Given::Refused(_) => self.counts.refused += 1,
            Given::Nothing => {}
        }
        if let Some(arrival) = self.arrivals.get_mut((seq - 1) as usize) {
            arrival.given = given.clone();
            arrival.accepted = accepted;
        }
    }

    pub(super) fn post_counted(&mut self) {
        self.counts.posted += 1;
    }

    pub(super) fn post(&mut self, post: Posted) {
        self.post_counted();
        self.places.insert((post.conversation.clone(), post.id.clone()), self.posts.len());
        self.posts.push(Some(post));
    }

    pub(super) fn find(&mut self, conversation: &str, id: &str) -> Option<&mut Posted> {
        let place = *self.places.get(&(conversation.to_owned(), id.to_owned()))?;
        self.posts.get_mut(place)?.as_mut()
    }

    /// False where no such message stands.
    pub(super) fn delete(&mut self, conversation: &str, id: &str) -> bool {
        let place = self.places.remove(&(conversation.to_owned(), id.to_owned()));
        place.and_then(|place| self.posts.get_mut(place)).is_some_and(|post| post.take().is_some())
    }
}
