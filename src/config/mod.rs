//! config.yaml → [`Config`], with every finding and its place.
//!
//! [`load`] reads the file in one pass that does not stop at a mistake: the text as a tree with places (`yaml`), each
//! section into its type (`server`, `tracker`, `messenger`, `links`, `source`, `channel`, `route`, `action`), then what
//! only the whole can tell (`cross`). Findings of all of these, of the conditions and of the caller's own checks come at
//! once.

mod action;
mod channel;
mod cross;
mod links;
mod messenger;
mod route;
mod secret;
mod server;
mod source;
mod store;
mod tracker;
mod url;

#[cfg(test)]
mod action_tests;
#[cfg(test)]
mod hint_tests;
#[cfg(test)]
mod limit_tests;
#[cfg(test)]
mod links_tests;
#[cfg(test)]
mod schema_tests;
#[cfg(test)]
mod source_tests;
#[cfg(test)]
mod tests;

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

pub use self::action::OWN_OBJECT;
pub use self::channel::{Channel, Conversation};
use self::cross::Known;
pub use self::links::{Auth, Links};
pub use self::messenger::{Slack, SlackPace, Telegram, TelegramPace};
use self::reader::{Fields, Findings, choice, elements, entries, whole, word};
pub use self::secret::{Secret, SecretError, is_path, is_variable};
pub use self::server::{Network, Server};
pub use self::source::{FetchComments, Reviews, Source, SourceKind};
pub use self::store::{Store, Url};
pub use self::tracker::{Organization, TokenType, Tracker, TrackerPace};
use self::tree::Node;
pub use self::url::BaseUrl;
use crate::finding::{Finding, Place, Severity, in_lines, suggest};
use crate::message::Language;
use crate::route::{Route, Router};
use crate::telemetry::LogFormat;
pub use crate::yaml::reader::Placed;
use crate::yaml::{reader, tree};

/// The JSON Schema of config.yaml, draft 2020-12, for editors. The readers here decide; a test holds the schema to them.
pub const SCHEMA: &str = include_str!("schema.json");

/// The largest config.yaml, in bytes.
const LARGEST: u64 = 1 << 20;

/// Everything an admin configured. Secrets are ways to secrets; see [`Secret::resolve`].
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder of config.yaml: relative paths begin here.
    pub folder: PathBuf,
    pub server: Server,
    pub store: Store,
    /// Accepts stop when less is free, so that settles have room.
    pub store_reserve_mb: u64,
    /// Deliveries; above it accepts stop.
    pub max_pending: u64,
    pub retention_days: u32,
    /// Folder of the admin's templates, absolute or from the working folder. `None`: none is named, and `templates` beside
    /// config.yaml does not exist.
    pub templates: Option<PathBuf>,
    pub language: Language,
    pub time_zone: TimeZone,
    pub log: LogFormat,
    pub tracker: Tracker,
    /// `None`: no section. Incoming webhooks work without one, at the default pace.
    pub slack: Option<Slack>,
    pub telegram: Option<Telegram>,
    /// `None`: Tracker's external-application protocol is not spoken.
    pub links: Option<Links>,
    pub sources: Vec<Source>,
    pub channels: Vec<Channel>,
    pub routes: Vec<Route>,
    file: String,
    /// By route, for [`Config::unknown_templates`].
    named_templates: Vec<(String, Placed<String>)>,
}

/// A configuration without errors.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// Of the file's text.
    pub digest: [u8; 32],
    /// Of `config.routes`.
    pub router: Router,
    pub warnings: Vec<Finding>,
}

/// Reads and checks config.yaml. `checks` adds what other parts find wrong, templates for one; it also sees a
/// configuration whose own findings are errors, with defaults where a value could not be read.
///
/// # Errors
/// All findings, warnings too, in the order of the file, when one of them is an error.
pub fn load(path: &Path, checks: &dyn Fn(&Config) -> Vec<Finding>) -> Result<Loaded, Vec<Finding>> {
    let file = path.display().to_string();
    let text = read(path, &file).map_err(|finding| vec![finding])?;
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let (loaded, findings) = parse(&text, file, folder, checks);
    let failed = findings.iter().any(|finding| finding.severity == Severity::Error);
    match loaded {
        Some((config, router)) if !failed => {
            let digest = Sha256::digest(text.as_bytes()).into();
            Ok(Loaded { config, digest, router, warnings: findings })
        }
        _ => Err(findings),
    }
}

