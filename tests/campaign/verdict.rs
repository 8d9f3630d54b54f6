//! What the messengers' own record proves.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use campanile::simulator::{Arrival, Record};
use jiff::Timestamp;

use super::callers::Taken;
use super::ground::{Ground, slack_token, telegram_token, tracker_token};
use super::incidents::{Incident, Kind};
use super::store::{Delivery, Stored};
use super::{Asked, lanes};

/// The call did what it asked, and the caller could not learn it.
const LOSES_THE_ANSWER: [&str; 4] = ["lose_answer", "reset_after", "unreadable_answer", "hang_after"];
/// Between a messenger's answer and the end of its settle, on a machine that does all of this at once.
const SETTLES_WITHIN: Duration = Duration::from_secs(2);
/// After PostgreSQL is back, until the last replica has settled what it held.
const HEALS_WITHIN: Duration = Duration::from_secs(6);
/// 15 s as promised, and what a pause or a back-off may add on a machine that does all of this at once.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(19);
/// A turn reads so many heads at once; what becomes visible after that goes with the next.
const HEADS: usize = 16;
/// What is printed of one kind of failure.
const MOST: usize = 12;

/// A message that a messenger took.
struct Came {
    n: usize,
    at: Timestamp,
    /// The replica that sent it.
    by: Option<usize>,
    fault: Option<&'static str>,
}

#[derive(Default)]
pub struct Verdict {
    broken: BTreeMap<String, Vec<String>>,
    messages: usize,
    dead: usize,
    lost_answers: usize,
    after_an_incident: usize,
    unclear: usize,
    inverted: usize,
    longest_gap: (Duration, String),
    ended: usize,
}

impl Verdict {
    pub fn broken(&mut self, why: String) {
        self.found("the end", why);
    }

    fn found(&mut self, what: &str, which: String) {
        self.broken.entry(what.to_owned()).or_default().push(which);
    }

    pub fn holds(&self) -> bool {
        self.broken.is_empty()
    }

    pub fn judge(&mut self, ground: &Ground, calls: &[Taken], incidents: &[Incident], stored: &Stored) {
        let came = came(ground);
        let calls: HashMap<usize, &Taken> = calls.iter().map(|taken| (taken.n, taken)).collect();
        let lanes_of = |n: usize| lanes::of(n).into_iter().map(|channel| (channel.name, channel.lane));
        let deliveries: HashMap<(String, usize), &Delivery> = stored
            .deliveries
            .iter()
            .filter_map(|row| {
                let (_, lane) = lanes_of(row.n).find(|(channel, _)| *channel == row.channel)?;
                Some(((lane, row.n), row))
            })
            .collect();
        self.messages = came.values().map(Vec::len).sum();
        self.dead = stored.deliveries.iter().filter(|row| row.state == 2).count();
        self.unclear = stored.deliveries.iter().filter(|row| row.unclear).count();
        self.nothing_lost(&calls, stored, &deliveries, &came);
        let mut by_incident = HashMap::new();
        for (lane, came) in &came {
            let mut once = HashSet::new();
            let firsts: Vec<usize> = (0..came.len()).filter(|at| once.insert(came[*at].n)).collect();
            self.in_order(lane, came, &firsts, &calls, &deliveries);
            self.gaps(lane, came, &firsts, &calls, incidents);
            self.duplicates(lane, came, incidents, &deliveries, &mut by_incident);
        }
        for ((incident, lane), times) in by_incident {
            if times > 1 {
                let incident = &incidents[incident];
                self.found(
                    "more than one duplicate of an incident in a lane",
                    format!("{lane}: {times} of {incident:?}"),
                );
            }
        }
        self.ends(ground, incidents);
        if let Some(why) = &stored.ledger {
            self.found("the ledger", why.clone());
        }
    }

    fn nothing_lost(
        &mut self,
        calls: &HashMap<usize, &Taken>,
        stored: &Stored,
        deliveries: &HashMap<(String, usize), &Delivery>,
        came: &BTreeMap<String, Vec<Came>>,
    ) {
        let placed: HashSet<(&str, usize)> =
            came.iter().flat_map(|(lane, came)| came.iter().map(|one| (lane.as_str(), one.n))).collect();
        let mut events_of = HashMap::<usize, Vec<i64>>::new();
        for (event, n) in &stored.events {
            events_of.entry(*n).or_default().push(*event);
        }
        for (n, events) in &events_of {
            if events.len() > 1 || !calls.contains_key(n) {
                self.found("one call is not one event", format!("call {n}: events {events:?}"));
            }
        }
        for taken in calls.values() {
            if stored.events.get(&taken.event) != Some(&taken.n) {
                self.found("a taken call is not stored", format!("call {}: event {}", taken.n, taken.event));
            }
            for channel in lanes::of(taken.n) {
                let row = deliveries.get(&(channel.lane.clone(), taken.n));
                let is_placed = placed.contains(&(channel.lane.as_str(), taken.n));
                let is_right = match (row.map(|row| row.state), lanes::is_poison(taken.n)) {
                    (Some(1), false) => is_placed,
                    (Some(2), true) => !is_placed && row.is_some_and(|row| row.reason.is_some()),
                    _ => false,
                };
                if !is_right {
                    let state = row.map(|row| (row.state, &row.reason));
                    let what = format!("call {} in {}: state {state:?}, placed: {is_placed}", taken.n, channel.name);
                    self.found("a message is lost", what);
                }
            }
        }
    }

