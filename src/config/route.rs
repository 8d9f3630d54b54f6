//! `routes:` — from conditions to channels and issues, as an admin wrote them.

use super::action::{self, ActionsRead};
use super::channel::LONGEST_WAIT;
use super::cross::Known;
use super::reader::{Fields, Findings, Placed, choice, elements, text, truth, whole, word};
use super::tree::{Kind, Node};
use crate::delivery::Style;
use crate::event::ChannelName;
use crate::finding::Place;
use crate::route::{Condition, Route};

/// A route and the places that checks across sections need.
pub(super) struct RouteRead {
    pub route: Route,
    pub place: Place,
    /// Of `route.channels`, in its order.
    pub channels: Vec<Place>,
    pub template: Option<Placed<String>>,
    pub issue: Option<ActionsRead>,
}

impl RouteRead {
    /// With the route's name.
    pub fn named_templates(&self) -> impl Iterator<Item = (String, Placed<String>)> {
        let of_comment = self.issue.as_ref().and_then(|issue| issue.template.as_ref());
        self.template.iter().chain(of_comment).map(|template| (self.route.name.clone(), template.clone()))
    }
}

/// A route without a name is called by its number, as `#1`.
pub(super) fn read(index: usize, node: &Node, known: &Known<'_>, findings: &mut Findings) -> Option<RouteRead> {
    let mut fields = Fields::of(node, format!("route {}", index + 1), findings)?;
    let name_node = fields.get("name");
    let name = name_node.and_then(|node| word(node, findings)).map(str::to_owned);
    let name = name.unwrap_or_else(|| format!("#{}", index + 1));
    fields.rename(format!("route `{name}`"));
    let when = fields.read("when", findings, condition);
    let (channels_node, issue_node) = (fields.get("channels"), fields.get("issue"));
    let channels = channels_node.and_then(|node| channels(node, findings)).unwrap_or_default();
    let issue = issue_node.and_then(|node| action::read(node, &name, known, findings));
    if channels_node.is_none() && issue_node.is_none() {
        findings.error(node.place, format!("route `{name}` needs `channels` or `issue`"));
    }
    let template = fields.read("template", findings, |node, findings| {
        Some(Placed { value: word(node, findings)?.to_owned(), place: node.place })
    });
    let styles = [("post", Style::Post), ("thread", Style::Thread)];
    let style = fields.read("style", findings, choice(&styles)).unwrap_or_default();
    let continues = fields.read("continue", findings, truth).unwrap_or(false);
    let disabled = fields.read("disabled", findings, truth).unwrap_or(false);
    let give_up_after_hours = fields.read("give_up_after_hours", findings, whole(1..=LONGEST_WAIT));
    fields.close(findings);
    let (channels, places) = channels.into_iter().unzip();
    let route = Route {
        name,
        when,
        channels,
        actions: issue.as_ref().map(|issue| issue.actions.clone()).unwrap_or_default(),
        template: template.as_ref().map(|template| template.value.clone()),
        style,
        continues,
        disabled,
        give_up_after_hours,
    };
    Some(RouteRead { route, place: name_node.unwrap_or(node).place, channels: places, template, issue })
}

fn condition(node: &Node, findings: &mut Findings) -> Option<Condition> {
    let blank = |node: &Node| match &node.kind {
        Kind::Empty => true,
        Kind::Scalar(scalar) => scalar.text.trim().is_empty(),
        _ => false,
    };
    if blank(node) {
        findings.hinted(node.place, "`when` is empty", "leave it out for a route that always matches");
        return None;
    }
    text(node, findings).map(|scalar| Condition::new(scalar.text.clone(), scalar.runs.clone()))
}

fn channels(node: &Node, findings: &mut Findings) -> Option<Vec<(ChannelName, Place)>> {
    let elements = elements(node, findings)?;
    if elements.is_empty() {
        findings.error(node.place, "`channels` names no channel");
    }
    let mut named = Vec::with_capacity(elements.len());
    for node in elements {
        let Some(name) = word(node, findings) else { continue };
        match ChannelName::try_from(name.to_owned()) {
            Ok(name) => named.push((name, node.place)),
            Err(message) => drop(findings.error(node.place, message)),
        }
    }
    Some(named)
}
