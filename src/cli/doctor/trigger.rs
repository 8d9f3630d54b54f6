//! A queue's triggers that call us: whether there are any, whether they are as they should be, and what became of their
//! calls. None of their addresses is shown: a secret may stand in it.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::Ground;
use super::row::{Row, State, Trouble};
use super::variables::Sent;
use crate::config::{Source, SourceKind};
use crate::tracker::client::Api;
use crate::tracker::error::Error;
use crate::tracker::queue::{Fired, Trigger};
use crate::tracker::raw::raw;
use crate::tracker::trigger::{Wanted, Watched};

const CHECK: &str = "trigger";
const LOG: &str = "trigger log";
/// What a look into the log shows of one trigger; Tracker gives no more.
const MOST_LOGGED: usize = 100;
/// Triggers of one queue whose log is read.
const MOST_READ: usize = 20;

pub async fn triggers(ground: &Ground<'_>, api: &Api, queue: &str, sent: &mut Vec<Sent>) -> Vec<Row> {
    let sources = ground.config.sources.iter().filter(|source| source.kind == SourceKind::Tracker);
    let Some(public_url) = &ground.config.server.public_url else { return Vec::new() };
    let standing = match ground.ask(async { Ok::<_, Trouble>(readable(api.triggers(queue).await)?) }).await {
        Ok(Some(standing)) => standing,
        Ok(None) => {
            let what =
                "the token's owner may not read its triggers: gap recovery is off, and nothing can be said of them";
            let hint = "give the owner the right to change the queue's settings";
            return vec![Row::warn(CHECK, queue, what).hint(hint)];
        }
        Err(trouble) => return vec![Row::of_trouble(CHECK, queue, trouble)],
    };
    let mut rows = Vec::new();
    for source in sources {
        let ours = format!("{public_url}/hooks/{}", source.name);
        let calling: Vec<&Trigger> = standing.iter().filter(|trigger| calls(trigger, &ours)).collect();
        if calling.is_empty() {
            let what = format!("no trigger of {queue} calls the source `{}`", source.name);
            let hint = format!("campanile connect {queue} --source {}", source.name);
            rows.push(Row::warn(CHECK, queue, what).hint(hint));
        }
        for trigger in &calling {
            sent.extend(calls_of(source, trigger, &ours));
            rows.extend(of_trigger(ground, queue, source, trigger, public_url.as_str()));
        }
        for trigger in calling.iter().take(MOST_READ) {
            rows.extend(log(ground, api, queue, trigger).await);
        }
    }
    rows
}

