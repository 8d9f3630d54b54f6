//! What an object is, as Tracker shows it beside the issue. Members that are not known are left out (tracker.md, 5.2).

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};
use tracing::warn;

use super::object::ObjectKey;
use super::{Application, Channel, Rules};
use crate::delivery::Messenger;
use crate::event::ChannelName;
use crate::outbox::{Hold, Millis, Object, OutboxError, State};

impl Application {
    /// The object of this key; `Ok(None)`: nothing is known of it. `until`: of [`shown_until`](Self::shown_until).
    ///
    /// # Errors
    /// The store does not answer; `None`: not in time.
    pub async fn info(&self, rules: &Rules, key: &str, until: Duration) -> Result<Option<Value>, Option<OutboxError>> {
        let info = match key.parse::<ObjectKey>() {
            Err(_) => return Ok(None),
            Ok(ObjectKey::Channel(name)) => match rules.channels.get(&name) {
                None => return Ok(None),
                Some(channel) => self.in_time(until, self.channel(rules, &name, channel)).await,
            },
            Ok(object) => {
                let known = self.in_time(until, self.outbox.object(key)).await;
                known.map(|known| known.map(|known| of(&object, &known, &rules.time_zone)))
            }
        };
        match info {
            Ok(None) => Ok(None),
            Ok(Some(mut info)) => {
                info.insert("key".into(), key.into());
                info.extend(rules.icon_url.as_ref().map(|icon| ("iconUrl".to_owned(), icon.as_str().into())));
                Ok(Some(Value::Object(info)))
            }
            Err(error) => {
                warn!(key, error = error.as_ref().map(ToString::to_string), "Tracker is not told what an object is");
                Err(error)
            }
        }
    }

    async fn channel(
        &self,
        rules: &Rules,
        name: &ChannelName,
        Channel { messenger, account }: &Channel,
    ) -> Result<Option<Map<String, Value>>, OutboxError> {
        let now = self.outbox.channel_now(name).await?;
        let holds = [now.hold, self.outbox.account_hold(account)];
        let time = self.clock.now_ms();
        let status = standing(holds.iter().flatten(), time);
        let last = now.last.and_then(|(state, at)| Some((told(state), date(at, &rules.time_zone)?)));
        let description = match (&status.why, &last) {
            (Some(why), _) => why.clone(),
            (None, Some((what, _))) => format!("the last message {what}"),
            (None, None) => "no message lately".to_owned(),
        };
        let messenger = match messenger {
            Messenger::Slack => "Slack",
            Messenger::Telegram => "Telegram",
        };
        let mut info = Map::new();
        info.insert("summary".into(), format!("{name} in {messenger}").into());
        info.insert("status".into(), json!({"name": status.name, "description": description}));
        info.extend(last.map(|(_, at)| ("updated".to_owned(), at.into())));
        Ok(Some(info))
    }
}

struct Standing {
    name: &'static str,
    why: Option<String>,
}

/// `held`: a person has to mend something. `paused`: the messenger asked for it.
fn standing<'a>(holds: impl Iterator<Item = &'a Hold> + Clone, now: Millis) -> Standing {
    let why = |hold: &Hold| Some(hold.reason.clone());
    if let Some(held) = holds.clone().find(|hold| hold.needs_a_person) {
        return Standing { name: "held", why: why(held) };
    }
    match holds.clone().find(|hold| hold.until > now) {
        Some(paused) => Standing { name: "paused", why: why(paused) },
        None => Standing { name: "active", why: None },
    }
}

fn told(state: State) -> &'static str {
    match state {
        State::Pending => "waits",
        State::Delivered => "was delivered",
        State::Dead => "was given up",
        State::Filtered => "was not wanted",
    }
}

fn of(object: &ObjectKey, known: &Object, zone: &TimeZone) -> Map<String, Value> {
    let text = |member: &str| known.state.get(member).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (summary, status, description) = match object {
        ObjectKey::Review { repository, id, .. } => {
            let summary = text("title").map_or_else(|| format!("{repository}#{id}"), str::to_owned);
            let author = known.state.get("author");
            let name = |member: &str| author?.get(member)?.as_str();
            (summary, text("status"), name("display").or(name("login")).map(|name| format!("by {name}")))
        }
        ObjectKey::Bench(branch) => (branch.clone(), text("state"), text("url").map(str::to_owned)),
        ObjectKey::Channel(name) => (name.to_string(), None, None), // those are not kept
    };
    let mut info = Map::new();
    info.insert("summary".into(), summary.into());
    info.extend(status.map(|name| {
        let mut status = json!({ "name": name });
        if let Some(description) = description {
            status["description"] = description.into();
        }
        ("status".to_owned(), status)
    }));
    info.extend(text("resolution").map(|name| ("resolution".to_owned(), json!({ "name": name }))));
    // No `assignee`: in Tracker that is a person of Tracker, and the author's login is a code host's.
    info.extend(date(known.at, zone).map(|at| ("updated".to_owned(), at.into())));
    info
}

/// As Tracker writes times: three digits of a second, no colon in the offset.
fn date(at: Millis, zone: &TimeZone) -> Option<String> {
    let at = Timestamp::from_millisecond(at).ok()?.to_zoned(zone.clone());
    Some(at.strftime("%Y-%m-%dT%H:%M:%S%.3f%z").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_three_digits_and_no_colon_in_its_offset() {
        let zone = |name| TimeZone::get(name).unwrap();
        for (at, name, expected) in [
            (1_778_577_302_339, "Europe/Moscow", "2026-05-12T12:15:02.339+0300"),
            (1_778_577_302_000, "UTC", "2026-05-12T09:15:02.000+0000"),
            (1_778_577_302_050, "America/St_Johns", "2026-05-12T06:45:02.050-0230"),
        ] {
            assert_eq!(date(at, &zone(name)).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let known = |state| Object { key: String::new(), at: 0, state };
        let of = |key: &str, state| Value::Object(of(&key.parse().unwrap(), &known(state), &TimeZone::UTC));
        let updated = "1970-01-01T00:00:00.000+0000";
        assert_eq!(of("review:github:a/b:7", json!({})), json!({"summary": "a/b#7", "updated": updated}));
        assert_eq!(
            of("bench:x", json!({"state": "gone"})),
            json!({"summary": "x", "status": {"name": "gone"}, "updated": updated})
        );
    }

    #[test]
    fn who_waits_for_a_person_is_held_and_a_pause_ends() {
        let hold = |until, needs_a_person| Hold { until, reason: "429".into(), needs_a_person };
        for (holds, name) in [
            (vec![], "active"),
            (vec![hold(5, false)], "active"),
            (vec![hold(6, false)], "paused"),
            (vec![hold(6, false), hold(0, true)], "held"),
        ] {
            assert_eq!(standing(holds.iter(), 5).name, name);
        }
    }
}
