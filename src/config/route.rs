//! `routes:` — from conditions to channels, as an admin wrote them.

use super::channel::LONGEST_WAIT;
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
    pub template: Option<Place>,
}

impl RouteRead {
    pub fn named_template(&self) -> Option<(String, Placed<String>)> {
        let (value, place) = (self.route.template.clone()?, self.template?);
        Some((self.route.name.clone(), Placed { value, place }))
    }
}

/// A route without a name is called by its number, as `#1`.
pub(super) fn read(index: usize, node: &Node, findings: &mut Findings) -> Option<RouteRead> {
    let mut fields = Fields::of(node, format!("route {}", index + 1), findings)?;
    let name_node = fields.get("name");
    let name = name_node.and_then(|node| word(node, findings)).map(str::to_owned);
    let name = name.unwrap_or_else(|| format!("#{}", index + 1));
    fields.rename(format!("route `{name}`"));
    let when = fields.read("when", findings, condition);
    let channels = fields.need("channels", findings, channels).unwrap_or_default();
    let template_node = fields.get("template");
    let template = template_node.and_then(|node| word(node, findings)).map(str::to_owned);
    let styles = [("post", Style::Post), ("thread", Style::Thread)];
    let style = fields.read("style", findings, choice(&styles)).unwrap_or_default();
    let continues = fields.read("continue", findings, truth).unwrap_or(false);
    let disabled = fields.read("disabled", findings, truth).unwrap_or(false);
    let give_up_after_hours = fields.read("give_up_after_hours", findings, whole(1..=LONGEST_WAIT));
    fields.close(findings);
    let (channels, places) = channels.into_iter().unzip();
    Some(RouteRead {
        route: Route {
            name,
            when,
            channels,
            actions: Vec::new(),
            template,
            style,
            continues,
            disabled,
            give_up_after_hours,
        },
        place: name_node.unwrap_or(node).place,
        channels: places,
        template: template_node.map(|node| node.place),
    })
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
