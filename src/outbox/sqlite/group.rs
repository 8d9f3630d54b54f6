//! What each change does inside a transaction, and what it means once that is committed.

use rusqlite::Connection;

use super::Channels;
use super::linking::Turned;
use super::seen::{self, Known};
use super::shared::Told;
use super::statements::{self, LaneRow, NewDelivery, PendingInLane, Segment, Settled};
use super::writer::Writer;
use crate::delivery::{DeliveryId, Duty, EventId, Mark, Planned};
use crate::outbox::{
    Accepted, Arrival, Aside, Course, Expired, Fingerprint, Hold, IssueLane, LaneId, Lease, Ledger, Linking, Millis,
    Next, OutboxError, Place, Replay, Routed, Routing, Settlement, State, issue_lane,
};

/// Dead letters made due again in one transaction.
const REPLAY_BATCH: usize = 1_000;
const EXPIRE_BATCH: usize = 200;
/// Fingerprints looked at in one transaction.
const FORGET_BATCH: usize = 2_000;
const UNREADABLE_KEPT: i64 = 1_000;

/// A change to the store. Applied to a transaction it has an [`Effect`], which counts once that is committed.
pub enum Change {
    Accept(Arrival),
    Link { linking: Box<Linking>, begins: bool },
    LinkMoved { present: String, before: Vec<String> },
    SetAside(Aside),
    Settle(Lease, Settlement),
    Route(Lease, Routing),
    Raise { mark: Mark, at: Millis },
    Place { places: Vec<Place>, now: Millis },
    HoldAccount(String, Option<Hold>),
    Move { from: i64, to: i64 },
    Mark(LaneId),
    Replay { which: Replay, give_up_at: Millis },
    Expire { now: Millis, cutoff: Millis },
}

/// What a committed change does outside the database.
pub enum Effect {
    Accepted(Accepted, Places),
    Linked { accepted: Accepted, places: Places, turned: Turned },
    Followed(Vec<Turned>),
    Routed { lane: LaneId, channel: i64, places: Places, deliveries: usize },
    Settled { lane: LaneId, channel: i64, ended: bool, hold: Option<Option<Hold>> },
    Placed { channels: Channels, told: Box<Told>, now: Millis },
    AccountHeld(String, Option<Hold>),
    Revived(Places),
    Expired(Expired, Walked),
    None,
}

/// What became pending, and of the lanes those of issues: they may be new.
#[derive(Default)]
pub struct Places {
    pub pending: Vec<PendingInLane>,
    pub lanes: Vec<LaneRow>,
}

/// How far the retention has walked.
#[derive(Clone, Copy, Default)]
pub struct Walked {
    pub events_to: i64,
    pub seen_to: Fingerprint,
}

/// A transaction in the making.
pub struct Group<'a> {
    pub db: &'a Connection,
    pub writer: &'a Writer,
    pub last_event: i64,
    pub last_delivery: i64,
    pub ledger: Ledger,
    pub seen: seen::Turn,
    pub statements: u64,
    /// Where the channels lead, once this group has changed it.
    pub channels: Option<Channels>,
}

/// A change that is refused by itself, or a database that failed under it.
pub enum Refusal {
    Answer(OutboxError),
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<OutboxError> for Refusal {
    fn from(error: OutboxError) -> Self {
        Self::Answer(error)
    }
}

impl Group<'_> {
    pub fn change(&mut self, change: &Change) -> Result<Effect, Refusal> {
        match change {
            Change::Accept(arrival) => self.accept(arrival),
            Change::Link { linking, begins } => self.link(linking, *begins),
            Change::LinkMoved { present, before } => self.link_moved(present, before),
            Change::SetAside(aside) => self.set_aside(aside),
            Change::Settle(lease, settlement) => self.settle(lease, settlement),
            Change::Route(lease, routing) => self.route(lease, routing),
            Change::Raise { mark, at } => {
                self.statements += 1;
                statements::raise(self.db, mark, *at)?;
                Ok(Effect::None)
            }
            Change::Place { places, now } => self.place(places, *now),
            Change::HoldAccount(account, hold) => {
                self.statements += 1;
                statements::hold_account(self.db, account, hold.as_ref())?;
                Ok(Effect::AccountHeld(account.clone(), hold.clone()))
            }
            Change::Move { from, to } => {
                self.statements += 1;
                statements::move_chat(self.db, *from, *to)?;
                Ok(Effect::None)
            }
            Change::Mark(lane) => {
                self.statements += 2;
                statements::mark_head(self.db, *lane, self.writer.shared.book().pending.span(*lane))?;
                Ok(Effect::None)
            }
            Change::Replay { which, give_up_at } => self.replay(which, *give_up_at),
            Change::Expire { now, cutoff } => self.expire(*now, *cutoff),
        }
    }

