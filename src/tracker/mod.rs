//! What talks to Tracker: its API, the actions on its issues, what an event lacks and Tracker knows, and the triggers
//! that call us. Facts: reference/tracker.md (T), by section.

pub mod action;
mod api;
pub mod client;
pub mod connect;
pub mod error;
mod field;
pub mod format;
pub mod guest;
pub mod import;
pub mod issue;
pub mod known;
pub mod log;
pub mod look;
pub mod merge;
pub mod moved;
pub mod names;
pub mod own;
pub mod queue;
pub mod raw;
pub mod token;
pub mod trigger;

#[cfg(test)]
mod fixture;
