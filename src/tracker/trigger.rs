//! The triggers by which Tracker calls us, as we want them: made of what the configuration says, and compared with what
//! stands in a queue. Source: T 1.6, 1.7, 2, 3.2.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::queue::Trigger;

/// The version of the form below. It stands first in each body.
const VERSION: u32 = 1;

/// The header with the source's secret.
pub const SECRET_HEADER: &str = "X-Campanile-Token";

/// What a trigger tells of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Watched {
    Created,
    StatusChanged,
    CommentAdded,
    Updated,
    Assigned,
}

/// Fields whose change is an `updated`. An assignee's is an `assigned`: in both it would be told twice.
pub const UPDATES: [&str; 5] = ["priority", "deadline", "summary", "description", "tags"];

impl Watched {
    pub const ALL: [Self; 5] = [Self::Created, Self::StatusChanged, Self::CommentAdded, Self::Updated, Self::Assigned];

    /// The word for it in bodies and names, and of `connect --events`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::StatusChanged => "status_changed",
            Self::CommentAdded => "comment_added",
            Self::Updated => "updated",
            Self::Assigned => "assigned",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|watched| watched.as_str() == word)
    }

    /// Never none, for such a trigger fires at every change; and several changed fields are one group `Or`, for under
    /// the usual `And` they never fire (T 1.6).
    fn conditions(self) -> Value {
        let changed = |field: &str| json!({"type": "FieldChangedCondition", "field": field});
        match self {
            Self::Created => json!([{"type": "Event.create"}]),
            Self::StatusChanged => json!([changed("status")]),
            Self::CommentAdded => json!([{"type": "Event.comment-create"}]),
            Self::Updated => json!({"type": "Or", "conditions": UPDATES.map(changed)}),
            Self::Assigned => json!([changed("assignee")]),
        }
    }

    /// JSON in Tracker's eyes only when its variables are replaced, therefore a text. `.json` brings its own quotes;
    /// what stands raw in quotes has no sign that could end them (T 2.4).
    fn body(self) -> String {
        let event = self.as_str();
        let comment = match self {
            Self::CommentAdded => ",\n  \"comment\": {\"id\": \"{{userComment.id}}\"}",
            _ => "",
        };
        format!(
            r#"{{
  "v": {VERSION},
  "event": "{event}",
  "key": "{{{{issue.key}}}}",
  "summary": {{{{issue.summary.json}}}},
  "author": {{{{issue.author.login.json}}}},
  "actor": {{{{currentUser.login.json}}}},
  "at": "{{{{currentDateTime.iso8601}}}}"{comment}
}}"#
        )
    }
}

/// One trigger as it should stand in a queue.
#[derive(Clone, Debug)]
pub struct Wanted {
    watched: Watched,
    name: String,
    conditions: Value,
    endpoint: String,
    /// Where it led before the bridge's address was changed.
    was: Option<String>,
    body: String,
    secret: SecretString,
}

/// What is not as it should be. The secret is not among it: Tracker does not show it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Difference {
    /// As in `actions.body`.
    pub member: &'static str,
    pub is: String,
    pub wanted: String,
}

impl Wanted {
    /// `public_url`: without a slash at its end. `secret`: what the source takes in [`SECRET_HEADER`].
    pub fn of(watched: Watched, public_url: &str, source: &str, secret: &SecretString) -> Self {
        Self {
            watched,
            name: format!("Campanile {source}: {}", watched.as_str()),
            conditions: watched.conditions(),
            endpoint: endpoint(public_url, source),
            was: None,
            body: watched.body(),
            secret: secret.clone(),
        }
    }

    /// With the address that the bridge had before: what still calls that one is this one too, and is to be mended.
    pub fn was(self, public_url: &str, source: &str) -> Self {
        Self { was: Some(endpoint(public_url, source)), ..self }
    }

