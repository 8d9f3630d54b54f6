//! A text as a tree whose every node knows its place, and what only the text can tell: tags, keys that stand twice.
//!
//! The typed reading goes over this tree and not through serde, because derived reading stops at the first mistake,
//! drops tags without a word (`when: !has(x)` would become "always") and may print values that are secrets.

use std::collections::HashMap;
use std::rc::Rc;

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, Span, Tag};

use super::reader::Findings;
use crate::finding::Place;

/// A value, its place, and the key it stands under (a list's elements: the list's).
#[derive(Debug)]
pub struct Node {
    pub name: Rc<str>,
    pub place: Place,
    pub kind: Kind,
}

#[derive(Debug)]
pub enum Kind {
    /// Nothing, `~` or `null`.
    Empty,
    Scalar(Scalar),
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
    /// A finding has told of it already.
    Refused,
}

#[derive(Debug)]
pub struct Scalar {
    pub text: String,
    /// Without quotes and no block: it may be a number or a truth.
    pub plain: bool,
    /// The stretches of `text` that stand in the file as they are: first byte and place.
    pub runs: Vec<(usize, Place)>,
}

impl Scalar {
    /// Where the byte `at` of the text stands; within the first stretch when nothing is known of it.
    pub fn place(&self, at: usize) -> Option<Place> {
        let after = self.runs.partition_point(|(start, _)| *start <= at);
        let (start, place) = self.runs.get(after.saturating_sub(1))?;
        let within = self.text.get(*start..at).map_or(0, |text| text.chars().count());
        Some(Place { column: place.column + within, ..*place })
    }
}

#[derive(Debug)]
pub struct Entry {
    pub key: Rc<str>,
    pub place: Place,
    pub value: Rc<Node>,
}

/// A list or map that is not closed yet.
struct Open {
    name: Rc<str>,
    place: Place,
    anchor: usize,
    refused: bool,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Rc<Node>>),
    /// A key without a name was refused, and what stands behind it is dropped.
    Map {
        entries: Vec<Entry>,
        key: Option<(Option<Rc<str>>, Place)>,
    },
}

/// The tree of a text, or `None` when there is none because the text is no YAML; findings say why. `what` names the whole
/// in findings: "config.yaml".
pub fn parse(text: &str, what: impl Into<Rc<str>>, findings: &mut Findings) -> Option<Rc<Node>> {
    let mut tree = Tree { text, what: what.into(), open: Vec::new(), anchors: HashMap::new(), root: None, findings };
    for event in Parser::new_from_str(text) {
        match event {
            Ok((Event::DocumentStart(..), span)) if tree.root.is_some() => {
                tree.findings.error(place(&span.start), "a second document begins here, only one is read");
                break;
            }
            Ok((event, span)) => tree.take(event, span),
            Err(error) => {
                let hint = tree.way_out(error.kind(), error.marker().line());
                let message = format!("this is no YAML: {}", error.info());
                tree.findings.error(place(error.marker()), message).hint = hint;
                return None;
            }
        }
    }
    tree.root
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line(), column: marker.col() + 1 }
}

struct Tree<'t> {
    text: &'t str,
    what: Rc<str>,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
    findings: &'t mut Findings,
}

