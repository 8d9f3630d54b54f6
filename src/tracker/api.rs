//! What Tracker is asked for: one function an endpoint. Source: T 1.5, 1.7, 4.4 to 4.9.

use std::sync::PoisonError;

use http::Method;
use http::header::DATE;
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::client::{Api, MOST_PAGES, unreadable};
use super::error::Error;
use super::issue::{Comment, Entry, Issue, RemoteLink, Transition, User, list};
use super::queue::{Application, Field, Fired, Queue, Term, Trigger};
use crate::message::Language;
use crate::transport::{Reply, reply};

/// Issues.
impl Api {
    pub async fn issue(&self, key: &str) -> Result<Issue, Error> {
        let reply = self.ask(Method::GET, self.at(&["issues", key])?, None, key).await?;
        Issue::read(&reply.body).ok_or_else(|| unreadable("an issue", true))
    }

    /// The ways out of its present status.
    pub async fn transitions(&self, key: &str) -> Result<Vec<Transition>, Error> {
        self.list(self.at(&["issues", key, "transitions"])?, key).await
    }

    /// `fields`: of the transition's screen.
    pub async fn execute(&self, key: &str, transition: &str, fields: &Map<String, Value>) -> Result<(), Error> {
        let url = self.at(&["issues", key, "transitions", transition, "_execute"])?;
        let reply = self.ask(Method::POST, url, Some(&json!(fields)), key).await?;
        list::<Transition>(&reply.body).map(drop).ok_or_else(|| unreadable("the transitions that are open now", false))
    }

    /// Writes fields by their ids, where the issue still has this version.
    pub async fn patch(&self, key: &str, version: Option<i64>, fields: &Map<String, Value>) -> Result<(), Error> {
        let mut url = self.at(&["issues", key])?;
        if let Some(version) = version {
            url.query_pairs_mut().append_pair("version", &version.to_string());
        }
        let reply = self.ask(Method::PATCH, url, Some(&json!(fields)), key).await?;
        Issue::read(&reply.body).map(drop).ok_or_else(|| unreadable("the issue", false))
    }

    /// From the oldest on, or those after the one with this id; at most [`MOST_PAGES`] pages.
    pub async fn comments(&self, key: &str, after: Option<&str>) -> Result<Vec<Comment>, Error> {
        let url = self.at(&["issues", key, "comments"])?;
        self.pages(url, key, after, MOST_PAGES, |comment: &Comment| comment.id.clone()).await
    }

    pub async fn comment(&self, key: &str, id: &str) -> Result<Comment, Error> {
        self.one(self.at(&["issues", key, "comments", id])?, key).await
    }

    /// Its author does not become a follower by it.
    pub async fn add_comment(&self, key: &str, text: &str) -> Result<Comment, Error> {
        let mut url = self.at(&["issues", key, "comments"])?;
        url.query_pairs_mut().append_pair("isAddToFollowers", "false");
        let body = json!({"text": text, "markupType": "md"});
        let reply = self.ask(Method::POST, url, Some(&body), key).await?;
        made(&reply, "the comment", |comment: &Comment| comment.id.is_some())
    }

    /// From the oldest on, or those after the one with this id; at most so many `pages`. `kind`: as in `IssueWorkflow`.
    pub async fn changelog(
        &self,
        key: &str,
        after: Option<&str>,
        kind: Option<&str>,
        pages: usize,
    ) -> Result<Vec<Entry>, Error> {
        let mut url = self.at(&["issues", key, "changelog"])?;
        if let Some(kind) = kind {
            url.query_pairs_mut().append_pair("type", kind);
        }
        self.pages(url, key, after, pages, |entry: &Entry| entry.id.clone()).await
    }

    pub async fn remote_links(&self, key: &str) -> Result<Vec<RemoteLink>, Error> {
        self.list(self.at(&["issues", key, "remotelinks"])?, key).await
    }

    /// Tracker tells the application, which is us: a channel hears of the issue from then on.
    pub async fn add_remote_link(&self, key: &str, application: &str, object: &str) -> Result<RemoteLink, Error> {
        let mut url = self.at(&["issues", key, "remotelinks"])?;
        url.query_pairs_mut().append_pair("backlink", "true");
        let body = json!({"relationship": "RELATES", "key": object, "origin": application});
        let reply = self.ask(Method::POST, url, Some(&body), key).await?;
        made(&reply, "the link", |link: &RemoteLink| link.id.is_some())
    }
}

/// People and dictionaries.
impl Api {
    /// The token's owner.
    pub async fn myself(&self) -> Result<User, Error> {
        Ok(self.myself_at().await?.0)
    }

