//! A queue that calls us: the triggers that are wanted are made and mended, and switched off again. Nothing is written
//! where nothing is to be changed, and only to triggers that are ours by name, by address and by having no other action.
//! Source: T 1.6, 1.7.

use serde_json::{Value, json};

use super::client::Api;
use super::error::Error;
use super::queue::Trigger;
use super::trigger::{Wanted, Watched};

/// How often a change is tried that another one overtakes.
const TRIES: usize = 3;
/// The member that holds the secret, which Tracker does not show.
const HEADERS: &str = "actions.headers";

/// What is to be done in a queue.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    pub queue: &'a str,
    /// Every trigger that is ours, of one source or of several.
    pub ours: &'a [Wanted],
    /// Which of them are meant.
    pub events: &'a [Watched],
    /// Tracker is asked, and nothing is written.
    pub dry_run: bool,
    /// The secret is written even into what stands as it should.
    pub secret_again: bool,
}

/// What became of one trigger, or would become of it in a dry run.
#[derive(Debug)]
pub struct Outcome {
    pub name: String,
    /// None: Tracker has given it none yet.
    pub id: Option<String>,
    pub did: Did,
}

#[derive(Debug)]
pub enum Did {
    Created,
    /// The members that were not as they should be.
    Updated(Vec<&'static str>),
    /// It stands as it should, and nothing was written.
    Unchanged,
    SwitchedOff,
    Left(Left),
    Failed(Error),
}

/// Why a trigger was left as it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Left {
    /// It has our name and calls us, and does more.
    DoesMore,
    /// It has our name and calls somebody else.
    CallsOthers,
    /// It calls us under a name of its own.
    CallsToo,
    /// It is ours, and its event was not asked for.
    NotAsked,
}

impl Did {
    /// Whether what was asked for is not so.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Left(Left::DoesMore))
    }
}

/// Makes and mends the triggers that are wanted, one after the other. What fails for all ends it; what was done by then
/// is told.
///
/// # Errors
/// The triggers could not be read; nothing was done.
pub async fn connect(api: &Api, order: Order<'_>) -> Result<Vec<Outcome>, Error> {
    let standing = api.triggers(order.queue).await?;
    let mut outcomes = Vec::new();
    for wanted in order.asked() {
        let mut own: Vec<&Trigger> = standing.iter().filter(|trigger| wanted.is(trigger)).collect();
        // One that works is kept before others, and of those one that calls the address of now.
        own.sort_by_key(|trigger| (trigger.active == Some(false), !wanted.differences(trigger).is_empty()));
        let decide = |trigger: &Trigger| mended(wanted, trigger, order.secret_again);
        let blocked = own.is_empty() && standing.iter().any(|it| wanted.has_name(it) && wanted.is_called_by(it));
        match own.split_first() {
            None if blocked => continue, // told below; a second one would tell each event twice
            None => outcomes.push(create(api, &order, wanted).await),
            Some((first, others)) => {
                outcomes.push(change(api, &order, first, decide).await);
                for other in others.iter().filter(|other| other.active != Some(false)) {
                    outcomes.push(change(api, &order, other, |it| switched_off(wanted, it)).await);
                }
            }
        }
        if outcomes.iter().any(|outcome| concerns_all(&outcome.did)) {
            break;
        }
    }
    outcomes.extend(left(&order, &standing, true));
    Ok(outcomes)
}

/// Switches off the triggers that are ours.
///
/// # Errors
/// As [`connect`]'s.
pub async fn disconnect(api: &Api, order: Order<'_>) -> Result<Vec<Outcome>, Error> {
    let standing = api.triggers(order.queue).await?;
    let mut outcomes = Vec::new();
    for wanted in order.asked() {
        for trigger in standing.iter().filter(|trigger| wanted.is(trigger)) {
            outcomes.push(change(api, &order, trigger, |it| switched_off(wanted, it)).await);
        }
        if outcomes.iter().any(|outcome| concerns_all(&outcome.did)) {
            break;
        }
    }
    outcomes.extend(left(&order, &standing, false));
    Ok(outcomes)
}

impl Order<'_> {
    fn asked(&self) -> impl Iterator<Item = &Wanted> {
        self.ours.iter().filter(|wanted| self.events.contains(&wanted.watched()))
    }
}

/// What a trigger needs: a body of PATCH, and what it does.
type Decision = (Option<Value>, Did);

