//! What replicas tell each other, by `LISTEN` and `NOTIFY`: hints alone. Who hears nothing finds the same by looking.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_postgres::AsyncMessage;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::connect::Database;
use super::core::{Core, Refusal};
use super::line::breath;
use super::words::plain;
use super::{chain, keeper, statements};
use crate::outbox::LaneId;

/// Of `NOTIFY`. Databases do not hear each other.
const CHANNEL: &str = "campanile";
/// A replica that does not hear itself in this time hears nobody.
const ECHO_WITHIN: Duration = Duration::from_secs(1);
const CONNECT_AGAIN_MS: std::ops::Range<u64> = 500..2_000;
/// After one word to the others, what comes up in this time goes with the next: each word is a commit, and wakes them all.
const BETWEEN: Duration = Duration::from_millis(5);
/// Longest payload is 8,000 bytes.
const LANES_AT_ONCE: usize = 350;

/// What is to be told, until somebody is told it.
#[derive(Default)]
pub struct Wire {
    lanes: Mutex<BTreeSet<LaneId>>,
    holds: AtomicBool,
    /// Accounts of whose slots this replica wants more.
    slots: Mutex<BTreeSet<String>>,
    telling: Notify,
    /// Whether `LISTEN` has an effect here.
    pub hears: AtomicBool,
}

impl Wire {
    pub fn pending(&self, lanes: impl IntoIterator<Item = LaneId>) {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).extend(lanes);
        self.telling.notify_one();
    }

    pub fn holds_changed(&self) {
        self.holds.store(true, Ordering::Relaxed);
        self.telling.notify_one();
    }

    pub fn slots_wanted(&self, account: &str) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).insert(account.to_owned());
        self.telling.notify_one();
    }
}

/// Tells the others, as long as there are any: what comes up while one statement is on its way goes with the next.
pub async fn tell(core: Arc<Core>, closing: CancellationToken) {
    loop {
        tokio::select! {
            () = core.wire.telling.notified() => {}
            () = closing.cancelled() => return,
        }
        let lanes: Vec<LaneId> = taken(&core.wire.lanes).into_iter().collect();
        let slots = taken(&core.wire.slots);
        let holds = core.wire.holds.swap(false, Ordering::Relaxed);
        if core.book().is_alone() {
            continue; // who has just come looks for himself
        }
        for lanes in lanes.chunks(LANES_AT_ONCE) {
            let ids: String = lanes.iter().map(|lane| format!(" {}", lane.0)).collect();
            say(&core, &format!("lanes{ids}")).await;
        }
        if holds {
            say(&core, "holds").await;
        }
        for account in slots {
            let lease = core.book().lease.unwrap_or_default();
            say(&core, &format!("slots {lease} {account}")).await;
        }
        breath(BETWEEN).await;
    }
}

fn taken<T: Default>(from: &Mutex<T>) -> T {
    std::mem::take(&mut *from.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Also at the end of a lease: whoever is left looks at once.
pub async fn say(core: &Core, what: &str) {
    let end = async { Ok::<_, Refusal>(statements::notify(&**core.db().await?, CHANNEL, what).await?) };
    if let Err(refusal) = end.await {
        debug!(error = %core.unanswered(refusal), "the other replicas could not be told; they will look");
    }
}

/// Listens until the outbox closes, over connections of its own.
pub async fn hear(core: Arc<Core>, database: Arc<Database>, closing: CancellationToken, mut random: fastrand::Rng) {
    loop {
        let end = tokio::select! {
            end = listen(&core, &database) => end,
            () = closing.cancelled() => return,
        };
        core.wire.hears.store(false, Ordering::Relaxed);
        core.look.notify_one(); // something may have been said that nobody heard
        debug!(error = %end, "the connection that listens is gone");
        // Not all at once after the database was away.
        let again = Duration::from_millis(random.u64(CONNECT_AGAIN_MS));
        tokio::select! {
            () = core.clock.sleep(again) => {}
            () = closing.cancelled() => return,
        }
    }
}

/// Ends with the connection.
async fn listen(core: &Core, database: &Database) -> String {
    let (client, mut connection) = match database.connect().await {
        Ok(both) => both,
        Err(error) => return error.to_string(),
    };
    let echo = format!("echo {}", core.clock.elapsed().as_nanos());
    let heard = Notify::new();
    let asks = async {
        if let Err(why) = database.answer(client.batch_execute(&format!("listen {CHANNEL}"))).await {
            return why;
        }
        // By another connection: a pooler by transactions gives each what is said within its own.
        let told = async { Ok::<_, Refusal>(statements::notify(&**core.db().await?, CHANNEL, &echo).await?) };
        if let Err(refusal) = told.await {
            return chain(&core.unanswered(refusal));
        }
        let is_late = tokio::select! {
            () = heard.notified() => false,
            () = core.clock.sleep(ECHO_WITHIN) => true,
        };
        if is_late {
            warn!(
                "LISTEN has no effect, as behind a pooler by transactions: the replica looks for work four times a second"
            );
            heard.notified().await; // it may: the database stood still for a moment
        }
        core.wire.hears.store(true, Ordering::Relaxed);
        core.look.notify_one(); // for what was said before
        info!("replicas wake each other");
        std::future::pending().await
    };
    let hears = async {
        loop {
            match poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(AsyncMessage::Notification(said))) if said.payload() == echo => heard.notify_one(),
                Some(Ok(AsyncMessage::Notification(said))) => take(core, said.payload()).await,
                Some(Ok(_)) => {}
                Some(Err(error)) => return plain(error),
                None => return "it was closed".to_owned(),
            }
        }
    };
    tokio::select! {
        end = asks => end,
        end = hears => end,
    }
}

/// A replica hears itself too, and what a newer version may say.
async fn take(core: &Core, said: &str) {
    let (what, rest) = said.split_once(' ').unwrap_or((said, ""));
    match what {
        "lanes" => drop(core.expect(rest.split(' ').filter_map(|id| id.parse().ok()).map(LaneId))),
        "holds" => {
            if let Err(refusal) = keeper::read_holds(core).await {
                debug!(error = %core.unanswered(refusal), "the holds could not be read");
            }
        }
        "slots" => {
            if let Some((by, account)) = rest.split_once(' ')
                && by.parse().ok() != core.book().lease
            {
                core.slots_wanted(account);
            }
        }
        "fleet" => core.look.notify_one(),
        _ => {}
    }
}