    /// Two calls of which one was answered before the other was made come in that order in every lane. Those that were
    /// made side by side come in the order of their ids, but for one that became visible after its lane's heads were read.
    fn in_order(
        &mut self,
        lane: &str,
        came: &[Came],
        firsts: &[usize],
        calls: &HashMap<usize, &Taken>,
        deliveries: &HashMap<(String, usize), &Delivery>,
    ) {
        let id = |at: usize| deliveries.get(&(lane.to_owned(), came[at].n)).map_or(0, |row| row.id);
        let call = |at: usize| calls.get(&came[at].n);
        let mut answered_later: Option<(Timestamp, usize)> = None;
        for at in firsts.iter().rev() {
            let Some(taken) = call(*at) else { continue };
            if let Some((answered, n)) = answered_later.filter(|(answered, _)| *answered < taken.began) {
                let what = format!("{lane}: {} came before {n}, which was answered at {answered}", came[*at].n);
                self.found("out of order", what);
            }
            answered_later = answered_later.into_iter().chain([(taken.answered, taken.n)]).min();
        }
        let mut highest = (0, 0);
        for (place, at) in firsts.iter().enumerate() {
            if id(*at) > highest.0 {
                highest = (id(*at), *at);
                continue;
            }
            self.inverted += 1;
            let before = firsts[..place].iter().rev().filter(|before| id(**before) > id(*at));
            for before in before.take(64) {
                let read_after = came[before.saturating_sub(HEADS)].at;
                if call(*at).is_some_and(|taken| taken.answered < read_after) {
                    let what = format!("{lane}: {} (id {}) after {}", came[*at].n, id(*at), came[*before].n);
                    self.found("a lower id was visible and did not come first", what);
                }
            }
        }
    }

    /// How long something was due in a lane and nothing came. Whatever happened before, another replica takes the lane over.
    fn gaps(
        &mut self,
        lane: &str,
        came: &[Came],
        firsts: &[usize],
        calls: &HashMap<usize, &Taken>,
        incidents: &[Incident],
    ) {
        let mut last = None;
        for at in firsts {
            let Some(taken) = calls.get(&came[*at].n) else { continue };
            let since = last.map_or(taken.answered, |last: Timestamp| last.max(taken.answered));
            let gap = came[*at].at.duration_since(since).unsigned_abs();
            if came[*at].at > since && gap > self.longest_gap.0 {
                self.longest_gap = (gap, format!("{lane}, until {}", came[*at].at.strftime("%T%.3f")));
            }
            let over = incidents.iter().map(Incident::over).filter(|over| *over < came[*at].at).max();
            let left = came[*at].at.duration_since(since.max(over.unwrap_or(since)));
            if left.unsigned_abs() > TAKEN_OVER_WITHIN && came[*at].at > since {
                let what = format!("{lane}: {gap:.1?} until {} came, {left:.1?} of it after all", came[*at].n);
                self.found("a lane was not taken over", what);
            }
            last = Some(came[*at].at);
        }
    }

    /// Each has a cause: an answer that was lost, or an incident of the replica that sent it; and its delivery is marked.
    fn duplicates(
        &mut self,
        lane: &str,
        came: &[Came],
        incidents: &[Incident],
        deliveries: &HashMap<(String, usize), &Delivery>,
        by_incident: &mut HashMap<(usize, String), usize>,
    ) {
        let mut last = HashMap::<usize, &Came>::new();
        for again in came {
            let Some(before) = last.insert(again.n, again) else { continue };
            let row = deliveries.get(&(lane.to_owned(), again.n));
            if !row.is_some_and(|row| row.unclear) {
                self.found("a duplicate is not marked", told(lane, before, again));
            }
            if before.fault.is_some_and(|fault| LOSES_THE_ANSWER.contains(&fault)) {
                if lane.starts_with(lanes::TRACKER) {
                    self.found("a comment was placed again and not looked for", told(lane, before, again));
                }
                self.lost_answers += 1;
                continue;
            }
            match incidents.iter().position(|incident| explains(incident, lane, before, again, incidents)) {
                Some(incident) => {
                    self.after_an_incident += 1;
                    *by_incident.entry((incident, lane.to_owned())).or_default() += 1;
                }
                None => self.found("a duplicate without a cause", told(lane, before, again)),
            }
        }
    }

    /// A replica ends by itself only where its database was away when it started.
    fn ends(&mut self, ground: &Ground, incidents: &[Incident]) {
        let ended = std::mem::take(&mut *ground.ended.lock().unwrap());
        self.ended = ended.len();
        for (at, replica, last) in ended {
            let near = |incident: &&Incident| incident.kind.is_of_postgres() && is_within(at, incident, HEALS_WITHIN);
            if !incidents.iter().any(|incident| near(&incident)) {
                self.found("a replica ended by itself", format!("{replica} at {at}: {last}"));
            }
        }
    }