/// Where the public listener of this config.yaml is bound. Nothing else in the file is looked at.
///
/// # Errors
/// Why it cannot be told.
pub fn listen(path: &Path) -> Result<SocketAddr, Vec<Finding>> {
    let file = path.display().to_string();
    let text = read(path, &file).map_err(|finding| vec![finding])?;
    let mut findings = Findings::new(&file);
    let listen = |server: &Node, findings: &mut Findings| {
        Fields::of(server, "`server`", findings)?.need("listen", findings, reader::address)
    };
    let bound = root(&text, &mut findings)
        .and_then(|root| Fields::of(&root, &*root.name, &mut findings)?.need("server", &mut findings, listen));
    bound.ok_or_else(|| findings.sorted())
}

/// What leads to the bridge that runs on this config.yaml, and to its store. Only `server` and `store` must be without
/// errors: a server lives on while somebody edits the rest, which is here as far as it can be read.
///
/// # Errors
/// All findings in these two.
pub fn reach(path: &Path) -> Result<Config, Vec<Finding>> {
    let file = path.display().to_string();
    let text = read(path, &file).map_err(|finding| vec![finding])?;
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let mut findings = Findings::new(&file);
    let config = root(&text, &mut findings).and_then(|root| {
        let mut fields = Fields::of(&root, &*root.name, &mut findings)?;
        fields.need("server", &mut findings, server::read)?;
        fields.need("store", &mut findings, |node, findings| store::read(node, &folder, findings))?;
        config(&root, file.clone(), folder.clone(), &mut Findings::new(&file))
    });
    let failed = findings.has_error();
    config.filter(|_| !failed).ok_or_else(|| findings.sorted())
}

/// The file's text, or why there is none.
fn read(path: &Path, file: &str) -> Result<String, Finding> {
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path);
    opened.and_then(|opened| opened.take(LARGEST + 1).read_to_end(&mut bytes)).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Finding::error(file, 0, 0, "the configuration does not exist")
            .hint("name it with `--config PATH`; the repository's own config.yaml is a commented beginning"),
        _ => Finding::error(file, 0, 0, format!("the configuration cannot be read: {error}")),
    })?;
    if bytes.len() as u64 > LARGEST {
        return Err(Finding::error(file, 0, 0, "the configuration is larger than 1 MiB"));
    }
    String::from_utf8(bytes).map(|text| in_lines(&text)).map_err(|error| {
        let before = in_lines(&String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]));
        let (line, last) = (before.matches('\n').count() + 1, before.rsplit('\n').next().unwrap_or_default());
        Finding::error(file, line, last.chars().count() + 1, "the configuration is not UTF-8 from here").veiled()
    })
}

/// Without an error among the findings there is a result; with errors there is one where anything could be read.
fn parse(
    text: &str,
    file: String,
    folder: PathBuf,
    checks: &dyn Fn(&Config) -> Vec<Finding>,
) -> (Option<(Config, Router)>, Vec<Finding>) {
    let mut findings = Findings::new(&file);
    let config = root(text, &mut findings).and_then(|root| config(&root, file.clone(), folder, &mut findings));
    let loaded = config.map(|config| {
        let (router, mistakes) = Router::compile(&config.routes, &file);
        findings.extend(mistakes);
        findings.extend(checks(&config));
        (config, router)
    });
    (loaded, findings.sorted())
}

fn root(text: &str, findings: &mut Findings) -> Option<Rc<Node>> {
    let root = tree::parse(text, findings.file_name(), findings);
    if root.is_none() && findings.is_empty() {
        findings.error(Place::FILE, "the configuration is empty");
    }
    root
}

