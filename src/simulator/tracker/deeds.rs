//! What people and administrators do, beside the API.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::super::pace::Window;
use super::super::server::Simulator;
use super::Callback;
use super::dictionary::Dictionary;
use super::issue::{Deed, NewComment};
use super::seeds::TrackerIssue;
use super::{Language, Refused, Tracker};

/// Tracker's own words where it would refuse a person.
pub(super) type Done<T = ()> = Result<T, String>;

pub(super) fn said<T>(result: Result<T, Refused>) -> Done<T> {
    result.map_err(|refused| refused.words())
}

impl Simulator<Tracker> {
    /// Makes an issue, and what waits for it fires.
    ///
    /// # Errors
    /// The key is taken, its queue unknown, or a value not what its field takes.
    pub fn create(&self, issue: TrackerIssue) -> Done {
        said(self.service(|tracker| tracker.make(issue).map(drop)))
    }

    /// Moves an issue to a status, whatever the workflow says.
    ///
    /// # Errors
    /// No such issue, user (by login) or status.
    pub fn change_status(&self, key: &str, status: &str, by: &str) -> Done {
        let to = Dictionary::Statuses.find(status).ok_or_else(|| format!("no status {status}"))?;
        self.deed(key, by, "IssueWorkflow", None, |_, _| Ok(vec![("status".to_owned(), to.key.into())]))
    }

    /// Changes fields, as a PATCH without a version does.
    ///
    /// # Errors
    /// As the API's.
    pub fn update(&self, key: &str, fields: &Map<String, Value>, by: &str) -> Done {
        self.deed(key, by, "IssueUpdated", None, |tracker, at| {
            let issue = &tracker.issues[at];
            tracker.take(fields, issue.queue(), &|id| issue.value(id))
        })
    }

    /// Comments, without following.
    ///
    /// # Errors
    /// No such issue or user (by login).
    pub fn comment(&self, key: &str, text: &str, by: &str) -> Done {
        self.deed(key, by, "IssueCommentAdded", Some(NewComment::new(text)), |_, _| Ok(Vec::new()))
    }

    fn deed(
        &self,
        key: &str,
        by: &str,
        kind: &'static str,
        comment: Option<NewComment>,
        values: impl FnOnce(&Tracker, usize) -> Result<Vec<(String, Value)>, Refused>,
    ) -> Done {
        self.by_a_person(key, by, |tracker, at, by, now| {
            let values = values(tracker, at)?;
            tracker.apply(at, Deed { kind, by, values, comment }, now);
            Ok(())
        })
    }

    /// Finds issue, person and time.
    pub(super) fn by_a_person<T>(
        &self,
        key: &str,
        by: &str,
        act: impl FnOnce(&mut Tracker, usize, &str, Timestamp) -> Result<T, Refused>,
    ) -> Done<T> {
        said(self.service(|tracker| {
            let (at, by, now) = (tracker.find(key)?, tracker.user(by)?.id(), tracker.options.clock.now());
            act(tracker, at, &by, now)
        }))
    }

    /// Moves an issue to another queue: a new key, the old one an alias, local values lost (sections 4.6, 6).
    ///
    /// # Errors
    /// No such issue, queue or user (by login).
    pub fn move_issue(&self, key: &str, queue: &str, by: &str) -> Done<String> {
        self.by_a_person(key, by, |tracker, at, by, now| {
            tracker.known_queue(queue).ok_or_else(|| Refused::new(404, "Очередь не существует."))?;
            let taken = |number: &u64| tracker.find(&format!("{queue}-{number}")).is_ok();
            let number = (1..).find(|number| !taken(number)).unwrap_or(1);
            let new = format!("{queue}-{number}");
            let issue = &mut tracker.issues[at];
            let old = (std::mem::replace(&mut issue.key, new.clone()), issue.value("queue"));
            issue.aliases.push(old.0);
            let lost = issue.values.keys().filter(|id| id.contains("--")).map(|id| (id.clone(), Value::Null));
            let mut values: Vec<_> = lost.collect();
            values.push(("previousQueue".to_owned(), old.1));
            values.push(("queue".to_owned(), queue.into()));
            tracker.apply(at, Deed { kind: "IssueMoved", by, values, comment: None }, now);
            Ok(new)
        })
    }

    /// Too many edits: from now on each change of the issue is 423; or no more.
    pub fn lock(&self, key: &str, locked: bool) {
        self.with(key, |issue| issue.locked = locked);
    }

