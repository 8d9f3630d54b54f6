//! Templates: Handlebars whose result is Markdown whose result is a [`Message`], for both messengers alike.
//!
//! The way of a variable's text: escaped to stand-ins (`stand_in`), carried through Handlebars and Markdown unread,
//! turned back in the tree (`markdown`). So nothing that an issue's author writes is markup, and nothing is lost.
//! Loading checks every template (`scan`, `check`); one that fails stays as *broken*, and its messages go out as
//! [`fallback`].

mod blocks;
mod check;
mod date;
mod defaults;
mod fallback;
mod front;
mod helpers;
mod html;
mod inline;
mod load;
mod markdown;
mod own;
mod partials;
mod paths;
mod plural;
mod render;
mod scan;
mod stand_in;
mod words;

pub use fallback::fallback;
pub use inline::{Mistake, check_text, text_reads};

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use handlebars::Handlebars;
use handlebars::template::Template;
use jiff::tz::TimeZone;

use crate::delivery::Messenger;
use crate::event::Document;
use crate::finding::Finding;
use crate::message::{Language, Message};
use own::Dialect;
use partials::Partials;

/// How dates and Campanile's own words are written.
#[derive(Clone, Debug)]
pub struct Locale {
    pub language: Language,
    pub time_zone: TimeZone,
}

/// All templates, compiled. Rendering needs no more than a shared reference.
pub struct Templates {
    shared: Shared,
    /// The admin's own, which win over the binary's in every language.
    own: HashMap<String, Kept>,
    /// The admin's for one messenger, which win over those for both.
    forms: HashMap<(String, Messenger), Kept>,
    defaults: &'static Defaults,
    /// Of the admin's files, partials too, with their names.
    pub digest: [u8; 32],
}

/// The binary's, by language and name.
type Defaults = HashMap<(Language, &'static str), Kept>;

/// What all templates use.
struct Shared {
    registry: Handlebars<'static>,
    partials: Partials,
}

/// A template that was found.
enum Kept {
    Checked(Box<Checked>),
    Broken(Finding),
}

/// A template that passed its check; only such a one can be rendered.
struct Checked {
    /// For findings and errors: the path, or the name of the binary's own.
    file: String,
    dialect: Dialect,
    /// Of front matter, which the template's own lines do not count.
    lines_before: usize,
    template: Template,
    front: front::Front,
    needs: check::Needs,
}

/// Why there is no message. The lane sends [`fallback`] instead, and the admin sees this.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RenderError {
    #[error("there is no template `{name}`")]
    Missing { name: String },
    #[error("{}:{}:{}: {}", .0.file, .0.line, .0.column, .0.message)]
    Broken(Finding),
    #[error("{file}:{line}:{column}: {message}")]
    Failed { file: String, line: usize, column: usize, message: String },
    #[error("{file}: {message}")]
    Unfit { file: String, message: String },
    #[error("{file} says nothing about this event")]
    Empty { file: String },
}

impl Templates {
    /// Reads `<name>.md.hbs`, `<name>.slack.json.hbs`, `<name>.telegram.html.hbs` and `partials/` from the folder and
    /// takes from the binary what it lacks. A template with an error among the findings is kept as broken.
    pub fn load(folder: Option<&Path>) -> (Self, Vec<Finding>) {
        load::load(folder)
    }

    /// Whether a route may name this template.
    pub fn has(&self, name: &str) -> bool {
        self.names().contains(&name)
    }

    /// The names that a route may use, sorted.
    pub fn names(&self) -> Vec<&str> {
        let defaults = self.defaults.keys().map(|(_, name)| *name);
        let forms = self.forms.keys().map(|(name, _)| name);
        let mut names: Vec<_> = self.own.keys().chain(forms).map(String::as_str).chain(defaults).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether it stands for a kind of events where a route names no template.
    pub fn is_of_family(&self, name: &str) -> bool {
        default_name(name).is_some()
    }

    /// What the admin's own template of this name needs of an event, in all its forms: roots, with the first member that is
    /// named of each. `None`: it is the binary's, which asks for everything before it shows it.
    pub fn reads(&self, name: &str) -> Option<BTreeSet<String>> {
        let forms = self.forms.iter().filter(|((of, _), _)| of == name).map(|(_, kept)| kept);
        let own: Vec<&Kept> = self.own.get(name).into_iter().chain(forms).collect();
        let needed = |kept: &&Kept| match kept {
            Kept::Checked(checked) => checked.needs.paths.clone(),
            Kept::Broken(_) => BTreeSet::new(),
        };
        (!own.is_empty()).then(|| own.iter().flat_map(needed).collect())
    }

    /// What the template says about the event's document in this channel; with the messenger's own form, where the admin
    /// wrote one for it and it can be used. Memory and time are bounded: output ends at 262,144 characters, loops end
    /// after 10,000 rounds in all.
    pub fn render(
        &self,
        name: &str,
        document: &Document<'_>,
        channel: &str,
        messenger: Messenger,
        locale: &Locale,
    ) -> Result<Message, RenderError> {
        let channel = Some(render::Channel { name: channel, messenger });
        let common = self.common(name, document, channel, locale);
        let own = match self.forms.get(&(name.to_owned(), messenger)) {
            None => return common,
            Some(Kept::Broken(finding)) => Err(RenderError::Broken(finding.clone())),
            Some(Kept::Checked(template)) => template.own(&self.shared, document, channel, locale),
        };
        match own {
            Ok(own) => {
                let message = common.unwrap_or_else(|_| fallback(document, locale.language));
                Ok(Message { own: Some(own), ..message })
            }
            Err(error) => match common {
                Ok(message) => Ok(Message { unfit: Some(error.to_string()), ..message }),
                Err(RenderError::Missing { .. }) => Err(error), // the own file is all that there is
                Err(of_common) => Err(of_common),
            },
        }
    }

    /// What the template says about the event's document where it goes to no channel, within the same bounds.
    ///
    /// # Errors
    /// There is no such template, or it fails for this event.
    pub fn render_for_issue(
        &self,
        name: &str,
        document: &Document<'_>,
        locale: &Locale,
    ) -> Result<Message, RenderError> {
        self.common(name, document, None, locale)
    }

    fn common(
        &self,
        name: &str,
        document: &Document<'_>,
        channel: Option<render::Channel<'_>>,
        locale: &Locale,
    ) -> Result<Message, RenderError> {
        let default = || self.defaults.get(&(locale.language, default_name(name)?));
        match self.own.get(name).or_else(default) {
            None => Err(RenderError::Missing { name: name.to_owned() }),
            Some(Kept::Broken(finding)) => Err(RenderError::Broken(finding.clone())),
            Some(Kept::Checked(template)) => template.render(&self.shared, document, channel, locale),
        }
    }
}

/// The names of all helpers, in the order in which README tells of them.
pub fn helpers() -> impl Iterator<Item = &'static str> {
    helpers::names()
}

fn default_name(name: &str) -> Option<&'static str> {
    defaults::NAMES.into_iter().find(|known| *known == name)
}
