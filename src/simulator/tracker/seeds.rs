//! What a Tracker is at its start.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::dictionary::Dictionary;
use super::field::FieldKind;
use super::issue::Deed;
use super::link::TrackerApplication;
use super::queue::{Queue, TrackerQueue};
use super::render::Empty;
use super::user::TrackerUser;
use super::{Refused, Tracker};
use crate::clock::Clock;

/// How a stale version is refused: both are seen, section 4.2.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Conflict {
    #[default]
    Conflict409,
    Precondition412,
}

/// What this Tracker knows and how strict it is. At first: nobody but three users, no token, no pace.
#[derive(Clone)]
pub struct TrackerOptions {
    pub(super) clock: Clock,
    pub(super) organization: Option<(&'static str, String)>,
    pub(super) per_second: Option<u32>,
    pub(super) says_wait: bool,
    pub(super) conflict: Conflict,
    pub(super) empty: Empty,
    pub(super) shown_after: Duration,
    applications: Vec<TrackerApplication>,
    users: Vec<TrackerUser>,
    tokens: Vec<(String, String)>,
    queues: Vec<TrackerQueue>,
    issues: Vec<TrackerIssue>,
}

impl TrackerOptions {
    /// With the users `campanile-bot`, `ivan.ivanov` and `maria.petrova`.
    pub fn new(clock: Clock) -> Self {
        let users = vec![
            TrackerUser::new("campanile-bot", "Робот", "Кампанилы"),
            TrackerUser::new("ivan.ivanov", "Иван", "Иванов"),
            TrackerUser::new("maria.petrova", "Мария", "Петрова"),
        ];
        Self {
            clock,
            organization: None,
            per_second: None,
            says_wait: true,
            conflict: Conflict::default(),
            empty: Empty::default(),
            shown_after: Duration::ZERO,
            applications: Vec::new(),
            users,
            tokens: Vec::new(),
            queues: Vec::new(),
            issues: Vec::new(),
        }
    }

    /// One more user; one of the same login is replaced.
    pub fn user(mut self, user: TrackerUser) -> Self {
        self.users.retain(|known| known.login != user.login);
        self.users.push(user);
        self
    }

    /// Lets in who calls with this token, as this user.
    pub fn token(mut self, token: impl Into<String>, login: impl Into<String>) -> Self {
        self.tokens.push((token.into(), login.into()));
        self
    }

    /// Only this Yandex 360 organisation (`X-Org-ID`) exists; without it any of either kind does.
    pub fn organization(mut self, id: impl Into<String>) -> Self {
        self.organization = Some(("x-org-id", id.into()));
        self
    }

    /// Only this cloud organisation (`X-Cloud-Org-ID`) exists.
    pub fn cloud_organization(mut self, id: impl Into<String>) -> Self {
        self.organization = Some(("x-cloud-org-id", id.into()));
        self
    }

    /// So many requests in any second; 429 beyond, with `Retry-After` or bare.
    pub fn pace(mut self, per_second: u32, with_retry_after: bool) -> Self {
        (self.per_second, self.says_wait) = (Some(per_second), with_retry_after);
        self
    }

    pub fn conflict(mut self, conflict: Conflict) -> Self {
        self.conflict = conflict;
        self
    }

    /// What becomes of a variable without a value.
    pub fn empty(mut self, empty: Empty) -> Self {
        self.empty = empty;
        self
    }

    /// A new trigger works at once, and stands in the list after this time ("a few seconds", section 1.7).
    pub fn triggers_show_after(mut self, time: Duration) -> Self {
        self.shown_after = time;
        self
    }

    pub fn application(mut self, application: TrackerApplication) -> Self {
        self.applications.push(application);
        self
    }

    pub fn queue(mut self, queue: TrackerQueue) -> Self {
        self.queues.push(queue);
        self
    }

