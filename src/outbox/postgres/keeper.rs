//! What keeps a replica's lease, ends those that nobody keeps any more, and looks for lanes that nobody serves.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::connect::Db;
use super::core::{Core, Refusal};
use super::statements::{self, Beat, BusyIssue};
use super::{placing, wire};
use crate::outbox::Millis;

/// How often the lease is renewed, and everything looked through: the net under all wake-ups.
const EVERY: Duration = Duration::from_secs(2);
/// How often a replica looks that hears nothing of the others.
const POLL: Duration = Duration::from_millis(250);
/// A lease that was not renewed for so long is ended by whoever watched it all the time: with a beat until it is first seen
/// and one more at the end, 14 s after its last renewal.
pub const DEAD_AFTER: Duration = Duration::from_secs(10);
/// Between two looks of a watch. Others may need as long as this once more, and a beat, until they have renewed theirs.
const BLIND_AFTER: Duration = Duration::from_secs(5);
/// Its holder sends nothing in the last part of that time: a call may take as long to leave.
const MARGIN: Duration = Duration::from_secs(2);

/// By more than the machines' clocks can have gone apart since.
const WENT_BACK: Duration = Duration::from_secs(1);

/// Leases as this replica sees them.
#[derive(Default)]
struct Watch {
    /// Each with when its beat was first seen.
    seen: HashMap<i64, (Beat, Duration)>,
    looked: Duration,
}

impl Watch {
    /// Takes in what the table shows at `now`, and gives the leases that were not renewed for too long. Who could not look
    /// for a while watches anew: where the database stood still, nobody could renew his lease.
    fn look(&mut self, beats: &[Beat], now: Duration) -> Vec<Beat> {
        let mut before = std::mem::take(&mut self.seen);
        if now.saturating_sub(std::mem::replace(&mut self.looked, now)) > BLIND_AFTER {
            before.clear();
        }
        for beat in beats {
            let since = before.get(&beat.lease).filter(|(known, _)| known == beat).map_or(now, |(_, since)| *since);
            self.seen.insert(beat.lease, (*beat, since));
        }
        let dead = self.seen.values().filter(|(_, since)| now.saturating_sub(*since) >= DEAD_AFTER);
        dead.map(|(beat, _)| *beat).collect()
    }
}

/// Begins the replica's lease.
pub async fn begin(core: &Core) -> Result<(), Refusal> {
    let db = core.db().await?;
    statements::note_time(&**db).await?;
    let sent = core.clock.elapsed();
    let served = core.book().said.clone();
    let (lease, time) = statements::begin_lease(&**db, &holder(), &served).await?;
    agree(core, &db, time, sent).await?;
    let fleet = statements::leases(&**db).await?;
    drop(db); // what follows wants one, and there may be no more
    core.count_pending().await?;
    {
        let mut book = core.book();
        book.begin(lease);
        book.see(&fleet);
    }
    core.certain(sent + DEAD_AFTER - MARGIN);
    wire::say(core, "fleet").await;
    Ok(())
}

/// Runs until the outbox closes.
pub async fn keep(core: Arc<Core>, closing: CancellationToken) {
    let mut watch = Watch::default();
    let mut next = core.clock.elapsed() + EVERY;
    loop {
        let hears = core.wire.hears.load(Ordering::Relaxed);
        let at = if hears { next } else { next.min(core.clock.elapsed() + POLL) };
        let asked = tokio::select! {
            () = closing.cancelled() => return,
            () = core.look.notified() => true,
            () = core.clock.sleep_until_elapsed(at) => false,
        };
        let is_time = core.clock.elapsed() >= next;
        if !is_time && !asked {
            if let Err(refusal) = poll(&core).await {
                core.unanswered(refusal);
            }
            continue;
        }
        if is_time {
            next = core.clock.elapsed() + EVERY;
        }
        let failures = core.writes.failures();
        match beat(&core, &mut watch, is_time).await {
            Ok(()) => core.writes.go_on(failures),
            Err(refusal) => drop(core.failed(refusal)),
        }
    }
}

/// Finds what others say, and nobody hears.
async fn poll(core: &Core) -> Result<(), Refusal> {
    read_holds(core).await?;
    look(core, false).await
}

