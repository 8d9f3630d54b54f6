//! What a visitor does on the page: to an issue, as a person in Tracker, or to its pull request, as a reviewer.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bridge::Unreached;
use super::others::Review;
use super::{Page, VISITOR};

/// Most issues of one press.
const MOST_AT_ONCE: u32 = 20;

/// One press of a button.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Deed {
    /// New issues, all of the same name but for a number.
    Open {
        summary: String,
        priority: String,
        times: u32,
    },
    /// One of the transitions that the issue shows.
    Move {
        key: String,
        way: String,
    },
    Comment {
        key: String,
        text: String,
    },
    /// A verdict on the issue's pull request.
    Review {
        key: String,
        verdict: Review,
    },
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Done {
    /// Tracker has it; its triggers tell the bridge by themselves.
    Issues { keys: Vec<String> },
    /// The code host has sent it.
    Sent(Sent),
}

/// A call to the bridge as it was made, and the answer.
#[derive(Debug, Serialize)]
pub struct Sent {
    pub endpoint: String,
    pub headers: Vec<(String, String)>,
    pub body: Value,
    pub status: u16,
    pub answer: Value,
}

#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// In Tracker's own words.
    #[error("Tracker refuses: {0}")]
    Refused(String),
    #[error(transparent)]
    Bridge(#[from] Unreached),
}

impl Page {
    /// Does it. Tracker's own pages work while its API is switched to fail: the API alone is the bridge's way.
    ///
    /// # Errors
    /// Tracker would refuse it, or the bridge cannot be reached.
    pub(super) async fn act(&self, deed: Deed) -> Result<Done, Failed> {
        let tracker = &self.tracker.simulator;
        let keys = match deed {
            Deed::Open { summary, priority, times } => {
                let times = times.clamp(1, MOST_AT_ONCE);
                let name = |number| match times {
                    1 => summary.clone(),
                    _ => format!("{summary} · {number}/{times}"),
                };
                let open = |number| tracker.open(&self.queue, &name(number), &priority, VISITOR);
                (1..=times).map(open).collect::<Result<_, _>>().map_err(Failed::Refused)?
            }
            Deed::Move { key, way } => {
                tracker.walk(&key, &way, VISITOR).map_err(Failed::Refused)?;
                vec![key]
            }
            Deed::Comment { key, text } => {
                tracker.comment(&key, &text, VISITOR).map_err(Failed::Refused)?;
                vec![key]
            }
            Deed::Review { key, verdict } => return self.review(&key, verdict).await,
        };
        Ok(Done::Issues { keys })
    }

    async fn review(&self, key: &str, verdict: Review) -> Result<Done, Failed> {
        let issue = self.tracker.simulator.issue(key);
        let summary = issue["summary"].as_str();
        let summary = summary.ok_or_else(|| Failed::Refused(format!("there is no issue {key}")))?;
        let number = self.reviews.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Done::Sent(self.bridge.review(verdict, key, summary, number, self.clock.now()).await?))
    }
}
