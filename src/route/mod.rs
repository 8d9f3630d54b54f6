//! Routes: from an event to the channels that should know and to what is done to its issue.
//!
//! A [`Route`] is what an admin wrote; [`Router::compile`] makes a [`Router`] of all of them, or findings with places.
//! Conditions are CEL. They read the event's document: its roots always exist, absent members are left out, whole
//! numbers are `int`. A condition that fails or gives no boolean counts as not matched, is counted, and is explained.

mod check;
mod plan;
mod router;
mod token;
mod value;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::Serialize;

pub use plan::{GIVE_UP_AFTER_HOURS, LoopGuard, Plan, Planner};
pub use router::Router;

use crate::delivery::{Action, Style};
use crate::event::ChannelName;
use crate::finding::Place;

/// One rule of `routes:`, from top to bottom.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub name: String,
    /// `None`: always.
    pub when: Option<Condition>,
    pub channels: Vec<ChannelName>,
    /// What is done to the event's issue, in this order. Their texts are Handlebars, checked.
    pub actions: Vec<Action>,
    /// `None`: the template of the event's family.
    pub template: Option<String>,
    pub style: Style,
    /// The walk goes on below this route although it matched.
    pub continues: bool,
    pub disabled: bool,
    /// `None`: what the channel says.
    pub give_up_after_hours: Option<u32>,
}

/// The text of a condition, and where its parts stand in the file it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: String,
    runs: Vec<(usize, Place)>,
}

impl Condition {
    /// `runs` are the stretches of `text` that stand in the file as they are: the byte where a stretch begins and its
    /// place, in order. Without any, every part is said to stand at the file's first character.
    pub fn new(text: impl Into<String>, runs: Vec<(usize, Place)>) -> Self {
        Self { text: text.into(), runs }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where the part that begins at byte `offset` of the text stands in the file.
    pub fn place(&self, offset: usize) -> Place {
        let after = self.runs.partition_point(|(start, _)| *start <= offset);
        match self.runs.get(after.saturating_sub(1)) {
            Some((start, place)) => {
                let between = self.text.get(*start..offset).map_or(0, |text| text.chars().count());
                Place { column: place.column + between, ..*place }
            }
            None => Place { line: 1, column: 1 },
        }
    }
}

/// One message that a route asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asked {
    pub channel: ChannelName,
    /// The route that planned it: the first of those that name the channel.
    pub route: Arc<str>,
    /// `None`: the template of the event's family.
    pub template: Option<Arc<str>>,
    pub style: Style,
    /// `None`: what the channel says.
    pub give_up_after_hours: Option<u32>,
}

/// One action that a route asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AskedAction {
    pub action: Action,
    pub route: Arc<str>,
    pub give_up_after_hours: Option<u32>,
}

/// What the routes make of one event.
#[derive(Debug, Default)]
pub struct Routed {
    /// In the order of the routes, each channel once.
    pub planned: Vec<Asked>,
    /// In the order of the routes.
    pub actions: Vec<AskedAction>,
    /// Conditions that gave no answer. To be counted by route; their routes did not match.
    pub failed: Vec<Failed>,
}

/// A condition that gave no answer for one event.
#[derive(Debug)]
pub struct Failed {
    pub route: Arc<str>,
    pub why: Failure,
}

/// Why a condition gave no answer. The texts hold no values of the event.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("there is no `{member}` in this event; `has(…)` asks for a member that may be absent")]
    Absent { member: String },
    #[error("the condition gives {kind}, neither true nor false")]
    NotBoolean { kind: String },
    #[error("the condition cannot be evaluated: {what}")]
    Evaluation { what: &'static str },
}

/// What one route made of one event, for `campanile explain`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Explained {
    pub route: String,
    pub matched: bool,
    pub why: String,
}