fn mended(wanted: &Wanted, trigger: &Trigger, secret_again: bool) -> Decision {
    let mut members: Vec<_> = wanted.differences(trigger).iter().map(|difference| difference.member).collect();
    if secret_again && !members.contains(&HEADERS) {
        members.push(HEADERS);
    }
    match (wanted.is(trigger), members.is_empty()) {
        (false, _) => (None, Did::Left(foreign(wanted, trigger))),
        (true, true) => (None, Did::Unchanged),
        (true, false) => (Some(wanted.json()), Did::Updated(members)),
    }
}

fn switched_off(wanted: &Wanted, trigger: &Trigger) -> Decision {
    match (wanted.is(trigger), trigger.active) {
        (false, _) => (None, Did::Left(foreign(wanted, trigger))),
        (true, Some(false)) => (None, Did::Unchanged),
        (true, _) => (Some(json!({"active": false})), Did::SwitchedOff),
    }
}

fn foreign(wanted: &Wanted, trigger: &Trigger) -> Left {
    match (wanted.has_name(trigger), wanted.is_called_by(trigger)) {
        (true, true) => Left::DoesMore,
        (true, false) => Left::CallsOthers,
        (false, _) => Left::CallsToo,
    }
}

async fn create(api: &Api, order: &Order<'_>, wanted: &Wanted) -> Outcome {
    let name = wanted.name().to_owned();
    if order.dry_run {
        return Outcome { name, id: None, did: Did::Created };
    }
    match api.create_trigger(order.queue, &wanted.json()).await {
        Ok(made) => Outcome { name, id: made.id, did: Did::Created },
        Err(error) => Outcome { name, id: None, did: Did::Failed(error) },
    }
}

/// Writes what the trigger needs. Where somebody else was faster, it is looked at again.
async fn change(api: &Api, order: &Order<'_>, trigger: &Trigger, decide: impl Fn(&Trigger) -> Decision) -> Outcome {
    let name = trigger.name.clone().unwrap_or_default();
    let outcome = |did| Outcome { name: name.clone(), id: trigger.id.clone(), did };
    let Some(id) = trigger.id.as_deref() else {
        let nameless = format!("the trigger `{name}` has no id in Tracker's answer");
        return outcome(Did::Failed(Error::Impossible(nameless)));
    };
    let (mut decision, mut version, mut tried) = (decide(trigger), trigger.version, 0);
    loop {
        tried += 1;
        let (body, did) = decision;
        let body = match body {
            Some(body) if !order.dry_run => body,
            _ => return outcome(did),
        };
        match api.patch_trigger(order.queue, id, version, &body).await {
            Ok(_) => return outcome(did),
            Err(Error::Conflict(_)) if tried < TRIES => {}
            Err(error) => return outcome(Did::Failed(error)),
        }
        match api.trigger(order.queue, id).await {
            Ok(now) => (decision, version) = (decide(&now), now.version),
            Err(error) => return outcome(Did::Failed(error)),
        }
    }
}

/// Whether the next trigger would fare no better.
fn concerns_all(did: &Did) -> bool {
    matches!(did, Did::Failed(Error::Call(_) | Error::Forbidden(_) | Error::NotFound(_)))
}

/// Those that are near to ours and were not touched. `connects`: ours that were not asked for are told as well.
fn left(order: &Order<'_>, standing: &[Trigger], connects: bool) -> Vec<Outcome> {
    let near = |trigger: &Trigger| {
        let active = trigger.active != Some(false);
        if let Some(own) = order.ours.iter().find(|own| own.is(trigger)) {
            let told = connects && active && !order.events.contains(&own.watched());
            return told.then_some(Left::NotAsked);
        }
        let named = order.ours.iter().find(|own| own.has_name(trigger));
        let calls = order.ours.iter().any(|own| own.is_called_by(trigger));
        match (named, calls) {
            (Some(named), true) if order.events.contains(&named.watched()) => Some(Left::DoesMore),
            (Some(_), false) => Some(Left::CallsOthers),
            (_, true) if active => Some(Left::CallsToo),
            _ => None,
        }
    };
    let outcome = |trigger: &Trigger| {
        let did = Did::Left(near(trigger)?);
        Some(Outcome { name: trigger.name.clone().unwrap_or_default(), id: trigger.id.clone(), did })
    };
    standing.iter().filter_map(outcome).collect()
}