/// Makes sure of the lease for a while, or begins another: then nothing is held any more.
pub async fn renew(core: &Core) -> Result<(), Refusal> {
    let _one_at_a_time = core.renewing.lock().await; // or each begins a lease of its own
    let (db, began) = (core.db().await?, std::time::Instant::now());
    let (sent, lease) = (core.clock.elapsed(), core.book().lease);
    let renewed = match lease {
        Some(lease) => statements::renew_lease(&**db, lease).await?,
        None => None,
    };
    if let Some(time) = renewed {
        agree(core, &db, time, sent).await?;
        drop(db);
        core.certain(sent + DEAD_AFTER - MARGIN);
    } else {
        drop(db);
        warn!("the replica was not heard of for too long, and others serve its lanes; it begins anew");
        begin(core).await?;
    }
    core.count_commit(began);
    Ok(())
}

/// All replicas go by the database's time, which it told in an answer to what was `sent` then. It may have gone back, at a
/// fail-over or where somebody set it: what waits by the time before would wait for so much longer.
async fn agree(core: &Core, db: &Db, time: Millis, sent: Duration) -> Result<(), Refusal> {
    let took = core.clock.elapsed().saturating_sub(sent);
    if core.clock.has_agreed() && !tells_more(time, core.clock.now_ms(), took) {
        return Ok(());
    }
    let at = sent + took / 2;
    let back = core.clock.ahead_of(time, at);
    if back <= WENT_BACK + took / 2 {
        core.clock.agree(time, at);
        return Ok(());
    }
    warn!(
        seconds = back.as_secs(),
        "the database's time went back; what waits by the time before waits no longer for it"
    );
    statements::note_time(&***db).await?;
    let by = back.as_millis() as Millis;
    let mut book = core.book(); // nobody asks for turns between these two
    core.clock.agree(time, at);
    book.go_back(by);
    Ok(())
}

/// Whether an answer that `took` so long, and told the database's `time`, says more than what is known, which is `now`. It
/// was given at some moment since the question: what fits to one of them may come of an answer that took less.
fn tells_more(time: Millis, now: Millis, took: Duration) -> bool {
    !(time..=time + took.as_millis() as Millis + 1).contains(&now)
}

/// Renews the lease and looks everything through; `whoever`: see [`look`].
async fn beat(core: &Core, watch: &mut Watch, whoever: bool) -> Result<(), Refusal> {
    statements::note_time(&**core.db().await?).await?;
    renew(core).await?;
    let beats = statements::leases(&**core.db().await?).await?;
    for dead in watch.look(&beats, core.clock.elapsed()) {
        if end_dead(core, dead).await? {
            info!(lease = dead.lease, "a replica is gone; its lanes are free");
        }
    }
    let fleet = statements::leases(&**core.db().await?).await?;
    core.book().see(&fleet);
    core.count_pending().await?;
    read_holds(core).await?;
    if !core.wire.hears.load(Ordering::Relaxed) && !core.book().is_alone() {
        let accounts = core.book().lanes.accounts();
        accounts.iter().for_each(|account| core.slots_wanted(account));
    }
    leave(core).await?;
    placing::lead_rest(core).await?;
    look(core, whoever).await
}

/// Takes over what replicas wrote of the accounts.
pub async fn read_holds(core: &Core) -> Result<(), Refusal> {
    loop {
        let written = core.book().holds_written;
        let held = statements::account_holds(&**core.db().await?, core.our_time()).await?;
        core.asked();
        if core.book().see_holds(held, written) {
            return Ok(());
        }
    }
}

/// Ends all leases but this replica's.
pub async fn end_others(core: &Core) -> Result<(), Refusal> {
    let own = core.book().lease;
    for other in statements::leases(&**core.db().await?).await?.into_iter().filter(|beat| Some(beat.lease) != own) {
        end_dead(core, other).await?;
    }
    let fleet = statements::leases(&**core.db().await?).await?;
    core.book().see(&fleet);
    Ok(())
}

async fn end_dead(core: &Core, dead: Beat) -> Result<bool, Refusal> {
    let mut db = core.db().await?;
    let whole = db.transaction().await?;
    if !statements::take_lease(&whole, dead).await? {
        return Ok(false);
    }
    statements::end_lease(&whole, dead.lease, None, i64::MAX).await?;
    whole.commit().await?;
    Ok(true)
}

