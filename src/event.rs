//! What happened: an issue, a review, a bench or a link changed, as a source read it from a call.
//!
//! An [`Event`] is the one model that conditions and templates see. Absent members are left out, never null: a
//! condition asks `has(issue.assignee)`, a template prints nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// A source's name in `config.yaml`: 1 to 64 of `a-z`, `0-9`, `-`, `_`.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SourceName(String);

/// A channel's name in `config.yaml`: 1 to 64 of `a-z`, `0-9`, `-`, `_`.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChannelName(String);

macro_rules! name {
    ($type:ident, $what:literal) => {
        impl TryFrom<String> for $type {
            type Error = String;
            fn try_from(name: String) -> Result<Self, String> {
                let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
                if (1..=64).contains(&name.len()) && name.chars().all(fits) {
                    Ok(Self(name))
                } else {
                    Err(format!("`{name}` is no {} name: 1 to 64 of a-z, 0-9, `-` and `_`", $what))
                }
            }
        }
        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }
        impl $type {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
name!(SourceName, "source");
name!(ChannelName, "channel");

/// How a call's body was read, in the order of the attempts.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reading {
    /// A JSON object as the standard wants it.
    Strict,
    /// JSON with the known mistakes of trigger bodies mended.
    Repaired,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// The query string of the call.
    Query,
    /// Only an issue's key was found, somewhere in the text.
    KeyOnly,
}

/// One thing that happened. Serialized it is the *document* that conditions, templates and the outbox share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub event: Head,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<Issue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Person>,
    /// What became of which field, as far as it is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<Comment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bench: Option<Bench>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Link>,
    /// The call's own members as they came, absent ones left out.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub body: Map<String, Value>,
}

/// The members of `event.*`, but for `event.id`, which the outbox gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// `issue.created`, `issue.status_changed`, …
    pub kind: String,
    pub source: SourceName,
    /// When it happened, by the one who tells; absent where the call does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    pub received_at: Timestamp,
    pub reading: Reading,
    /// The reading may have lost or guessed something.
    pub degraded: bool,
    /// Its source enriches, and Tracker could not be asked in time.
    #[serde(default)]
    pub unenriched: bool,
    /// It was missed when it happened, and found in Tracker's webhook log.
    #[serde(default)]
    pub recovered: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Issue {
    pub key: String,
    /// Where a person opens it: `tracker.web_url` and the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "type")]
    pub kind: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<Person>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignee: Option<Person>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub followers: Vec<Person>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Reference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}

impl Issue {
    /// One of which nothing but the key is known. `web_url`: where people open issues, without the slash before the key.
    pub fn of_key(key: &str, web_url: &str) -> Self {
        let queue = key.split_once('-').map_or(key, |(queue, _)| queue);
        Self {
            url: Some(format!("{web_url}/{key}")),
            queue: Some(Reference { key: Some(queue.to_owned()), display: None }),
            key: key.to_owned(),
            ..Self::default()
        }
    }
}

/// A status, a priority, a queue: known by key, by display name, or both.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reference {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Person {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Comment {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<Person>,
}

/// What became of one field of an issue. The values are as Tracker has them: texts, numbers, references.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Change {
    pub field: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub from: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub to: Value,
}

/// A pull or merge request, and what a reviewer said of it. When that was is [`Head::at`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Review {
    /// The number that people see.
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// With its owner, as in `team/bells`.
    pub repository: String,
    /// `bitbucket-cloud`, `bitbucket-server`, `github`, `gitlab`, `gitea`: the kind of its source.
    pub host: String,
    /// Where it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The branch where it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<Person>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reviewer: Option<Person>,
    /// What the reviewer wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl Review {
    /// By this an issue is linked to it, and a verdict is compared with the one before: `review:<host>:<repository>:<id>`.
    pub fn key(&self) -> String {
        format!("review:{}:{}:{}", self.host, self.repository, self.id)
    }
}

/// Where reviews are done. Forgejo is Gitea.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Host {
    BitbucketCloud,
    /// Data Center, and the older Server.
    BitbucketServer,
    GitHub,
    GitLab,
    Gitea,
}

impl Host {
    pub const ALL: [Self; 5] = [Self::BitbucketCloud, Self::BitbucketServer, Self::GitHub, Self::GitLab, Self::Gitea];

    /// The kind of its source, and `review.host`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BitbucketCloud => "bitbucket-cloud",
            Self::BitbucketServer => "bitbucket-server",
            Self::GitHub => "github",
            Self::GitLab => "gitlab",
            Self::Gitea => "gitea",
        }
    }
}

/// A test bench that a pipeline tells of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bench {
    /// Absent when it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// `ready` or `gone`.
    pub state: String,
}

