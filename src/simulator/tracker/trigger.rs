//! Triggers: their conditions, their place in the API (section 1.7), and when they fire.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::server::Simulator;
use super::Tracker;
use super::answer::{Refused, Reply, done};
use super::asked::Asked;
use super::field::is_empty;
use super::issue::Change;
use super::outgoing::{Outgoing, Purpose, Round};
use super::render::Scene;

/// Section 1.1.
const MOST_ACTIONS: usize = 10;
const MOST_TRIGGERS: usize = 1000;
/// Section 1.2: PATCH is not listed.
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];

#[derive(Clone)]
pub(super) struct Trigger {
    pub id: u64,
    pub queue: String,
    name: String,
    active: bool,
    version: u64,
    made_at: Timestamp,
    /// All of them must hold.
    conditions: Vec<Condition>,
    /// As they were given, an array.
    conditions_given: Value,
    actions: Vec<Map<String, Value>>,
}

/// When a trigger fires. Values are as the fields keep them.
#[derive(Clone)]
enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Created,
    Updated,
    Commented,
    Changed(String),
    Equals(String, Value),
    BecameEqual(String, Value),
    Empty(String),
    NotEmpty(String),
    BecameEmpty(String),
    BecameNotEmpty(String),
}

fn wrong(field: &str, message: &str) -> Refused {
    Refused::field(422, field, message)
}

impl Tracker {
    fn conditions(&self, queue: &str, given: &Value) -> Result<(Vec<Condition>, Value), Refused> {
        let list = match given {
            Value::Null => Vec::new(),
            Value::Array(list) => list.clone(),
            group => vec![group.clone()],
        };
        let conditions = list.iter().map(|one| self.condition(queue, one)).collect::<Result<_, _>>()?;
        Ok((conditions, Value::Array(list)))
    }

    fn condition(&self, queue: &str, given: &Value) -> Result<Condition, Refused> {
        let kind = given.get("type").and_then(Value::as_str).unwrap_or_default();
        let group = || {
            let list = given.get("conditions").and_then(Value::as_array);
            let list = list.ok_or_else(|| wrong("conditions", "Неверный формат"))?;
            list.iter().map(|one| self.condition(queue, one)).collect::<Result<Vec<_>, _>>()
        };
        let field = || {
            let id = given.get("field").and_then(Value::as_str).unwrap_or_default();
            let known = self.field(id, queue);
            known.ok_or_else(|| wrong("conditions", &format!("Поле {id} не существует")))
        };
        let id = || field().map(|field| field.id.clone());
        let value = || {
            let kept = given.get("value").and_then(|value| self.kept(field().ok()?, value));
            kept.filter(|kept| !kept.is_null()).ok_or_else(|| wrong("conditions", "Неверное значение"))
        };
        Ok(match kind {
            "And" => Condition::All(group()?),
            "Or" => Condition::Any(group()?),
            "Event.create" => Condition::Created,
            "Event.update" => Condition::Updated,
            "Event.comment-create" => Condition::Commented,
            "FieldChangedCondition" => Condition::Changed(id()?),
            "FieldEquals" => Condition::Equals(id()?, value()?),
            "FieldBecameEqual" => Condition::BecameEqual(id()?, value()?),
            "FieldIsEmpty" => Condition::Empty(id()?),
            "FieldIsNotEmpty" => Condition::NotEmpty(id()?),
            "FieldBecameEmpty" => Condition::BecameEmpty(id()?),
            "FieldBecameNotEmpty" => Condition::BecameNotEmpty(id()?),
            other => return Err(wrong("conditions", &format!("{other}: not simulated"))),
        })
    }

    fn actions(&self, given: &Value) -> Result<Vec<Map<String, Value>>, Refused> {
        let list = given.as_array().filter(|list| (1..=MOST_ACTIONS).contains(&list.len()));
        let list = list.ok_or_else(|| wrong("actions", "От 1 до 10 действий"))?;
        let action = |(number, given): (usize, &Value)| {
            let mut action = given.as_object().cloned().ok_or_else(|| wrong("actions", "Неверный формат"))?;
            check_action(&action)?;
            action.insert("id".to_owned(), (number + 1).to_string().into());
            Ok(action)
        };
        list.iter().enumerate().map(action).collect()
    }

    /// What a trigger's request wants to change.
    fn change_trigger(&self, trigger: &mut Trigger, wanted: &Map<String, Value>) -> Result<(), Refused> {
        for (member, value) in wanted {
            match (member.as_str(), value) {
                ("name", Value::String(name)) if !name.is_empty() => trigger.name = name.clone(),
                ("active", Value::Bool(active)) => trigger.active = *active,
                ("actions", value) => trigger.actions = self.actions(value)?,
                ("conditions", value) => {
                    (trigger.conditions, trigger.conditions_given) = self.conditions(&trigger.queue, value)?;
                }
                ("before", _) => {} // the order is that of making
                (member, _) => return Err(wrong(member, "Неверный формат")),
            }
        }
        Ok(())
    }

