//! The outbox's promises (see `src/outbox/mod.rs`), for every implementation. A second one implements [`Store`] and
//! gets a line at the end.

mod ending;
mod issues;
mod lanes;
mod late;
mod links;
mod taking;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use campanile::clock::Clock;
use campanile::delivery::{DeliveryId, Duty, EventId, Messenger, Outcome, Planned, Receipt, Style};
use campanile::outbox::{
    Accepted, Arrival, Aside, Attempt, Course, Due, Filter, Fingerprint, Hold, Lease, Ledger, Millis, Next, Outbox,
    OutboxError, Part, Place, Postgres, PostgresOptions, Replay, Settlement, Sqlite, SqliteOptions, State, Thread,
    Until,
};
use serde_json::value::RawValue;
use tempfile::TempDir;

use crate::harness::postgres::Database;

const START: Millis = 1_778_577_302_000;
const HOUR: Millis = 3_600_000;
const DAY: Millis = 24 * HOUR;

/// Where an outbox keeps what it promises to keep: it can be opened again, as by the next process.
trait Store {
    async fn new(clock: Clock, max_pending: i64) -> Self;
    async fn open(&self) -> Result<Arc<dyn Outbox>, OutboxError>;
}

struct SqliteStore {
    folder: TempDir,
    clock: Clock,
    max_pending: i64,
}

impl Store for SqliteStore {
    async fn new(clock: Clock, max_pending: i64) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock, max_pending }
    }

    async fn open(&self) -> Result<Arc<dyn Outbox>, OutboxError> {
        let path = self.folder.path().join("store/campanile.db");
        let options = SqliteOptions { path, reserve_mb: 1, max_pending: self.max_pending };
        Ok(Arc::new(Sqlite::open(options, self.clock.clone())?))
    }
}

struct PostgresStore {
    database: Database,
    clock: Clock,
    max_pending: i64,
}

impl Store for PostgresStore {
    async fn new(clock: Clock, max_pending: i64) -> Self {
        Self { database: Database::new().await, clock, max_pending }
    }

    /// Whoever had a lease did not renew it for long.
    async fn open(&self) -> Result<Arc<dyn Outbox>, OutboxError> {
        let options = PostgresOptions { url: self.database.url(), max_pending: self.max_pending };
        let outbox = Postgres::open(options, self.clock.clone(), &mut fastrand::Rng::with_seed(7)).await?;
        outbox.end_others().await?;
        Ok(Arc::new(outbox))
    }
}

/// A store with its clock and the outbox that is open on it.
struct Bench<S> {
    store: S,
    clock: Clock,
    outbox: Arc<dyn Outbox>,
    places: Vec<Place>,
}

impl<S: Store> Bench<S> {
    /// Two channels of one account, `a` and `b`, and `t` of another.
    async fn new() -> Self {
        Self::with(i64::MAX).await
    }

    async fn with(max_pending: i64) -> Self {
        let clock = Clock::held(jiff::Timestamp::from_millisecond(START).unwrap());
        let store = S::new(clock.clone(), max_pending).await;
        let outbox = store.open().await.unwrap();
        let places = vec![place("a", "slack:C1"), place("b", "slack:C2"), place("t", "telegram:1")];
        outbox.place(places.clone()).await.unwrap();
        Self { store, clock, outbox, places }
    }

    /// The next process on the same store. The one before had no time to say goodbye.
    async fn reopen(&mut self) {
        self.outbox = S::new(self.clock.clone(), 0).await.open().await.unwrap(); // so that the one before is dropped first
        self.outbox = self.store.open().await.unwrap();
        self.outbox.place(self.places.clone()).await.unwrap();
    }

    async fn accept(&self, n: u8, channels: &[&str]) -> EventId {
        match self.outbox.accept(arrival(n, self.clock.now_ms(), channels)).await.unwrap() {
            Accepted::New { event, deliveries } => {
                assert_eq!(deliveries, Some(channels.len()));
                event
            }
            Accepted::Duplicate { event } => panic!("{event} is no duplicate"),
        }
    }