    pub fn watched(&self) -> Watched {
        self.watched
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub fn body(&self) -> &str {
        &self.body
    }

    /// What Tracker is asked to make of it, new or changed. The secret stands in it.
    pub fn json(&self) -> Value {
        json!({
            "name": self.name,
            "active": true,
            "conditions": self.conditions,
            "actions": [{
                "type": "Webhook",
                "endpoint": self.endpoint,
                "method": "POST",
                "contentType": "application/json; charset=UTF-8",
                "headers": {SECRET_HEADER: self.secret.expose_secret()},
                "authContext": {"type": "noauth"},
                "body": self.body,
            }],
        })
    }

    /// Whether a trigger is this one. A name alone does not make it ours: two bridges may serve one queue.
    pub fn is(&self, trigger: &Trigger) -> bool {
        self.has_name(trigger) && webhook(trigger).is_some_and(|it| self.leads_here(said(it, "endpoint")))
    }

    fn leads_here(&self, endpoint: &str) -> bool {
        endpoint == self.endpoint || self.was.as_deref() == Some(endpoint)
    }

    /// Whether a trigger has our name, which people may give too.
    pub fn has_name(&self, trigger: &Trigger) -> bool {
        trigger.name.as_deref() == Some(&self.name)
    }

    /// Whether any of a trigger's actions calls our address.
    pub fn is_called_by(&self, trigger: &Trigger) -> bool {
        let mut actions = trigger.actions.as_array().into_iter().flatten().filter_map(Value::as_object);
        actions.any(|action| said(action, "type") == "Webhook" && self.leads_here(said(action, "endpoint")))
    }

    /// What is to be mended in a trigger that is this one. None: nothing needs to be written.
    pub fn differences(&self, trigger: &Trigger) -> Vec<Difference> {
        let wanted = self.json();
        let (action, empty) = (&wanted["actions"][0], Map::new());
        let is = webhook(trigger).unwrap_or(&empty);
        let mut differences = Vec::new();
        let mut compare = |member, is: &Value, wanted: &Value| {
            if !covers(is, wanted) {
                differences.push(Difference { member, is: is.to_string(), wanted: wanted.to_string() });
            }
        };
        compare("active", &json!(trigger.active.unwrap_or(true)), &wanted["active"]);
        compare("conditions", &plain(&trigger.conditions), &plain(&wanted["conditions"]));
        for (member, name) in [
            ("actions.endpoint", "endpoint"),
            ("actions.method", "method"),
            ("actions.contentType", "contentType"),
            ("actions.authContext", "authContext"),
            ("actions.body", "body"),
        ] {
            compare(member, is.get(name).unwrap_or(&Value::Null), &action[name]);
        }
        // Where Tracker shows no headers at all, nothing is known of ours: what may be right is not written again.
        let has_secret = match is.get("headers") {
            None | Some(Value::Null) => true,
            Some(headers) => headers
                .as_object()
                .is_some_and(|headers| headers.keys().any(|name| name.eq_ignore_ascii_case(SECRET_HEADER))),
        };
        compare("actions.headers", &json!(has_secret), &json!(true));
        differences
    }
}

fn endpoint(public_url: &str, source: &str) -> String {
    format!("{}/hooks/{source}", public_url.trim_end_matches('/'))
}

/// The first call of the trigger's actions, and only where it is the only action: others are not ours to change.
fn webhook(trigger: &Trigger) -> Option<&Map<String, Value>> {
    match trigger.actions.as_array()?.as_slice() {
        [Value::Object(action)] if said(action, "type") == "Webhook" => Some(action),
        _ => None,
    }
}

fn said<'a>(members: &'a Map<String, Value>, name: &str) -> &'a str {
    members.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Everything that is wanted is there. Tracker adds members of its own: ids, addresses.
fn covers(is: &Value, wanted: &Value) -> bool {
    match (is, wanted) {
        (Value::Object(is), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| is.get(name).is_some_and(|is| covers(is, wanted)))
        }
        (Value::Array(is), Value::Array(wanted)) => {
            is.len() == wanted.len() && is.iter().zip(wanted).all(|(is, wanted)| covers(is, wanted))
        }
        (is, wanted) => is == wanted,
    }
}

/// A list of conditions and a group `And` are one thing (T 1.7); so is a group around one group.
fn plain(conditions: &Value) -> Value {
    match conditions {
        Value::Array(conditions) => match conditions.as_slice() {
            [group @ Value::Object(members)] if members.contains_key("conditions") => plain(group),
            conditions => json!({"type": "And", "conditions": conditions}),
        },
        conditions => conditions.clone(),
    }
}

#[cfg(test)]
mod tests;