fn config(root: &Node, file: String, folder: PathBuf, findings: &mut Findings) -> Option<Config> {
    let mut fields = Fields::of(root, &*root.name, findings)?;
    let server = fields.need("server", findings, server::read);
    let store = fields.need("store", findings, |node, findings| store::read(node, &folder, findings));
    let store_reserve_mb = fields.read("store_reserve_mb", findings, whole(0..=1_000_000_000));
    let max_pending = fields.read("max_pending", findings, whole(1..=1_000_000_000));
    let retention_days = fields.read("retention_days", findings, whole(1..=36_500));
    let templates = fields.read("templates", findings, word);
    let language = fields.read("language", findings, choice(&[("en", Language::En), ("ru", Language::Ru)]));
    let time_zone = fields.read("time_zone", findings, time_zone);
    let log = fields.read("log", findings, choice(&[("text", LogFormat::Text), ("json", LogFormat::Json)]));
    let tracker = fields.read("tracker", findings, tracker::read).unwrap_or_default();
    let (has_slack, has_telegram) = (fields.get("slack"), fields.get("telegram"));
    let slack = has_slack.map(|node| messenger::slack(node, findings));
    let telegram = has_telegram.map(|node| messenger::telegram(node, findings));
    let links = fields.get("links").map(|node| links::read(node, &tracker, findings)).unwrap_or_default();
    let known = Known { tracker: &tracker, application: links.application.as_deref() };
    let sources = fields.need("sources", findings, |node, findings| source::read(node, &known, findings));
    let sources = sources.unwrap_or_default();
    let channels = fields.read("channels", findings, named(channel::read)).unwrap_or_default();
    let routes = fields.read("routes", findings, |node, findings| routes(node, &known, findings)).unwrap_or_default();
    fields.close(findings);

    cross::channels_of_routes(&routes, &channels, findings);
    cross::threads_of_routes(&routes, &channels, findings);
    cross::sections_of_channels(&channels, slack.as_ref(), telegram.as_ref(), findings);
    cross::loops_of_routes(&routes, &sources, &tracker, findings);
    links.links.iter().for_each(|links| cross::open_links(links, server.as_ref(), findings));
    let named_templates = routes.iter().flat_map(route::RouteRead::named_templates).collect();
    Some(Config {
        templates: named_or_there(&folder, templates),
        server: server.unwrap_or_else(Server::unread),
        store: store.unwrap_or_else(|| Store::Sqlite(PathBuf::new())),
        store_reserve_mb: store_reserve_mb.unwrap_or(64),
        max_pending: max_pending.unwrap_or(5_000_000),
        retention_days: retention_days.unwrap_or(30),
        language: language.unwrap_or(Language::En),
        time_zone: time_zone.unwrap_or_else(moscow),
        log: log.unwrap_or(LogFormat::Text),
        tracker,
        slack,
        telegram,
        links: links.links,
        sources,
        channels: channels.into_iter().filter_map(|channel| channel.channel).collect(),
        routes: routes.into_iter().map(|route| route.route).collect(),
        folder,
        file,
        named_templates,
    })
}

/// Reads each entry of a map whose names an admin chose; those that cannot be read are left out.
fn named<T>(
    read: impl Fn(&tree::Entry, &mut Findings) -> Option<T>,
) -> impl Fn(&Node, &mut Findings) -> Option<Vec<T>> {
    move |node, findings| Some(entries(node, findings)?.iter().filter_map(|entry| read(entry, findings)).collect())
}

fn routes(node: &Node, known: &Known<'_>, findings: &mut Findings) -> Option<Vec<route::RouteRead>> {
    let all = elements(node, findings)?.iter().enumerate();
    let routes: Vec<_> = all.filter_map(|(index, node)| route::read(index, node, known, findings)).collect();
    cross::twins(&routes, findings);
    Some(routes)
}

fn time_zone(node: &Node, findings: &mut Findings) -> Option<TimeZone> {
    let name = word(node, findings)?;
    let zone = TimeZone::get(name).ok();
    if zone.is_none() {
        findings.hinted(node.place, format!("there is no time zone `{name}`"), "as in Europe/Moscow, Asia/Omsk or UTC");
    }
    zone
}

fn named_or_there(folder: &Path, named: Option<&str>) -> Option<PathBuf> {
    let usual = folder.join("templates");
    named.map(|named| folder.join(named)).or_else(|| usual.is_dir().then_some(usual))
}

/// The default zone of those who use Tracker. Without summer time, so an offset stands in for it.
fn moscow() -> TimeZone {
    TimeZone::get("Europe/Moscow").unwrap_or_else(|_| TimeZone::fixed(jiff::tz::offset(3)))
}

