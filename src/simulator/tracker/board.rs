//! A queue as people see it in Tracker's own pages, in English: its issues with their transitions, and what the queue's
//! triggers sent last.

use serde_json::{Map, Value, json};

use super::super::server::Simulator;
use super::deeds::{Done, said};
use super::dictionary::Dictionary;
use super::issue::{Change, Issue};
use super::{Language, Tracker, TrackerIssue, time};

/// Issues that a board shows.
const MOST: usize = 20;

impl Simulator<Tracker> {
    /// A queue's newest issues, the newest first: `{issues: [{key, summary, status: {key, display, type}, priority, ways:
    /// [{id, display}], comments, newest: {by, at, what}}], sent: {method, endpoint, body, status}}`. `sent` is the last
    /// attempt of any trigger; null before the first.
    pub fn board(&self, queue: &str) -> Value {
        self.look(|tracker, _| {
            let own = |at: &usize| tracker.issues[*at].queue() == queue;
            let issues: Vec<Value> =
                (0..tracker.issues.len()).rev().filter(own).take(MOST).map(|at| tracker.on_board(at)).collect();
            json!({"issues": issues, "sent": tracker.last_sent()})
        })
    }

    /// Makes an issue under the queue's next number, and what waits for it fires. Gives its key.
    ///
    /// # Errors
    /// No such queue, user (by login) or priority, or no summary.
    pub fn open(&self, queue: &str, summary: &str, priority: &str, by: &str) -> Done<String> {
        said(self.service(|tracker| {
            let front = format!("{queue}-");
            let number = |issue: &Issue| issue.key.strip_prefix(&front)?.parse::<u64>().ok();
            let last = tracker.issues.iter().filter_map(number).max().unwrap_or_default();
            let key = format!("{front}{}", last + 1);
            tracker.make(TrackerIssue::new(&key, summary).field("priority", priority).by(by))?;
            Ok(key)
        }))
    }

    /// Moves an issue by one of the transitions that are open to it, without a screen.
    ///
    /// # Errors
    /// No such issue, user (by login) or transition now, or its screen wants something.
    pub fn walk(&self, key: &str, way: &str, by: &str) -> Done {
        self.by_a_person(key, by, |tracker, at, by, now| tracker.walk(at, way, &Map::new(), by, now))
    }
}

impl Tracker {
    fn on_board(&self, at: usize) -> Value {
        let issue = &self.issues[at];
        let status = Dictionary::Statuses.find(issue.status());
        let status = status.map(|word| json!({"key": word.key, "display": word.name(Language::En), "type": word.kind}));
        let priority = Dictionary::Priorities.find(issue.word("priority"));
        let priority = priority.map(|word| json!({"key": word.key, "display": word.name(Language::En)}));
        let way = |way: &Value| json!({"id": way["id"], "display": way["display"]});
        let ways = self.ways_shown(at, Language::En).as_array().map(|ways| ways.iter().map(way).collect::<Value>());
        json!({"key": issue.key, "summary": issue.word("summary"), "status": status, "priority": priority, "ways": ways,
            "comments": issue.comments.len(), "newest": issue.changes.last().map(|change| self.in_words(at, change))})
    }

    /// One entry of the changelog for people: whose it is, when, and what it did.
    fn in_words(&self, at: usize, change: &Change) -> Value {
        let shown = self.change_shown(at, change, Language::En);
        let name = |value: &Value| match value {
            Value::Null => "nothing".to_owned(),
            Value::String(text) => text.clone(),
            other => other["display"].as_str().map_or_else(|| other.to_string(), str::to_owned),
        };
        let changed =
            |field: &Value| format!("{}: {} → {}", name(&field["field"]), name(&field["from"]), name(&field["to"]));
        let comment = shown["comments"]["added"][0]["display"].as_str();
        let what = match (change.kind, comment) {
            ("IssueCreated", _) => "Made the issue".to_owned(),
            (_, Some(text)) => format!("Commented: {text}"),
            _ => shown["fields"].as_array().into_iter().flatten().map(changed).collect::<Vec<_>>().join(", "),
        };
        json!({"by": shown["updatedBy"]["display"], "at": time(change.at), "what": what})
    }

    fn last_sent(&self) -> Option<Value> {
        let last = self.last_logged()?;
        let request = &last["request"];
        Some(json!({"id": last["id"], "method": request["method"], "endpoint": request["endpoint"],
            "headers": request["headers"], "body": request["body"], "status": last["response"]["statusCode"],
            "duration": last["duration"]}))
    }
}
