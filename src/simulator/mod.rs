//! Slack, Telegram and Tracker as servers on loopback, as strict as the real ones: for tests, the benchmark, `demo`.
//!
//! They know nothing of the code that calls them. All limits and rules stand here a second time, from the services' own
//! pages, or a simulator could not find ours wrong. Where a service is elastic or silent, the simulator takes the stricter side.
//!
//! A call comes in over HTTP ([`Simulator`]), is read ([`Call`]), may meet a [`Fault`], is judged and answered by
//! [`slack`], [`telegram`] or [`tracker`], and stands in the [`Record`] with what became of it.

mod call;
mod fault;
mod pace;
pub mod page;
mod record;
mod reply;
mod server;
pub mod slack;
pub mod telegram;
pub mod tracker;
#[cfg(test)]
mod wire;

pub use call::{Call, Given};
pub use fault::{Fault, LimitForm, Rule};
pub use record::{Arrival, Counts, Link, Posted, Record, Seen, Span};
pub use server::Simulator;
pub use slack::{SlackChannel, SlackOptions, SlackPace, SlackSimulator, SlackWebhook};
pub use telegram::{ChatKind, ChatState, TelegramChat, TelegramOptions, TelegramPace, TelegramSimulator, Topic};
pub use tracker::{
    FieldKind, TrackerApplication, TrackerIssue, TrackerOptions, TrackerQueue, TrackerSimulator, TrackerTransition,
    TrackerUser,
};

/// Length as both services are safest counted: in UTF-16 units.
fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// The addresses that both services turn into links by themselves.
fn bare_links(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '|' | '"'))
        .filter_map(|word| {
            let start = word.find("https://").or_else(|| word.find("http://"))?;
            word.get(start..)
        })
        .map(|url| url.trim_end_matches(['.', ',', ')', '!', '?', ';', ':']))
        .filter(|url| !url.ends_with("//"))
}