impl Config {
    /// Every secret with the words that name it: "slack.token".
    pub fn secrets(&self) -> Vec<(String, &Placed<Secret>)> {
        let mut secrets = Vec::new();
        if let Store::Postgres(Url::Secret(secret)) = &self.store {
            secrets.push(("store".to_owned(), secret));
        }
        secrets.extend(self.server.admin_token.iter().map(|secret| ("server.admin_token".to_owned(), secret)));
        secrets.extend(self.tracker.token.iter().map(|secret| ("tracker.token".to_owned(), secret)));
        let slack = self.slack.iter().flat_map(|slack| &slack.token);
        secrets.extend(slack.map(|secret| ("slack.token".to_owned(), secret)));
        let telegram = self.telegram.iter().flat_map(|telegram| &telegram.token);
        secrets.extend(telegram.map(|secret| ("telegram.token".to_owned(), secret)));
        for source in &self.sources {
            secrets.extend(source.secrets.iter().map(|secret| (format!("sources.{}.secret", source.name), secret)));
            let token = source.reviews.fetch_comments.iter().map(|comments| &comments.token);
            secrets.extend(token.map(|token| (format!("sources.{}.fetch_comments.token", source.name), token)));
        }
        if let Some(Links { auth: Auth::Token(token), .. }) = &self.links {
            secrets.push(("links.auth.token".to_owned(), token));
        }
        for channel in &self.channels {
            if let Conversation::SlackWebhook { url } = &channel.conversation {
                secrets.push((format!("channels.{}.slack_webhook", channel.name), url));
            }
        }
        secrets
    }

    /// A finding for every secret that cannot be resolved, of the severity `missing` (a warning for `check`, an error for
    /// `serve`), and an error for every token and address that cannot be one.
    pub fn check_secrets(&self, env: &dyn Fn(&str) -> Option<String>, missing: Severity) -> Vec<Finding> {
        let found = self.secrets().into_iter().filter_map(|(name, secret)| {
            let Place { line, column } = secret.place;
            let finding = |what: String| Finding::error(&self.file, line, column, format!("`{name}` {what}"));
            match secret.value.resolve(&self.folder, env) {
                Ok(value) if name == "store" => store::misfit(&value).map(|(what, hint)| finding(what).hint(hint)),
                Ok(value) => {
                    let own = self.sources.iter().find(|source| source.secrets.iter().any(|own| own == secret));
                    let of_source = own.and_then(|source| source::misfit(source.kind, &value));
                    let misfit = of_source.or_else(|| messenger::misfit(&name, &value));
                    misfit.map(|(what, hint)| finding(what.to_owned()).hint(hint))
                }
                Err(error) => Some(Finding {
                    severity: missing,
                    veiled: error.veils(),
                    ..finding(format!("has no value: {error}"))
                }),
            }
        });
        found.collect()
    }

    /// A warning that every call is in vain.
    pub fn without_routes(&self) -> Option<Finding> {
        let finding = Finding::warning(&self.file, 0, 0, "there are no `routes`: calls are taken and lead nowhere");
        self.routes.is_empty().then(|| finding.hint("as in `routes: [{channels: [NAME]}]`"))
    }

    /// The keys that differ from those a process was started with and that it cannot change while it runs.
    pub fn waits_for_restart(&self, started: &Self) -> Vec<&'static str> {
        let (server, was) = (&self.server, &started.server);
        let changed = [
            ("server.listen", server.listen != was.listen),
            ("server.admin", server.admin != was.admin),
            ("server.public_url", server.public_url != was.public_url),
            ("server.trusted_proxies", server.trusted_proxies != was.trusted_proxies),
            ("server.shutdown_seconds", server.shutdown_seconds != was.shutdown_seconds),
            ("store", self.store != started.store),
            ("store_reserve_mb", self.store_reserve_mb != started.store_reserve_mb),
            ("max_pending", self.max_pending != started.max_pending),
            ("log", self.log != started.log),
        ];
        changed.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect()
    }

    /// What must be read again when it changes: config.yaml, the templates' folder, the files of secrets.
    pub fn files(&self) -> Vec<PathBuf> {
        let templates = self.templates.clone().unwrap_or_else(|| self.folder.join("templates"));
        let secrets = self.secrets().into_iter().filter_map(|(_, secret)| match &secret.value {
            Secret::File(path) => Some(self.folder.join(path)),
            Secret::Env(_) => None,
        });
        [PathBuf::from(&self.file), templates].into_iter().chain(secrets).collect()
    }

    /// A finding for every template that a route names and that is not among `known`.
    pub fn unknown_templates(&self, known: &[&str]) -> Vec<Finding> {
        let unknown = self.named_templates.iter().filter(|(_, name)| !known.contains(&name.value.as_str()));
        let finding = |(route, name): &(String, Placed<String>)| {
            let Place { line, column } = name.place;
            let message = format!("route `{route}` names a template that does not exist: `{}`", name.value);
            let hint = suggest(&name.value, "templates", known.iter().copied());
            Finding::error(&self.file, line, column, message).hint(hint)
        };
        unknown.map(finding).collect()
    }
}