/// `None`: the owner of the token has no right to see them.
fn readable(triggers: Result<Vec<Trigger>, Error>) -> Result<Option<Vec<Trigger>>, Error> {
    match triggers {
        Ok(triggers) => Ok(Some(triggers)),
        Err(Error::Forbidden(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The calls among its actions.
fn webhooks(trigger: &Trigger) -> impl Iterator<Item = &Value> {
    trigger.actions.as_array().into_iter().flatten().filter(|action| action["type"] == "Webhook")
}

/// Whether it calls this address, or one below it: a secret, a query.
fn leads_to(action: &Value, ours: &str) -> bool {
    let behind = action["endpoint"].as_str().and_then(|endpoint| endpoint.strip_prefix(ours));
    behind.is_some_and(|behind| behind.is_empty() || behind.starts_with(['/', '?']))
}

fn calls(trigger: &Trigger, ours: &str) -> bool {
    webhooks(trigger).any(|action| leads_to(action, ours))
}

fn calls_of(source: &Source, trigger: &Trigger, ours: &str) -> Vec<Sent> {
    let ours = webhooks(trigger).filter(|action| leads_to(action, ours) && trigger.active != Some(false));
    let sent = ours.map(|action| Sent {
        source: source.name.to_string(),
        query: action["endpoint"]
            .as_str()
            .and_then(|it| it.split_once('?'))
            .map(|it| it.1.to_owned())
            .unwrap_or_default(),
        body: match &action["body"] {
            Value::String(body) => body.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        },
    });
    sent.collect()
}

fn subject(queue: &str, trigger: &Trigger) -> String {
    let id = trigger.id.as_deref().unwrap_or("?");
    format!("{queue} #{id} {}", trigger.name.as_deref().unwrap_or_default()).trim_end().to_owned()
}

fn of_trigger(ground: &Ground<'_>, queue: &str, source: &Source, trigger: &Trigger, public_url: &str) -> Vec<Row> {
    let subject = subject(queue, trigger);
    let ours = format!("{public_url}/hooks/{}", source.name);
    let mut found = std::collections::BTreeSet::new();
    for action in webhooks(trigger).filter(|action| leads_to(action, &ours)) {
        found.extend(match &action["body"] {
            Value::String(body) => raw(body),
            Value::Null => Default::default(),
            other => raw(&other.to_string()),
        });
        found.extend(raw(action["endpoint"].as_str().unwrap_or_default()));
    }
    if !found.is_empty() {
        let found: Vec<_> = found.into_iter().map(|variable| format!("{{{{{variable}}}}}")).collect();
        let what = format!("raw variables: whoever writes the field can write the call: {}", found.join(", "));
        let hint =
            "in a body, inside of quotes or not, write {{….json}} without quotes; in an address {{….urlEncodeUTF8}}";
        return vec![Row::fail(CHECK, subject, what).hint(hint)];
    }
    if trigger.active == Some(false) {
        return vec![Row::warn(CHECK, subject, "it is switched off").hint("switch it on in the queue's settings")];
    }
    let secret = source.secrets.first().and_then(|secret| ground.secret(secret)).unwrap_or_default();
    let wanted = Watched::ALL.map(|watched| Wanted::of(watched, public_url, source.name.as_str(), &secret));
    match wanted.iter().find(|wanted| wanted.is(trigger)) {
        Some(wanted) => {
            let differences: Vec<_> = wanted.differences(trigger).iter().map(|difference| difference.member).collect();
            if differences.is_empty() {
                return vec![Row::ok(CHECK, subject, "in the recommended form")];
            }
            let what = format!("edited since it was made: {}", differences.join(", "));
            let hint = format!("campanile connect {queue} --source {} puts it right", source.name);
            vec![Row::warn(CHECK, subject, what).hint(hint)]
        }
        None if is_always(&trigger.conditions) => {
            vec![
                Row::warn(CHECK, subject, "it has no condition: it fires at every change of every issue")
                    .hint("give it the condition that its event means"),
            ]
        }
        None => vec![Row::ok(CHECK, subject, "made by hand")],
    }
}

fn is_always(conditions: &Value) -> bool {
    match conditions {
        Value::Null => true,
        Value::Array(all) => all.is_empty(),
        group => group["conditions"].as_array().is_some_and(Vec::is_empty),
    }
}

/// What became of its calls in the last day; nothing where all went well.
async fn log(ground: &Ground<'_>, api: &Api, queue: &str, trigger: &Trigger) -> Option<Row> {
    let now = ground.clock.now();
    let id = trigger.id.as_deref()?;
    let day_ago = now.checked_sub(SignedDuration::from_hours(24)).unwrap_or(now);
    let mut fired = match ground.ask(api.webhook_log(queue, id, day_ago, now, MOST_LOGGED)).await {
        Ok(fired) => fired,
        Err(trouble) => {
            return Some(Row::of_trouble(LOG, subject(queue, trigger), Trouble { state: State::Warn, ..trouble }));
        }
    };
    fired.sort_by_key(|call| call.start_time); // the order is not documented
    let failed: Vec<&Fired> = fired.iter().filter(|call| !went_well(call)).collect();
    let last = failed.last()?;
    let at = last.start_time.map_or("some time".to_owned(), |at| shown(ground, at));
    let status = status(last).map_or("no answer".to_owned(), |status| format!("HTTP {status}"));
    let what = format!("{} of {} calls failed in the last day, the last at {at}: {status}", failed.len(), fired.len());
    let row = match fired.last().is_some_and(went_well) {
        true => Row::warn(LOG, subject(queue, trigger), what),
        false => Row::fail(LOG, subject(queue, trigger), what),
    };
    Some(row.hint(hint(last)))
}

fn status(call: &Fired) -> Option<u16> {
    call.response.as_ref()?.status_code
}

fn went_well(call: &Fired) -> bool {
    status(call).is_some_and(|status| (200..300).contains(&status))
}

fn shown(ground: &Ground<'_>, at: Timestamp) -> String {
    at.to_zoned(ground.config.time_zone.clone()).strftime("%F %T %:z").to_string()
}

fn hint(call: &Fired) -> &'static str {
    match status(call) {
        None => {
            "Tracker did not reach the address, or had no answer within 10 s: is it public, and its certificate good?"
        }
        Some(401 | 403) => "its secret is not the source's: campanile connect writes it",
        Some(400) => "its body names no issue; compare it with the one that README recommends",
        Some(404) => "no source has this name, or the proxy leads elsewhere",
        Some(502..=504) => "the proxy did not reach the bridge",
        Some(_) => "the bridge's log says more",
    }
}