    /// An issue that was there before: nothing fires for it.
    pub fn issue(mut self, issue: TrackerIssue) -> Self {
        self.issues.push(issue);
        self
    }
}

/// An issue to be made. Of type task, normal, open, by `ivan.ivanov`, unless it says otherwise.
#[derive(Clone, Debug)]
pub struct TrackerIssue {
    pub(super) key: String,
    pub(super) by: String,
    pub(super) version: u64,
    pub(super) aliases: Vec<String>,
    fields: BTreeMap<String, Value>,
}

impl TrackerIssue {
    pub fn new(key: impl Into<String>, summary: impl Into<String>) -> Self {
        let fields = [("type", "task"), ("priority", "normal"), ("status", "open")];
        let fields = fields.into_iter().map(|(id, key)| (id.to_owned(), key.into())).collect();
        let (key, by) = (key.into(), "ivan.ivanov".to_owned());
        Self { key, by, version: 1, aliases: Vec::new(), fields }.field("summary", summary.into())
    }

    /// A field as a PATCH would set it, a local one also by its short key; one that nobody can set, as it is shown.
    pub fn field(mut self, id: impl Into<String>, value: impl Into<Value>) -> Self {
        self.fields.insert(id.into(), value.into());
        self
    }

    pub fn status(self, key: &str) -> Self {
        self.field("status", key)
    }

    /// By login.
    pub fn assignee(self, login: &str) -> Self {
        self.field("assignee", login)
    }

    /// Whose it is, by login.
    pub fn by(mut self, login: impl Into<String>) -> Self {
        self.by = login.into();
        self
    }

    pub fn version(mut self, version: u64) -> Self {
        self.version = version;
        self
    }

    /// A key that it had before it was moved.
    pub fn alias(mut self, key: impl Into<String>) -> Self {
        self.aliases.push(key.into());
        self
    }
}

impl Tracker {
    pub(super) fn sow(&mut self) -> Result<(), Refused> {
        for (n, mut user) in (1..).zip(self.options.users.clone()) {
            if user.uid == 0 {
                user.uid = 1_120_000_000_211_494 + n;
            }
            self.users.push(user);
        }
        for (token, login) in self.options.tokens.clone() {
            let owner = self.user(&login)?.id();
            self.tokens.insert(token, owner);
        }
        for seed in self.options.queues.clone() {
            for (key, name, kind) in &seed.fields {
                let hex = self.next_hex();
                self.fields.push(super::Field::local(&seed.key, &hex, key, name, *kind));
            }
            let id = self.queues.len() as u64 + 1;
            self.queues.push(Queue { id, seed });
        }
        self.applications = std::mem::take(&mut self.options.applications);
        for issue in std::mem::take(&mut self.options.issues) {
            self.make(issue)?;
        }
        Ok(())
    }

    /// Makes an issue. Nothing fires for those of the start: triggers come later.
    pub(super) fn make(&mut self, seed: TrackerIssue) -> Result<usize, Refused> {
        let queue = seed.key.rsplit_once('-').map_or("", |(queue, _)| queue).to_owned();
        let (by, now) = (self.user(&seed.by)?.id(), self.options.clock.now());
        if self.known_queue(&queue).is_none() || self.find(&seed.key).is_ok() {
            return Err(Refused::field(422, "queue", "Очередь не существует, или ключ занят"));
        }
        let (mut settable, mut values) = (Map::new(), Vec::new());
        for (name, value) in seed.fields {
            let local = |field: &&super::Field| field.queue.as_deref() == Some(&queue) && field.key == name;
            let id = self.fields.iter().find(local).map_or(name, |field| field.id.clone());
            match self.field(&id, &queue).map(|field| field.kind) {
                Some(FieldKind::Word(Dictionary::Statuses)) => {
                    let status = value.as_str().and_then(|key| Dictionary::Statuses.find(key));
                    let status = status.ok_or_else(|| Refused::field(422, &id, "Статус не существует"))?;
                    values.push((id, status.key.into()));
                }
                Some(FieldKind::Given | FieldKind::Time) => values.push((id, value)),
                _ => {
                    settable.insert(id, value);
                }
            }
        }
        values.extend(self.take(&settable, &queue, &|_| Value::Null)?);
        values.push(("queue".to_owned(), queue.into()));
        values.push(("createdBy".to_owned(), by.clone().into()));
        values.push(("createdAt".to_owned(), super::time(now).into()));
        let id = self.next_hex();
        self.issues.push(super::Issue::new(id, seed.key, seed.aliases));
        let at = self.issues.len() - 1;
        let deed = Deed { kind: "IssueCreated", by: &by, values, comment: None };
        self.apply(at, deed, now);
        self.issues[at].version = seed.version;
        Ok(at)
    }
}
