//! Telegram: the Bot API with a bot token.

pub mod ask;
pub mod client;
pub mod error;
pub mod format;
