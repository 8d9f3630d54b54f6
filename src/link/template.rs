//! The addresses at which Tracker asks of objects and tells of links: URL templates, read once, matched with each call.

use std::fmt;

use crate::key::is_key;

/// What Tracker writes into an address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Variable {
    /// The object's key: any text, slashes too.
    RemoteKey,
    IssueKey,
}

impl Variable {
    /// As a template has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RemoteKey => "{{remoteKey}}",
            Self::IssueKey => "{{issueKey}}",
        }
    }
}

/// A template of a path with or without a query: `/links/{{remoteKey}}`, `/links?obj={{remoteKey}}&ticket={{issueKey}}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shape {
    text: String,
    path: Vec<Piece>,
    /// Decoded names and what must stand behind each.
    query: Vec<(Vec<Unit>, Vec<Piece>)>,
}

/// What a call's address held, decoded once.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Captured {
    pub remote_key: Option<String>,
    pub issue_key: Option<String>,
}

/// Why a text is no template of an address.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Why {
    #[error("begins with `/`, as in /links")]
    NoPath,
    #[error("has a path of its own: `{0}` is another's")]
    Taken(&'static str),
    #[error("has no `#`: nobody sends what stands behind it")]
    Fragment,
    #[error("knows `{{{{remoteKey}}}}` and `{{{{issueKey}}}}`, not `{{{{{0}}}}}`")]
    Unknown(String),
    #[error("has a `{{{{` that is never closed")]
    Open,
    #[error("has `{0}` twice")]
    Twice(&'static str),
    #[error("needs a border, as `/`, between `{{{{remoteKey}}}}` and `{{{{issueKey}}}}`")]
    NoBorder,
    #[error("has a variable in a name of its query")]
    InName,
}

/// What the public listener has beside links, by the first part of the path.
const TAKEN: [&str; 5] = ["/hooks", "/healthz", "/readyz", "/slack", "/telegram"];

/// What of it a path leads to.
fn taken(path: &str) -> Option<&'static str> {
    let begins = |taken: &str| path.strip_prefix(taken).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    TAKEN.into_iter().find(|taken| begins(taken))
}

/// A byte after decoding; a `/` that was written `%2F` in a path is not the `/` between its parts.
type Unit = u16;
const ENCODED_SLASH: Unit = 0x100 | b'/' as Unit;

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Literal(Vec<Unit>),
    Variable(Variable),
}

impl Shape {
    /// # Errors
    /// What is wrong with the text, as the end of a sentence that begins with what it is: "`info` …".
    pub fn parse(text: &str) -> Result<Self, Why> {
        let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
        if !path.starts_with('/') {
            return Err(Why::NoPath);
        }
        if let Some(taken) = taken(path) {
            return Err(Why::Taken(taken));
        }
        if text.contains('#') {
            return Err(Why::Fragment);
        }
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if name.contains("{{") {
                return Err(Why::InName);
            }
            Ok((units(name, false), pieces(value, false)?))
        };
        let query = query.into_iter().flat_map(|query| query.split('&')).filter(|one| !one.is_empty());
        let shape = Self {
            text: text.to_owned(),
            path: pieces(path, true)?,
            query: query.map(pair).collect::<Result<_, _>>()?,
        };
        let twice = |variable: Variable| shape.variables().filter(|one| *one == variable).count() > 1;
        match [Variable::RemoteKey, Variable::IssueKey].into_iter().find(|variable| twice(*variable)) {
            Some(variable) => Err(Why::Twice(variable.as_str())),
            None => Ok(shape),
        }
    }

    pub fn has(&self, variable: Variable) -> bool {
        self.variables().any(|one| one == variable)
    }

    fn variables(&self) -> impl Iterator<Item = Variable> {
        let pieces = self.path.iter().chain(self.query.iter().flat_map(|(_, value)| value));
        pieces.filter_map(|piece| match piece {
            Piece::Variable(variable) => Some(*variable),
            Piece::Literal(_) => None,
        })
    }

    /// What a call's path and query, both as they came, hold of this template. The query's order is free, and pairs that
    /// the template does not name do not matter.
    pub fn matches(&self, path: &str, query: Option<&str>) -> Option<Captured> {
        if taken(path).is_some() {
            return None; // however wide the template is
        }
        let mut captured = Captured::default();
        captured.take(&self.path, &units(path, true))?;
        let pairs = query.into_iter().flat_map(|query| query.split('&'));
        let pairs: Vec<_> = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
        for (wanted, pieces) in &self.query {
            let mut named = pairs.iter().filter(|(name, _)| units(name, false) == *wanted);
            named.find_map(|(_, value)| captured.take(pieces, &units(value, false)))?;
        }
        Some(captured)
    }
}

