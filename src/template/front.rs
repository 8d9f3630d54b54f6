//! Front matter: YAML between two lines `---` before a template's text. Its values are Handlebars whose variables are
//! written as they are; none of them becomes markup.

use handlebars::template::Template;

use super::load::Source;
use super::partials::Partials;
use super::scan::Flaw;
use super::{check, inline, stand_in};
use crate::finding::{Finding, Place};
use crate::message::{Button, Link, MOST_BUTTONS};
use crate::yaml::reader::{self, Fields, Findings, elements};
use crate::yaml::tree::{self, Kind, Node, Scalar};

const FENCE: &str = "---";

/// What a template says of its message besides the text.
#[derive(Default)]
pub(super) struct Front {
    pub buttons: Vec<ButtonSource>,
    pub silent: Option<Template>,
    pub unfurl: Option<Template>,
}

pub(super) struct ButtonSource {
    pub text: Template,
    pub url: Template,
}

impl Front {
    /// The front matter of a source, and the byte where the template's text begins.
    pub fn read(source: &Source, partials: &Partials, needs: &mut check::Needs) -> Result<(Self, usize), Vec<Flaw>> {
        let Some((yaml, end)) = split(&source.text)? else { return Ok((Self::default(), 0)) };
        let mut findings = Findings::new(&source.file);
        let root = tree::parse(yaml, "front matter", &mut findings);
        let mut reader = Reader { source, partials, needs, flaws: Vec::new() };
        let front = root.and_then(|root| match &root.kind {
            Kind::Empty => None,
            _ => reader.front(&root, &mut findings),
        });
        let mut flaws = reader.flaws;
        flaws.extend(findings.into_list().into_iter().map(|finding| flaw(source, finding)));
        flaws.sort_by_key(|flaw| flaw.at);
        if flaws.is_empty() { Ok((front.unwrap_or_default(), end)) } else { Err(flaws) }
    }
}

/// The YAML, and where what follows it begins.
fn split(text: &str) -> Result<Option<(&str, usize)>, Vec<Flaw>> {
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.next().filter(|line| line.trim_end() == FENCE) else { return Ok(None) };
    let mut at = first.len();
    for line in lines {
        if line.trim_end() == FENCE {
            return Ok(Some((&text[first.len()..at], at + line.len())));
        }
        at += line.len();
    }
    Err(vec![
        Flaw::new(0, "this front matter is never closed")
            .hint("close it with a line `---`; a rule inside a message is `***`"),
    ])
}

/// Where the template's text begins when its front matter cannot be used.
pub(super) fn end(text: &str) -> usize {
    split(text).map_or(text.len(), |split| split.map_or(0, |(_, end)| end))
}

/// A place in the YAML is one line further down in the file.
fn offset(source: &Source, place: Place) -> usize {
    check::offset(&source.text, place.line.max(1) + 1, place.column.max(1))
}

fn flaw(source: &Source, finding: Finding) -> Flaw {
    Flaw { hint: finding.hint.clone(), ..Flaw::new(offset(source, finding.place()), finding.message) }
}

struct Reader<'a> {
    source: &'a Source,
    partials: &'a Partials,
    needs: &'a mut check::Needs,
    flaws: Vec<Flaw>,
}

impl Reader<'_> {
    fn front(&mut self, root: &Node, findings: &mut Findings) -> Option<Front> {
        let mut fields = Fields::of(root, "front matter", findings)?;
        let buttons = fields.get("buttons").and_then(|node| self.buttons(node, findings)).unwrap_or_default();
        let silent = fields.get("silent").and_then(|node| self.value(node, findings));
        let unfurl = fields.get("unfurl").and_then(|node| self.value(node, findings));
        fields.close(findings);
        Some(Front { buttons, silent, unfurl })
    }

    fn buttons(&mut self, node: &Node, findings: &mut Findings) -> Option<Vec<ButtonSource>> {
        let nodes = elements(node, findings)?;
        if nodes.len() > MOST_BUTTONS {
            findings.error(nodes[MOST_BUTTONS].place, format!("a message has at most {MOST_BUTTONS} buttons"));
        }
        Some(nodes.iter().filter_map(|node| self.button(node, findings)).collect())
    }

    fn button(&mut self, node: &Node, findings: &mut Findings) -> Option<ButtonSource> {
        let mut fields = Fields::of(node, "a button", findings)?;
        let text = fields.need("text", findings, |node, findings| self.value(node, findings));
        let url = fields.need("url", findings, |node, findings| {
            let scalar = reader::text(node, findings)?;
            let leads = Link::parse(&scalar.text).is_some_and(|link| link.is_web());
            if !scalar.text.contains("{{") && !leads {
                let message = format!("`{}` is no link that a button can open", scalar.text);
                findings.hinted(node.place, message, "write an http or https address, or `\"{{issue.url}}\"`");
            }
            self.template(scalar, node)
        });
        fields.close(findings);
        Some(ButtonSource { text: text?, url: url? })
    }

    fn value(&mut self, node: &Node, findings: &mut Findings) -> Option<Template> {
        reader::text(node, findings).and_then(|scalar| self.template(scalar, node))
    }

    fn template(&mut self, scalar: &Scalar, node: &Node) -> Option<Template> {
        let compiled = inline::compile(&scalar.text, self.partials).map(|(template, needs)| {
            self.needs.add(needs);
            template
        });
        let (source, flaws) = (self.source, &mut self.flaws);
        let place = |at| scalar.place(at).unwrap_or(node.place);
        let moved = |flaw: Flaw| match flaw.partial {
            Some(_) => flaw,
            None => Flaw { at: offset(source, place(flaw.at)), ..flaw },
        };
        compiled.map_err(|found| flaws.extend(found.into_iter().map(moved))).ok()
    }
}

/// What a value says: the variables' text as it is, in one line.
pub(super) fn said(rendered: &str) -> String {
    stand_in::verbatim(rendered).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a value says yes.
pub(super) fn is_true(rendered: &str) -> bool {
    !matches!(said(rendered).to_lowercase().as_str(), "" | "false" | "no" | "0")
}

/// `None`: there is nothing to press, or nowhere to go.
pub(super) fn button(text: &str, url: &str) -> Option<Button> {
    Button::new(&said(text), Link::parse(&said(url))?)
}
