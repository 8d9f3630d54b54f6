//! Typed reading over the tree: every value that is missing, unknown or wrong becomes a finding, and the reading goes on.

use std::cell::Cell;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::rc::Rc;
use std::str::FromStr;

use super::tree::{Entry, Kind, Node, Scalar};
use crate::finding::{Finding, Place, Severity, suggest};

/// Words of the design that have no meaning yet.
const LATER: &[&str] = &["people", "hours", "digest", "alerts", "urgent", "settle_for", "admin", "card"];

/// Keys that people look for, and how it is written.
const OTHERWISE: &[(&str, &str)] = &[("thread", "style: thread")];

/// What "not yet" is called everywhere.
pub const COMES_LATER: &str = "comes with a later version";

/// A value that still knows where it stood.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Placed<T> {
    pub value: T,
    pub place: Place,
}

/// The findings of one file.
#[derive(Debug)]
pub struct Findings {
    file: String,
    list: Vec<Finding>,
}

impl Findings {
    pub fn new(file: impl Into<String>) -> Self {
        Self { file: file.into(), list: Vec::new() }
    }

    /// Of the path that the findings name.
    pub fn file_name(&self) -> String {
        let name = Path::new(&self.file).file_name();
        name.map_or_else(|| self.file.clone(), |name| name.to_string_lossy().into_owned())
    }

    pub fn error(&mut self, at: Place, message: impl Into<String>) -> &mut Finding {
        self.list.push(Finding::error(&self.file, at.line, at.column, message));
        let last = self.list.len() - 1;
        &mut self.list[last]
    }

    pub fn hinted(&mut self, at: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.error(at, message).hint = Some(hint.into());
    }

    pub fn warning(&mut self, at: Place, message: impl Into<String>, hint: impl Into<String>) {
        let finding = self.error(at, message);
        (finding.severity, finding.hint) = (Severity::Warning, Some(hint.into()));
    }

    /// Hides the lines of all findings that `read` makes.
    pub fn veiled<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.list.len();
        let result = read(self);
        self.list[before..].iter_mut().for_each(|finding| finding.veiled = true);
        result
    }

    pub fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        self.list.extend(findings);
    }

    /// In the order in which they were made.
    pub fn into_list(self) -> Vec<Finding> {
        self.list
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn has_error(&self) -> bool {
        self.list.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// In the order of the file.
    pub fn sorted(mut self) -> Vec<Finding> {
        self.list.sort_by(|one, other| (&one.file, one.place()).cmp(&(&other.file, other.place())));
        self.list
    }

    /// The node is not `what`. Never prints the value: it may be a secret in the wrong place.
    pub fn must_be<T>(&mut self, node: &Node, what: impl Display) -> Option<T> {
        match &node.kind {
            Kind::Refused => {}
            Kind::Empty => {
                let finding = self.error(node.place, format!("`{}` is empty", node.name));
                finding.hint = Some(format!("it must be {what}; in YAML ` #` begins a comment"));
            }
            _ => drop(self.error(node.place, format!("`{}` must be {what}", node.name))),
        }
        None
    }
}

/// The keys of one map. Those that nobody asks for are unknown.
pub struct Fields<'n> {
    what: String,
    place: Place,
    entries: Vec<(&'n Entry, Cell<bool>)>,
    known: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// `what` names the map in findings: "`server`", "route `x`".
    pub fn of(node: &'n Node, what: impl Into<String>, findings: &mut Findings) -> Option<Self> {
        match &node.kind {
            Kind::Map(entries) => {
                let entries = entries.iter().map(|entry| (entry, Cell::new(false))).collect();
                Some(Self { what: what.into(), place: node.place, entries, known: Vec::new() })
            }
            _ => findings.must_be(node, "a map of keys and values"),
        }
    }

    pub fn place(&self) -> Place {
        self.place
    }

    pub fn rename(&mut self, what: String) {
        self.what = what;
    }

    pub fn get(&mut self, key: &'static str) -> Option<&'n Node> {
        self.known.push(key);
        let (entry, taken) = self.entries.iter().find(|(entry, _)| &*entry.key == key)?;
        taken.set(true);
        Some(&entry.value)
    }

    /// `None` where the key is absent, and where `read` refused its value.
    pub fn read<T>(
        &mut self,
        key: &'static str,
        findings: &mut Findings,
        read: impl FnOnce(&'n Node, &mut Findings) -> Option<T>,
    ) -> Option<T> {
        self.get(key).and_then(|node| read(node, findings))
    }

    /// As [`Fields::read`], and an absent key is a finding.
    pub fn need<T>(
        &mut self,
        key: &'static str,
        findings: &mut Findings,
        read: impl FnOnce(&'n Node, &mut Findings) -> Option<T>,
    ) -> Option<T> {
        let node = self.get(key);
        if node.is_none() {
            findings.error(self.place, format!("{} needs `{key}`", self.what));
        }
        node.and_then(|node| read(node, findings))
    }

    /// Tells of every key that was not asked for.
    pub fn close(self, findings: &mut Findings) {
        #[cfg(test)]
        super::asked::note(&self.what, &self.known);
        for (entry, _) in self.entries.iter().filter(|(_, taken)| !taken.get()) {
            let key = &*entry.key;
            if LATER.contains(&key) {
                findings.error(entry.place, format!("`{key}` in {} {COMES_LATER}", self.what));
            } else {
                let message = format!("unknown key `{key}` in {}", self.what);
                let otherwise = OTHERWISE.iter().find(|(one, _)| *one == key);
                let hint = otherwise.map(|(_, written)| format!("it is written `{written}`"));
                let hint = hint.unwrap_or_else(|| suggest(key, "keys here", self.known.iter().copied()));
                findings.hinted(entry.place, message, hint);
            }
        }
    }
}

fn scalar(node: &Node) -> Option<&Scalar> {
    match &node.kind {
        Kind::Scalar(scalar) => Some(scalar),
        _ => None,
    }
}

fn plain(node: &Node) -> Option<&str> {
    scalar(node).filter(|scalar| scalar.plain).map(|scalar| scalar.text.as_str())
}

/// A text that is not blank.
pub fn text<'n>(node: &'n Node, findings: &mut Findings) -> Option<&'n Scalar> {
    match scalar(node) {
        Some(scalar) if !scalar.text.trim().is_empty() => Some(scalar),
        Some(_) => {
            findings.error(node.place, format!("`{}` is empty", node.name));
            None
        }
        None => findings.must_be(node, "a text"),
    }
}

pub fn word<'n>(node: &'n Node, findings: &mut Findings) -> Option<&'n str> {
    text(node, findings).map(|scalar| scalar.text.as_str())
}

