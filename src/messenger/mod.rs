//! The messengers: what goes out to Slack and Telegram, and what their answers mean. Both have the same files: who
//! knows one knows both.

pub mod sender;
pub mod slack;
pub mod telegram;

mod content;

pub use content::Content;
