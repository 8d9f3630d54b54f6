//! Calls of code hosts: one reading for all five. Each host's file makes a [`Verdict`] of a call; what follows from it
//! (issue keys, strangers, events) is the same everywhere and stands here. Source: code-hosts.md.

use std::borrow::Cow;

use http::HeaderMap;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::read::{strict, taken};
use super::{
    Call, Object, Read, Reader, Reviews, Said, Source, bitbucket_cloud, bitbucket_server, dedupe, gitea, github,
    gitlab, signature,
};
use crate::event::{Event, Head, Host, Person, Reading, Review};
use crate::key::{Keys, Place};
use crate::outbox::Fingerprint;

/// What happened to a pull request (section 1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum What {
    Opened,
    Updated,
    Approved,
    ChangesRequested,
    Unapproved,
    Commented,
    Declined,
    Merged,
}

impl What {
    /// The event's kind.
    fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "review.opened",
            Self::Updated => "review.updated",
            Self::Approved => "review.approved",
            Self::ChangesRequested => "review.changes_requested",
            Self::Unapproved => "review.unapproved",
            Self::Commented => "review.commented",
            Self::Declined => "review.declined",
            Self::Merged => "review.merged",
        }
    }

    /// What anybody may say who can see the pull request.
    fn is_anybodys(self) -> bool {
        matches!(self, Self::Approved | Self::ChangesRequested | Self::Unapproved | Self::Commented)
    }
}

/// One call of a host, as section 8 lists its members. All but the first three may be missing in some call.
#[derive(Debug)]
pub struct Verdict {
    pub what: What,
    /// The one that people see.
    pub number: String,
    /// With its owner.
    pub repository: String,
    pub title: Option<String>,
    pub description: Option<String>,
    pub branch: Option<String>,
    pub target: Option<String>,
    pub url: Option<String>,
    pub author: Option<Person>,
    /// Who did it.
    pub actor: Option<Person>,
    /// Whose verdict it is: of a dismissal, another than who did it.
    pub reviewer: Option<Person>,
    /// When the verdict was given.
    pub at: Option<Timestamp>,
    /// What was written with it.
    pub comment: Option<String>,
    pub comment_id: Option<String>,
    /// The one whose word it is belongs to the project, as far as the host tells (`members_only`).
    pub is_members: bool,
    /// GitLab: an approval that is not the last one needed.
    pub more_are_needed: bool,
}

impl Verdict {
    /// # Errors
    /// Without number or repository nothing can be decided.
    pub fn new(what: What, number: Option<String>, repository: Option<String>) -> Result<Self, Nothing> {
        Ok(Self {
            what,
            number: number.ok_or(Nothing::Malformed("the pull request has no number"))?,
            repository: repository.ok_or(Nothing::Malformed("the body does not name the repository"))?,
            title: None,
            description: None,
            branch: None,
            target: None,
            url: None,
            author: None,
            actor: None,
            reviewer: None,
            at: None,
            comment: None,
            comment_id: None,
            is_members: false,
            more_are_needed: false,
        })
    }
}