    pub fn accept(&mut self, arrival: &Arrival) -> Result<Effect, Refusal> {
        let waiting = self.writer.waiting + self.ledger.pending + self.ledger.to_route;
        let most = self.writer.shared.options.max_pending;
        if waiting + arrival.course.waiting() as i64 > most {
            return Err(OutboxError::TooManyPending { pending: waiting, most }.into());
        }
        if let Course::Routed(planned) = &arrival.course {
            self.know_channels(planned)?;
        }
        if let Some(between) = arrival.late() {
            return self.accept_late(arrival, between);
        }
        for fingerprint in std::iter::once(arrival.fingerprint).chain(arrival.guard) {
            self.statements += 1;
            let seen = self.writer.seen.find(self.db, &self.seen, fingerprint, arrival.received_at)?;
            if let Some(event) = seen {
                self.ledger.received += 1;
                self.ledger.duplicate += 1;
                let duplicate = Accepted::Duplicate { event: EventId(event) };
                return Ok(Effect::Accepted(duplicate, Places::default()));
            }
        }
        self.store(arrival)
    }

    /// A call that came by its sender's log.
    fn accept_late(&mut self, arrival: &Arrival, (after, before): (Millis, Millis)) -> Result<Effect, Refusal> {
        self.statements += 2;
        if let Some(event) = statements::called_between(self.db, arrival.fingerprint, after, before)? {
            let known = Accepted::Duplicate { event: EventId(event) };
            return Ok(Effect::Accepted(known, Places::default()));
        }
        // One that came by itself later is remembered for as long as it was to be.
        let known = self.writer.seen.known(self.db, &self.seen, arrival.fingerprint)?;
        let until = known.map_or(arrival.remember_until, |known| known.until.max(arrival.remember_until));
        self.store(&Arrival { remember_until: until, ..arrival.clone() })
    }

    fn store(&mut self, arrival: &Arrival) -> Result<Effect, Refusal> {
        self.last_event += 1;
        let (event, first_delivery) = (self.last_event, self.last_delivery + 1);
        let known = Known { event, until: arrival.remember_until };
        self.seen.add(arrival.fingerprint, known);
        if let Some(guard) = arrival.guard {
            statements::remember(self.db, guard, known)?; // at once: an event's row has room for one
            self.statements += 1;
        }
        let rows = arrival.course.deliveries().unwrap_or(1);
        statements::insert_event(self.db, event, arrival, (rows > 0).then_some(first_delivery), rows)?;
        self.statements += 1;
        if let Some(object) = &arrival.object {
            self.statements += 1;
            statements::keep_object(self.db, object, arrival)?;
        }
        self.ledger.received += 1;
        let places = match &arrival.course {
            Course::Routed(planned) => {
                self.ledger.routed += 1;
                self.plan(event, arrival.received_at, planned)?
            }
            Course::ToRoute { line } => {
                self.ledger.to_route += 1;
                let mut places = Places::default();
                self.insert(event, arrival.received_at, &Planned::to_route(line), &mut places)?;
                places
            }
        };
        let accepted = Accepted::New { event: EventId(event), deliveries: arrival.course.deliveries() };
        Ok(Effect::Accepted(accepted, places))
    }

    /// Nothing is written of a plan with a channel that nobody has placed.
    fn know_channels(&self, planned: &[Planned]) -> Result<(), Refusal> {
        for planned in planned {
            if let Duty::Message { channel, .. } = &planned.duty {
                self.channel(channel.as_str())?;
            }
        }
        Ok(())
    }

    fn channel(&self, name: &str) -> Result<(i64, i64), Refusal> {
        let channels = self.channels.as_ref().unwrap_or(&self.writer.channels);
        Ok(*channels.get(name).ok_or_else(|| OutboxError::UnknownChannel(name.to_owned()))?)
    }

    /// Inserts an event's deliveries and counts them.
    fn plan(&mut self, event: i64, at: Millis, planned: &[Planned]) -> Result<Places, Refusal> {
        let mut places = Places::default();
        for planned in planned {
            self.insert(event, at, planned, &mut places)?;
            self.ledger.planned += 1;
            match planned.filtered {
                Some(_) => self.ledger.filtered += 1,
                None => self.ledger.pending += 1,
            }
        }
        Ok(places)
    }

