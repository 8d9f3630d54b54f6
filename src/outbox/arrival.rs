//! What arrives: an event on its way into the outbox, where it leads, and what became of it.

use std::any::Any;
use std::sync::Arc;

use super::{Called, Millis, Object};
use crate::delivery::{DeliveryId, EventId, Planned};
use crate::event::SourceName;

/// What two calls have in common when they are the same call, sent twice.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Hash, Ord, PartialOrd)]
pub struct Fingerprint(pub [u8; 16]);

/// An event and where it leads, on its way into the outbox.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub received_at: Millis,
    pub fingerprint: Fingerprint,
    /// A call with the same fingerprint before this time is a duplicate.
    pub remember_until: Millis,
    pub source: SourceName,
    pub kind: String,
    pub issue: Option<String>,
    /// The event's document, JSON, without `event.id`.
    pub document: String,
    pub course: Course,
    /// The same thing in another call's words: known, it is a duplicate too, for as long.
    pub guard: Option<Fingerprint>,
    /// What it tells of a review or a bench: kept with it.
    pub object: Option<Object>,
    /// Given where its sender keeps a log.
    pub called: Option<Called>,
    /// Its share of the memory for bodies: dropped when the event is stored or refused, and not when its caller stops
    /// waiting.
    pub room: Option<Arc<dyn Any + Send + Sync>>,
}

/// Where an arriving event leads.
#[derive(Clone, Debug)]
pub enum Course {
    Routed(Vec<Planned>),
    /// It is to be routed later, in the order of this line.
    ToRoute {
        line: String,
    },
}

impl Course {
    /// How many rows will wait for somebody.
    pub(crate) fn waiting(&self) -> usize {
        match self {
            Self::Routed(planned) => Self::waiting_of(planned),
            Self::ToRoute { .. } => 1,
        }
    }

    pub(crate) fn waiting_of(planned: &[Planned]) -> usize {
        planned.iter().filter(|planned| planned.filtered.is_none()).count()
    }

    /// How many deliveries its sender is told of.
    pub(crate) fn deliveries(&self) -> Option<usize> {
        match self {
            Self::Routed(planned) => Some(planned.len()),
            Self::ToRoute { .. } => None,
        }
    }
}

/// What became of an event that was to be routed.
#[derive(Clone, Debug)]
pub struct Routing {
    /// The row that kept its place in the line.
    pub delivery: DeliveryId,
    pub to: Routed,
}

#[derive(Clone, Debug)]
pub enum Routed {
    /// With what is known of it now.
    Event { kind: String, issue: Option<String>, document: String, planned: Vec<Planned> },
    /// It says nothing after all.
    Ignored,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Accepted {
    /// `deliveries` is not known before the event is routed.
    New {
        event: EventId,
        deliveries: Option<usize>,
    },
    Duplicate {
        event: EventId,
    },
}

/// A call that became no event.
#[derive(Clone, Debug)]
pub enum Aside {
    /// A ping, or a kind that says nothing.
    Ignored,
    /// No step of the reading found an issue's key. Kept for the admin.
    Unreadable { source: SourceName, at: Millis, why: String, head: Vec<u8> },
}
