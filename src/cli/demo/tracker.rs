//! The demo's Tracker: a queue with people, a workflow and the triggers that `connect` would write; and what happened
//! there a moment ago.

use std::net::SocketAddr;

use secrecy::SecretString;
use serde::Deserialize;

use crate::clock::Clock;
use crate::simulator::page::VISITOR;
use crate::simulator::{TrackerOptions, TrackerQueue, TrackerSimulator, TrackerTransition, TrackerUser};
use crate::tracker::trigger::{Wanted, Watched};

pub const QUEUE: &str = "DEMO";
/// The bridge's own.
pub const TOKEN: &str = "tracker-demo";
/// Of `config.yaml`: Tracker's source.
const SOURCE: &str = "tracker";
const SAMPLES: &str = include_str!("samples.json");

/// One thing that happened before the visitor came. All of them are done as people do them, so that triggers fire.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Sample {
    Open { summary: String, priority: String, by: String },
    Move { key: String, way: String, by: String },
    Comment { key: String, text: String, by: String },
}

/// Tracker before anything happened in it.
pub fn options(clock: &Clock) -> TrackerOptions {
    let users = [
        TrackerUser::new("campanile-bot", "Campanile", ""),
        TrackerUser::new("ivan", "Ivan", "Petrov"),
        TrackerUser::new("anna", "Anna", "Orlova"),
        TrackerUser::new("maria", "Maria", "Sokolova"),
        TrackerUser::new(VISITOR, "You", ""),
    ];
    let options = TrackerOptions::new(clock.clone()).queue(TrackerQueue::new(QUEUE, "Demo").workflow(workflow()));
    users.into_iter().fold(options, TrackerOptions::user).token(TOKEN, "campanile-bot")
}

/// Open, in work, ready for testing or back from there, closed: no screens, and few enough buttons for a card.
fn workflow() -> [TrackerTransition; 5] {
    const OPEN: &str = "open";
    const WORK: &str = "inProgress";
    const READY: &str = "readyForTest";
    const AGAIN: &str = "needsImprovement";
    let way = TrackerTransition::new;
    [
        way("start_progress", ["Начать работу", "Start progress"], &[OPEN, AGAIN], WORK),
        way("to_test", ["Можно тестировать", "Ready for testing"], &[OPEN, WORK, AGAIN], READY),
        way("send_back", ["Вернуть на доработку", "Send back"], &[OPEN, WORK, READY], AGAIN),
        way("close", ["Закрыть", "Close"], &[READY], "closed"),
        way("reopen", ["Переоткрыть", "Reopen"], &["closed"], OPEN),
    ]
}

/// Makes the triggers in the form that is recommended for a real queue. `bridge`: where it listens.
///
/// # Errors
/// Tracker's words where it would not take one.
pub fn connect(tracker: &TrackerSimulator, bridge: SocketAddr, secret: &SecretString) -> Result<(), String> {
    for watched in [Watched::Created, Watched::StatusChanged, Watched::CommentAdded, Watched::Updated] {
        let wanted = Wanted::of(watched, &format!("http://{bridge}"), SOURCE, secret);
        tracker.make_trigger(QUEUE, &wanted.json())?;
    }
    Ok(())
}

/// What is to happen before the visitor does anything.
///
/// # Errors
/// A sample is wrong.
pub fn samples() -> serde_json::Result<Vec<Sample>> {
    serde_json::from_str(SAMPLES)
}

/// Lets the samples happen, each when what came of the one before stands in Slack: the messages then tell a story. A
/// visitor who was faster may have left no way for one; it is left out. `stands`: ends when so many messages stand.
pub async fn happen(tracker: &TrackerSimulator, samples: Vec<Sample>, stands: impl AsyncFn(u64)) {
    let mut posts = 0;
    for sample in samples {
        let done = match sample {
            Sample::Open { summary, priority, by } => tracker.open(QUEUE, &summary, &priority, &by).map(drop),
            Sample::Move { key, way, by } => tracker.walk(&key, &way, &by),
            Sample::Comment { key, text, by } => tracker.comment(&key, &text, &by),
        };
        match done {
            Ok(()) => posts += 1,
            Err(why) => tracing::info!(%why, "a sample has become impossible; it is left out"),
        }
        stands(posts).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn a_visitor_who_is_faster_than_the_samples_ends_nothing() {
        let tracker = TrackerSimulator::start(super::super::LOOPBACK, options(&Clock::machine())).await.unwrap();
        tracker.open(QUEUE, "first", "normal", VISITOR).unwrap();
        tracker.walk("DEMO-1", "start_progress", VISITOR).unwrap();
        let waits = Mutex::new(Vec::new());
        happen(&tracker, samples().unwrap(), async |posts| waits.lock().unwrap().push(posts)).await;
        assert_eq!(*waits.lock().unwrap(), [1, 1, 2, 3], "the second of four is in progress already");
        assert_eq!(tracker.comments("DEMO-1").len(), 1);
        assert!(tracker.issue("DEMO-3")["summary"].as_str().unwrap().starts_with("Checkout"));
    }
}
