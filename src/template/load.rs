//! The folder of templates, and the check of each file.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use handlebars::TemplateErrorReason;
use handlebars::template::{Template, TemplateElement};
use sha2::{Digest, Sha256};

use super::front::{self, Front};
use super::own::Dialect;
use super::partials::Partials;
use super::scan::{Flaw, flaws};
use super::{Checked, Defaults, Kept, Shared, Templates, check, default_name, defaults, helpers, stand_in};
use crate::finding::Finding;
use crate::message::is_blank;

/// Largest template, in bytes.
const LARGEST: u64 = 64 * 1024;

/// The folder of partials, beside the templates.
const PARTIALS: &str = "partials";

/// The binary's own templates, which need no partial: compiled once, however often a folder is loaded.
static DEFAULTS: LazyLock<(Defaults, Vec<Finding>)> = LazyLock::new(|| {
    let (shared, mut findings) = (Shared::new(Partials::default()), Vec::new());
    let defaults = defaults::ALL.into_iter().map(|(language, name, text)| {
        let (kept, found) = keep(Source::new(format!("(built in) {name}.md.hbs"), text), Dialect::Markdown, &shared);
        findings.extend(found);
        ((language, name), kept)
    });
    (defaults.collect(), findings)
});

pub(super) fn load(folder: Option<&Path>) -> (Templates, Vec<Finding>) {
    let mut findings = Vec::new();
    let folder_of_partials = folder.map(|folder| folder.join(PARTIALS)).filter(|folder| folder.is_dir());
    let partials = folder_of_partials.map(|folder| Partials::read(&folder, &mut findings)).unwrap_or_default();
    let mut digest = Sha256::new();
    partials.texts().for_each(|(name, text)| add(&mut digest, name, text));
    let shared = Shared::new(partials);
    let (mut own, mut forms) = (HashMap::new(), HashMap::new());
    for path in folder.map(|folder| files(folder, &mut findings)).unwrap_or_default() {
        let file = path.display().to_string();
        match kind(&path) {
            Some(Kind::Template(name, dialect)) => {
                let (kept, found) = match read(&path) {
                    Ok(text) => {
                        add(&mut digest, path.file_name().and_then(|name| name.to_str()).unwrap_or_default(), &text);
                        keep(Source::new(file, &text), dialect, &shared)
                    }
                    Err(finding) => (Kept::Broken(finding.clone()), vec![finding]),
                };
                tell(&mut findings, found);
                match dialect.messenger() {
                    Some(messenger) => {
                        // In the files' order the common one comes before.
                        let is_alone = !own.contains_key(&name) && default_name(&name).is_none();
                        findings.extend(is_alone.then(|| alone(&path, &name)));
                        forms.insert((name, messenger), kept)
                    }
                    None => own.insert(name, kept),
                };
            }
            Some(Kind::Misnamed) => findings.push(
                Finding::warning(file, 0, 0, "this file is not read").hint(
                    "a template's name ends in `.md.hbs`, or in `.slack.json.hbs` or `.telegram.html.hbs` for one messenger",
                ),
            ),
            None => {}
        }
    }
    findings.extend(DEFAULTS.1.iter().cloned());
    (Templates { shared, own, forms, defaults: &DEFAULTS.0, digest: digest.finalize().into() }, findings)
}

fn add(digest: &mut Sha256, name: &str, text: &str) {
    for part in [name, text] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
}

impl Shared {
    pub fn new(partials: Partials) -> Self {
        let mut registry = helpers::registry();
        partials.register(&mut registry);
        Self { registry, partials }
    }
}

/// Adds findings that are not there yet: several templates may meet one mistake in a partial.
pub(super) fn tell(findings: &mut Vec<Finding>, found: impl IntoIterator<Item = Finding>) {
    for finding in found {
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
}

/// Sorted, so that findings come in one order everywhere.
pub(super) fn files(folder: &Path, findings: &mut Vec<Finding>) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut files: Vec<PathBuf> = entries.unwrap_or_else(|error| {
        let file = folder.display().to_string();
        findings.push(match error.kind() {
            ErrorKind::NotFound => {
                Finding::warning(file, 0, 0, "there is no such folder: only built-in templates are used")
            }
            _ => Finding::error(file, 0, 0, format!("the folder cannot be read: {error}")),
        });
        Vec::new()
    });
    files.sort();
    files
}

fn alone(path: &Path, name: &str) -> Finding {
    let message = format!("there is no `{name}.md.hbs` for when this file is not used");
    Finding::warning(path.display().to_string(), 0, 0, message)
        .hint("to the other messenger, and where a message is too long or refused, the fallback text goes out")
}

enum Kind {
    Template(String, Dialect),
    Misnamed,
}

fn kind(path: &Path) -> Option<Kind> {
    let name = path.file_name()?.to_str()?;
    if path.is_dir() || name.starts_with('.') {
        return None;
    }
    let template = Dialect::ENDS.into_iter().find_map(|(end, dialect)| Some((name.strip_suffix(end)?, dialect)));
    match template.filter(|(name, _)| !name.is_empty() && !name.contains('.')) {
        Some((name, dialect)) => Some(Kind::Template(name.to_owned(), dialect)),
        None => name.ends_with(".hbs").then_some(Kind::Misnamed),
    }
}