impl Tree<'_> {
    fn take(&mut self, event: Event, span: Span) {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let refused = self.tagged(tag.as_deref(), &span);
                let plain = style == ScalarStyle::Plain;
                let kind = match &*text {
                    _ if refused => Kind::Refused,
                    "" | "~" | "null" | "Null" | "NULL" if plain => Kind::Empty,
                    _ => {
                        let runs = runs(&text, style, self.text, &span);
                        Kind::Scalar(Scalar { text: text.into_owned(), plain, runs })
                    }
                };
                let place = match (&kind, self.open.last()) {
                    // What is not there is shown at its key.
                    (Kind::Empty, Some(Open { kind: OpenKind::Map { key: Some((_, key)), .. }, .. })) => *key,
                    _ => place(&span.start),
                };
                self.place_node(kind, place, anchor);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.begin(OpenKind::List(Vec::new()), anchor, tag.as_deref(), span)
            }
            Event::MappingStart(_, anchor, tag) => {
                let kind = OpenKind::Map { entries: Vec::new(), key: None };
                self.begin(kind, anchor, tag.as_deref(), span);
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return };
                let kind = match open.kind {
                    _ if open.refused => Kind::Refused,
                    OpenKind::List(elements) => Kind::List(elements),
                    OpenKind::Map { entries, .. } => Kind::Map(entries),
                };
                self.add(Rc::new(Node { name: open.name, place: open.place, kind }), open.anchor);
            }
            Event::Alias(id) => match self.anchors.get(&id) {
                Some(node) => {
                    let node = node.clone();
                    self.add(node, 0);
                }
                None => {
                    self.findings.error(place(&span.start), "this alias stands inside what it names");
                    self.place_node(Kind::Refused, place(&span.start), 0);
                }
            },
            _ => {}
        }
    }

    /// What helps against an error of the parser, where it is known.
    fn way_out(&self, error: &ErrorKind, line: usize) -> Option<String> {
        use ErrorKind::*;
        let hint = match error {
            TabNotAllowed | TabInBlockIndentation | TabInIndentation | TabAtBlockScalarStart | TabInPlainScalar => {
                "indent with spaces: YAML takes no tabs"
            }
            UnexpectedEofFlowSequence
            | UnexpectedEofFlowMapping
            | UnexpectedEofImplicitFlowMapping
            | ExpectedFlowSequenceSeparator
            | ExpectedFlowMappingSeparator
            | UnclosedFlowCollection { .. }
            | InvalidFlowScalarIndent
            | InvalidColonPlacement => {
                let bracket = self.bracket(line).unwrap_or_else(|| "a `[` or `{`".to_owned());
                return Some(format!("{bracket} is open here: close it; a text with `: ` stands in single quotes"));
            }
            MisplacedFlowCollectionEnd | MismatchedFlowCollectionEnd { .. } => {
                "`[` is closed by `]` and `{` by `}`; a text with one of them stands in single quotes"
            }
            UnclosedQuotedScalar | DocumentIndicatorInQuotedScalar | InvalidQuotedScalarIndent => {
                "a quote is open here, and must be closed"
            }
            UnknownQuotedScalarEscape | InvalidQuotedScalarHexEscape | InvalidUnicodeEscape => {
                "in single quotes a backslash is only a backslash"
            }
            InvalidIndentation => "the keys of one map begin in one column",
            UnknownAnchor => "`*` names what stands at `&` before; a text that begins with it stands in single quotes",
            MappingValueNotAllowed
            | SimpleKeyExpected
            | InvalidSimpleKey
            | ExpectedBlockMappingKey
            | ExpectedNodeContent
            | UnexpectedCharacter { .. }
            | CommentInterceptedScalar
            | CommentNotSeparated
            | InvalidTrailingSingleQuotedScalar
            | InvalidTrailingDoubleQuotedScalar => "values with `: `, ` #` or quotes stand in single quotes",
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// The innermost bracket that is open, and its line as seen from line `at`: a front matter has lines before it.
    fn bracket(&self, at: usize) -> Option<String> {
        self.open.iter().rev().find_map(|Open { place, .. }| {
            let line = self.text.lines().nth(place.line.checked_sub(1)?)?;
            let first = line.chars().nth(place.column.checked_sub(1)?).filter(|first| matches!(first, '[' | '{'))?;
            Some(match at.saturating_sub(place.line) {
                0 => format!("the `{first}` in this line"),
                1 => format!("the `{first}` in the line above"),
                lines => format!("the `{first}` {lines} lines above"),
            })
        })
    }

    /// A tag is always a slip here: `!` begins one, and a condition may well begin with it.
    fn tagged(&mut self, tag: Option<&Tag>, span: &Span) -> bool {
        let Some(tag) = tag else { return false };
        let at = span.tag_span().map_or(span.start, |span| span.start);
        // Elsewhere the word may be a secret.
        let message = match &*self.name() {
            "when" => format!("`{}` is read by YAML as a tag, not as text", tag.original()),
            name => format!("`{name}` begins with `!`, which YAML reads as a tag, not as text"),
        };
        self.findings.hinted(place(&at), message, "write the whole value in single quotes");
        true
    }

    fn begin(&mut self, kind: OpenKind, anchor: usize, tag: Option<&Tag>, span: Span) {
        let refused = self.tagged(tag, &span);
        let name = self.name();
        self.open.push(Open { name, place: place(&span.start), anchor, refused, kind });
    }

    /// The key that the next node stands under.
    fn name(&self) -> Rc<str> {
        match self.open.last() {
            Some(Open { kind: OpenKind::Map { key: Some((key, _)), .. }, .. }) => key.clone().unwrap_or_default(),
            Some(Open { kind: OpenKind::List(_), name, .. }) => name.clone(),
            _ => self.what.clone(),
        }
    }

    fn place_node(&mut self, kind: Kind, place: Place, anchor: usize) {
        let name = self.name();
        self.add(Rc::new(Node { name, place, kind }), anchor);
    }

    fn add(&mut self, node: Rc<Node>, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(node),
            Some(OpenKind::List(elements)) => elements.push(node),
            Some(OpenKind::Map { entries, key }) => match key.take() {
                Some((None, _)) => {}
                Some((Some(key), place)) => match entries.iter().find(|entry| entry.key == key) {
                    Some(first) => {
                        let message = format!("`{key}` stands here twice, first in line {}", first.place.line);
                        self.findings.error(place, message);
                    }
                    None => entries.push(Entry { key, place, value: node }),
                },
                None => {
                    let name = match &node.kind {
                        Kind::Scalar(scalar) if scalar.plain && scalar.text == "<<" => {
                            let hint = "write the keys out; `*name` alone stands for a whole value";
                            self.findings.hinted(node.place, "the merge key `<<` is not read", hint);
                            None
                        }
                        Kind::Scalar(scalar) => Some(scalar.text.as_str().into()),
                        Kind::Refused => None,
                        _ => {
                            self.findings.error(node.place, "a key must be a word");
                            None
                        }
                    };
                    *key = Some((name, node.place));
                }
            },
        }
    }
}