impl fmt::Display for Shape {
    /// As it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Captured {
    /// Adds what one part of an address holds.
    fn take(&mut self, pieces: &[Piece], units: &[Unit]) -> Option<()> {
        for (variable, value) in fit(pieces, units)? {
            let value = String::from_utf8(bytes(value)).ok()?;
            match variable {
                Variable::RemoteKey => self.remote_key = Some(value),
                Variable::IssueKey => self.issue_key = Some(value),
            }
        }
        Some(())
    }
}

type Found<'u> = Vec<(Variable, &'u [Unit])>;

/// The stretches of `units` that the variables stand for. There is one reading at most: an issue's key has one hyphen and
/// nothing else that could be the border beside it, whatever the remote key holds.
fn fit<'u>(pieces: &[Piece], units: &'u [Unit]) -> Option<Found<'u>> {
    match pieces {
        [] => units.is_empty().then(Vec::new),
        [Piece::Literal(literal), rest @ ..] => fit(rest, units.strip_prefix(literal.as_slice())?),
        [Piece::Variable(variable)] => variable.may_be(units).then(|| vec![(*variable, units)]),
        [Piece::Variable(variable), rest @ ..] => {
            let Some(Piece::Literal(border)) = rest.first() else { return None };
            let at = |at: usize| {
                let (value, behind) = units.split_at(at);
                let begins = behind.starts_with(border) && variable.may_be(value);
                let mut found = begins.then(|| fit(rest, behind)).flatten()?;
                found.push((*variable, value));
                Some(found)
            };
            (0..units.len()).find_map(at)
        }
    }
}

impl Variable {
    fn may_be(self, units: &[Unit]) -> bool {
        match self {
            Self::RemoteKey => !units.is_empty(),
            // Longer ones are no key, and not worth a copy.
            Self::IssueKey => units.len() <= 80 && String::from_utf8(bytes(units)).is_ok_and(|key| is_key(&key)),
        }
    }
}

fn bytes(units: &[Unit]) -> Vec<u8> {
    units.iter().map(|unit| unit.to_le_bytes()[0]).collect()
}

/// A part of a template: literals and variables in turn.
fn pieces(text: &str, in_path: bool) -> Result<Vec<Piece>, Why> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("{{") {
        let (name, behind) = behind.split_once("}}").ok_or(Why::Open)?;
        let variable = match name.trim() {
            "remoteKey" => Variable::RemoteKey,
            "issueKey" => Variable::IssueKey,
            other => return Err(Why::Unknown(other.to_owned())),
        };
        if !pieces.is_empty() && !before.contains(|c: char| !c.is_ascii_alphanumeric()) {
            return Err(Why::NoBorder);
        }
        if !before.is_empty() {
            pieces.push(Piece::Literal(units(before, in_path)));
        }
        pieces.push(Piece::Variable(variable));
        rest = behind;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Literal(units(rest, in_path)));
    }
    Ok(pieces)
}

/// A text as it came, decoded once. A `+` is a `+`: no object's key has a blank, and a branch may have a plus.
fn units(text: &str, in_path: bool) -> Vec<Unit> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut units = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let encoded = (*byte == b'%').then(|| Some(digit(at + 1)? << 4 | digit(at + 2)?)).flatten();
        units.push(match encoded.and_then(|code| Unit::try_from(code).ok()) {
            Some(code) if in_path && code == Unit::from(b'/') => ENCODED_SLASH,
            Some(code) => code,
            None => Unit::from(*byte),
        });
        at += if encoded.is_some() { 3 } else { 1 };
    }
    units
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
