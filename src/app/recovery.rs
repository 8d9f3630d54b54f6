//! Calls of Tracker that were missed: Tracker gives up after five attempts, about four minutes, and what nobody answered
//! in that time is nowhere but in its webhook log. There it is found, at start and every few minutes, and accepted late.
//!
//! What is missing is decided by what was accepted, not by what the log says of the answer: of a call that was answered
//! 500 and stored all the same, or twice, nothing is missing, and one that a proxy answered with a page of its own is.
//! Only what the bridge itself refuses (400, 401, 413) is nobody's. Of what was answered 2xx it is enough that a call
//! about the same was taken in that moment: that the log holds a body as it was sent is only inferred (T 3.4), and nothing
//! may come twice by it. A call is the same as one that was accepted when source, method, query and body are, within the
//! time in which a second one would be its duplicate; so both clocks must agree. The mark of what was read moves over what
//! was read whole, and stands in the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use jiff::SignedDuration;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::clock::Clock;
use crate::delivery::Mark;
use crate::lane::Works;
use crate::lifecycle::Lifecycle;
use crate::outbox::{Millis, Outbox, OutboxError, RECOVERED};
use crate::source::{Intake, Kind, Logged, Source};
use crate::telemetry::ByQueue;
use crate::tracker::client::Client;
use crate::tracker::error::Error;
use crate::tracker::log::{OfSource, Walk};

/// A younger call may still come by itself: its five attempts span 200 s (T 1.4), and clocks differ.
const GRACE: Millis = 5 * 60 * 1_000;
/// An older call is not taken: a message so late would have been given up.
const LOOK_BACK: Millis = 72 * 60 * 60 * 1_000;
/// What retention may have forgotten of the accepted ones is younger than it says by less than this.
const FORGOTTEN_BEFORE: Millis = 60 * 60 * 1_000;
/// Questions of one round. What is left then is the next round's.
const QUESTIONS: usize = 100;
/// Tracker tells its time in whole seconds, and an answer takes its time.
const MOST_APART: SignedDuration = SignedDuration::from_secs(60);
/// After the token was refused.
const ASK_REFUSED_AGAIN: Duration = Duration::from_secs(60 * 60);
/// Replicas of a version that did not note when a call was made may go on for so long beside the first that does.
const UPGRADE: Millis = 60 * 60 * 1_000;
/// Since when is noted what was called.
const SINCE: &str = RECOVERED;

/// What a configuration says of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Recover {
    pub queues: Vec<String>,
    /// `None`: never.
    pub every: Option<Duration>,
}

/// The task.
pub struct Recovery {
    pub works: Arc<Works>,
    pub intake: Arc<Intake>,
    /// A reload puts another in its place.
    pub settings: watch::Receiver<Recover>,
    /// How long settled rows are kept.
    pub keep: watch::Receiver<Duration>,
    pub public_url: Option<String>,
    /// See [`since`].
    pub since: Millis,
    pub lifecycle: Lifecycle,
}

/// What a round leaves to the next one.
#[derive(Default)]
struct Memory {
    /// How much time of a source's log in a queue could be asked for at once.
    steps: HashMap<String, Millis>,
    /// By queue: until when it is not asked, with which token.
    refused: HashMap<String, (Duration, HeaderValue)>,
    /// The queue that begins.
    first: usize,
}

/// What a round did.
#[derive(Default)]
struct Round {
    recovered: usize,
    known: usize,
    unreadable: usize,
    lost: usize,
    questions: usize,
}

/// Why the rest of a queue is the next round's.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Tracker(#[from] Error),
    #[error("the store fails: {0}")]
    Store(#[from] OutboxError),
}

/// Since when the store knows what was called: calls from before it are never missing. To be asked before the first call
/// is taken.
///
/// # Errors
/// The store's.
pub async fn since(outbox: &Arc<dyn Outbox>, clock: &Clock) -> Result<Millis, OutboxError> {
    if let Some(since) = outbox.mark(SINCE).await? {
        return Ok(since);
    }
    let others = outbox.fleet().is_some_and(|fleet| fleet.replicas > 1);
    let since = clock.now_ms() + if others { UPGRADE } else { 0 };
    outbox.raise(Mark { name: SINCE.to_owned(), number: since }).await?;
    Ok(since)
}