pub(super) fn read(path: &Path) -> Result<String, Finding> {
    let file = path.display().to_string();
    let unread = |error: std::io::Error| match error.kind() {
        ErrorKind::InvalidData => Finding::error(path.display().to_string(), 0, 0, "the file is not UTF-8"),
        _ => Finding::error(path.display().to_string(), 0, 0, format!("the file cannot be read: {error}")),
    };
    let found = fs::metadata(path).map_err(unread)?;
    if !found.is_file() {
        // A pipe is not even opened: whoever reads it waits for somebody to write.
        return Err(Finding::error(file, 0, 0, "this is no file").hint("put a template's own file in its place"));
    }
    if found.len() > LARGEST {
        let message = format!("a template has at most {} KiB", LARGEST / 1024);
        return Err(Finding::error(file, 0, 0, message));
    }
    fs::read_to_string(path).map_err(unread)
}

/// The text of a file, as templates are read.
pub(super) struct Source {
    pub file: String,
    pub text: String,
}

impl Source {
    pub fn new(file: String, text: &str) -> Self {
        Self { file, text: stand_in::frame(text.strip_prefix('\u{feff}').unwrap_or(text)) }
    }

    pub fn finding(&self, flaw: Flaw) -> Finding {
        let before = &self.text[..flaw.at];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let (line, column) = (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
        let finding = Finding::error(&self.file, line, column, flaw.message);
        match flaw.hint {
            Some(hint) => finding.hint(hint),
            None => finding,
        }
    }
}

/// Checks a template's text. Broken is what has a finding.
pub(super) fn keep(source: Source, dialect: Dialect, shared: &Shared) -> (Kept, Vec<Finding>) {
    let partials = &shared.partials;
    match checked(&source, dialect, shared) {
        Ok(checked) => (Kept::Checked(Box::new(checked)), Vec::new()),
        Err(flaws) => {
            let findings: Vec<_> = flaws.into_iter().map(|flaw| partials.finding(&source, flaw)).collect();
            let unnamed = || Finding::error(&source.file, 0, 0, "it cannot be used");
            (Kept::Broken(findings.first().cloned().unwrap_or_else(unnamed)), findings)
        }
    }
}

/// The flaws of front matter and text together, in the order of the file.
fn checked(source: &Source, dialect: Dialect, shared: &Shared) -> Result<Checked, Vec<Flaw>> {
    let partials = &shared.partials;
    let mut needs = check::Needs::default();
    let (front, mut flaws) = match Front::read(source, partials, &mut needs) {
        Ok(front) => (Some(front), Vec::new()),
        Err(flaws) => (None, flaws),
    };
    let start = front.as_ref().map_or_else(|| front::end(&source.text), |(_, start)| *start);
    let text = &source.text[start..];
    let template = compile(text, None).and_then(|template| {
        needs.add(check::check(text, &template, partials)?);
        if says_nothing(&template) {
            let hint = "write what it says, as in `{{issue.key}} {{issue.summary}}`, or remove the file";
            return Err(vec![Flaw::new(0, "this template says nothing").hint(hint)]);
        }
        Ok(template)
    });
    let moved = |flaw: Flaw| if flaw.partial.is_none() { Flaw { at: flaw.at + start, ..flaw } } else { flaw };
    let template = template.map_err(|found| flaws.extend(found.into_iter().map(moved))).ok();
    match (front, template) {
        (Some((front, start)), Some(template)) => {
            let lines_before = source.text[..start].matches('\n').count();
            if dialect == Dialect::Json && !front.buttons.is_empty() {
                let hint = "write an `actions` block, or links in a text";
                return Err(vec![Flaw::new(0, "`buttons` stand among the blocks in this file").hint(hint)]);
            }
            let checked = Checked { file: source.file.clone(), dialect, lines_before, template, front, needs };
            match checked.try_out(text, shared) {
                Some(flaw) => Err(vec![moved(flaw)]),
                None => Ok(checked),
            }
        }
        _ => Err(flaws),
    }
}

/// Of whatever event: it has neither a text nor a tag.
fn says_nothing(template: &Template) -> bool {
    template.elements.iter().all(|element| match element {
        TemplateElement::RawString(text) => is_blank(text),
        TemplateElement::Comment(_) => true,
        _ => false,
    })
}

/// `name`: a partial's, by which errors in it are told.
pub(super) fn compile(text: &str, name: Option<&str>) -> Result<Template, Vec<Flaw>> {
    let found = flaws(text);
    if !found.is_empty() {
        return Err(found);
    }
    let compiled = match name {
        Some(name) => Template::compile_with_name(text, name.to_owned()),
        None => Template::compile(text),
    };
    compiled.map_err(|error| {
        let (line, column) = error.pos().unwrap_or((1, 1));
        let at = check::offset(text, line, column);
        vec![match error.reason() {
            TemplateErrorReason::InvalidSyntax(_) => Flaw::new(at, "this is no tag that Handlebars knows")
                .hint("write `{{path}}`, `{{helper value}}` or `{{#if value}}…{{/if}}`"),
            reason => Flaw::new(at, reason.to_string()),
        }]
    })
}
