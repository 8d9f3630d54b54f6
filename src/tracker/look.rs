//! What Tracker knows of an event that its call did not say: the issue as it is now, the entry of its changelog that
//! the event stands for, the comment, people (T 4.4, 4.7, 4.8).

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::client::Api;
use super::error::Error;
use super::issue::{Comment, Entry, Issue, User};
use super::names::Dictionary;
use crate::event::{Event, Person, Reference};

/// What happened farther from the event's time is another change.
const NEAR: SignedDuration = SignedDuration::from_mins(2);

/// Pages of a changelog that one look reads; the next one goes on there.
const MOST_PAGES: usize = 4;

/// What was found. To be [merged](super::merge::merge) into the event.
#[derive(Clone, Debug, Default)]
pub struct Look {
    pub(super) issue: Arc<Issue>,
    pub(super) entry: Option<Entry>,
    /// Who made the changes near the event that it may stand for, the entry's among them.
    pub(super) doers: Vec<User>,
    pub(super) comment: Option<Comment>,
    /// By each of their names.
    pub(super) people: HashMap<String, User>,
    /// Keys of names that the event has, by its own member.
    pub(super) keys: HashMap<&'static str, String>,
}

impl Look {
    /// The issue's present key.
    pub fn key(&self) -> &str {
        &self.issue.key
    }

    /// Keys that the issue had before it was moved.
    pub fn aliases(&self) -> &[String] {
        &self.issue.aliases
    }

    /// What became of a member by the event itself; inside it nothing where it was cleared.
    pub(super) fn became(&self, member: &str) -> Option<&Value> {
        let mut changed = self.entry.iter().flat_map(|entry| &entry.fields);
        changed.find(|changed| changed.id() == Some(member)).map(|changed| &changed.to)
    }

    /// Who made the change: by the changelog, else whoever changed the issue last, where that is near to the event.
    pub(super) fn actor(&self, event: &Event) -> Option<&User> {
        let last = || self.issue.updated_by.as_ref().filter(|_| distance(self.issue.updated_at, at(event)).is_some());
        self.entry.as_ref().and_then(|entry| entry.updated_by.as_ref()).or_else(last)
    }

    /// Whether every change that the event may stand for is of such a person. A call may come late, after another change:
    /// which one it tells of, nobody can say.
    pub fn did_all(&self, is: impl Fn(&User) -> bool) -> bool {
        !self.doers.is_empty() && self.doers.iter().all(is)
    }
}

/// Asks for what the event lacks. A review's and a bench's event gets the issue alone: nothing in its changelog is it.
///
/// # Errors
/// That there was no answer, or that the issue is not there. What else Tracker refuses is left out.
pub async fn look(api: &Api, event: &Event) -> Result<Look, Error> {
    let Some(key) = event.issue.as_ref().map(|issue| issue.key.as_str()) else {
        return Err(Error::Impossible("an event without an issue".to_owned()));
    };
    let issue = lately(api, key, event.event.received_at).await?;
    let mut look = Look { issue, ..Look::default() };
    look.keys = keys(api, event, &look.issue).await?;
    if event.review.is_none() && event.bench.is_none() && event.link.is_none() {
        let near = known(near(api, event, look.key()).await)?.unwrap_or_default();
        look.doers = near.iter().filter_map(|entry| entry.updated_by.clone()).collect();
        // Of two at the same distance the later one.
        let away = |entry: &Entry| distance(entry.updated_at, at(event));
        look.entry = near.into_iter().rev().min_by_key(away);
        if event.event.kind == "issue.comment_added" {
            look.comment = comment(api, event, look.key()).await?;
        }
    }
    look.people = people(api, event, &look).await?;
    Ok(look)
}

/// A refusal leaves something out; no answer is for later.
fn known<T>(found: Result<T, Error>) -> Result<Option<T>, Error> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error @ Error::Call(_)) => Err(error),
        Err(_) => Ok(None),
    }
}

/// The events of a burst share an answer, but none gets one from before it was accepted.
async fn lately(api: &Api, key: &str, since: Timestamp) -> Result<Arc<Issue>, Error> {
    let known = &api.client.known.0;
    if let Some((_, issue)) = known.issues.get(key).filter(|(asked_at, _)| *asked_at >= since) {
        return Ok(issue);
    }
    let asked_at = known.clock.now();
    let issue = Arc::new(api.issue(key).await?);
    known.issues.put(key.to_owned(), (asked_at, issue.clone()));
    Ok(issue)
}

/// The type of a kind's entries in the changelog. `None`: any may be meant; an `updated` may be every change.
fn change(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "issue.created" => "IssueCreated",
        "issue.status_changed" | "issue.resolved" | "issue.closed" => "IssueWorkflow",
        "issue.assigned" | "issue.deadline" => "IssueUpdated",
        "issue.comment_added" => "IssueCommentAdded",
        "issue.moved" => "IssueMoved",
        "issue.linked" => "IssueLinked",
        _ => return None,
    })
}