/// Looks where something is pending: in lanes that are held here, and in free ones. `whoever`: free lanes are claimed
/// although another replica comes first for them, which had its time.
pub async fn look(core: &Core, whoever: bool) -> Result<(), Refusal> {
    let lanes = core.book().all_served();
    let busy = statements::busy(&**core.db().await?, &lanes).await?;
    core.asked();
    let of_issues = statements::busy_issues(&**core.db().await?, core.our_time()).await?;
    core.asked();
    let mut book = core.book();
    for BusyIssue { name, way, lease, hold } in of_issues {
        let is_ours = match lease {
            Some(lease) => Some(lease) == book.lease,
            None => whoever || book.is_first(way.conversation),
        };
        if is_ours {
            book.learn(&name, way, hold);
            book.expect(way.lane);
        }
    }
    for lane in busy {
        let is_ours = match lane.lease {
            // Also where it was claimed or given up and the answer was lost: a claim finds out.
            Some(lease) => Some(lease) == book.lease,
            None => whoever || book.comes_first(lane.lane),
        };
        if is_ours {
            book.expect(lane.lane);
        }
    }
    Ok(())
}

/// Gives up conversations that are not for this replica to keep, once nothing is being sent there, and those of which it
/// does not know that it holds them: an answer was lost.
async fn leave(core: &Core) -> Result<(), Refusal> {
    let _nobody_claims = core.claiming.lock().await;
    let kept = core.book().leave();
    let lease = core.lease()?;
    Ok(statements::give_up_all_but(&**core.db().await?, lease, &kept).await?)
}

/// Gives everything back: what is still being sent may stand in its channel.
pub async fn end(core: &Core) -> Result<(), Refusal> {
    let (Some(lease), sending) = ({
        let book = core.book();
        (book.lease, book.lanes.leased().map(|lane| lane.0).collect::<Vec<_>>())
    }) else {
        return Ok(());
    };
    let mut db = core.db().await?;
    let whole = db.transaction().await?;
    statements::end_lease(&whole, lease, Some(&sending), i64::MAX).await?;
    whole.commit().await?;
    core.book().lease = None;
    wire::say(core, "fleet").await;
    Ok(())
}

/// Who holds a lease, for people.
fn holder() -> String {
    let host = rustix::system::uname();
    format!("{}:{}", host.nodename().to_string_lossy(), std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_dead_when_it_was_watched_standing_still() {
        let mut watch = Watch::default();
        let (mine, other) = (|beat| Beat { lease: 1, beat, places: 0 }, |beat| Beat { lease: 2, beat, places: 0 });
        let at = Duration::from_secs;
        assert_eq!(watch.look(&[mine(1), other(7)], at(100)), []);
        assert_eq!(watch.look(&[mine(2), other(7)], at(105)), []);
        assert_eq!(watch.look(&[mine(3), other(7)], at(109)), []);
        assert_eq!(watch.look(&[mine(4), other(7)], at(110)), [other(7)]);
        assert_eq!(watch.look(&[mine(5), other(8)], at(111)), [], "it was renewed after all");
        assert_eq!(watch.look(&[mine(6)], at(118)), []);
        assert_eq!(watch.look(&[mine(7), other(8)], at(122)), [], "who was gone is watched anew");
    }

    #[test]
    fn the_databases_time_is_not_taken_from_a_slow_answer_that_fits_to_what_is_known() {
        let took = Duration::from_millis;
        assert!(!tells_more(10_000, 10_000, took(400)), "it was given just now");
        assert!(!tells_more(10_000, 10_400, took(400)), "it was on its way back all the time");
        assert!(tells_more(10_000, 10_405, took(400)), "the clock is ahead");
        assert!(tells_more(10_000, 9_999, took(400)), "the clock is behind");
        assert!(tells_more(10_000, 10_150, took(2)), "a quick answer finds what a slow one left");
        assert!(tells_more(10_000, 100_000, took(5_000)), "also a slow one tells where it was set");
    }

    #[test]
    fn nobody_is_called_dead_by_who_did_not_look() {
        let mut watch = Watch::default();
        let (other, at) = (Beat { lease: 2, beat: 7, places: 0 }, Duration::from_secs);
        assert_eq!(watch.look(&[other], at(100)), []);
        assert_eq!(watch.look(&[other], at(105)), []);
        assert_eq!(watch.look(&[other], at(118)), [], "the database stood still: he could not renew it either");
        assert_eq!(watch.look(&[other], at(123)), []);
        assert_eq!(watch.look(&[other], at(128)), [other]);
    }
}
