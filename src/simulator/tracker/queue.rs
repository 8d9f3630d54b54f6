//! Queues: a key, a workflow, local fields.

use serde_json::{Value, json};

use super::field::FieldKind;
use super::workflow::{TrackerTransition, usual};
use super::{Asked, Refused, Reply, Tracker, done};

#[derive(Clone, Debug)]
pub struct TrackerQueue {
    pub(super) key: String,
    name: String,
    pub(super) workflow: Vec<TrackerTransition>,
    /// Key, name, kind.
    pub(super) fields: Vec<(String, String, FieldKind)>,
}

impl TrackerQueue {
    /// With the usual workflow, see [`TrackerTransition`].
    pub fn new(key: impl Into<String>, name: impl Into<String>) -> Self {
        Self { key: key.into(), name: name.into(), workflow: usual(), fields: Vec::new() }
    }

    pub fn workflow(mut self, transitions: impl IntoIterator<Item = TrackerTransition>) -> Self {
        self.workflow = transitions.into_iter().collect();
        self
    }

    /// A local field; its id is made by the simulator, `<24 hex>--<key>`.
    pub fn local(mut self, key: impl Into<String>, name: impl Into<String>, kind: FieldKind) -> Self {
        self.fields.push((key.into(), name.into(), kind));
        self
    }
}

pub(super) struct Queue {
    pub id: u64,
    pub seed: TrackerQueue,
}

impl Tracker {
    /// The key is case-sensitive (section 6).
    pub(super) fn known_queue(&self, key: &str) -> Option<&Queue> {
        self.queues.iter().find(|queue| queue.seed.key == key)
    }

    pub(super) fn asked_queue(&self, asked: &Asked<'_>) -> Result<&Queue, Refused> {
        self.known_queue(asked.part(0)).ok_or_else(|| Refused::new(404, "Очередь не существует."))
    }

    pub(super) fn queue_reference(&self, key: &str) -> Value {
        let address = format!("{}/v3/queues/{key}", self.base);
        let known = self.known_queue(key);
        known.map_or(
            Value::Null,
            |queue| json!({"self": address, "id": queue.id.to_string(), "key": key, "display": queue.seed.name}),
        )
    }

    pub(super) fn get_queue(&self, asked: &Asked<'_>) -> Reply {
        let queue = self.asked_queue(asked)?;
        let key = &queue.seed.key;
        let lead = self.users.first().map(|user| user.reference(&self.base));
        Ok(done(
            200,
            &json!({"self": format!("{}/v3/queues/{key}", self.base), "id": queue.id, "key": key, "version": 1,
            "name": queue.seed.name, "lead": lead, "assignAuto": false, "allowExternals": false}),
        ))
    }

    pub(super) fn local_fields(&self, asked: &Asked<'_>) -> Reply {
        let key = Some(self.asked_queue(asked)?.seed.key.as_str());
        let own = self.fields.iter().filter(|field| field.queue.as_deref() == key);
        Ok(done(200, &own.map(|field| field.whole(self, asked.language)).collect()))
    }
}
