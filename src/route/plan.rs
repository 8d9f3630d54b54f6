//! From an event to its deliveries: what the routes ask for, how long it may wait, and what is filtered.

use std::collections::HashMap;

use super::{Failed, Router};
use crate::delivery::{Duty, Planned, Style};
use crate::event::{ChannelName, Document, Event, family};

/// After so many hours without a receipt a delivery becomes a dead letter.
pub const GIVE_UP_AFTER_HOURS: u32 = 72;

/// What becomes of an event that Campanile itself has caused.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LoopGuard {
    /// Nothing is sent and nothing is done.
    #[default]
    Events,
    /// Messages go out, issues are not changed.
    Actions,
    /// What becomes of any other.
    Off,
}

/// Makes deliveries of events.
pub struct Planner {
    pub router: Router,
    /// Every channel with its own `give_up_after_hours`.
    pub channels: HashMap<ChannelName, Option<u32>>,
    /// Issues can be linked to channels (`links`): whoever plans asks to which.
    pub follows_links: bool,
    pub loop_guard: LoopGuard,
}

/// What an event asks for.
#[derive(Debug, Default)]
pub struct Plan {
    pub planned: Vec<Planned>,
    /// Conditions that gave no answer.
    pub failed: Vec<Failed>,
}

const BY_US: &str = "Campanile itself did this";
/// What stands for the route of a delivery that no route asks for.
const LINKED: &str = "linked issue";

impl Planner {
    /// Of which issue the channels count that it is linked to. Links' own events lead only where routes say.
    pub fn followed<'e>(&self, event: &'e Event) -> Option<&'e str> {
        let issue = event.issue.as_ref().filter(|_| self.follows_links && event.link.is_none())?;
        Some(&issue.key)
    }

    /// `document` is the event's. `linked`: the channels that its issue is linked to, which get a message whatever the
    /// routes say, once; those that are configured no more do not. `by_us`: Campanile's own user did what happened. `now`:
    /// milliseconds since 1970.
    pub fn plan(&self, event: &Event, document: &str, linked: &[ChannelName], by_us: bool, now: i64) -> Plan {
        let routed = self.router.route(&Document::new(document, None));
        let give_up_at = |hours: Option<u32>| {
            let hours = hours.unwrap_or(GIVE_UP_AFTER_HOURS);
            now.saturating_add(i64::from(hours) * 3_600_000)
        };
        let messages_end = (by_us && self.loop_guard == LoopGuard::Events).then_some(BY_US);
        let actions_end = (by_us && self.loop_guard != LoopGuard::Off).then_some(BY_US);
        let is_asked = |channel: &ChannelName| routed.planned.iter().any(|asked| asked.channel == *channel);
        let followers = linked.iter().filter(|channel| !is_asked(channel));
        let followers: Vec<Planned> = followers
            .filter_map(|channel| {
                let hours = *self.channels.get(channel)?;
                let template = family(&event.event.kind).into();
                let duty = Duty::Message { channel: channel.clone(), template, style: Style::Post };
                let (give_up_at, filtered) = (give_up_at(hours), messages_end);
                Some(Planned { duty, route: LINKED.into(), give_up_at, filtered })
            })
            .collect();
        let messages = routed.planned.into_iter().map(|asked| {
            let own = || self.channels.get(&asked.channel).copied().flatten();
            let hours = asked.give_up_after_hours.or_else(own);
            let template = asked.template.unwrap_or_else(|| family(&event.event.kind).into());
            let duty = Duty::Message { channel: asked.channel, template, style: asked.style };
            Planned { duty, route: asked.route, give_up_at: give_up_at(hours), filtered: messages_end }
        });
        let issue = event.issue.as_ref().map(|issue| &issue.key);
        let actions = routed.actions.into_iter().filter_map(|asked| {
            let duty = Duty::Action { issue: issue?.clone(), action: asked.action };
            let give_up_at = give_up_at(asked.give_up_after_hours);
            Some(Planned { duty, route: asked.route, give_up_at, filtered: actions_end })
        });
        let planned = messages.chain(followers).chain(actions).collect();
        Plan { planned, failed: routed.failed }
    }
}