/// When it happened, as far as it is known.
fn at(event: &Event) -> Timestamp {
    event.event.at.unwrap_or(event.event.received_at)
}

fn distance(one: Option<Timestamp>, other: Timestamp) -> Option<SignedDuration> {
    one.map(|one| one.duration_since(other).abs()).filter(|distance| *distance <= NEAR)
}

/// The entries near the event that it may stand for, oldest first.
async fn near(api: &Api, event: &Event, key: &str) -> Result<Vec<Entry>, Error> {
    let (at, change) = (at(event), change(&event.event.kind));
    let name = (key.to_owned(), change.unwrap_or_default());
    let read = &api.client.known.0.entries;
    let after = read.get(&name);
    let entries = match api.changelog(key, after.as_deref(), change, MOST_PAGES).await {
        // What it goes on after is gone.
        Err(Error::BadRequest(_) | Error::NotFound(_)) if after.is_some() => {
            read.forget(&name);
            api.changelog(key, None, change, MOST_PAGES).await?
        }
        entries => entries?,
    };
    let is_over = |entry: &&Entry| entry.updated_at.is_some_and(|then| at.duration_since(then) > NEAR);
    if let Some(last) = entries.iter().take_while(is_over).last().and_then(|entry| entry.id.clone()) {
        read.put(name, last);
    }
    Ok(entries.into_iter().filter(|entry| distance(entry.updated_at, at).is_some()).collect())
}

/// The one that the event names, else the newest near it.
async fn comment(api: &Api, event: &Event, key: &str) -> Result<Option<Comment>, Error> {
    let Some(id) = event.comment.as_ref().and_then(|comment| comment.id.as_deref()) else {
        let all = known(api.comments(key, None).await)?.unwrap_or_default();
        return Ok(all.into_iter().rev().find(|comment| distance(comment.created_at, at(event)).is_some()));
    };
    if let Some(comment) = known(api.comment(key, id).await)? {
        return Ok(Some(comment));
    }
    // A trigger may name it by its other id.
    let is_it = |comment: &Comment| [&comment.id, &comment.long_id].into_iter().flatten().any(|of| of == id);
    Ok(known(api.comments(key, None).await)?.unwrap_or_default().into_iter().find(is_it))
}

/// Keys for what the event has by name alone. Where the name is the issue's own, its key is the issue's too.
async fn keys(api: &Api, event: &Event, now: &Issue) -> Result<HashMap<&'static str, String>, Error> {
    let Some(issue) = &event.issue else { return Ok(HashMap::new()) };
    let mut keys = HashMap::new();
    for (member, dictionary, said, now) in [
        ("status", Dictionary::Statuses, &issue.status, &now.status),
        ("priority", Dictionary::Priorities, &issue.priority, &now.priority),
        ("type", Dictionary::Types, &issue.kind, &now.kind),
        ("resolution", Dictionary::Resolutions, &issue.resolution, &now.resolution),
    ] {
        let Some(Reference { key: None, display: Some(name) }) = said else { continue };
        let same = now.as_ref().filter(|now| now.display.as_ref() == Some(name)).and_then(|now| now.key.clone());
        let key = match same {
            Some(key) => Some(key),
            None => known(api.key_of(dictionary, name).await)?.flatten(),
        };
        keys.extend(key.map(|key| (member, key)));
    }
    Ok(keys)
}

/// Those who act in the event: inside an issue people have no login, and in a call nothing but that.
async fn people(api: &Api, event: &Event, look: &Look) -> Result<HashMap<String, User>, Error> {
    let issue = event.issue.as_ref();
    let said = [
        event.actor.as_ref(),
        issue.and_then(|issue| issue.author.as_ref()),
        issue.and_then(|issue| issue.assignee.as_ref()),
        event.comment.as_ref().and_then(|comment| comment.author.as_ref()),
    ];
    let lacking = |person: &&Person| person.display.is_none() || person.email.is_none();
    let logins = said.into_iter().flatten().filter(lacking).filter_map(|person| person.login.as_deref());
    let now = [
        look.actor(event),
        look.issue.created_by.as_ref(),
        look.issue.assignee.as_ref(),
        look.comment.as_ref().and_then(|comment| comment.created_by.as_ref()),
    ];
    let wanted: Vec<&str> = logins.chain(now.into_iter().flatten().filter_map(User::reference)).collect();
    let mut people = HashMap::new();
    for name in wanted {
        if !people.contains_key(name)
            && let Some(user) = known(api.user(name).await)?
        {
            people.extend(user.names().chain([name]).map(|name| (name.to_owned(), user.clone())));
        }
    }
    Ok(people)
}