pub fn truth(node: &Node, findings: &mut Findings) -> Option<bool> {
    match plain(node) {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => findings.must_be(node, "`true` or `false`"),
    }
}

/// A whole number in decimal digits.
pub fn whole<T>(range: RangeInclusive<T>) -> impl Fn(&Node, &mut Findings) -> Option<T>
where
    T: FromStr + PartialOrd + Display,
{
    move |node, findings| {
        let number = plain(node).and_then(|text| text.parse().ok()).filter(|number| range.contains(number));
        number.or_else(|| findings.must_be(node, format!("a whole number from {} to {}", range.start(), range.end())))
    }
}

/// A number above zero: a rate.
pub fn rate(node: &Node, findings: &mut Findings) -> Option<f64> {
    // Beyond these bounds the time between two sends is no time a timer can keep.
    let sane = 0.001..=100_000.0;
    let digits = |text: &&str| text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let number = plain(node).filter(digits).and_then(|text| text.parse().ok()).filter(|number| sane.contains(number));
    number.or_else(|| findings.must_be(node, "a number from 0.001 to 100000"))
}

pub fn address(node: &Node, findings: &mut Findings) -> Option<SocketAddr> {
    let address = scalar(node).and_then(|scalar| scalar.text.parse().ok());
    address.or_else(|| findings.must_be(node, "an address and a port, as in \"127.0.0.1:8080\" or \"[::]:8080\""))
}

/// One of a few words.
pub fn choice<T: Copy>(words: &[(&'static str, T)]) -> impl Fn(&Node, &mut Findings) -> Option<T> {
    move |node, findings| {
        let given = word(node, findings)?;
        let found = words.iter().find(|(word, _)| *word == given).map(|(_, value)| *value);
        if found.is_none() {
            if LATER.contains(&given) {
                findings.error(node.place, format!("`{}: {given}` {COMES_LATER}", node.name));
            } else {
                let hint = suggest(given, "words here", words.iter().map(|(word, _)| *word));
                findings.hinted(node.place, format!("`{}` does not know `{given}`", node.name), hint);
            }
        }
        found
    }
}

pub fn elements<'n>(node: &'n Node, findings: &mut Findings) -> Option<&'n [Rc<Node>]> {
    match &node.kind {
        Kind::List(elements) => Some(elements),
        _ => findings.must_be(node, "a list"),
    }
}

/// The entries of a map whose keys an admin chose.
pub fn entries<'n>(node: &'n Node, findings: &mut Findings) -> Option<&'n [Entry]> {
    match &node.kind {
        Kind::Map(entries) => Some(entries),
        _ => findings.must_be(node, "a map of names and their settings"),
    }
}
