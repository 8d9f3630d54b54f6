//! External applications and the objects of theirs that issues are linked to (sections 4.9 and 5).

use jiff::Timestamp;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::super::server::Simulator;
use super::answer::{Refused, Reply, done};
use super::asked::Asked;
use super::issue::Deed;
use super::outgoing::{Outgoing, Purpose, Round, caller};
use super::{Tracker, time};

/// An external application as it was registered.
#[derive(Clone, Debug)]
pub struct TrackerApplication {
    id: String,
    name: String,
    info: Option<String>,
    create: Option<String>,
    remove: Option<String>,
    token: Token,
    /// Whether `remoteKey` is percent-encoded in an address; not documented.
    encodes: bool,
}

/// Whose token the application is called with.
#[derive(Clone, Debug)]
enum Token {
    Nobody,
    Registered(String),
    /// That of the user on whose behalf Tracker calls.
    User,
}

impl TrackerApplication {
    /// Called without a token; its addresses are yet to be named.
    pub fn new(id: impl Into<String>, name: impl Into<String>) -> Self {
        let (id, name) = (id.into(), name.into());
        Self { id, name, info: None, create: None, remove: None, token: Token::Nobody, encodes: true }
    }

    /// The three addresses: `{{remoteKey}}` in the first, nothing in the second, `{{remoteKey}}` and `{{issueKey}}` in
    /// the third.
    pub fn addresses(mut self, info: impl Into<String>, create: impl Into<String>, remove: impl Into<String>) -> Self {
        (self.info, self.create, self.remove) = (Some(info.into()), Some(create.into()), Some(remove.into()));
        self
    }

    /// Called with this token, given at registration.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Token::Registered(token.into());
        self
    }

    /// Called with the token of the user who links, or looks.
    pub fn users_token(mut self) -> Self {
        self.token = Token::User;
        self
    }

    /// Addresses have `remoteKey` as it is.
    pub fn raw_keys(mut self) -> Self {
        self.encodes = false;
        self
    }

    pub(super) fn shown(&self, base: &str) -> Value {
        let Self { id, name, .. } = self;
        json!({"self": format!("{base}/v3/applications/{id}"), "id": id, "type": id, "name": name})
    }

    fn address(&self, template: &str, issue: &str, remote: &str) -> String {
        // A form has a blank as `+`; in a path only `%20` is one.
        let encoded = || form_urlencoded::byte_serialize(remote.as_bytes()).collect::<String>().replace('+', "%20");
        let remote = if self.encodes { encoded() } else { remote.to_owned() };
        template.replace("{{issueKey}}", issue).replace("{{remoteKey}}", &remote)
    }
}

/// A link from an issue to an object of an application.
pub(super) struct RemoteLink {
    id: u64,
    application: String,
    key: String,
    by: String,
    at: Timestamp,
    /// The application was told.
    told: bool,
}

/// What an application said of an object.
#[derive(Clone, Debug)]
pub struct ObjectInfo {
    pub key: String,
    /// None: no answer.
    pub status: Option<u16>,
    /// The body, as text.
    pub body: String,
}

impl Tracker {
    fn application(&self, id: &str) -> Result<&TrackerApplication, Refused> {
        let known = self.applications.iter().find(|application| application.id == id);
        known.ok_or_else(|| Refused::field(422, "origin", "Приложение не существует"))
    }

    fn link_shown(&self, at: usize, link: &RemoteLink) -> Value {
        let issue = format!("{}/v3/issues/{}", self.base, self.issues[at].key);
        let by = self.user_reference(&link.by);
        let application = self.application(&link.application).map_or(Value::Null, |known| known.shown(&self.base));
        let object = format!("{}/v3/applications/{}/objects/{}", self.base, link.application, link.key);
        json!({"self": format!("{issue}/remotelinks/{}", link.id), "id": link.id,
            "type": {"self": format!("{}/v3/linktypes/relates", self.base), "id": "relates", "inward": "Связана с",
                "outward": "Связана с"},
            "direction": "outward", "object": {"self": object, "id": link.key, "key": link.key,
                "application": application},
            "createdBy": by, "updatedBy": by, "createdAt": time(link.at), "updatedAt": time(link.at)})
    }

    pub(super) fn remote_links(&self, asked: &Asked<'_>) -> Reply {
        let at = self.find(asked.part(0))?;
        Ok(done(200, &self.issues[at].links.iter().map(|link| self.link_shown(at, link)).collect()))
    }

    pub(super) fn add_remote_link(&mut self, asked: &Asked<'_>) -> Reply {
        let at = self.find_unlocked(asked.part(0))?;
        if asked.text("relationship") != Some("RELATES") {
            return Err(Refused::field(422, "relationship", "Неверный формат"));
        }
        let key = asked.text("key").filter(|key| !key.is_empty());
        let key = key.ok_or_else(|| Refused::field(422, "key", "Поле обязательно для заполнения"))?;
        let told = asked.flag("backlink", false)?;
        self.link(at, asked.text("origin").unwrap_or_default(), key, &asked.by, asked.now, told)?;
        let link = self.issues[at].links.last().ok_or_else(Refused::no_issue)?;
        Ok(done(201, &self.link_shown(at, link)))
    }

