//! Tracker: the token, the two clocks, the queues, the registration of the external application.

use jiff::Timestamp;

use super::Ground;
use super::row::{Row, State, Trouble};
use super::trigger::triggers;
use super::variables::Sent;
use crate::app::tracker_client;
use crate::config::SourceKind;
use crate::tracker::client::Api;

const TOKEN: &str = "tracker token";
const QUEUE: &str = "queue";
const CLOCK: &str = "clock";
/// Further apart, times in cards and the look into Tracker's log go wrong.
const APART: i64 = 60;

/// Also what triggers send, as far as it could be seen.
pub async fn tracker(ground: &Ground<'_>) -> (Vec<Row>, Vec<Sent>) {
    let mut sent = Vec::new();
    (of_tracker(ground, &mut sent).await, sent)
}

async fn of_tracker(ground: &Ground<'_>, sent: &mut Vec<Sent>) -> Vec<Row> {
    let config = ground.config;
    let has_triggers = config.sources.iter().any(|source| source.kind == SourceKind::Tracker);
    let Some(token) = &config.tracker.token else {
        let row = Row::warn(TOKEN, "tracker", "there is none: queues and triggers cannot be looked at");
        let hint =
            "enough for messages; as in `tracker: {token: {env: NAME}, org_id: \"…\", queues: [TEST]}` for the rest";
        return if has_triggers { vec![row.hint(hint)] } else { Vec::new() };
    };
    if ground.secret(token).is_none() {
        return Vec::new(); // a row has told
    }
    #[expect(clippy::disallowed_methods, reason = "this is the outside")]
    let client = tracker_client(config, ground.env, &ground.clock, &mut fastrand::Rng::new());
    let api = match client {
        Ok(Some(client)) => client.free(),
        Ok(None) => return Vec::new(),
        Err(error) => return vec![Row::fail(TOKEN, "tracker", error.to_string())],
    };
    let (user, date) = match ground.ask(api.myself_at()).await {
        Ok(both) => both,
        Err(trouble) => return vec![Row::of_trouble(TOKEN, "tracker", of_token(trouble))],
    };
    let mut rows = vec![Row::ok(TOKEN, "tracker", user.login.unwrap_or_else(|| "it is taken".into()))];
    rows.extend(date.map(|date| clocks(ground.clock.now(), date)));
    if config.tracker.queues.is_empty() && has_triggers {
        let what = "none is named: whether triggers call us cannot be looked at";
        rows.push(Row::warn(QUEUE, "tracker.queues", what).hint("as in `queues: [TEST]`"));
    }
    for queue in &config.tracker.queues {
        rows.extend(of_queue(ground, &api, queue, sent).await);
    }
    rows.extend(application(ground, &api).await);
    rows
}

/// What is refused here is refused whatever is asked.
fn of_token(trouble: Trouble) -> Trouble {
    let hint = "is `org_id` or `cloud_org_id` the right one of the two, and has the token's owner access to Tracker?";
    Trouble { hint: trouble.hint.or_else(|| Some(hint.into())), ..trouble }
}

fn clocks(ours: Timestamp, theirs: Timestamp) -> Row {
    let apart = ours.as_second() - theirs.as_second();
    match apart.abs() {
        ..=APART => Row::ok(CLOCK, "this machine", "as Tracker's, within a minute"),
        seconds => {
            let way = if apart > 0 { "ahead of" } else { "behind" };
            Row::warn(CLOCK, "this machine", format!("{seconds} s {way} Tracker's"))
                .hint("let NTP set this machine's clock: timedatectl set-ntp true")
        }
    }
}

async fn of_queue(ground: &Ground<'_>, api: &Api, queue: &str, sent: &mut Vec<Sent>) -> Vec<Row> {
    match ground.ask(api.queue(queue)).await {
        Err(trouble) => {
            let hint = "is its key right, and may the token's owner see the queue?";
            let hint = trouble.hint.clone().unwrap_or_else(|| hint.into());
            vec![Row::of_trouble(QUEUE, queue, trouble).hint(hint)]
        }
        Ok(found) => {
            let name = found.name.unwrap_or_else(|| "it is visible".into());
            let mut rows = vec![Row::ok(QUEUE, queue, name)];
            rows.extend(triggers(ground, api, queue, sent).await);
            rows
        }
    }
}

/// `None`: no application is configured.
async fn application(ground: &Ground<'_>, api: &Api) -> Option<Row> {
    const CHECK: &str = "link application";
    let id = ground.config.links.as_ref()?.application.as_deref()?;
    Some(match ground.ask(api.applications()).await {
        Err(trouble) => Row::of_trouble(CHECK, id, Trouble { state: State::Warn, ..trouble }),
        Ok(known) if known.iter().any(|known| known.id.as_deref() == Some(id)) => {
            Row::ok(CHECK, id, "Tracker knows it")
        }
        Ok(_) => Row::warn(CHECK, id, "Tracker knows no application of this id")
            .hint("`campanile links registration` prints what Tracker's support wants to know"),
    })
}
