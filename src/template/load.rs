//! The folder of templates, and the check of each file.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use handlebars::TemplateErrorReason;
use handlebars::template::Template;

use super::scan::{Flaw, flaws};
use super::{Checked, Kept, Templates, check, defaults, helpers, stand_in};
use crate::finding::Finding;

/// Largest template, in bytes.
const LARGEST: u64 = 64 * 1024;

const EXTENSION: &str = ".md.hbs";

pub(super) fn load(folder: Option<&Path>) -> (Templates, Vec<Finding>) {
    let (mut own, mut findings) = (HashMap::new(), Vec::new());
    for path in folder.map(|folder| files(folder, &mut findings)).unwrap_or_default() {
        let file = path.display().to_string();
        match kind(&path) {
            Some(Kind::Template(name)) => {
                let (kept, found) = match read(&path) {
                    Ok(source) => keep(&file, &source),
                    Err(finding) => (Kept::Broken(finding.clone()), vec![finding]),
                };
                findings.extend(found);
                own.insert(name, kept);
            }
            Some(Kind::Later(what)) => {
                findings.push(Finding::error(file, 0, 0, format!("{what} comes with a later version")));
            }
            Some(Kind::Misnamed) => findings.push(
                Finding::warning(file, 0, 0, "this file is not read")
                    .hint(format!("a template's name ends in `{EXTENSION}`")),
            ),
            None => {}
        }
    }
    let defaults = defaults::ALL.into_iter().map(|(language, name, source)| {
        let (kept, found) = keep(&format!("(built in) {name}{EXTENSION}"), source);
        findings.extend(found);
        ((language, name), kept)
    });
    let defaults = defaults.collect();
    (Templates { registry: helpers::registry(), own, defaults }, findings)
}

/// Sorted, so that findings come in one order everywhere.
fn files(folder: &Path, findings: &mut Vec<Finding>) -> Vec<PathBuf> {
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

enum Kind {
    Template(String),
    Later(&'static str),
    Misnamed,
}

fn kind(path: &Path) -> Option<Kind> {
    let name = path.file_name()?.to_str()?;
    if path.is_dir() {
        return (name == "partials").then_some(Kind::Later("a folder of partials"));
    }
    if name.starts_with('.') {
        return None;
    }
    let template = name.strip_suffix(EXTENSION).filter(|name| !name.is_empty() && !name.contains('.'));
    match template {
        Some(name) => Some(Kind::Template(name.to_owned())),
        None if name.ends_with(".slack.json.hbs") || name.ends_with(".telegram.html.hbs") => {
            Some(Kind::Later("a template for one messenger"))
        }
        None => name.ends_with(".hbs").then_some(Kind::Misnamed),
    }
}

fn read(path: &Path) -> Result<String, Finding> {
    let file = path.display().to_string();
    let unread = |error: std::io::Error| match error.kind() {
        ErrorKind::InvalidData => Finding::error(path.display().to_string(), 0, 0, "the file is not UTF-8"),
        _ => Finding::error(path.display().to_string(), 0, 0, format!("the file cannot be read: {error}")),
    };
    if fs::metadata(path).map_err(unread)?.len() > LARGEST {
        let message = format!("a template has at most {} KiB", LARGEST / 1024);
        return Err(Finding::error(file, 0, 0, message));
    }
    fs::read_to_string(path).map_err(unread)
}

/// Checks a template's text. Broken is what has a finding.
pub(super) fn keep(file: &str, source: &str) -> (Kept, Vec<Finding>) {
    let source = stand_in::frame(source.strip_prefix('\u{feff}').unwrap_or(source));
    match compile(&source) {
        Ok((template, needs)) => (Kept::Checked(Checked { file: file.to_owned(), template, needs }), Vec::new()),
        Err(flaws) => {
            let findings: Vec<_> = flaws.into_iter().map(|flaw| finding(file, &source, flaw)).collect();
            let first = findings.first().cloned().unwrap_or_else(|| Finding::error(file, 0, 0, "it cannot be used"));
            (Kept::Broken(first), findings)
        }
    }
}

fn compile(source: &str) -> Result<(Template, check::Needs), Vec<Flaw>> {
    if source.lines().next().is_some_and(|line| line.trim_end() == "---") {
        return Err(vec![
            Flaw::new(0, "front matter comes with a later version").hint("a rule inside a message is `***`"),
        ]);
    }
    let found = flaws(source);
    if !found.is_empty() {
        return Err(found);
    }
    let template = Template::compile(source).map_err(|error| {
        let (line, column) = error.pos().unwrap_or((1, 1));
        let at = check::offset(source, line, column);
        vec![match error.reason() {
            TemplateErrorReason::InvalidSyntax(_) => Flaw::new(at, "this is no tag that Handlebars knows")
                .hint("write `{{path}}`, `{{helper value}}` or `{{#if value}}…{{/if}}`"),
            reason => Flaw::new(at, reason.to_string()),
        }]
    })?;
    let needs = check::check(source, &template)?;
    Ok((template, needs))
}

fn finding(file: &str, source: &str, flaw: Flaw) -> Finding {
    let before = &source[..flaw.at];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let (line, column) = (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
    let finding = Finding::error(file, line, column, flaw.message);
    match flaw.hint {
        Some(hint) => finding.hint(hint),
        None => finding,
    }
}