impl Recovery {
    /// Runs until a stop is asked for.
    pub async fn run(mut self) {
        let mut memory = Memory::default();
        while !self.lifecycle.stopping.is_cancelled() {
            let settings = self.settings.borrow_and_update().clone();
            let work = async {
                let tracker = self.works.plan.borrow().tracker.clone();
                match (settings.every, tracker, &self.public_url) {
                    (Some(every), Some(tracker), Some(public_url)) if !settings.queues.is_empty() => {
                        // Or what the bridge itself did would be taken for another's.
                        let _ = self.works.own.subscribe().wait_for(Option::is_some).await;
                        self.round(&settings.queues, &tracker, public_url, &mut memory).await;
                        Some(every)
                    }
                    (Some(_), Some(_), None) => {
                        info!("missed calls are not recovered: `server.public_url` tells which triggers are ours");
                        None
                    }
                    (Some(_), Some(_), Some(_)) => {
                        info!("missed calls are not recovered: `tracker.queues` names no queue");
                        None
                    }
                    _ => None,
                }
            };
            let wait = tokio::select! {
                wait = work => wait,
                () = self.lifecycle.stopping.cancelled() => return,
            };
            let pause = async {
                match wait {
                    Some(wait) => self.works.clock.sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = pause => {}
                () = self.lifecycle.stopping.cancelled() => {}
                Ok(()) = self.settings.changed() => {
                    memory.refused.clear();
                    self.works.metrics.recovery_refused.clear();
                }
            }
        }
    }

    async fn round(&self, queues: &[String], tracker: &Client, public_url: &str, memory: &mut Memory) {
        let (mut round, mut left) = (Round::default(), QUESTIONS);
        if self.is_apart(tracker).await {
            return;
        }
        let first = memory.first;
        for queue in (0..queues.len()).map(|number| &queues[(first + number) % queues.len()]) {
            let refused = memory.refused.get(queue);
            let token = tracker.token().authorization();
            if left == 0 || refused.is_some_and(|(until, used)| *until > self.works.clock.elapsed() && *used == token) {
                continue;
            }
            memory.first = memory.first.wrapping_add(1);
            let gauge = self.works.metrics.recovery_refused.get_or_create(&ByQueue { queue: queue.clone() }).clone();
            match self.queue(queue, tracker, public_url, (&mut *memory, &mut round, &mut left)).await {
                Ok(()) => {
                    gauge.set(0);
                    memory.refused.remove(queue);
                }
                Err(Broken::Tracker(error)) if is_refused(&error) => {
                    gauge.set(1);
                    let again = self.works.clock.elapsed() + ASK_REFUSED_AGAIN;
                    if memory.refused.insert(queue.clone(), (again, token)).is_none() {
                        warn!(queue, %error, "missed calls are not recovered: the token may not read the queue's triggers \
                            and their log; its owner must be an administrator of the queue. Asked again hourly");
                    }
                }
                Err(error) => {
                    warn!(queue, %error, "not all missed calls could be looked for; going on with the next round")
                }
            }
        }
        round.questions = QUESTIONS - left;
        let Round { recovered, known, unreadable, lost, questions } = round;
        if recovered + unreadable + lost > 0 {
            info!(recovered, known, unreadable, lost, questions, "looked for calls that were missed");
        } else {
            debug!(known, questions, "no calls were missed");
        }
    }

    /// Whether our clock and Tracker's do not agree. What was accepted by one and logged by the other cannot be compared
    /// then: every call would seem to be missing.
    async fn is_apart(&self, tracker: &Client) -> bool {
        let Ok((_, Some(theirs))) = tracker.free().myself_at().await else { return false };
        let apart = self.works.clock.now().duration_since(theirs);
        let is_apart = apart.abs() > MOST_APART;
        if is_apart {
            let seconds = apart.as_secs();
            warn!(
                seconds,
                "missed calls are not looked for: this machine's clock is not Tracker's; set its time (NTP)"
            );
        }
        is_apart
    }

    async fn queue(
        &self,
        queue: &str,
        tracker: &Client,
        public_url: &str,
        (memory, round, left): (&mut Memory, &mut Round, &mut usize),
    ) -> Result<(), Broken> {
        let api = tracker.free();
        *left -= 1;
        let triggers = api.triggers(queue).await?;
        let rules = self.intake.rules.borrow().clone();
        let mut sources: Vec<&Source> = rules.sources.values().filter(|it| matches!(it.kind, Kind::Tracker)).collect();
        sources.sort_by(|one, other| one.name.cmp(&other.name));
        for source in sources {
            let name = format!("{SINCE}:{}:{queue}", source.name);
            let of = OfSource::among(&triggers, public_url, source.name.as_str());
            let (now, keep) = (self.works.clock.now_ms(), self.keep.borrow().as_millis() as Millis);
            let oldest = now - LOOK_BACK.min(keep - FORGOTTEN_BEFORE);
            let at = self.works.outbox.mark(&name).await?.unwrap_or(self.since).max(oldest);
            let step = memory.steps.get(&name).copied().unwrap_or(LOOK_BACK);
            let clock = &self.works.clock;
            let mut walk = Walk { api: &api, clock, queue, of, at, to: now - GRACE, step };
            let end = self.walk(source, &name, &mut walk, (&mut *round, &mut *left)).await;
            memory.steps.insert(name, walk.step);
            end?;
        }
        Ok(())
    }

    async fn walk(
        &self,
        source: &Source,
        mark: &str,
        walk: &mut Walk<'_>,
        (round, left): (&mut Round, &mut usize),
    ) -> Result<(), Broken> {
        while let Some(stretch) = walk.next(left).await? {
            let logged = stretch.tried.into_iter();
            let logged = logged.map(|it| Logged {
                at: it.at,
                method: it.method,
                query: it.query,
                body: it.body,
                answered: it.answered,
            });
            let late = self.intake.take_missed(source, &logged.collect::<Vec<_>>()).await?;
            round.recovered += late.recovered;
            round.known += late.known;
            round.unreadable += late.unreadable;
            round.lost += stretch.lost;
            self.works.outbox.raise(Mark { name: mark.to_owned(), number: stretch.until }).await?;
        }
        Ok(())
    }
}

/// Whether its owner's rights are what is missing, and no look will tell more soon.
fn is_refused(error: &Error) -> bool {
    matches!(error, Error::Forbidden(_) | Error::NotFound(_))
}
