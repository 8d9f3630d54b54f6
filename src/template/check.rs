//! Everything that a parsed template names, held against helpers and paths, and what it will need.

use std::collections::BTreeSet;

use handlebars::template::{
    BlockParam, DecoratorTemplate, HelperTemplate, Parameter, Subexpression, Template, TemplateElement,
};
use handlebars::{Path, PathSeg};

use super::helpers::{self, Form};
use super::partials::{self, Partials};
use super::paths::{Place, Print};
use super::scan::{DEEPEST, Flaw};
use crate::finding::{nearest, suggest};

/// What rendering has to bring: only that is copied for it.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// Members of the document, `channel` among them.
    pub roots: BTreeSet<String>,
    pub helpers: BTreeSet<&'static str>,
    /// Roots with the first member that is named of each.
    pub paths: BTreeSet<String>,
}

impl Needs {
    pub fn add(&mut self, other: Self) {
        self.roots.extend(other.roots);
        self.helpers.extend(other.helpers);
        self.paths.extend(other.paths);
    }
}

/// Flaws come in the order of the source, those of a partial where it is named.
pub(super) fn check(source: &str, template: &Template, partials: &Partials) -> Result<Needs, Vec<Flaw>> {
    let mut check = Check::new(source, partials);
    check.scopes.push(Scope { place: Place::document(), rounds: false, names: Vec::new() });
    check.template(template);
    if check.flaws.is_empty() { Ok(check.needs) } else { Err(check.flaws) }
}

/// What is wrong with a partial whatever names it.
pub(super) fn partial(name: &str, partials: &Partials) -> Vec<Flaw> {
    let Some((partial, template)) = partials.get(name).and_then(|it| Some((it, it.template.as_ref()?))) else {
        return Vec::new();
    };
    let mut check = Check::new(&partial.source.text, partials);
    check.within.push(name);
    let anywhere = || Scope { place: Place::Any, rounds: true, names: Vec::new() };
    check.scopes.extend(std::iter::repeat_with(anywhere).take(DEEPEST));
    check.template(template);
    check.flaws
}

struct Check<'a> {
    source: &'a str,
    partials: &'a Partials,
    /// The partials around, the innermost last; `source` is its.
    within: Vec<&'a str>,
    /// Blocks and partials around.
    depth: usize,
    /// Partials written out so far.
    written_out: usize,
    /// Where the element starts that is being checked, in bytes.
    at: usize,
    scopes: Vec<Scope>,
    needs: Needs,
    flaws: Vec<Flaw>,
}

/// What paths are resolved in: the document, and each `#each` and `#with` around.
struct Scope {
    place: Place,
    /// `@index` and its like are known.
    rounds: bool,
    /// Block parameters: `as |item index|`.
    names: Vec<(String, Place)>,
}

impl<'a> Check<'a> {
    fn new(source: &'a str, partials: &'a Partials) -> Self {
        Self {
            source,
            partials,
            within: Vec::new(),
            depth: 0,
            written_out: 0,
            at: 0,
            scopes: Vec::new(),
            needs: Needs::default(),
            flaws: Vec::new(),
        }
    }

    fn template(&mut self, template: &Template) {
        let around = self.at;
        for (index, element) in template.elements.iter().enumerate() {
            // The parser keeps no place for what stands in a chain of else: that of the block then.
            self.at = template.mapping.get(index).map_or(around, |place| offset(self.source, place.0, place.1));
            match element {
                TemplateElement::RawString(_) | TemplateElement::Comment(_) => {}
                TemplateElement::Expression(tag) => self.expression(tag),
                TemplateElement::HelperBlock(tag) => self.block(tag),
                TemplateElement::PartialExpression(tag) => self.partial(tag),
                _ => self.flaw("", "this form of tag is not known").hint = Some("write `{{…}}`".into()),
            }
        }
        self.at = around;
    }

    fn expression(&mut self, tag: &HelperTemplate) {
        match &tag.name {
            Parameter::Path(path) if tag.params.is_empty() && tag.hash.is_empty() => match helpers::find(raw(path)) {
                Some(_) => self.helper(raw(path), tag, Form::Value),
                None if helpers::RESERVED.contains(&raw(path)) => self.reserved(raw(path)),
                None => self.printed(path),
            },
            Parameter::Path(path) => self.helper(raw(path), tag, Form::Value),
            Parameter::Name(name) => self.helper(name, tag, Form::Value),
            _ => self.computed(),
        }
    }