/// Why a call is no verdict.
#[derive(Debug, Eq, PartialEq)]
pub enum Nothing {
    Ping,
    NoInterest(&'static str),
    Malformed(&'static str),
}

/// Hosts add events, actions and states without notice (section 1).
pub const NO_INTEREST: Nothing = Nothing::NoInterest("an event that changes nothing here");
pub const NO_EVENT: Nothing = Nothing::Malformed("no header says what happened");

/// A header's text, when it has one.
pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().filter(|value| !value.is_empty())
}

/// Reads a call whose signature was right.
pub fn read(source: &Source, host: Host, wanted: Reviews, call: &Call<'_>) -> Said {
    if let Some(other) = sent_by(call.headers).filter(|other| *other != host) {
        let (other, own) = (other.as_str(), host.as_str());
        return Said::Unreadable { why: format!("a call of kind `{other}` came to a source of kind `{own}`") };
    }
    let text = signature::json(call.headers, call.body);
    let decoded = String::from_utf8_lossy(&text);
    let taken = match strict::object(decoded.trim_start_matches('\u{feff}').trim()) {
        Ok(taken) => taken,
        Err(error) => return Said::Unreadable { why: format!("the body is no JSON object: {error}") },
    };
    let degraded = taken.repeated || matches!(decoded, Cow::Owned(_));
    let body = Value::Object(taken.into_all());
    let verdict = match of(host, call.headers, &body) {
        Ok(verdict) => verdict,
        Err(Nothing::Ping) => return Said::Ignored { why: "a ping".into() },
        Err(Nothing::NoInterest(why)) => return Said::Ignored { why: why.into() },
        Err(Nothing::Malformed(why)) => return Said::Unreadable { why: why.into() },
    };
    if wanted.all_approvals && verdict.more_are_needed {
        return Said::Ignored { why: "more approvals are needed".into() };
    }
    if wanted.members_only && verdict.what.is_anybodys() && !verdict.is_members {
        return Said::Ignored { why: "not by a member of the project, or a reviewer that was asked".into() };
    }
    let keys = match keys(&verdict, &source.reader, wanted.keys) {
        Ok(keys) if keys.is_empty() && !wanted.fetch_comments => {
            return Said::Ignored { why: "no issue key".into() };
        }
        Ok(keys) => keys,
        Err(why) => return Said::Ignored { why },
    };
    let reading = if matches!(text, Cow::Owned(_)) { Reading::Form } else { Reading::Strict };
    let head = Head { reading, degraded, ..source.head(verdict.what.as_str(), verdict.at, call) };
    let (delivery, remember) = dedupe::delivery(&source.name, host, call, verdict.at.is_some(), source.dedupe);
    let review = review(host, &verdict);
    let event = Event {
        event: head,
        issue: None,
        actor: verdict.actor.clone(),
        changes: Vec::new(),
        comment: None,
        review: Some(review.clone()),
        bench: None,
        link: None,
        body: own_members(body),
    };
    let object = object(&review, &verdict, call.received_at);
    let read = |key: Option<&String>| Read {
        event: Event { issue: key.map(|key| source.reader.issue(key)), ..event.clone() },
        fingerprint: dedupe::of_key(delivery, key),
        guard: guard(source, &review, &verdict).map(|guard| dedupe::of_key(guard, key)),
        remember,
        object: object.clone(),
        line: match key {
            Some(key) => source.enrich.then(|| key.clone()),
            None => Some(review.key()),
        },
    };
    Said::Events(if keys.is_empty() { vec![read(None)] } else { keys.iter().map(Some).map(read).collect() })
}

fn of(host: Host, headers: &HeaderMap, body: &Value) -> Result<Verdict, Nothing> {
    match host {
        Host::BitbucketCloud => bitbucket_cloud::read(headers, body),
        Host::BitbucketServer => bitbucket_server::read(headers, body),
        Host::GitHub => github::read(headers, body),
        Host::GitLab => gitlab::read(headers, body),
        Host::Gitea => gitea::read(headers, body),
    }
}

/// Which host a call comes from, where its head says so (section 2). Gitea sends GitHub's headers too.
fn sent_by(headers: &HeaderMap) -> Option<Host> {
    let has = |name: &str| headers.contains_key(name);
    let key = header(headers, "x-event-key").unwrap_or_default();
    let is_key = |fronts: &[&str]| fronts.iter().any(|front| key.starts_with(front));
    let signs = [
        (has("x-gitea-event") || has("x-forgejo-event"), Host::Gitea),
        (has("x-gitlab-event"), Host::GitLab),
        (has("x-github-event"), Host::GitHub),
        (is_key(&["pullrequest:", "repo:push"]), Host::BitbucketCloud),
        (is_key(&["pr:", "repo:refs_changed", "diagnostics:ping"]), Host::BitbucketServer),
        (has("x-hook-uuid") || has("x-request-uuid"), Host::BitbucketCloud),
    ];
    signs.into_iter().find(|(is_there, _)| *is_there).map(|(_, host)| host)
}

/// All issue keys of the first place that has any, in the order of trust (section 12.6 and 12.7).
///
/// # Errors
/// Several where only one is wanted.
fn keys(verdict: &Verdict, reader: &Reader, wanted: Keys) -> Result<Vec<String>, String> {
    let places = [
        (&verdict.comment, Place::Text),
        (&verdict.title, Place::Text),
        (&verdict.branch, Place::Branch),
        (&verdict.description, Place::Text),
    ];
    let found = places.into_iter().map(|(text, place)| match text {
        Some(text) => reader.queues.keys(text, place),
        None => Vec::new(),
    });
    wanted.count(found.into_iter().find(|keys| !keys.is_empty()).unwrap_or_default())
}

fn review(host: Host, verdict: &Verdict) -> Review {
    let is_link = |url: &String| url.starts_with("https://") || url.starts_with("http://");
    Review {
        id: verdict.number.clone(),
        title: verdict.title.clone(),
        url: verdict.url.clone().filter(is_link),
        repository: verdict.repository.clone(),
        host: host.as_str().into(),
        branch: verdict.branch.clone(),
        target: verdict.target.clone(),
        author: verdict.author.clone(),
        reviewer: verdict.reviewer.clone().filter(|_| !matches!(verdict.what, What::Opened | What::Updated)),
        comment: verdict.comment.clone(),
    }
}

/// The call's members, absent ones left out, without the secret that old Gitea puts there (section 7).
fn own_members(body: Value) -> Map<String, Value> {
    let Value::Object(mut members) = body else { return Map::new() };
    members.remove("secret");
    taken::present(members)
}

/// The same verdict under another delivery id (section 10). Without its time, two that look alike are two.
fn guard(source: &Source, review: &Review, verdict: &Verdict) -> Option<Fingerprint> {
    let at = verdict.at?.to_string();
    let name = |person: &Option<Person>| {
        let person = person.as_ref();
        person.and_then(|person| person.login.clone().or_else(|| person.display.clone())).unwrap_or_default()
    };
    let title = if verdict.what == What::Updated { verdict.title.as_deref() } else { None };
    let parts = [
        "verdict",
        source.name.as_str(),
        &review.key(),
        verdict.what.as_str(),
        &name(&verdict.reviewer),
        &at,
        verdict.comment_id.as_deref().unwrap_or_default(),
        verdict.comment.as_deref().unwrap_or_default(),
        title.unwrap_or_default(),
    ];
    Some(dedupe::fingerprint(&parts.map(str::as_bytes)))
}

/// A comment says nothing of how the pull request stands.
fn object(review: &Review, verdict: &Verdict, received_at: Timestamp) -> Option<Object> {
    let (status, resolution) = match verdict.what {
        What::Commented => return None,
        What::Opened | What::Updated | What::Unapproved => ("open", None),
        What::Approved => ("open", Some("approved")),
        What::ChangesRequested => ("open", Some("changes_requested")),
        What::Declined => ("declined", Some("declined")),
        What::Merged => ("merged", Some("merged")),
    };
    // Of a comment or a note the address goes on behind the `#`.
    let url = review.url.as_deref().and_then(|url| url.split('#').next());
    let state = json!({
        "title": review.title, "status": status, "resolution": resolution, "url": url, "author": review.author,
    });
    let at = verdict.at.unwrap_or(received_at).as_millisecond();
    Some(Object { key: review.key(), at, state: taken::present_value(state).unwrap_or_default() })
}

#[cfg(test)]
mod tests;