/// What an issue was linked to in Tracker, or unlinked from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    /// As in `channel:oncall-slack`, `review:github:team/bells:7`, `bench:feature/TEST-1`.
    pub key: String,
    /// `channel`, `review` or `bench`.
    pub kind: String,
}

/// An event's document as the outbox keeps it: JSON of which each reader takes the members that it names.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    json: Cow<'a, str>,
    id: Option<i64>,
}

impl<'a> Document<'a> {
    /// `id` is what the outbox gave the event, `None` before that.
    pub fn new(json: &'a str, id: Option<i64>) -> Self {
        Self { json: Cow::Borrowed(json), id }
    }

    /// The wanted ones of the [`ROOTS`], as far as they are known.
    pub fn members(&self, wanted: impl Fn(&str) -> bool) -> Map<String, Value> {
        let all: BTreeMap<&str, &RawValue> = serde_json::from_str(&self.json).unwrap_or_default();
        let wanted = all.into_iter().filter(|(root, _)| wanted(root));
        let read = wanted.filter_map(|(root, json)| Some((root.to_owned(), serde_json::from_str(json.get()).ok()?)));
        let mut members: Map<String, Value> = read.collect();
        if let (Some(Value::Object(event)), Some(id)) = (members.get_mut("event"), self.id) {
            event.insert("id".into(), id.into());
        }
        members
    }
}

impl From<&Value> for Document<'static> {
    fn from(document: &Value) -> Self {
        Self { json: document.to_string().into(), id: None }
    }
}

/// Every path that an event's document can have (design, "Context"). `*` stands for any one member, a trailing `**`
/// for anything below. Lists are entered by an index or a macro and continue with their element's members.
/// Conditions and templates that name a path outside this list are findings at load.
pub const PATHS: &[&str] = &[
    "event.id",
    "event.kind",
    "event.source",
    "event.at",
    "event.received_at",
    "event.reading",
    "event.degraded",
    "event.unenriched",
    "event.recovered",
    "issue.key",
    "issue.url",
    "issue.summary",
    "issue.description",
    "issue.deadline",
    "issue.tags",
    "issue.fields.**",
    "issue.queue.key",
    "issue.queue.display",
    "issue.status.key",
    "issue.status.display",
    "issue.priority.key",
    "issue.priority.display",
    "issue.type.key",
    "issue.type.display",
    "issue.resolution.key",
    "issue.resolution.display",
    "issue.parent.key",
    "issue.parent.display",
    "issue.author.login",
    "issue.author.display",
    "issue.author.email",
    "issue.assignee.login",
    "issue.assignee.display",
    "issue.assignee.email",
    "issue.followers.login",
    "issue.followers.display",
    "issue.followers.email",
    "issue.components.key",
    "issue.components.display",
    "actor.login",
    "actor.display",
    "actor.email",
    "changes.field",
    "changes.from.**",
    "changes.to.**",
    "comment.id",
    "comment.text",
    "comment.author.login",
    "comment.author.display",
    "comment.author.email",
    "review.id",
    "review.title",
    "review.url",
    "review.repository",
    "review.host",
    "review.branch",
    "review.target",
    "review.author.login",
    "review.author.display",
    "review.author.email",
    "review.reviewer.login",
    "review.reviewer.display",
    "review.reviewer.email",
    "review.comment",
    "bench.url",
    "bench.branch",
    "bench.state",
    "link.key",
    "link.kind",
    "body.**",
];

/// The roots of a document. Each exists in every evaluation of a condition, empty where nothing is known.
pub const ROOTS: &[&str] = &["event", "issue", "actor", "changes", "comment", "review", "bench", "link", "body"];

/// Members that are lists.
pub const LISTS: &[&str] = &["issue.tags", "issue.followers", "issue.components", "changes"];

/// The template of an event's family, for a route that names none.
pub fn family(kind: &str) -> &'static str {
    match kind {
        "issue.created" => "issue-created",
        "issue.status_changed" => "issue-status",
        "issue.comment_added" => "issue-comment",
        "issue.assigned" => "issue-assigned",
        "issue.resolved" => "issue-resolved",
        kind if kind.starts_with("review.") => "review",
        kind if kind.starts_with("bench.") => "bench",
        _ => "issue",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_a_family() {
        for (kind, name) in [
            ("issue.created", "issue-created"),
            ("issue.status_changed", "issue-status"),
            ("issue.comment_added", "issue-comment"),
            ("issue.assigned", "issue-assigned"),
            ("issue.resolved", "issue-resolved"),
            ("issue.updated", "issue"),
            ("issue.moved", "issue"),
            ("review.approved", "review"),
            ("bench.ready", "bench"),
            ("link.created", "issue"),
        ] {
            assert_eq!(family(kind), name);
        }
    }
}