    fn insert(&mut self, event: i64, at: Millis, planned: &Planned, places: &mut Places) -> Result<(), Refusal> {
        let (channel, lane) = match (&planned.duty, IssueLane::of(&planned.duty)) {
            (Duty::Message { channel, .. }, _) => self.channel(channel.as_str())?,
            (_, Some(lane)) => {
                self.statements += 1;
                let row = statements::issue_lane(self.db, &lane)?;
                let way = (row.channel, row.lane.id.0);
                places.lanes.push(row.lane);
                way
            }
            (Duty::Action { .. } | Duty::Route { .. }, None) => return Ok(()), // they have a lane
        };
        self.last_delivery += 1;
        let (template, duty, threaded) = issue_lane::columns(&planned.duty)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        statements::insert_delivery(
            self.db,
            &NewDelivery {
                id: self.last_delivery,
                event,
                lane,
                channel,
                planned_at: at,
                give_up_at: planned.give_up_at,
                route: &planned.route,
                template,
                threaded,
                duty: duty.as_deref(),
                filtered: planned.filtered,
            },
        )?;
        self.statements += 1;
        if planned.filtered.is_none() {
            let first = Segment::of(self.last_delivery);
            places.pending.push(PendingInLane { lane: LaneId(lane), channel, count: 1, first });
        }
        Ok(())
    }

    fn route(&mut self, lease: &Lease, Routing { delivery, to }: &Routing) -> Result<Effect, Refusal> {
        if !self.writer.shared.book().lanes.holds(lease) {
            return Err(OutboxError::LeaseLost(lease.lane).into());
        }
        if let Routed::Event { planned, .. } = to {
            self.know_channels(planned)?;
        }
        self.statements += 4;
        let Some((event, received_at, channel)) = statements::to_route(self.db, *delivery)? else {
            return Err(OutboxError::NoSuchDelivery(*delivery).into());
        };
        let planned: &[Planned] = if let Routed::Event { planned, .. } = to { planned } else { &[] };
        let first_delivery = (!planned.is_empty()).then_some(self.last_delivery + 1);
        statements::routed(self.db, (event, *delivery), to, first_delivery, planned.len())?;
        self.ledger.to_route -= 1;
        match to {
            Routed::Event { .. } => self.ledger.routed += 1,
            Routed::Ignored => self.ledger.ignored += 1,
        }
        let places = self.plan(event, received_at, planned)?;
        let deliveries = planned.len();
        Ok(Effect::Routed { lane: lease.lane, channel, places, deliveries })
    }

    fn set_aside(&mut self, aside: &Aside) -> Result<Effect, Refusal> {
        self.ledger.received += 1;
        match aside {
            Aside::Ignored => self.ledger.ignored += 1,
            Aside::Unreadable { source, at, why, head } => {
                self.ledger.unreadable += 1;
                self.statements += 1;
                statements::insert_unreadable(self.db, source, *at, why, head)?;
            }
        }
        Ok(Effect::None)
    }

    fn settle(&mut self, lease: &Lease, settlement: &Settlement) -> Result<Effect, Refusal> {
        let (holds, lane_hold) = {
            let lanes = &self.writer.shared.book().lanes;
            (lanes.holds(lease), lanes.lane_hold(lease.lane).is_some())
        };
        if !holds {
            return Err(OutboxError::LeaseLost(lease.lane).into());
        }
        let (state, unclear, reason) = match &settlement.to {
            Next::Delivered => (State::Delivered, false, None),
            Next::Dead { reason } => (State::Dead, false, Some(reason.as_str())),
            Next::Filtered { reason } => (State::Filtered, false, Some(reason.as_str())),
            Next::Pending { unclear } => (State::Pending, *unclear, None),
        };
        let ended = state != State::Pending;
        let tried = settlement.attempt.is_some() || settlement.to == Next::Delivered;
        let reason = reason.or_else(|| settlement.attempt.as_ref().map(|attempt| attempt.detail.as_str()));
        let reason = if state == State::Delivered { None } else { reason };
        // Asked before, not by `returning`: that would make a table of its own for each row.
        let Some((channel, kept)) = statements::pending(self.db, settlement.delivery)? else {
            return Err(OutboxError::NoSuchDelivery(settlement.delivery).into());
        };
        let message = match &settlement.parts {
            None => kept,
            Some(parts) => {
                self.statements += 1;
                Some(statements::keep_message(self.db, kept, parts)?)
            }
        };
        statements::settle(
            self.db,
            &Settled { id: settlement.delivery, state, at: settlement.at, unclear, reason, message, tried },
        )?;
        self.statements += 2;
        if let Some(attempt) = &settlement.attempt {
            self.statements += 1;
            statements::insert_attempt(self.db, settlement.delivery, attempt)?;
        }
        if let Some(thread) = &settlement.thread {
            self.statements += 1;
            statements::begin_thread(self.db, lease.lane, thread, settlement.at)?;
        }
        for mark in &settlement.marks {
            self.statements += 1;
            statements::raise(self.db, mark, settlement.at)?;
        }
        let hold = match (&settlement.hold, state) {
            (Some(hold), _) => Some(Some(hold.clone())),
            // A part was placed: whatever held the lane is over.
            (None, State::Delivered | State::Pending) if lane_hold && settlement.attempt.is_none() => Some(None),
            _ => None,
        };
        if let Some(hold) = &hold {
            self.statements += 1;
            statements::hold_lane(self.db, lease.lane, hold.as_ref())?;
        }
        if ended {
            self.ledger.pending -= 1;
        }
        match state {
            State::Delivered => self.ledger.delivered += 1,
            State::Dead => self.ledger.dead += 1,
            State::Filtered => self.ledger.filtered += 1,
            State::Pending => {}
        }
        Ok(Effect::Settled { lane: lease.lane, channel, ended, hold })
    }