    fn administer(&self, asked: &Asked<'_>) -> Result<String, Refused> {
        let queue = self.asked_queue(asked)?.seed.key.clone();
        if self.user(&asked.by)?.administrator { Ok(queue) } else { Err(Refused::no_right()) }
    }

    pub(super) fn create_trigger(&mut self, asked: &Asked<'_>) -> Reply {
        let queue = self.administer(asked)?;
        Ok(done(201, &self.new_trigger(&queue, asked.body(), asked.now)?))
    }

    fn new_trigger(&mut self, queue: &str, body: &Map<String, Value>, now: Timestamp) -> Result<Value, Refused> {
        if self.triggers.iter().filter(|trigger| trigger.queue == queue).count() >= MOST_TRIGGERS {
            return Err(wrong("queue", "Не более 1000 триггеров"));
        }
        for member in ["name", "actions"] {
            if !body.contains_key(member) {
                return Err(wrong(member, "Поле обязательно для заполнения"));
            }
        }
        let mut trigger = Trigger {
            id: self.triggers.last().map_or(16, |last| last.id + 1),
            queue: queue.to_owned(),
            name: String::new(),
            active: true,
            version: 1,
            made_at: now,
            conditions: Vec::new(),
            conditions_given: json!([]),
            actions: Vec::new(),
        };
        self.change_trigger(&mut trigger, body)?;
        let shown = self.trigger_shown(&trigger);
        self.triggers.push(trigger);
        Ok(shown)
    }

    pub(super) fn patch_trigger(&mut self, asked: &Asked<'_>) -> Reply {
        let (at, version) = (self.asked_trigger(asked)?, asked.number::<u64>("version")?);
        let known = &self.triggers[at];
        match version {
            None => return Err(Refused::new(428, "Укажите версию.")),
            Some(version) if version != known.version => return Err(self.stale()),
            Some(_) => {}
        }
        let mut trigger = Trigger { version: known.version + 1, ..known.clone() };
        self.change_trigger(&mut trigger, asked.body())?;
        let shown = self.trigger_shown(&trigger);
        self.triggers[at] = trigger;
        Ok(done(200, &shown))
    }

    pub(super) fn asked_trigger(&self, asked: &Asked<'_>) -> Result<usize, Refused> {
        let queue = self.administer(asked)?;
        let known = |trigger: &Trigger| trigger.queue == queue && trigger.id.to_string() == asked.part(1);
        self.triggers.iter().position(known).ok_or_else(|| Refused::new(404, "Триггер не существует."))
    }

    pub(super) fn get_trigger(&self, asked: &Asked<'_>) -> Reply {
        let at = self.asked_trigger(asked)?;
        Ok(done(200, &self.trigger_shown(&self.triggers[at])))
    }

    pub(super) fn list_triggers(&self, asked: &Asked<'_>) -> Reply {
        let queue = self.administer(asked)?;
        let known = |trigger: &&Trigger| {
            let age = asked.now.duration_since(trigger.made_at).unsigned_abs();
            trigger.queue == queue && age >= self.options.shown_after
        };
        let triggers: Vec<&Trigger> = self.triggers.iter().filter(known).collect();
        let path = format!("{}/v3/queues/{queue}/triggers", self.base);
        asked.page(&path, &triggers, |trigger| trigger.id.to_string(), |trigger| self.trigger_shown(trigger))
    }

    fn trigger_shown(&self, trigger: &Trigger) -> Value {
        let Trigger { id, queue, name, active, version, conditions_given, actions, .. } = trigger;
        let order = self.triggers.iter().position(|known| known.id == *id).unwrap_or(self.triggers.len()) + 1;
        json!({"id": id, "self": format!("{}/v3/queues/{queue}/triggers/{id}", self.base),
            "queue": self.queue_reference(queue), "name": name, "order": format!("0.{order:04}"), "actions": actions,
            "conditions": conditions_given, "version": version, "active": active})
    }

    /// Lets the queue's triggers see a change that has been made, and hands over what they want to be sent.
    pub(super) fn fire(&mut self, at: usize, change: &mut Change) {
        let issue = &self.issues[at];
        let fired = self.triggers.iter().filter(|trigger| trigger.active && trigger.queue == issue.queue());
        let holds = |condition: &Condition| condition.holds(change, &|field| issue.value(field));
        let fired: Vec<&Trigger> = fired.filter(|trigger| trigger.conditions.iter().all(holds)).collect();
        let executed = fired.iter().map(|trigger| (trigger.id, trigger.name.clone())).collect();
        let scene = Scene { tracker: self, issue, change };
        let calls = |trigger: &&Trigger| {
            let call = |action| outgoing(&scene, trigger.id, issue.id.clone(), action);
            trigger.actions.iter().filter_map(call).collect::<Vec<_>>()
        };
        let calls: Vec<Outgoing> = fired.iter().flat_map(calls).collect();
        if !calls.is_empty() {
            let _ = self.out.send(Round { issue: issue.id.clone(), calls }); // nobody sends while all is being ended
        }
        change.executed = executed;
    }
}

