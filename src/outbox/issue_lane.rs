//! Lanes that no configuration names: of an issue's actions, and of the events of an issue that are to be routed. Such a
//! lane is made with its first delivery, and forgotten when nothing is kept of the issue any more.

use serde::{Deserialize, Serialize};

use crate::delivery::{Action, Duty, Style};
use crate::event::ChannelName;

#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum IssueLane {
    /// What is done to an issue.
    Actions(String),
    /// Events that are to be routed, in their order.
    Events(String),
}

impl IssueLane {
    /// The account of all lanes of actions.
    pub const TRACKER: &str = "tracker";
    /// The account of all lanes of events that are to be routed.
    pub const ROUTING: &str = "routing";

    /// Of what this duty is to stand in, if it is no channel.
    pub fn of(duty: &Duty) -> Option<Self> {
        match duty {
            Duty::Message { .. } => None,
            Duty::Action { issue, .. } => Some(Self::Actions(issue.clone())),
            Duty::Route { line } => Some(Self::Events(line.clone())),
        }
    }

    /// The lane's key, and the name of its only channel: no configured one has a colon in its name.
    pub fn name(&self) -> String {
        match self {
            Self::Actions(issue) => format!("issue:{issue}"),
            Self::Events(line) => format!("route:{line}"),
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        match name.split_once(':')? {
            ("issue", issue) => Some(Self::Actions(issue.to_owned())),
            ("route", line) => Some(Self::Events(line.to_owned())),
            _ => None,
        }
    }

    pub fn account(&self) -> &'static str {
        match self {
            Self::Actions(_) => Self::TRACKER,
            Self::Events(_) => Self::ROUTING,
        }
    }

    /// Whether all lanes of this account are such lanes.
    pub(super) fn has_account(account: &str) -> bool {
        account == Self::TRACKER || account == Self::ROUTING
    }
}

/// The column `duty` of a delivery that is no message: what its channel and its template do not say.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    Action(Action),
    Route,
}

/// The columns `template`, `duty` and style of a delivery.
pub(super) fn columns(duty: &Duty) -> serde_json::Result<(&str, Option<String>, bool)> {
    Ok(match duty {
        Duty::Message { template, style, .. } => (template, None, *style == Style::Thread),
        Duty::Action { action, .. } => (action.word(), Some(kept(Kept::Action(action.clone()))?), false),
        Duty::Route { .. } => ("", Some(kept(Kept::Route)?), false),
    })
}

fn kept(duty: Kept) -> serde_json::Result<String> {
    serde_json::to_string(&duty)
}

/// What the columns of a delivery and the name of its channel say.
///
/// # Errors
/// Why they cannot be what Campanile wrote.
pub(super) fn duty(channel: String, template: String, kept: Option<&str>, threaded: bool) -> Result<Duty, String> {
    let kept: Option<Kept> = kept.map(serde_json::from_str).transpose().map_err(|error| error.to_string())?;
    match (kept, IssueLane::parse(&channel)) {
        (None, None) => {
            let style = if threaded { Style::Thread } else { Style::Post };
            Ok(Duty::Message { channel: ChannelName::try_from(channel)?, template: template.into(), style })
        }
        (Some(Kept::Action(action)), Some(IssueLane::Actions(issue))) => Ok(Duty::Action { issue, action }),
        (Some(Kept::Route), Some(IssueLane::Events(line))) => Ok(Duty::Route { line }),
        _ => Err(format!("its duty does not fit to `{channel}`")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::delivery::Words;

    #[test]
    fn a_duty_is_read_as_it_was_written() {
        let oncall = || ChannelName::try_from("oncall".to_owned()).unwrap();
        let fields = BTreeMap::from([("benchLink".to_owned(), "{{bench.url}}".to_owned())]);
        let action = |action| Duty::Action { issue: "TEST-1".into(), action };
        for duty in [
            Duty::Message { channel: oncall(), template: "issue".into(), style: Style::Thread },
            Duty::Message { channel: oncall(), template: "issue".into(), style: Style::Post },
            action(Action::Set { fields, was: None }),
            action(Action::Comment(Words::Template("review".into()))),
            Duty::Route { line: "review:github:a/b:7".into() },
        ] {
            let channel = IssueLane::of(&duty).map_or_else(|| "oncall".to_owned(), |lane| lane.name());
            let (template, kept, threaded) = columns(&duty).unwrap();
            assert_eq!(super::duty(channel, template.to_owned(), kept.as_deref(), threaded), Ok(duty.clone()));
        }
        assert!(super::duty("issue:TEST-1".into(), "transition".into(), None, false).is_err());
    }
}