    /// No right: from now on each request for the issue is 403; or no more.
    pub fn forbid(&self, key: &str, forbidden: bool) {
        self.with(key, |issue| issue.forbidden = forbidden);
    }

    pub fn delete(&self, key: &str) {
        self.service(|tracker| tracker.issues.retain(|issue| issue.key != key));
    }

    /// Before the next PATCH with a version somebody else changes the issue, so that this PATCH is refused.
    pub fn stale_once(&self, key: &str) {
        self.with(key, |issue| issue.stale = true);
    }

    /// The next list of the issue's transitions is the last that has this one.
    pub fn remove_transition_after_list(&self, key: &str, transition: &str) {
        self.with(key, |issue| issue.goes_after_list = Some(transition.to_owned()));
    }

    fn with(&self, key: &str, change: impl FnOnce(&mut super::Issue)) {
        self.service(|tracker| tracker.issues.iter_mut().find(|issue| issue.key == key).map(change));
    }

    /// From the next request on so many are taken in any second, 429 beyond, with `Retry-After` or bare; none: all are.
    pub fn set_pace(&self, per_second: Option<u32>, with_retry_after: bool) {
        self.service(|tracker| {
            tracker.options.says_wait = with_retry_after;
            tracker.pace = per_second.map(|most| Window::new(most, Duration::from_secs(1)));
        });
    }

    /// From the next request on this token is 401.
    pub fn expire_token(&self, token: &str) {
        self.service(|tracker| tracker.tokens.remove(token));
    }

    /// Lets in who calls with this token, as this user; nothing where there is no such user.
    pub fn renew_token(&self, token: impl Into<String>, login: &str) {
        self.service(|tracker| {
            if let Ok(owner) = tracker.user(login).map(super::TrackerUser::id) {
                tracker.tokens.insert(token.into(), owner);
            }
        });
    }

    /// An issue by key or former key as the API shows it in Russian; null where there is none.
    pub fn issue(&self, key: &str) -> Value {
        self.look(|tracker, _| tracker.seen(key))
    }

    /// The texts of an issue's comments, oldest first.
    pub fn comments(&self, key: &str) -> Vec<String> {
        let texts = |tracker: &Tracker| {
            let issue = tracker.issues.iter().find(|issue| issue.key == key);
            issue.map(|issue| issue.comments.iter().map(|comment| comment.text.clone()).collect()).unwrap_or_default()
        };
        self.look(|tracker, _| texts(tracker))
    }

    /// An issue's changelog as the API shows it in Russian, oldest first.
    pub fn changelog(&self, key: &str) -> Vec<Value> {
        self.look(|tracker, _| {
            let at = tracker.issues.iter().position(|issue| issue.key == key);
            at.map(|at| tracker.changes_shown(at)).unwrap_or_default()
        })
    }

    /// Every attempt of every trigger's request that has ended, oldest first, as the webhook log shows it.
    pub fn log(&self) -> Vec<Value> {
        self.look(|tracker, _| tracker.logged())
    }

    /// Every call to an external application that has ended, oldest first.
    pub fn callbacks(&self) -> Vec<Callback> {
        self.look(|tracker, _| tracker.callbacks.clone())
    }

    /// Returns once so many attempts of triggers' requests, and calls to applications, have ended. Cancel safe.
    pub async fn wait_for_sent(&self, log: usize, callbacks: usize) {
        self.wait_to_see(|tracker| tracker.log.len() >= log && tracker.callbacks.len() >= callbacks).await;
    }

    /// Returns once an issue is as wanted, asked now and after every change. `wanted` must not ask the simulator.
    /// Cancel safe.
    pub async fn wait_for_issue(&self, key: &str, mut wanted: impl FnMut(&Value) -> bool) {
        self.wait_to_see(|tracker| wanted(&tracker.seen(key))).await;
    }

    async fn wait_to_see(&self, mut seen: impl FnMut(&Tracker) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed());
            changed.as_mut().enable(); // before looking, or a change in between is missed
            if self.look(|tracker, _| seen(tracker)) {
                return;
            }
            changed.await;
        }
    }
}

impl Tracker {
    /// Also where the API's callers may not look.
    fn seen(&self, key: &str) -> Value {
        let known = |issue: &super::Issue| issue.key == key || issue.aliases.iter().any(|alias| alias == key);
        let at = self.issues.iter().position(known);
        at.map_or(Value::Null, |at| self.issue_shown(at, Language::Ru))
    }
}