    /// A lease on the one lane that can be claimed, with what is pending there.
    async fn head(&self, account: &str) -> (Lease, Vec<Due>) {
        let mut leases = self.outbox.claim(account, 8).await.unwrap();
        assert_eq!(leases.len(), 1, "lanes to claim");
        let lease = leases.remove(0);
        let heads = self.outbox.heads(&lease, 100).await.unwrap();
        (lease, heads)
    }

    async fn is_claimable(&self, account: &str) -> bool {
        let leases = self.outbox.claim(account, 8).await.unwrap();
        let some = !leases.is_empty();
        leases.into_iter().for_each(|lease| self.outbox.release(lease, Until::Now));
        some
    }

    async fn settle(&self, lease: &Lease, delivery: DeliveryId, to: Next) -> Result<(), OutboxError> {
        self.outbox.settle(lease, settlement(delivery, self.clock.now_ms(), to)).await
    }

    /// Ends everything that is pending in the account's one lane.
    async fn end_all(&self, account: &str, to: Next) {
        let (lease, heads) = self.head(account).await;
        for due in heads {
            self.settle(&lease, due.id, to.clone()).await.unwrap();
        }
        self.outbox.release(lease, Until::Now);
    }

    /// Deletes what may go, and tells how many rows each batch took.
    async fn expire(&self, now: Millis, cutoff: Millis) -> Vec<usize> {
        let mut batches = Vec::new();
        loop {
            let expired = self.outbox.expire(now, cutoff).await.unwrap();
            batches.push(expired.rows);
            if !expired.more {
                return batches;
            }
        }
    }

    async fn ledger(&self) -> Ledger {
        let ledger = self.outbox.gauges().await.unwrap().ledger;
        assert!(ledger.balances(), "{ledger:?}");
        ledger
    }

    async fn states(&self) -> Vec<State> {
        let filter = Filter { limit: 1_000, ..Filter::default() };
        let mut rows = self.outbox.deliveries(filter).await.unwrap();
        rows.sort_by_key(|row| row.id);
        rows.iter().map(|row| row.state).collect()
    }
}

fn place(channel: &str, lane: &str) -> Place {
    let messenger = if lane.starts_with("slack") { Messenger::Slack } else { Messenger::Telegram };
    let channel = channel.to_owned().try_into().unwrap();
    Place {
        channel,
        messenger,
        account: messenger.as_str().into(),
        conversation: lane.to_owned(),
        lane: lane.to_owned(),
    }
}

