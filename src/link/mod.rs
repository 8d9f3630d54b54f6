//! Tracker's external-application protocol: what issues are linked to, and at which addresses Tracker asks.

pub mod object;
pub mod template;