    fn block(&mut self, tag: &HelperTemplate) {
        let Some(name) = tag.name.as_name() else { return self.computed() };
        let start = self.at;
        if self.depth == DEEPEST {
            return self.too_deep(name);
        }
        self.depth += 1;
        self.helper(name, tag, Form::Block);
        let told = self.flaws.len();
        let over = match tag.params.first() {
            Some(Parameter::Path(path)) => self.resolve(path).unwrap_or(Place::Any),
            _ => Place::Any,
        };
        self.flaws.truncate(told); // as a parameter the path was checked above
        let inner = match name {
            "each" => Some((over.element(), true)),
            "with" => Some((over, self.scopes.last().is_some_and(|scope| scope.rounds))),
            _ => None,
        };
        self.block_names(tag);
        match inner {
            Some((place, rounds)) => {
                self.scopes.push(Scope { place, rounds, names: named(tag, place) });
                tag.template.iter().for_each(|template| self.template(template));
                self.scopes.pop();
            }
            None => tag.template.iter().for_each(|template| self.template(template)),
        }
        self.at = start;
        tag.inverse.iter().for_each(|template| self.template(template));
        self.depth -= 1;
    }

    /// `{{> name}}`, `{{> name value}}`, `{{> name member=value}}`: the partial is checked as it would stand here.
    fn partial(&mut self, tag: &DecoratorTemplate) {
        let Some(name) = tag.name.as_name() else { return self.computed() };
        tag.params.iter().chain(tag.hash.values()).for_each(|param| self.param(param));
        if tag.params.len() > 1 {
            self.flaw(name, "a partial takes one value").hint = Some(format!("write `{{{{> {name} member=value}}}}`"));
        }
        let Some((name, partial)) =
            self.partials.names().find(|known| *known == name).and_then(|name| Some((name, self.partials.get(name)?)))
        else {
            let hint = suggest(name, "partials", self.partials.names());
            self.flaw(name, format!("there is no `partials/{name}.hbs`")).hint = Some(hint);
            return;
        };
        if self.within.contains(&name) {
            let way = self.within.iter().skip_while(|one| **one != name).chain([&name]);
            let way = way.map(|one| format!("`{one}`")).collect::<Vec<_>>().join(" → ");
            self.flaw(name, format!("a partial that comes to itself never ends: {way}"));
            return;
        }
        if self.depth == DEEPEST {
            return self.too_deep(name);
        }
        self.written_out += 1;
        if self.written_out > partials::MOST {
            if self.written_out == partials::MOST + 1 {
                self.flaw(name, format!("partials within partials come to more than {} here", partials::MOST));
            }
            return;
        }
        let Some(template) = &partial.template else {
            self.flaw(name, format!("`partials/{name}.hbs` cannot be used"));
            return;
        };
        let told = self.flaws.len();
        let mut resolve = |param: &Parameter| match param {
            Parameter::Path(path) => self.resolve(path).unwrap_or(Place::Any),
            _ => Place::Any,
        };
        let place = tag.params.first().map(&mut resolve);
        let names = tag.hash.iter().map(|(name, param)| (name.clone(), resolve(param))).collect();
        self.flaws.truncate(told); // as parameters the paths were checked above
        let around = self.scopes.last().map(|scope| (scope.place, scope.rounds));
        let (here, rounds) = around.unwrap_or((Place::Any, false));
        let (source, at) = (self.source, self.at);
        self.scopes.push(Scope { place: place.unwrap_or(here), rounds, names });
        (self.source, self.at, self.depth) = (&partial.source.text, 0, self.depth + 1);
        self.within.push(name);
        self.template(template);
        self.within.pop();
        self.scopes.pop();
        (self.source, self.at, self.depth) = (source, at, self.depth - 1);
    }

    fn too_deep(&mut self, word: &str) {
        self.flaw(word, format!("blocks and partials are nested more than {DEEPEST} deep"));
    }