    fn place(&mut self, places: &[Place], now: Millis) -> Result<Effect, Refusal> {
        let mut known = Channels::default();
        let mut gone: Vec<(i64, String, i64)> = statements::channels(self.db)?;
        for place in places {
            let lane = statements::upsert_lane(self.db, place)?;
            let name = place.channel.as_str();
            let channel = match gone.iter().position(|(_, known, _)| known == name) {
                None => statements::insert_channel(self.db, name, lane)?,
                Some(at) => {
                    let (channel, _, was) = gone.swap_remove(at);
                    if was != lane {
                        statements::lead_channel(self.db, channel, was, lane)?;
                    }
                    channel
                }
            };
            known.insert(name.into(), (channel, lane));
        }
        // What is pending in a channel that is gone stays pending under its name and hinders no other.
        for (channel, name, was) in gone {
            let lane = statements::upsert_lane_of_nobody(self.db, &name)?;
            if was != lane {
                statements::lead_channel(self.db, channel, was, lane)?;
            }
        }
        self.channels = Some(known.clone());
        let mut told = Told::read(self.db)?;
        told.last = told.last.max(Segment::of(self.last_delivery));
        Ok(Effect::Placed { channels: known, told: Box::new(told), now })
    }

    fn replay(&mut self, which: &Replay, give_up_at: Millis) -> Result<Effect, Refusal> {
        let ids: Vec<DeliveryId> = match which {
            Replay::One(id) => match statements::whereabouts(self.db, *id)? {
                None => return Err(OutboxError::NoSuchDelivery(*id).into()),
                Some((State::Dead | State::Filtered, ..)) => vec![*id],
                Some((state, ..)) => return Err(OutboxError::NotDead { id: *id, state }.into()),
            },
            Replay::Channel(name) => {
                let channel = statements::channel(self.db, name)?;
                let channel = channel.ok_or_else(|| OutboxError::UnknownChannel(name.clone()))?;
                statements::dead_of_channel(self.db, channel, REPLAY_BATCH)?
            }
        };
        let mut revived = Places::default();
        for id in ids {
            let Some((was, channel, lane)) = statements::whereabouts(self.db, id)? else { continue };
            statements::revive(self.db, id, lane.id.0, give_up_at)?;
            self.statements += 2;
            let first = Segment::of(id.0);
            revived.pending.push(PendingInLane { lane: lane.id, channel, count: 1, first });
            if IssueLane::has_account(&lane.account) {
                revived.lanes.push(lane);
            }
            match was {
                State::Filtered => self.ledger.filtered -= 1,
                _ => self.ledger.dead -= 1,
            }
        }
        self.ledger.pending += revived.pending.len() as i64;
        Ok(Effect::Revived(revived))
    }

    fn expire(&mut self, now: Millis, cutoff: Millis) -> Result<Effect, Refusal> {
        let expired = &self.writer.expired;
        let old = statements::old_events(self.db, expired.events_to, cutoff, EXPIRE_BATCH)?;
        let events_to = old.last().filter(|_| old.len() == EXPIRE_BATCH).map(|last| last.id);
        let mut rows = statements::forget_unreadable(self.db, cutoff, UNREADABLE_KEPT)?;
        let threads = statements::forget_threads(self.db, cutoff, EXPIRE_BATCH)?;
        let marks = statements::forget_marks(self.db, cutoff, EXPIRE_BATCH)?;
        let objects = statements::forget_objects(self.db, cutoff, EXPIRE_BATCH)?;
        rows += threads + marks + objects;
        for old in old {
            let gone = statements::delete_event(self.db, &old, cutoff)?;
            if let Some(issue) = old.issue.filter(|_| gone > 0) {
                for lane in [IssueLane::Actions(issue.clone()), IssueLane::Events(issue)] {
                    statements::forget_lane(self.db, &lane.name())?;
                }
            }
            rows += gone;
        }
        let seen_to = statements::forget_seen(self.db, expired.seen_to, FORGET_BATCH, now)?;
        let more = events_to.is_some() || seen_to.is_some() || threads.max(marks).max(objects) == EXPIRE_BATCH;
        let walked = Walked { events_to: events_to.unwrap_or_default(), seen_to: seen_to.unwrap_or_default() };
        Ok(Effect::Expired(Expired { rows, more }, walked))
    }
}