fn arrival(n: u8, now: Millis, channels: &[&str]) -> Arrival {
    let planned = channels.iter().map(|channel| Planned {
        duty: Duty::Message {
            channel: (*channel).to_owned().try_into().unwrap(),
            template: "issue".into(),
            style: Style::Post,
        },
        route: "all".into(),
        give_up_at: now + 72 * HOUR,
        filtered: None,
    });
    Arrival {
        received_at: now,
        fingerprint: Fingerprint([n; 16]),
        remember_until: now + HOUR,
        source: "tracker".to_owned().try_into().unwrap(),
        kind: "issue.created".into(),
        issue: Some(format!("TEST-{n}")),
        document: format!(r#"{{"issue":{{"key":"TEST-{n}"}}}}"#),
        course: Course::Routed(planned.collect()),
        guard: None,
        object: None,
        called: None,
        room: None,
    }
}

fn settlement(delivery: DeliveryId, at: Millis, to: Next) -> Settlement {
    let parts = (to == Next::Delivered).then(|| vec![part("one", Some("1.000001"))]);
    Settlement { delivery, at, to, parts, attempt: None, thread: None, hold: None, marks: Vec::new() }
}

fn part(text: &str, ts: Option<&str>) -> Part {
    let content = RawValue::from_string(format!(r#"{{"text":"{text}"}}"#)).unwrap();
    let receipt = ts.map(|ts| Receipt::Slack { channel: "C1".into(), ts: ts.into(), thread: None });
    Part { content, receipt }
}

fn attempt(at: Millis, outcome: Outcome, detail: &str) -> Option<Attempt> {
    Some(Attempt { at, took_ms: 12, outcome, detail: detail.into() })
}

fn dead() -> Next {
    Next::Dead { reason: "refused".into() }
}

fn keys(heads: &[Due]) -> Vec<String> {
    heads.iter().map(|due| due.document[17..].trim_end_matches(['"', '}']).to_owned()).collect()
}

macro_rules! contract {
    ($($part:ident: $($promise:ident)*;)*) => {
        mod sqlite {
            $($(#[tokio::test] async fn $promise() { super::$part::$promise::<super::SqliteStore>().await })*)*
        }
        mod postgres {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() { super::$part::$promise::<super::PostgresStore>().await })*)*
        }
    };
}

contract! {
    taking:
        what_was_answered_is_there_after_the_process_died
        an_event_and_its_deliveries_come_whole_or_not_at_all
        a_call_is_known_again_until_its_time_is_over
        many_accepts_at_once_are_all_kept_and_numbered
        more_than_max_pending_is_refused_until_something_ends
        both_ledgers_balance_after_every_change;
    late:
        a_logged_call_is_known_by_what_was_called_around_its_time
        what_came_late_changes_nothing_of_what_is_remembered
        a_logged_call_that_many_find_at_once_is_stored_once;
    lanes:
        a_lane_is_held_by_one_and_read_in_order
        nothing_is_written_under_a_lease_that_has_ended
        a_turn_goes_on_until_nothing_is_left
        a_lane_with_many_does_not_delay_a_lane_with_one
        lanes_that_become_due_together_take_turns
        work_is_announced
        a_holder_that_breaks_off_leaves_its_head_marked
        a_wait_of_our_own_does_not_outlive_the_process
        a_wait_that_the_messenger_named_outlives_the_process
        what_waits_for_a_person_is_probed_at_once_by_the_next_process
        a_back_off_ends_early_and_a_pace_or_a_hold_does_not;
    ending:
        attempts_receipts_and_marks_are_kept
        what_is_pending_follows_its_channel
        what_is_pending_in_a_channel_that_is_gone_stays
        a_moved_chat_is_remembered
        a_thread_belongs_to_its_lane_and_is_forgotten_in_time
        a_replayed_dead_letter_is_due_in_its_old_place
        a_replay_keeps_the_parts_only_where_one_was_placed
        a_replay_goes_where_the_channel_leads_now
        only_what_ended_long_ago_is_deleted
        old_rows_go_in_small_batches
        a_closed_outbox_says_so;
    links:
        a_link_is_made_once_with_its_event_and_outlives_its_process
        a_link_whose_event_is_refused_is_not_made
        an_issue_is_followed_by_the_channels_it_is_linked_to
        a_link_by_any_key_of_its_issue_is_one_link
        a_moved_issue_is_followed_by_its_new_key_too
        links_are_listed_page_by_page
        what_was_told_last_of_an_object_is_what_happened_last
        an_object_is_forgotten_when_nothing_is_linked_to_it
        a_channel_tells_of_its_last_message_and_its_hold;
    issues:
        each_issue_has_a_lane_of_its_own
        placing_channels_leaves_lanes_of_issues_alone
        a_lane_at_rest_is_made_known_again_by_its_next_delivery
        a_hold_of_a_lane_at_rest_is_kept
        an_issue_is_forgotten_with_its_last_event
        an_event_to_route_is_counted_and_routed_in_its_order
        an_event_that_says_nothing_after_all_is_ignored
        routing_under_an_ended_lease_writes_nothing
        events_to_route_count_as_waiting
        what_is_filtered_is_listed_and_may_be_wanted_after_all
        either_mark_makes_a_duplicate
        a_mark_only_grows
        a_settlement_that_is_not_ours_marks_nothing
        the_head_of_an_issue_is_marked_when_its_holder_died;
}

/// Two schedulers over one file would both send.
#[tokio::test]
async fn a_second_process_on_the_file_is_refused() {
    let bench = Bench::<SqliteStore>::new().await;
    let refused = bench.store.open().await.err().map(|error| error.to_string());
    assert!(refused.as_ref().is_some_and(|why| why.contains("another campanile is running")), "{refused:?}");
}

#[tokio::test]
async fn the_files_belong_to_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::<SqliteStore>::new().await;
    bench.accept(1, &["a"]).await;
    for file in std::fs::read_dir(bench.store.folder.path().join("store")).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
    }
}