    fn helper(&mut self, name: &str, tag: &HelperTemplate, form: Form) {
        let Some(helper) = helpers::find(name) else { return self.unknown(name, tag) };
        self.needs.helpers.insert(helper.name);
        if helper.name == "ago" {
            self.needs.roots.insert("event".to_owned()); // the time that it counts from
        }
        let fits = helper.form == form || (helper.form == Form::Markup && form == Form::Value);
        if !fits {
            let (message, hint) = match form {
                Form::Block if helper.form == Form::Markup => {
                    (format!("`{name}` is no block"), format!("write `{}`", helper.example))
                }
                Form::Block => (format!("`{name}` is no block"), format!("write `{{{{#if ({name} …)}}}}…{{{{/if}}}}`")),
                _ => (format!("`{name}` is a block"), format!("write `{{{{#{name} …}}}}…{{{{/{name}}}}}`")),
            };
            self.flaw(name, message).hint = Some(hint);
        } else if !helper.takes.contains(&tag.params.len()) {
            let message = format!("`{name}` takes {}, not {}", helper.usage, tag.params.len());
            self.flaw(name, message).hint = Some(format!("as in `{}`", helper.example));
        }
        for key in tag.hash.keys() {
            if !(matches!(name, "if" | "unless") && key == "includeZero") {
                self.flaw(key, format!("`{name}` knows no `{key}=`"));
            }
        }
        for (index, param) in tag.params.iter().enumerate() {
            match param {
                Parameter::Path(path) if index < helper.prints => self.printed(path),
                param => self.param(param),
            }
        }
        for param in tag.params.iter().skip(1) {
            if let (Some(check), Parameter::Literal(literal)) = (helper.literal, param)
                && let Err(message) = check(literal)
            {
                self.flaw(&literal.to_string(), message);
            }
        }
        tag.hash.values().for_each(|param| self.param(param));
    }

    fn param(&mut self, param: &Parameter) {
        match param {
            Parameter::Path(path) => {
                self.resolve(path);
            }
            Parameter::Subexpression(inner) => self.subexpression(inner),
            _ => {}
        }
    }

    fn subexpression(&mut self, inner: &Subexpression) {
        if let TemplateElement::Expression(tag) = inner.as_element() {
            match tag.name.as_name() {
                Some(name) if tag.params.is_empty() && tag.hash.is_empty() && helpers::find(name).is_none() => {
                    let message = format!("`({name})` calls a helper, and there is none of this name");
                    self.flaw(name, message).hint = Some(format!("write `{name}` without parentheses"));
                }
                Some(name) => {
                    if helpers::find(name).is_some_and(|helper| helper.form == Form::Markup) {
                        let message = format!("`{name}` writes text of its own and is no value for another helper");
                        self.flaw(name, message).hint = Some(format!("write `{{{{{name} …}}}}` alone"));
                    }
                    self.helper(name, tag, Form::Value);
                }
                None => self.computed(),
            }
        }
    }

    fn printed(&mut self, path: &Path) {
        let raw = raw(path);
        let hint = match self.resolve(path).map(Place::print) {
            Some(Print::List) => format!("write `{{{{join {raw} \", \"}}}}` or `{{{{#each {raw}}}}}`"),
            Some(Print::Object(member)) => format!("write `{{{{{raw}.{member}}}}}`"),
            Some(Print::Text) | None => return,
        };
        self.flaw(raw, format!("`{raw}` is not a text")).hint = Some(hint);
    }

    /// Where the path leads. `None`: nowhere, and that is a flaw.
    fn resolve(&mut self, path: &Path) -> Option<Place> {
        let (segments, raw) = match path {
            Path::Relative((segments, raw)) => (segments, raw.as_str()),
            Path::Local((level, name, raw)) => return self.local(*level, name, raw),
        };
        let names: Vec<&str> = segments.iter().filter_map(name).collect();
        let innermost = self.scopes.len() - 1;
        if let Some(first) = names.first()
            && let Some(place) = self.scopes.iter().rev().flat_map(|scope| &scope.names).find(|(name, _)| name == first)
        {
            let place = place.1;
            return self.walk(place, raw, &names[1..]);
        }
        let scope = if raw.starts_with("@root") { Some(0) } else { innermost.checked_sub(ups(raw)) };
        let Some(scope) = scope else {
            self.flaw(raw, format!("`{raw}` leads out of the document"));
            return None;
        };
        let place = self.scopes[scope].place;
        if place.is_document() {
            self.needs.paths.insert(names.iter().take(2).copied().collect::<Vec<_>>().join("."));
            match names.first() {
                Some(root) => self.needs.roots.insert((*root).to_owned()),
                None => {
                    self.needs.roots.extend(crate::event::ROOTS.iter().map(|root| (*root).to_owned()));
                    true
                }
            };
        }
        let within = !place.is_document() && Place::document().member(names.first().unwrap_or(&"")).is_ok();
        if within && names.first().is_some_and(|name| place.member(name).is_err()) {
            let message = format!("`{raw}` is looked up in the block's own value here");
            self.flaw(raw, message).hint = Some(format!("write `@root.{}`", names.join(".")));
            return None;
        }
        self.walk(place, raw, &names)
    }