    pub fn print(&self, asked: &Asked, ground: &Ground, calls: &[Taken], incidents: &[Incident]) {
        let mut kinds = BTreeMap::<Kind, usize>::new();
        incidents.iter().for_each(|incident| *kinds.entry(incident.kind).or_default() += 1);
        let seconds = calls
            .last()
            .zip(calls.first())
            .map_or(0.0, |(last, first)| last.answered.duration_since(first.began).as_secs_f64());
        let again = calls.iter().filter(|taken| taken.tries > 1).count();
        let limited = ground.slack.counts().rate_limited + ground.telegram.counts().rate_limited;
        println!("\nseed {}, {} replicas, {seconds:.0} s of load", asked.seed, asked.replicas);
        println!(
            "calls taken             {} ({again} sent more than once), {:.0}/s",
            calls.len(),
            calls.len() as f64 / seconds
        );
        println!("messages placed         {}, {:.0}/s", self.messages, self.messages as f64 / seconds);
        println!("dead letters            {}, all meant", self.dead);
        println!("answered 429            {limited}");
        println!(
            "duplicates              {} after a lost answer, {} after an incident",
            self.lost_answers, self.after_an_incident
        );
        println!("marked unclear          {}", self.unclear);
        println!("lower ids seen late     {}", self.inverted);
        println!("longest wait of a lane  {:.1} s ({})", self.longest_gap.0.as_secs_f64(), self.longest_gap.1);
        println!("ends at start           {}, the database was away", self.ended);
        println!("incidents               {}", incidents.len());
        for (kind, times) in kinds {
            println!("    {:<20}{times}", format!("{kind:?}"));
        }
        for (what, which) in &self.broken {
            println!("BROKEN: {what}: {} times", which.len());
            which.iter().take(MOST).for_each(|one| println!("    {one}"));
        }
        if self.holds() {
            println!("nothing lost, order kept, each duplicate has its cause, the ledger balances");
        }
    }
}

/// Whether this incident is why the message came again. The settle of the first was not written when its replica was
/// killed or paused; or the replica was paused between its look at the lease and its call, and made it when it woke.
fn explains(incident: &Incident, lane: &str, before: &Came, again: &Came, all: &[Incident]) -> bool {
    let is_of = |came: &Came| came.by.is_some() && came.by == incident.replica;
    let away = |messenger: &str| lane.starts_with(messenger) && is_within(before.at, incident, SETTLES_WITHIN);
    // While the database was away nothing could be settled.
    let patience =
        match all.iter().any(|other| other.kind.is_of_postgres() && is_within(before.at, other, HEALS_WITHIN)) {
            true => Duration::from_secs(30),
            false => SETTLES_WITHIN,
        };
    let cut_off = |within: Duration| {
        is_of(before) && before.at <= incident.from + SETTLES_WITHIN && before.at + within >= incident.from
    };
    let woke = |came: &Came| is_of(came) && came.at >= incident.to && came.at <= incident.to + SETTLES_WITHIN;
    match incident.kind {
        Kind::Kill | Kind::Overrun => cut_off(patience),
        Kind::Pause => cut_off(patience) || woke(before) || woke(again),
        Kind::SlackAway => away("slack"),
        Kind::TelegramAway => away("telegram"),
        _ => false,
    }
}

fn is_within(at: Timestamp, incident: &Incident, slack: Duration) -> bool {
    at + slack >= incident.from && at <= incident.to + slack
}

fn told(lane: &str, before: &Came, again: &Came) -> String {
    let one = |came: &Came| {
        let by = came.by.map_or("?".to_owned(), |by| by.to_string());
        format!("{} by replica {by}, fault {}", came.at.strftime("%T%.3f"), came.fault.unwrap_or("none"))
    };
    format!("{lane}: {} at {}; again at {}", again.n, one(before), one(again))
}

/// By lane, in order of arrival.
fn came(ground: &Ground) -> BTreeMap<String, Vec<Came>> {
    let mut lanes = BTreeMap::<String, Vec<Came>>::new();
    let mut add = |messenger: &str, record: &Record, token: fn(usize) -> String| {
        let is_message = |arrival: &&Arrival| {
            let method = arrival.method.as_str();
            arrival.accepted
                && (matches!(method, "chat.postMessage" | "add_comment") || method.eq_ignore_ascii_case("sendMessage"))
        };
        for arrival in record.arrivals().iter().filter(is_message) {
            let conversation = arrival.conversation.as_deref().unwrap_or_default();
            let n = arrival.body["text"].as_str().and_then(lanes::number).expect("a numbered message");
            let by = (0..ground.replicas.len()).find(|replica| arrival.token.as_ref() == Some(&token(*replica)));
            let came = Came { n, at: arrival.at, by, fault: arrival.fault };
            lanes.entry(format!("{messenger} {conversation}")).or_default().push(came);
        }
    };
    ground.slack.record(|record| add("slack", record, slack_token));
    ground.telegram.record(|record| add("telegram", record, telegram_token));
    ground.tracker.record(|record| add(lanes::TRACKER, record, tracker_token));
    lanes
}
