//! What the writer and the callers both see.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::SqliteOptions;
use super::file::{free_bytes, open};
use super::linking::Followers;
use super::pending::Book;
use super::statements::{self, LaneRow, PendingInLane, Segment};
use crate::outbox::shown::ALL_ISSUES;
use crate::outbox::writes::Writes;
use crate::outbox::{ChannelGauge, Gauges, IssueLane, LaneId, Millis, OutboxError};

pub struct Shared {
    pub options: SqliteOptions,
    book: Mutex<Book>,
    channels: Mutex<Vec<(i64, String)>>,
    pub writes: Writes,
    pub followers: Followers,
}

impl Shared {
    pub fn new(options: SqliteOptions, book: Book, followers: Followers) -> Self {
        let (book, channels) = (Mutex::new(book), Mutex::default());
        Self { options, book, channels, writes: Writes::default(), followers }
    }

    /// Why accepts are refused, when less than the reserve is free.
    pub fn reserve_is_reached(&self) -> Option<impl Fn() -> OutboxError + use<>> {
        let reserve_mb = self.options.reserve_mb;
        let folder = self.options.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let short = free_bytes(folder.unwrap_or(Path::new(".")))? < reserve_mb.saturating_mul(1024 * 1024);
        short.then_some(move || OutboxError::ReserveReached { reserve_mb })
    }

    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the store. Whoever had it and did not close it died, perhaps between a message and its settle: the head of
    /// each lane may stand in its channel.
    pub fn begin(&self, db: &mut Connection) -> rusqlite::Result<()> {
        let begin = db.transaction()?;
        if !statements::is_closed(&begin)? {
            let pending = &self.book().pending;
            for lane in pending.lanes() {
                statements::mark_head(&begin, lane, pending.span(lane))?;
            }
        }
        statements::set_closed(&begin, false)?;
        begin.commit()
    }

    /// Leaves the store in order. Whoever still holds a lane was cut off.
    pub fn end(&self, db: &mut Connection) -> rusqlite::Result<()> {
        let end = db.transaction()?;
        let book = self.book();
        for lane in book.lanes.leased() {
            statements::mark_head(&end, lane, book.pending.span(lane))?;
        }
        statements::set_closed(&end, true)?;
        end.commit()
    }

    pub fn open_writable(&self) -> rusqlite::Result<Connection> {
        open(&self.options.path, true)
    }

    /// Brings the memory of the lanes up to what the tables say. Leases stay. Only the writer may do this once it runs:
    /// whatever else it commits comes before or after what is told here, never between.
    pub fn know_lanes(&self, told: Told, now: Millis) {
        let mut book = self.book();
        let busy: HashSet<LaneId> = told.pending.iter().map(|pending| pending.lane).collect();
        for row in told.lanes.into_iter().filter(|row| !IssueLane::has_account(&row.account) || busy.contains(&row.id))
        {
            book.lanes.add_lane(row.id, &row.account, row.hold.map(|hold| hold.at_start(now)));
        }
        book.count_anew(&told.pending, told.last);
        *self.channels.lock().unwrap_or_else(PoisonError::into_inner) = told.names;
    }

    pub fn gauges(&self, db: &Connection, now: Millis) -> rusqlite::Result<Gauges> {
        let names: HashMap<i64, String> =
            self.channels.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect();
        let (pending, busy, lanes_held, accounts_held) = {
            let Book { lanes, pending } = &*self.book();
            let busy = pending.lanes().map(|lane| {
                let account = lanes.account(lane).filter(|account| IssueLane::has_account(account));
                (lane, pending.span(lane), account.map(|account| (account.to_owned(), pending.count(lane))))
            });
            let busy: Vec<_> = busy.collect();
            (pending.channels().collect::<Vec<_>>(), busy, lanes.held_by_account(now), lanes.accounts_held())
        };
        let mut channels: HashMap<String, ChannelGauge> =
            names.values().map(|name| (name.clone(), ChannelGauge::default())).collect();
        for (channel, pending) in pending {
            if let Some(gauge) = names.get(&channel).and_then(|name| channels.get_mut(name)) {
                gauge.pending = pending.max(0) as u64;
            }
        }
        for (lane, span, of_issue) in busy {
            let count = match &of_issue {
                Some((account, _)) if account == IssueLane::ROUTING => continue, // these are no deliveries yet
                Some((_, count)) => Some(*count),
                None => None,
            };
            let Some((_, channel, planned_at)) = statements::oldest_of_lane(db, lane, span)? else { continue };
            let name = if count.is_some() { Some(ALL_ISSUES) } else { names.get(&channel).map(String::as_str) };
            let Some(name) = name else { continue };
            let gauge = channels.entry(name.to_owned()).or_default();
            gauge.pending += count.unwrap_or_default().max(0) as u64;
            gauge.oldest = Some(gauge.oldest.map_or(planned_at, |oldest| oldest.min(planned_at)));
        }
        let ledger = statements::ledger(db)?;
        let mut gauges = Gauges { ledger, channels, lanes_held, accounts_held, ..Gauges::default() };
        self.writes.add_to(&mut gauges);
        Ok(gauges)
    }
}

/// What the tables say of lanes and channels at one moment.
pub struct Told {
    lanes: Vec<LaneRow>,
    pending: Vec<PendingInLane>,
    /// Nothing is pending after.
    pub last: Segment,
    names: Vec<(i64, String)>,
}

impl Told {
    pub fn read(db: &Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            lanes: statements::lanes(db)?,
            pending: statements::pending_by_lane(db)?,
            last: Segment::of(statements::last_ids(db)?.1),
            names: statements::channels(db)?.into_iter().map(|(id, name, _)| (id, name)).collect(),
        })
    }
}
