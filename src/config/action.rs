//! A route's `issue:` — what is done to the event's issue.

use std::collections::BTreeMap;

use super::cross::Known;
use super::reader::{Fields, Findings, Placed, entries, text, word};
use super::tree::{Entry, Kind, Node, Scalar};
use crate::delivery::{Action, Words};
use crate::finding::Place;
use crate::template::check_text;

/// What `link: true` stands for: the key of the event's own review or bench.
pub const OWN_OBJECT: &str = "{{#if review}}review:{{review.host}}:{{review.repository}}:{{review.id}}\
                              {{else if bench.branch}}bench:{{bench.branch}}{{/if}}";

/// Most fields that one action writes.
const MOST_FIELDS: usize = 50;

/// As it was read.
pub(super) struct ActionsRead {
    pub place: Place,
    /// In the order in which they are done: a transition may want a field, a comment tells what was done.
    pub actions: Vec<Action>,
    /// That a comment names.
    pub template: Option<Placed<String>>,
}

pub(super) fn read(node: &Node, route: &str, known: &Known<'_>, findings: &mut Findings) -> Option<ActionsRead> {
    let mut keys = Fields::of(node, format!("`issue` of route `{route}`"), findings)?;
    known.want_token(node.place, &format!("route `{route}` changes issues"), findings);
    let set = keys.read("set", findings, fields);
    let (to_node, fields_node) = (keys.get("transition"), keys.get("fields"));
    let transition = to_node.and_then(|node| transition(node, findings));
    let screen = fields_node.and_then(|node| fields(node, findings));
    let comment = keys.read("comment", findings, comment);
    let link = keys.read("link", findings, |node, findings| link(node, known, findings));
    keys.close(findings);

    if matches!(&node.kind, Kind::Map(entries) if entries.is_empty()) {
        let message = format!("`issue` of route `{route}` does nothing");
        findings.hinted(node.place, message, "it takes `transition`, `set`, `comment` and `link`");
    }
    if let (Some(node), None) = (fields_node, to_node) {
        let hint = "they are of a transition's screen; other fields are written by `set`";
        findings.hinted(node.place, "`fields` needs `transition`", hint);
    }
    let set = set.map(|fields| Action::Set { fields, was: None });
    let (to, by) = transition.unzip();
    let transition = to.map(|to| Action::Transition { to, by: by.flatten(), fields: screen.unwrap_or_default() });
    let template = comment.as_ref().and_then(|(words, place)| match words {
        Words::Template(name) => Some(Placed { value: name.clone(), place: *place }),
        Words::Text(_) => None,
    });
    let comment = comment.map(|(words, _)| Action::Comment(words));
    let actions = [set, transition, comment, link].into_iter().flatten().collect();
    Some(ActionsRead { place: node.place, actions, template })
}

/// `KEY`, or `{to: KEY, by: ID}` where several transitions lead there.
fn transition(node: &Node, findings: &mut Findings) -> Option<(String, Option<String>)> {
    if !matches!(node.kind, Kind::Map(_)) {
        return Some((status(node, findings)?, None));
    }
    let mut keys = Fields::of(node, "`transition`", findings)?;
    let to = keys.need("to", findings, status);
    let by = keys.read("by", findings, |node, findings| {
        let id = word(node, findings)?;
        let fits = id.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        fits.then(|| id.to_owned()).or_else(|| findings.must_be(node, "a transition's id"))
    });
    keys.close(findings);
    Some((to?, by))
}

fn status(node: &Node, findings: &mut Findings) -> Option<String> {
    let key = word(node, findings)?;
    if !is_key(key) {
        let message = format!("`{}` must be a status' key, as in readyForTest", node.name);
        findings.hinted(
            node.place,
            message,
            "Tracker names the keys at `GET /v3/statuses`; what people see is the name",
        );
        return None;
    }
    Some(key.to_owned())
}

/// Of a status or a field.
fn is_key(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// A local field's full id, which a queue's fields with one key are told apart by (reference T, 4.6).
fn is_local(text: &str) -> bool {
    let (number, key) = text.split_once("--").unwrap_or_default();
    number.len() == 24 && number.bytes().all(|b| b.is_ascii_hexdigit()) && is_key(key)
}

fn fields(node: &Node, findings: &mut Findings) -> Option<BTreeMap<String, String>> {
    let all = entries(node, findings)?;
    if all.is_empty() {
        findings.error(node.place, format!("`{}` names no field", node.name));
    }
    if let Some(one) = all.get(MOST_FIELDS) {
        findings.error(one.place, format!("`{}` takes at most {MOST_FIELDS} fields", node.name));
    }
    Some(all.iter().filter_map(|entry| field(entry, &node.name, findings)).collect())
}

/// An empty text in quotes clears the field.
fn field(Entry { key, place, value }: &Entry, of: &str, findings: &mut Findings) -> Option<(String, String)> {
    if !is_key(key) && !is_local(key) {
        let hint = "as in `benchLink`, or `65f1c0ffee0000000000000b--benchLink`";
        findings.hinted(*place, format!("`{key}` is no field's key"), hint);
    } else if of == "set" && &**key == "status" {
        findings.hinted(*place, "`set` cannot set the status", "write `transition: KEY`");
    }
    match &value.kind {
        Kind::Scalar(scalar) => Some((key.to_string(), said(scalar, value, findings))),
        _ => findings.must_be(value, "a text; '' clears the field"),
    }
}

fn comment(node: &Node, findings: &mut Findings) -> Option<(Words, Place)> {
    if !matches!(node.kind, Kind::Map(_)) {
        return Some((Words::Text(said(text(node, findings)?, node, findings)), node.place));
    }
    let mut keys = Fields::of(node, "`comment`", findings)?;
    let template =
        keys.need("template", findings, |node, findings| Some((word(node, findings)?.to_owned(), node.place)));
    keys.close(findings);
    template.map(|(name, place)| (Words::Template(name), place))
}

/// `true`, or the object's key. `false` is as if it were not there.
fn link(node: &Node, known: &Known<'_>, findings: &mut Findings) -> Option<Action> {
    let scalar = text(node, findings)?;
    let key = match scalar.text.as_str() {
        "false" if scalar.plain => return None,
        "true" if scalar.plain => OWN_OBJECT.to_owned(),
        _ => said(scalar, node, findings),
    };
    if known.application.is_none() {
        let hint = "as in `links: {application: campanile, auth: …}`, its id in Tracker's registration";
        findings.hinted(node.place, "`link` needs `links.application`", hint);
    }
    Some(Action::Link { key, application: known.application?.to_owned() })
}

/// A Handlebars text, with what is wrong in it.
fn said(scalar: &Scalar, node: &Node, findings: &mut Findings) -> String {
    for mistake in check_text(&scalar.text) {
        let place = scalar.place(mistake.at).unwrap_or(node.place);
        findings.error(place, format!("`{}`: {}", node.name, mistake.message)).hint = mistake.hint;
    }
    scalar.text.clone()
}
