//! `partials/<name>.hbs`: pieces that templates share.

use std::collections::BTreeMap;
use std::path::Path;

use handlebars::Handlebars;
use handlebars::template::Template;

use super::check;
use super::load::{self, Source};
use super::scan::Flaw;
use crate::finding::Finding;

/// Most partials that one template may be written out to, those within others counted: two that each name the next
/// one twice would be a million at the twentieth.
pub(super) const MOST: usize = 500;

const EXTENSION: &str = ".hbs";

/// All partials by name.
#[derive(Default)]
pub(super) struct Partials(BTreeMap<String, Partial>);

pub(super) struct Partial {
    pub source: Source,
    /// `None`: it cannot be read, a finding says why.
    pub template: Option<Template>,
}

impl Partials {
    /// Those of a folder, with what is wrong in them wherever they stand. A folder that does not exist has none.
    pub fn read(folder: &Path, findings: &mut Vec<Finding>) -> Self {
        let mut partials = Self::default();
        for path in load::files(folder, findings) {
            let file = path.display().to_string();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            match name.strip_suffix(EXTENSION).filter(|name| is_name(name)) {
                Some(name) => {
                    let read = load::read(&path).map(|text| partials.add(name, Source::new(file, &text)));
                    findings.extend(match read {
                        Ok(found) => found,
                        Err(finding) => vec![finding],
                    });
                }
                None if name.starts_with('.') => {}
                None => findings.push(
                    Finding::warning(file, 0, 0, "this file is not read")
                        .hint("a partial is named with letters, digits, `-` and `_`, as in `head.hbs`"),
                ),
            }
        }
        for (name, partial) in &partials.0 {
            let flaws = check::partial(name, &partials).into_iter();
            load::tell(findings, flaws.map(|flaw| partials.finding(&partial.source, flaw)));
        }
        partials
    }

    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, partial)| (name.as_str(), partial.source.text.as_str()))
    }

    pub fn add(&mut self, name: &str, source: Source) -> Vec<Finding> {
        let compiled = load::compile(&source.text, Some(name));
        let (template, flaws) = compiled.map_or_else(|flaws| (None, flaws), |template| (Some(template), Vec::new()));
        let findings = flaws.into_iter().map(|flaw| source.finding(flaw)).collect();
        self.0.insert(name.to_owned(), Partial { source, template });
        findings
    }

    pub fn get(&self, name: &str) -> Option<&Partial> {
        self.0.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The file of a partial, for errors that name it.
    pub fn file(&self, name: &str) -> Option<&str> {
        self.get(name).map(|partial| partial.source.file.as_str())
    }

    pub fn register(&self, registry: &mut Handlebars<'_>) {
        for (name, partial) in &self.0 {
            if let Some(template) = &partial.template {
                registry.register_template(name, template.clone());
            }
        }
    }

    /// A flaw as a finding in the file where it stands: a template's, or a partial's that the template names.
    pub fn finding(&self, template: &Source, flaw: Flaw) -> Finding {
        let partial = flaw.partial.as_deref().and_then(|name| self.get(name));
        partial.map_or(template, |partial| &partial.source).finding(flaw)
    }
}

pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
}