    fn walk(&mut self, mut place: Place, raw: &str, names: &[&str]) -> Option<Place> {
        for name in names {
            match place.member(name) {
                Ok(member) => place = member,
                Err(hint) => {
                    self.flaw(raw, format!("no event has `{raw}`")).hint = hint;
                    return None;
                }
            }
        }
        Some(place)
    }

    fn local(&mut self, level: usize, name: &str, raw: &str) -> Option<Place> {
        let scope = (self.scopes.len() - 1).checked_sub(level).map(|scope| &self.scopes[scope]);
        let known = ["index", "key", "first", "last"];
        if !known.contains(&name) {
            let hint = nearest(name, known).map(|meant| format!("did you mean `@{meant}`?"));
            self.flaw(raw, format!("there is no `@{name}`")).hint = hint;
        } else if !scope.is_some_and(|scope| scope.rounds) {
            self.flaw(raw, format!("`{raw}` has a meaning only inside `{{{{#each}}}}`"));
        } else {
            return Some(Place::Any);
        }
        None
    }

    fn block_names(&mut self, tag: &HelperTemplate) {
        for name in block_params(tag) {
            if helpers::find(name).is_some() || helpers::RESERVED.contains(&name) {
                self.flaw(name, format!("`{name}` is a helper's name")).hint = Some("take another name".into());
            }
        }
    }

    fn unknown(&mut self, name: &str, tag: &HelperTemplate) {
        let hint = nearest(name, helpers::names()).map(|meant| format!("did you mean `{meant}`?"));
        let block = tag.block && tag.params.is_empty();
        let hint = hint.or_else(|| block.then(|| format!("write `{{{{#if {name}}}}}` or `{{{{#with {name}}}}}`")));
        let known = || format!("the helpers are {}", helpers::names().collect::<Vec<_>>().join(", "));
        let hint = hint.unwrap_or_else(known);
        self.flaw(name, format!("there is no helper `{name}`")).hint = Some(hint);
    }

    fn reserved(&mut self, name: &str) {
        self.flaw(name, format!("there is no helper `{name}`")).hint =
            Some(format!("write `this.{name}` for a member"));
    }

    fn computed(&mut self) {
        self.flaw("", "a helper's name cannot be computed").hint = Some("write `{{helper value}}`".into());
    }

    /// A flaw at the next place where `word` stands in the source.
    fn flaw(&mut self, word: &str, message: impl Into<String>) -> &mut Flaw {
        let rest = &self.source[self.at..];
        let of_path = |c: char| c.is_alphanumeric() || "_./@-".contains(c);
        let whole = |at: &usize| !rest[..*at].ends_with(of_path) && !rest[at + word.len()..].starts_with(of_path);
        let found = rest.match_indices(word).map(|(at, _)| at).find(whole).or_else(|| rest.find(word));
        let at = self.at + found.unwrap_or(0);
        let partial = self.within.last().map(|name| (*name).to_owned());
        self.flaws.push(Flaw { partial, ..Flaw::new(at, message) });
        let last = self.flaws.len() - 1;
        &mut self.flaws[last]
    }
}

fn raw(path: &Path) -> &str {
    match path {
        Path::Relative((_, raw)) | Path::Local((_, _, raw)) => raw,
    }
}

fn name(segment: &PathSeg) -> Option<&str> {
    match segment {
        PathSeg::Named(name) => Some(name),
        _ => None,
    }
}

/// How many blocks up the path starts.
fn ups(raw: &str) -> usize {
    let raw = raw.trim_start_matches("./").trim_start_matches("this/");
    raw.split('/').take_while(|part| *part == "..").count()
}

fn block_params(tag: &HelperTemplate) -> impl Iterator<Item = &str> {
    let (first, second) = match &tag.block_param {
        Some(BlockParam::Single(Parameter::Name(one))) => (Some(one), None),
        Some(BlockParam::Pair((Parameter::Name(one), Parameter::Name(two)))) => (Some(one), Some(two)),
        _ => (None, None),
    };
    first.into_iter().chain(second).map(String::as_str)
}

fn named(tag: &HelperTemplate, place: Place) -> Vec<(String, Place)> {
    block_params(tag).map(str::to_owned).zip([place, Place::Any]).collect()
}

/// The byte at a line and a column, both from 1, columns in characters.
pub(super) fn offset(source: &str, line: usize, column: usize) -> usize {
    let start: usize = source.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let within = source[start..].char_indices().nth(column.saturating_sub(1)).map_or(0, |(at, _)| at);
    start + within
}
