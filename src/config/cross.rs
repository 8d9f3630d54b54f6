//! What one section alone cannot tell.

use super::channel::{Channel, ChannelRead, Conversation};
use super::links::{Auth, Links};
use super::messenger::{Slack, Telegram};
use super::reader::Findings;
use super::route::RouteRead;
use super::server::Server;
use super::source::{Source, SourceKind};
use super::tracker::{TOKEN, Tracker};
use crate::delivery::{Action, Style};
use crate::finding::{Place, suggest};
use crate::route::LoopGuard;

/// What sections that were read before have, for those that want it.
pub(super) struct Known<'a> {
    pub tracker: &'a Tracker,
    /// `links.application`
    pub application: Option<&'a str>,
}

impl Known<'_> {
    /// `what` asks Tracker.
    pub fn want_token(&self, at: Place, what: &str, findings: &mut Findings) {
        if self.tracker.tokenless {
            findings.hinted(at, format!("{what}, and Tracker's API has no `tracker.token`"), TOKEN);
        }
    }
}

/// A change that answers itself: the trigger tells of it, and the route makes it again.
pub(super) fn loops_of_routes(routes: &[RouteRead], sources: &[Source], tracker: &Tracker, findings: &mut Findings) {
    let is_called = sources.iter().any(|source| source.kind == SourceKind::Tracker);
    if tracker.loop_guard != LoopGuard::Off || !is_called {
        return;
    }
    for read in routes.iter().filter(|read| !read.route.disabled) {
        let changes = |action: &Action| matches!(action, Action::Set { .. } | Action::Comment(_));
        if let Some(issue) = read.issue.as_ref().filter(|issue| issue.actions.iter().any(changes)) {
            let message = format!("route `{}` may lead to itself: `loop_guard` is off", read.route.name);
            let hint = "what it does to an issue may call a trigger: `loop_guard: actions` ends that, or its `when`";
            findings.warning(issue.place, message, hint);
        }
    }
}

/// Whoever reaches the listener links and unlinks.
pub(super) fn open_links(links: &Links, server: Option<&Server>, findings: &mut Findings) {
    let is_public = server.is_some_and(|server| !server.listen.ip().to_canonical().is_loopback());
    if let (Auth::None, true) = (&links.auth, is_public) {
        let hint = "name a token, `auth: {token: {env: NAME}}`, or let only Tracker reach `/links`";
        findings.warning(links.auth_place, "`auth: none` lets whoever reaches `server.listen` link and unlink", hint);
    }
}

/// Every channel that a route names exists.
pub(super) fn channels_of_routes(routes: &[RouteRead], channels: &[ChannelRead], findings: &mut Findings) {
    let known: Vec<&str> = channels.iter().map(|channel| channel.name.as_str()).collect();
    for read in routes {
        for (name, place) in read.route.channels.iter().zip(&read.channels) {
            if !known.contains(&name.as_str()) {
                let message = format!("route `{}` leads to a channel that does not exist: `{name}`", read.route.name);
                findings.hinted(*place, message, suggest(name.as_str(), "channels", known.iter().copied()));
            }
        }
    }
}

/// A webhook tells no message's name, so nothing can reply to it.
pub(super) fn threads_of_routes(routes: &[RouteRead], channels: &[ChannelRead], findings: &mut Findings) {
    let is_webhook = |known: &ChannelRead| {
        matches!(&known.channel, Some(Channel { conversation: Conversation::SlackWebhook { .. }, .. }))
    };
    for read in routes.iter().filter(|read| read.route.style == Style::Thread) {
        for (name, place) in read.route.channels.iter().zip(&read.channels) {
            if channels.iter().any(|known| known.name == *name && is_webhook(known)) {
                let message = format!("route `{}` has `style: thread`, but `{name}` is a webhook", read.route.name);
                findings.hinted(
                    *place,
                    message,
                    "nothing can reply there: lead `style: post` to it, or name the conversation by `slack`",
                );
            }
        }
    }
}

/// Every channel has the account it needs. An incoming webhook needs none.
pub(super) fn sections_of_channels(
    channels: &[ChannelRead],
    slack: Option<&Slack>,
    telegram: Option<&Telegram>,
    findings: &mut Findings,
) {
    let slack = slack.map(|slack| slack.tokenless);
    let telegram = telegram.map(|telegram| telegram.tokenless);
    let mut told = Vec::new();
    for ChannelRead { name, place, channel } in channels {
        let (section, key) = match channel.as_ref().map(|channel| &channel.conversation) {
            None | Some(Conversation::SlackWebhook { .. }) => continue,
            Some(Conversation::Slack { .. }) => (slack, "slack"),
            Some(Conversation::Telegram { .. }) => (telegram, "telegram"),
        };
        let hint = format!("as in `{key}: {{token: {{env: NAME}}}}`");
        match section {
            None => findings.hinted(*place, format!("channel `{name}` needs the section `{key}`"), hint),
            Some(Some(place)) if !told.contains(&key) => {
                told.push(key);
                findings.hinted(place, format!("`{key}` needs `token`: channel `{name}` uses it"), hint);
            }
            Some(_) => {}
        }
    }
}

/// Two routes of one name: `explain` and the metrics could not tell which one is meant.
pub(super) fn twins(routes: &[RouteRead], findings: &mut Findings) {
    for (index, read) in routes.iter().enumerate() {
        let name = &read.route.name;
        if let Some(first) = routes[..index].iter().find(|first| first.route.name == *name) {
            let message = format!("two routes are named `{name}`, the first in line {}", first.place.line);
            findings.warning(read.place, message, "give each its own name: logs and metrics tell routes by it");
        }
    }
}