    /// The token's owner, and what Tracker's clock showed then, in whole seconds, where it says so (the header `Date`).
    pub async fn myself_at(&self) -> Result<(User, Option<Timestamp>), Error> {
        let reply = self.ask(Method::GET, self.at(&["myself"])?, None, "the token's owner").await?;
        let user: User = reply::object(&reply.body).map_err(|_| unreadable("an object", true))?;
        let date = reply.headers.get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| rfc2822::parse(date).ok()).map(|date| date.timestamp());
        *self.client.known.0.login.lock().unwrap_or_else(PoisonError::into_inner) = user.login.clone();
        Ok((user, date))
    }

    /// By login or id; remembered for an hour.
    pub async fn user(&self, name: &str) -> Result<User, Error> {
        let users = &self.client.known.0.users;
        if let Some(user) = users.get(name) {
            return Ok(user);
        }
        let user: User = self.one(self.at(&["users", name])?, name).await?;
        user.names().chain([name]).for_each(|name| users.put(name.to_owned(), user.clone()));
        Ok(user)
    }

    /// Fields of all queues.
    pub async fn fields(&self) -> Result<Vec<Field>, Error> {
        self.list(self.at(&["fields"])?, "the fields").await
    }

    /// A queue's own fields.
    pub async fn local_fields(&self, queue: &str) -> Result<Vec<Field>, Error> {
        self.list(self.at(&["queues", queue, "localFields"])?, queue).await
    }

    /// `dictionary`: the last part of its address.
    pub(super) async fn terms(&self, dictionary: &str, language: Language) -> Result<Vec<Term>, Error> {
        let mut url = self.at(&[dictionary])?;
        if dictionary == "priorities" {
            url.query_pairs_mut().append_pair("localized", "true");
        }
        let reply = self.ask_in(language, Method::GET, url, None, dictionary).await?;
        list(&reply.body).ok_or_else(|| unreadable("a list", true))
    }
}

/// Queues and applications.
impl Api {
    pub async fn queue(&self, key: &str) -> Result<Queue, Error> {
        self.one(self.at(&["queues", key])?, key).await
    }

    pub async fn triggers(&self, queue: &str) -> Result<Vec<Trigger>, Error> {
        let url = self.at(&["queues", queue, "triggers"])?;
        self.pages(url, queue, None, MOST_PAGES, |trigger: &Trigger| trigger.id.clone()).await
    }

    pub async fn trigger(&self, queue: &str, id: &str) -> Result<Trigger, Error> {
        self.one(self.at(&["queues", queue, "triggers", id])?, queue).await
    }

    pub async fn create_trigger(&self, queue: &str, trigger: &Value) -> Result<Trigger, Error> {
        let reply = self.ask(Method::POST, self.at(&["queues", queue, "triggers"])?, Some(trigger), queue).await?;
        made(&reply, "the trigger", |trigger: &Trigger| trigger.id.is_some())
    }

    /// Where it still has this version.
    pub async fn patch_trigger(
        &self,
        queue: &str,
        id: &str,
        version: Option<i64>,
        change: &Value,
    ) -> Result<Trigger, Error> {
        let mut url = self.at(&["queues", queue, "triggers", id])?;
        if let Some(version) = version {
            url.query_pairs_mut().append_pair("version", &version.to_string());
        }
        let reply = self.ask(Method::PATCH, url, Some(change), queue).await?;
        made(&reply, "the trigger", |trigger: &Trigger| trigger.id.is_some())
    }

    /// What a trigger called in this time, at most `limit` calls; Tracker gives a hundred at most.
    pub async fn webhook_log(
        &self,
        queue: &str,
        trigger: &str,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<Vec<Fired>, Error> {
        let mut url = self.at(&["queues", queue, "triggers", trigger, "webhooks", "log"])?;
        let time = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string();
        url.query_pairs_mut()
            .append_pair("from", &time(from))
            .append_pair("to", &time(to))
            .append_pair("limit", &limit.to_string());
        self.list(url, queue).await
    }

    pub async fn applications(&self) -> Result<Vec<Application>, Error> {
        self.list(self.at(&["applications"])?, "the applications").await
    }
}

/// What was made or changed. An answer without its id is no answer of Tracker's: it may or may not be there.
fn made<T: DeserializeOwned>(reply: &Reply, what: &str, has_id: impl Fn(&T) -> bool) -> Result<T, Error> {
    reply::object(&reply.body).ok().filter(has_id).ok_or_else(|| unreadable(what, false))
}
