//! What conditions and templates name and no event of these sources ever has: such a condition is never true, and such a
//! place in a message stays empty.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{HeaderMap, Method};
use serde_json::Value;

use super::Ground;
use super::row::Row;
use crate::cli::event::source_of;
use crate::cli::templates;
use crate::config::{self, SourceKind};
use crate::delivery::{Action, Words};
use crate::route::{Route, Router};
use crate::source::{Call, Said};
use crate::template::{Templates, text_reads};
use crate::tracker::trigger::{Wanted, Watched};

/// A call as a trigger in Tracker makes it, its variables unreplaced.
pub struct Sent {
    pub source: String,
    pub query: String,
    pub body: String,
}

/// `sent`: what the triggers make that could be seen.
pub fn variables(ground: &Ground<'_>, sent: &[Sent]) -> Vec<Row> {
    let config = ground.config;
    let given = given(ground, sent);
    let (templates, _) = templates(config);
    let mut rows = Vec::new();
    let mut tell = |subject: String, reads: BTreeSet<String>| {
        let never: Vec<_> = reads.into_iter().filter(|path| !given.has(path)).collect();
        if !never.is_empty() {
            let what = format!("no source brings {}", never.join(", "));
            let hint = "`enrich: true` at the source has Tracker asked for them; or send them in the trigger's body";
            rows.push(Row::warn("variables", subject, what).hint(hint));
        }
    };
    let used: Vec<&Route> = config.routes.iter().filter(|route| !route.disabled).collect();
    for route in &used {
        let (router, _) = Router::compile(std::slice::from_ref(route), "");
        let texts = route.actions.iter().flat_map(texts).flat_map(text_reads);
        tell(format!("route `{}`", route.name), router.reads().into_iter().chain(texts).collect());
    }
    for name in templates.names() {
        if let Some(reads) = templates.reads(name).filter(|_| is_used(&templates, name, &used)) {
            tell(format!("template `{name}`"), reads);
        }
    }
    rows
}

/// By a route's word, or as the own one of a family.
fn is_used(templates: &Templates, name: &str, routes: &[&Route]) -> bool {
    let of_comment = |action: &Action| matches!(action, Action::Comment(Words::Template(named)) if named == name);
    let named = |route: &&Route| route.template.as_deref() == Some(name) || route.actions.iter().any(of_comment);
    routes.iter().any(named) || templates.is_of_family(name) && routes.iter().any(|route| route.template.is_none())
}

/// The texts of an action that are Handlebars.
fn texts(action: &Action) -> Vec<&str> {
    match action {
        Action::Set { fields, .. } | Action::Transition { fields, .. } => fields.values().map(String::as_str).collect(),
        Action::Comment(Words::Text(text)) | Action::Link { key: text, .. } => vec![text],
        Action::Comment(Words::Template(_)) => Vec::new(),
    }
}

/// What events can have.
struct Given {
    /// Tracker, or somebody who has it all, tells of issues.
    all_of_issues: bool,
    has: BTreeSet<String>,
}

impl Given {
    /// `path`: a root, or one and its member.
    fn has(&self, path: &str) -> bool {
        let (root, member) = path.split_once('.').unwrap_or((path, ""));
        let of_issue = matches!(root, "issue" | "changes" | "comment" | "actor");
        member.is_empty() || of_issue && self.all_of_issues || self.has.contains(root) || self.has.contains(path)
    }
}

fn given(ground: &Ground<'_>, sent: &[Sent]) -> Given {
    let config = ground.config;
    let mut has: BTreeSet<String> = ["event", "body", "channel"].map(str::to_owned).into();
    has.extend(["issue.key", "issue.url", "issue.queue"].map(str::to_owned));
    has.extend(config.links.is_some().then(|| "link".to_owned()));
    for source in &config.sources {
        match source.kind {
            SourceKind::Bench => has.extend(["bench".to_owned(), "actor".to_owned()]),
            SourceKind::Host(_) => has.extend(["review".to_owned(), "actor".to_owned(), "comment".to_owned()]),
            SourceKind::Tracker => has.extend(of_triggers(ground, source, sent)),
        }
    }
    // Without a source for issues nothing can be said of them.
    let is_tracker = |source: &config::Source| source.kind == SourceKind::Tracker;
    let all_of_issues = config.sources.iter().any(|source| source.enrich) || !config.sources.iter().any(is_tracker);
    Given { all_of_issues, has }
}

/// What the calls of triggers become: of those that could be seen, else of those that `connect` makes.
fn of_triggers(ground: &Ground<'_>, source: &config::Source, sent: &[Sent]) -> BTreeSet<String> {
    let read = source_of(ground.config, source);
    let becomes = |query: &str, body: &str| {
        let (query, body) = (sample(query, false), sample(body, true));
        let call = Call {
            method: &Method::POST,
            query: &query,
            headers: &HeaderMap::new(),
            body: body.as_bytes(),
            room: Arc::new(()),
            received_at: ground.clock.now(),
        };
        let Said::Events(events) = read.read(&call) else { return Vec::new() };
        events.iter().flat_map(|read| paths(&serde_json::to_value(&read.event).unwrap_or_default())).collect()
    };
    let seen = sent.iter().filter(|sent| sent.source == source.name.as_str());
    let seen: BTreeSet<String> = seen.flat_map(|sent| becomes(&sent.query, &sent.body)).collect();
    if !seen.is_empty() {
        return seen;
    }
    let wanted = Watched::ALL.map(|watched| Wanted::of(watched, "", source.name.as_str(), &Default::default()));
    wanted.iter().flat_map(|wanted| becomes("", wanted.body())).collect()
}

/// Each root with each of its members.
fn paths(event: &Value) -> Vec<String> {
    let roots = event.as_object().into_iter().flatten();
    let below = roots.flat_map(|(root, value)| {
        let first = value.as_array().and_then(|all| all.first()).unwrap_or(value);
        let members = first.as_object().into_iter().flatten();
        members.map(move |(member, _)| format!("{root}.{member}"))
    });
    below.collect()
}

/// With a value for each variable. In a body `.json` brings its own quotes.
fn sample(text: &str, is_body: bool) -> String {
    let (mut sampled, mut rest) = (String::new(), text);
    while let Some((front, (variable, behind))) =
        rest.split_once("{{").and_then(|(front, it)| Some((front, it.split_once("}}")?)))
    {
        sampled += front;
        sampled += match variable.trim() {
            "issue.key" => "TEST-1",
            time if time.ends_with(".iso8601") => "2026-05-20T09:15:00Z",
            json if is_body && json.ends_with(".json") => "\"x\"",
            _ => "x",
        };
        rest = behind;
    }
    sampled + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_becomes_what_its_place_takes() {
        let body = r#"{"key": "{{issue.key}}", "a": {{issue.summary.json}}, "b": "{{ x }}", "at": "{{y.iso8601}}"} {{"#;
        let wanted = r#"{"key": "TEST-1", "a": "x", "b": "x", "at": "2026-05-20T09:15:00Z"} {{"#;
        assert_eq!(sample(body, true), wanted);
    }
}
