//! Slack: the Web API with a bot token, and incoming webhooks.

pub mod ask;
pub mod client;
pub mod error;
pub mod format;

mod connector;
mod own;