    fn link(
        &mut self,
        at: usize,
        application: &str,
        key: &str,
        by: &str,
        now: Timestamp,
        told: bool,
    ) -> Result<(), Refused> {
        let known = self.application(application)?;
        let issue = &self.issues[at];
        if issue.links.iter().any(|link| link.application == application && link.key == key) {
            return Err(Refused::new(409, "Связь уже существует."));
        }
        if told && let Some(create) = &known.create {
            let body = json!({"issueKey": issue.key, "entityIds": [key]});
            self.call_back(known, "POST", create.clone(), Some(body.to_string()), (&issue.id, by));
        }
        self.last += 1;
        let (application, key, by) = (application.to_owned(), key.to_owned(), by.to_owned());
        let deed = Deed { kind: "IssueLinked", by: &by.clone(), values: Vec::new(), comment: None };
        self.issues[at].links.push(RemoteLink { id: self.last, application, key, by, at: now, told });
        self.apply(at, deed, now);
        Ok(())
    }

    pub(super) fn delete_remote_link(&mut self, asked: &Asked<'_>) -> Reply {
        let at = self.find_unlocked(asked.part(0))?;
        let known = |link: &RemoteLink| link.id.to_string() == asked.part(1);
        let place = self.issues[at].links.iter().position(known);
        let place = place.ok_or_else(|| Refused::new(404, "Связь не существует."))?;
        self.unlink(at, place, &asked.by, asked.now);
        let mut answer = done(204, &Value::Null);
        answer.body.clear();
        Ok(answer)
    }

    /// An application that was told of a link is told of its end.
    fn unlink(&mut self, at: usize, place: usize, by: &str, now: Timestamp) {
        let link = self.issues[at].links.remove(place);
        let issue = &self.issues[at];
        if link.told
            && let Ok(known) = self.application(&link.application)
            && let Some(remove) = &known.remove
        {
            let address = known.address(remove, &issue.key, &link.key);
            self.call_back(known, "DELETE", address, None, (&issue.id, by));
        }
        self.apply(at, Deed { kind: "IssueUnlinked", by, values: Vec::new(), comment: None }, now);
    }

    fn call_back(
        &self,
        application: &TrackerApplication,
        method: &str,
        endpoint: String,
        body: Option<String>,
        (issue, by): (&str, &str),
    ) {
        let call = self.application_call(application, method, endpoint, body, by);
        let _ = self.out.send(Round { issue: issue.to_owned(), calls: vec![call] }); // as with triggers
    }

    fn application_call(
        &self,
        application: &TrackerApplication,
        method: &str,
        endpoint: String,
        body: Option<String>,
        by: &str,
    ) -> Outgoing {
        let token = match &application.token {
            Token::Nobody => None,
            Token::Registered(token) => Some(token),
            Token::User => self.tokens.iter().find(|(_, owner)| *owner == by).map(|(token, _)| token),
        };
        let oauth =
            |token| json!({"type": "oauth", "headerName": "Authorization", "tokenType": "OAuth", "accessToken": token});
        let headers = body.as_ref().map(|_| ("Content-Type".to_owned(), "application/json".to_owned()));
        Outgoing {
            method: method.to_owned(),
            endpoint,
            headers: headers.into_iter().collect(),
            auth: token.map_or(Value::Null, oauth),
            body,
            purpose: Purpose::Application,
        }
    }
}

impl Simulator<Tracker> {
    /// Registers an application, or changes what is registered under its id.
    pub fn set_application(&self, application: TrackerApplication) {
        self.service(|tracker| {
            tracker.applications.retain(|known| known.id != application.id);
            tracker.applications.push(application);
        });
    }

    /// Links an issue to an object in Tracker's pages, and tells the application.
    ///
    /// # Errors
    /// No such issue, application or user (by login), or linked already.
    pub fn link(&self, key: &str, application: &str, remote: &str, by: &str) -> Result<(), String> {
        self.by_a_person(key, by, |tracker, at, by, now| tracker.link(at, application, remote, by, now, true))
    }

    /// Ends such a link; nothing where there is none.
    ///
    /// # Errors
    /// No such issue or user (by login).
    pub fn unlink(&self, key: &str, application: &str, remote: &str, by: &str) -> Result<(), String> {
        self.by_a_person(key, by, |tracker, at, by, now| {
            let known = |link: &RemoteLink| link.application == application && link.key == remote;
            if let Some(place) = tracker.issues[at].links.iter().position(known) {
                tracker.unlink(at, place, by, now);
            }
            Ok(())
        })
    }

    /// What an issue is linked to: ids of applications and keys of their objects.
    pub fn links(&self, key: &str) -> Vec<(String, String)> {
        let pair = |link: &RemoteLink| (link.application.clone(), link.key.clone());
        self.look(|tracker, _| {
            let issue = tracker.issues.iter().find(|issue| issue.key == key);
            issue.map(|issue| issue.links.iter().map(pair).collect()).unwrap_or_default()
        })
    }

    /// Opens an issue's page as this user: asks the applications of all links what their objects are.
    pub async fn open_issue(&self, key: &str, by: &str) -> Vec<ObjectInfo> {
        let (calls, clock) = self.look(|tracker, _| {
            let by = tracker.user(by).map(|user| user.id()).unwrap_or_default();
            let links = tracker.issues.iter().find(|issue| issue.key == key).map(|issue| issue.links.as_slice());
            let call = |link: &RemoteLink| {
                let known = tracker.application(&link.application).ok()?;
                let address = known.address(known.info.as_ref()?, key, &link.key);
                Some((link.key.clone(), tracker.application_call(known, "GET", address, None, &by)))
            };
            let calls: Vec<_> = links.unwrap_or_default().iter().filter_map(call).collect();
            (calls, tracker.options.clock.clone())
        });
        let (mut infos, caller) = (Vec::new(), caller());
        for (key, call) in calls {
            let answered = call.ask(&caller, &clock).await;
            let body = answered.as_ref().map(|answered| String::from_utf8_lossy(&answered.body).into_owned());
            let status = answered.map(|answered| answered.status);
            infos.push(ObjectInfo { key, status, body: body.unwrap_or_default() });
        }
        infos
    }
}
