//! What becomes of messages when the messengers fail: nothing is lost, the order is kept, and duplicates stand only
//! where nobody can know.

mod every;
mod holds;
mod outages;

use std::sync::Arc;
use std::time::Duration;

use campanile::delivery::{DeliveryId, Duty, Messenger, Planned, Style};
use campanile::event::ChannelName;
use campanile::outbox::{Arrival, Course, Fingerprint, Outbox, Place, Sqlite, SqliteOptions};

use crate::harness::{Setup, World};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Slack conversations by number.
fn slack(n: usize) -> String {
    format!("C00000000{n:02}")
}

fn slack_channels(channels: usize) -> Setup {
    Setup::default().channels(channels, |n| format!("slack: {}", slack(n)))
}

/// Telegram groups by number.
fn chat(n: usize) -> i64 {
    -1_001_000_000_000 - n as i64
}

fn telegram_channels(channels: usize) -> Setup {
    Setup::default().channels(channels, |n| format!("telegram: {}", chat(n)))
}

/// How the attempts at a delivery ended, the first one first, without the one that delivered it.
async fn outcomes(world: &World, delivery: DeliveryId) -> Vec<String> {
    let row = world.delivery(delivery.0).await;
    let attempts = row["failed_attempts"].as_array().unwrap().iter();
    attempts.map(|attempt| attempt["outcome"].as_str().unwrap().to_owned()).rev().collect()
}

/// No call comes while the clock stands: whatever was due has been asked for more than once.
async fn stays_at(world: &World, calls: u64) {
    for _ in 0..20 {
        world.api("/api/v1/deliveries?limit=1").await;
        assert_eq!(world.slack.counts().calls + world.telegram.counts().calls, calls);
    }
}

impl World {
    /// So many deliveries, in turn over the channels of [`Setup::channels`], put into the store while nobody sends.
    async fn seed(&self, deliveries: usize, channels: usize) {
        let path = self.folder.path().join("data/campanile.db");
        let options = SqliteOptions { path, reserve_mb: 1, max_pending: i64::MAX };
        let outbox = Arc::new(Sqlite::open(options, self.clock.clone()).unwrap());
        let name = |n: usize| ChannelName::try_from(format!("c{n}")).unwrap();
        let place = |n| Place {
            channel: name(n),
            messenger: Messenger::Slack,
            account: "slack".into(),
            conversation: format!("slack:{}", slack(n)),
            lane: format!("slack:{}", slack(n)),
        };
        outbox.place((0..channels).map(place).collect()).await.unwrap();
        let now = self.clock.now_ms();
        let mut accepts = tokio::task::JoinSet::new();
        for n in 0..deliveries {
            let mut fingerprint = [0; 16];
            fingerprint[..8].copy_from_slice(&n.to_le_bytes());
            let (route, template) = ("all".into(), "issue".into());
            let planned = Planned {
                duty: Duty::Message { channel: name(n % channels), template, style: Style::Post },
                route,
                give_up_at: now + 259_200_000,
                filtered: None,
            };
            let arrival = Arrival {
                received_at: now,
                fingerprint: Fingerprint(fingerprint),
                remember_until: now,
                source: "tracker".to_owned().try_into().unwrap(),
                kind: "issue.created".into(),
                issue: Some("TEST-1".into()),
                document: format!(r#"{{"issue":{{"key":"TEST-1","summary":"message {n}"}}}}"#),
                course: Course::Routed(vec![planned]),
                guard: None,
                object: None,
                called: None,
                room: None,
            };
            let outbox = outbox.clone();
            accepts.spawn(async move { outbox.accept(arrival).await.unwrap() });
        }
        accepts.join_all().await;
        outbox.close().await;
    }
}