/// Walks a scalar's value and its source side by side. Between two characters of the value the source may have line
/// breaks, indentation, doubled quotes and escapes; each of them begins a new stretch.
fn runs(value: &str, style: ScalarStyle, source: &str, span: &Span) -> Vec<(usize, Place)> {
    let Some(raw) = span.start.byte_offset().and_then(|start| source.get(start..)) else { return Vec::new() };
    let mut cursor = Cursor { rest: raw, place: place(&span.start) };
    if matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted) {
        cursor.step();
    }
    let mut runs: Vec<(usize, Place)> = Vec::new();
    let mut expected = None; // where the stretch goes on if nothing comes between
    for (at, c) in value.char_indices() {
        if !c.is_whitespace() {
            while cursor.next().is_some_and(char::is_whitespace) {
                cursor.step();
            }
        } else if cursor.next() != Some(c) && cursor.next() != Some('\\') {
            continue; // folded away
        }
        if expected != Some(cursor.place) {
            runs.push((at, cursor.place));
        }
        match (style, cursor.next()) {
            (ScalarStyle::DoubleQuoted, Some('\\')) => {
                cursor.step();
                let digits = match cursor.next() {
                    Some('x') => 2,
                    Some('u') => 4,
                    Some('U') => 8,
                    _ => 0,
                };
                (0..=digits).for_each(|_| cursor.step());
                expected = None;
            }
            (ScalarStyle::SingleQuoted, Some('\'')) => {
                cursor.step();
                cursor.step();
                expected = None;
            }
            _ => {
                cursor.step();
                expected = Some(cursor.place);
            }
        }
    }
    runs
}

struct Cursor<'s> {
    rest: &'s str,
    place: Place,
}

impl Cursor<'_> {
    fn next(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn step(&mut self) {
        let Some(next) = self.next() else { return };
        self.rest = &self.rest[next.len_utf8()..];
        self.place = match next {
            '\n' => Place { line: self.place.line + 1, column: 1 },
            _ => Place { column: self.place.column + 1, ..self.place },
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where `part` of the value of the only key is said to stand.
    fn place_of(yaml: &str, part: &str) -> (usize, usize) {
        let mut findings = Findings::new("config.yaml");
        let root = parse(yaml, "config.yaml", &mut findings).unwrap();
        let Kind::Map(entries) = &root.kind else { panic!() };
        let Kind::Scalar(scalar) = &entries[0].value.kind else { panic!() };
        let place = scalar.place(scalar.text.find(part).unwrap()).unwrap();
        (place.line, place.column)
    }

    #[test]
    fn every_part_of_a_scalar_has_its_place_in_any_style() {
        for (yaml, part, place) in [
            ("when: issue.kee", "kee", (1, 13)),
            ("when: 'issue.kee'", "kee", (1, 14)),
            ("when: 'a == \"Ключ\" && ''x'' == kee'", "kee", (1, 32)),
            (r#"when: "a == \"x\" && kee""#, "kee", (1, 22)),
            ("when: \"\\u0041\\tkee\"", "kee", (1, 16)),
            ("when: >-\n  a ==\n    b && kee\n", "kee", (3, 10)),
            ("when: >-\n  a == b\n  && kee\n", "kee", (3, 6)),
            ("when: |\n  a ==\n  kee\n", "kee", (3, 3)),
            ("when: >\n\n  > 1 -kee\n", "kee", (3, 8)),
            ("when: a ==\n  b && kee", "kee", (2, 8)),
            ("when: 'a\n  kee'", "kee", (2, 3)),
        ] {
            assert_eq!(place_of(yaml, part), place, "{yaml}");
        }
    }
}
