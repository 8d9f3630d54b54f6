//! People and robots. In an issue they have no login: that is told by `/users` alone.

use serde_json::{Value, json};

use super::{Refused, Tracker};

#[derive(Clone, Debug)]
pub struct TrackerUser {
    pub login: String,
    pub first: String,
    pub last: String,
    /// Tracker's own id, 0 until the simulator gives one.
    pub uid: i64,
    /// May change queues: see their triggers and the log of what these sent.
    pub administrator: bool,
}

impl TrackerUser {
    pub fn new(login: impl Into<String>, first: impl Into<String>, last: impl Into<String>) -> Self {
        Self { login: login.into(), first: first.into(), last: last.into(), uid: 0, administrator: true }
    }

    /// Without the right to a queue's settings.
    pub fn without_rights(mut self) -> Self {
        self.administrator = false;
        self
    }

    pub(super) fn id(&self) -> String {
        self.uid.to_string()
    }

    pub(super) fn display(&self) -> String {
        format!("{} {}", self.first, self.last).trim_end().to_owned()
    }

    pub(super) fn passport_uid(&self) -> i64 {
        self.uid - 20_000_000_000_000
    }

    fn cloud_uid(&self) -> String {
        format!("aje{:017}", self.uid)
    }

    pub(super) fn email(&self) -> String {
        format!("{}@example.com", self.login)
    }

    /// As an issue shows it.
    pub(super) fn reference(&self, base: &str) -> Value {
        json!({"self": self.address(base), "id": self.id(), "display": self.display(), "cloudUid": self.cloud_uid(),
            "passportUid": self.passport_uid()})
    }

    /// As `/users` and `/myself` show it.
    pub(super) fn whole(&self, base: &str) -> Value {
        json!({"self": self.address(base), "uid": self.uid, "login": self.login, "trackerUid": self.uid,
            "passportUid": self.passport_uid(), "cloudUid": self.cloud_uid(), "firstName": self.first,
            "lastName": self.last, "display": self.display(), "email": self.email(), "external": false,
            "hasLicense": true, "dismissed": false, "useNewFilters": true, "disableNotifications": false,
            "welcomeMailSent": true})
    }

    fn address(&self, base: &str) -> String {
        format!("{base}/v3/users/{}", self.uid)
    }
}

impl Tracker {
    /// By login or id.
    pub(super) fn user(&self, given: &str) -> Result<&TrackerUser, Refused> {
        let known = |user: &&TrackerUser| user.login == given || user.id() == given;
        self.users.iter().find(known).ok_or_else(|| Refused::new(404, "Пользователь не найден."))
    }

    pub(super) fn user_reference(&self, id: &str) -> Value {
        self.user(id).map_or(Value::Null, |user| user.reference(&self.base))
    }
}