impl Simulator<Tracker> {
    /// Makes a trigger in Tracker's pages, from what `POST …/triggers` takes; gives what it answers.
    ///
    /// # Errors
    /// As the API's.
    pub fn make_trigger(&self, queue: &str, trigger: &Value) -> Result<Value, String> {
        let nothing = Map::new();
        let made = self.service(|tracker| {
            tracker.known_queue(queue).ok_or_else(|| Refused::new(404, "Очередь не существует."))?;
            tracker.new_trigger(queue, trigger.as_object().unwrap_or(&nothing), tracker.options.clock.now())
        });
        made.map_err(|refused: Refused| refused.words())
    }

    /// All triggers of a queue as the API shows them, in their order.
    pub fn triggers(&self, queue: &str) -> Vec<Value> {
        let known = |trigger: &&Trigger| trigger.queue == queue;
        let shown = |tracker: &Tracker| {
            tracker.triggers.iter().filter(known).map(|trigger| tracker.trigger_shown(trigger)).collect()
        };
        self.look(|tracker, _| shown(tracker))
    }
}

fn check_action(action: &Map<String, Value>) -> Result<(), Refused> {
    let word = |name: &str| action.get(name).and_then(Value::as_str).unwrap_or_default();
    if word("type") != "Webhook" {
        return Err(wrong("actions", &format!("{}: not simulated", word("type"))));
    }
    if !["http://", "https://"].iter().any(|scheme| word("endpoint").starts_with(scheme)) {
        return Err(wrong("endpoint", "Неверный формат"));
    }
    if !METHODS.contains(&word("method")) {
        return Err(wrong("method", "Неверный формат"));
    }
    let auth = action.get("authContext").ok_or_else(|| wrong("authContext", "Поле обязательно для заполнения"))?;
    let needed: &[&str] = match auth.get("type").and_then(Value::as_str) {
        Some("noauth") => &[],
        Some("basic") => &["login", "password"],
        Some("oauth") => &["headerName", "tokenType", "accessToken"],
        _ => return Err(wrong("authContext", "Неверный формат")),
    };
    if needed.iter().any(|name| !auth.get(name).is_some_and(Value::is_string)) {
        return Err(wrong("authContext", "Неверный формат"));
    }
    for (member, value) in action {
        let good = match member.as_str() {
            "type" | "endpoint" | "method" | "authContext" | "id" => true,
            "contentType" => value.is_string(),
            "headers" => value.as_object().is_some_and(|headers| headers.values().all(Value::is_string)),
            "body" => value.is_string() || value.is_object() || value.is_null(),
            _ => false,
        };
        if !good {
            return Err(wrong(member, "Неверный формат"));
        }
    }
    Ok(())
}

/// An action with its variables replaced; none where an empty one forbids the call.
fn outgoing(scene: &Scene<'_>, trigger: u64, issue: String, action: &Map<String, Value>) -> Option<Outgoing> {
    let word = |name: &str| action.get(name).and_then(Value::as_str);
    let body = match action.get("body") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(object) => Some(object.to_string()),
    };
    let content_type = word("contentType").unwrap_or("application/json; charset=UTF-8");
    let mut headers = vec![
        ("X-Startrek-Transport".to_owned(), "simulated".to_owned()),
        ("Content-Type".to_owned(), content_type.to_owned()),
    ];
    for (name, value) in action.get("headers").and_then(Value::as_object).into_iter().flatten() {
        headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        headers.push((name.clone(), scene.render(value.as_str().unwrap_or_default())?));
    }
    Some(Outgoing {
        method: word("method").unwrap_or_default().to_owned(),
        endpoint: scene.render(word("endpoint").unwrap_or_default())?,
        headers,
        auth: action.get("authContext").cloned().unwrap_or_default(),
        body: match body {
            Some(body) => Some(scene.render(&body)?),
            None => None,
        },
        purpose: Purpose::Trigger { id: trigger, action: action.get("id").cloned().unwrap_or_default(), issue },
    })
}

impl Condition {
    fn holds(&self, change: &Change, now: &impl Fn(&str) -> Value) -> bool {
        let created = change.kind == "IssueCreated";
        let changed = |field: &String| change.fields.iter().find(|changed| changed.field == *field);
        match self {
            Self::All(list) => list.iter().all(|one| one.holds(change, now)),
            Self::Any(list) => list.iter().any(|one| one.holds(change, now)),
            Self::Created => created,
            // A comment alone is an event of its own.
            Self::Updated => !created && (change.comment.is_none() || !change.fields.is_empty()),
            Self::Commented => change.comment.is_some(),
            Self::Changed(field) => !created && changed(field).is_some(),
            Self::Equals(field, value) => now(field) == *value,
            Self::BecameEqual(field, value) => !created && changed(field).is_some_and(|changed| changed.to == *value),
            Self::Empty(field) => is_empty(&now(field)),
            Self::NotEmpty(field) => !is_empty(&now(field)),
            Self::BecameEmpty(field) => !created && changed(field).is_some_and(|changed| is_empty(&changed.to)),
            // "also fires at creation" (section 1.6)
            Self::BecameNotEmpty(field) => {
                changed(field).is_some_and(|changed| is_empty(&changed.from) && !is_empty(&changed.to))
            }
        }
    }
}
