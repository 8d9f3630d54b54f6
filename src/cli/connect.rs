//! `campanile connect` and `disconnect`: a queue's triggers that call us.

use std::io::Write;

use clap::Args;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::event::source;
use super::running::innermost;
use super::{Configured, End, Refusal, Stop, configured, json_line, table, visible};
use crate::app::tracker_client;
use crate::clock::Clock;
use crate::config::{self, Config, Secret, SourceKind, is_path, is_variable};
use crate::delivery::SendError;
use crate::tracker;
use crate::tracker::client::Api;
use crate::tracker::connect::{Did, Left, Order, Outcome};
use crate::tracker::error::Error;
use crate::tracker::trigger::{SECRET_HEADER, UPDATES, Wanted, Watched};

type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

#[derive(Debug, Args)]
pub struct Connect {
    /// The queue's key, as in the keys of its issues
    #[arg(value_name = "QUEUE")]
    queue: String,
    /// The source that is to be called [default: the first of kind `tracker`]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// What is to be told, of created, status_changed, comment_added, updated, assigned [default: all]
    #[arg(long, value_name = "EVENTS", value_delimiter = ',', value_parser = event)]
    events: Vec<Watched>,
    /// The `server.public_url` before: triggers of ours that call it are mended to the new one
    #[arg(long, value_name = "URL", value_parser = was)]
    was: Option<String>,
    /// Ask Tracker and say what would be done; write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print what to paste by hand in the queue's settings; ask nobody, show no secret
    #[arg(long, conflicts_with_all = ["dry_run", "secret_again", "was"])]
    print: bool,
    /// Write the secret into the triggers once more, after it was changed: Tracker does not show which one they have
    #[arg(long)]
    secret_again: bool,
    #[command(flatten)]
    configured: Configured,
    /// Print {queue, source, endpoint, dry_run, triggers: [{name, id, did, members, why}]} instead of text; with --print
    /// what Tracker's API takes of each trigger
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Disconnect {
    /// The queue's key, as in the keys of its issues
    #[arg(value_name = "QUEUE")]
    queue: String,
    /// The source that is not to be called any more [default: all of kind `tracker`]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// What is not to be told any more [default: all]
    #[arg(long, value_name = "EVENTS", value_delimiter = ',', value_parser = event)]
    events: Vec<Watched>,
    /// The `server.public_url` before: triggers of ours that call it are switched off too
    #[arg(long, value_name = "URL", value_parser = was)]
    was: Option<String>,
    /// Ask Tracker and say what would be done; write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    configured: Configured,
    /// Print {queue, dry_run, triggers: [{name, id, did, members, why}]} instead of text
    #[arg(long)]
    json: bool,
}

fn event(word: &str) -> Result<Watched, String> {
    Watched::parse(word).ok_or_else(|| format!("the events are {}", Watched::ALL.map(Watched::as_str).join(", ")))
}

/// An address as `server.public_url` takes it.
fn was(url: &str) -> Result<String, String> {
    let is_address =
        ["https://", "http://"].iter().any(|scheme| url.strip_prefix(scheme).is_some_and(|it| !it.is_empty()));
    if is_address { Ok(url.to_owned()) } else { Err("write it as `https://bells.example.com`".into()) }
}

/// A source's triggers, each.
fn all(source: &config::Source, public_url: &str, was: Option<&str>, secret: &SecretString) -> [Wanted; 5] {
    let name = source.name.as_str();
    Watched::ALL.map(|watched| {
        let wanted = Wanted::of(watched, public_url, name, secret);
        match was {
            Some(was) => wanted.was(was, name),
            None => wanted,
        }
    })
}

/// Makes and mends the triggers. `env` gives an environment variable.
pub async fn connect(asked: &Connect, env: Env<'_>, clock: &Clock, out: &mut dyn Write) -> Result<End, Stop> {
    let config = configured(&asked.configured.config)?.config;
    let source = of_tracker(&config, asked.source.as_deref())?;
    let public_url = public_url(&config)?;
    let events = or_all(&asked.events);
    let ours = |secret: &SecretString| all(source, public_url, asked.was.as_deref(), secret);
    if asked.print {
        return print(&ours(&shown(source).into()), &events, asked, out);
    }
    let ours = ours(&secret(&config, source, env)?);
    let api = api(&config, env, clock)?;
    let Connect { queue, dry_run, secret_again, .. } = asked;
    let order = Order { queue, ours: &ours, events: &events, dry_run: *dry_run, secret_again: *secret_again };
    let_in(&api, queue).await?;
    let outcomes = tracker::connect::connect(&api, order).await.map_err(|error| refusal(error, queue))?;
    if asked.json {
        let triggers: Vec<Value> = outcomes.iter().map(|outcome| entry(outcome, queue)).collect();
        let (source, endpoint) = (source.name.as_str(), ours[0].endpoint());
        let done =
            json!({"queue": queue, "source": source, "endpoint": endpoint, "dry_run": dry_run, "triggers": triggers});
        json_line(out, &done)?;
    } else {
        write!(out, "{}", told(&outcomes, *dry_run, queue))?;
        if outcomes.iter().any(|outcome| matches!(outcome.did, Did::Unchanged)) {
            writeln!(out, "\nTracker does not show the secret in them; after a change of it: --secret-again")?;
        }
    }
    Ok(end(&outcomes))
}

/// Switches the triggers off. `env` gives an environment variable.
pub async fn disconnect(asked: &Disconnect, env: Env<'_>, clock: &Clock, out: &mut dyn Write) -> Result<End, Stop> {
    let config = configured(&asked.configured.config)?.config;
    let named = asked.source.as_deref().map(|name| of_tracker(&config, Some(name))).transpose()?;
    let sources = match named {
        Some(source) => vec![source],
        None => config.sources.iter().filter(|source| source.kind == SourceKind::Tracker).collect(),
    };
    let (public_url, none) = (public_url(&config)?, SecretString::default());
    let ours = |source: &config::Source| all(source, public_url, asked.was.as_deref(), &none);
    let ours: Vec<Wanted> = sources.into_iter().flat_map(ours).collect();
    let api = api(&config, env, clock)?;
    let (queue, dry_run, events) = (&asked.queue, asked.dry_run, or_all(&asked.events));
    let order = Order { queue, ours: &ours, events: &events, dry_run, secret_again: false };
    let_in(&api, queue).await?;
    let outcomes = tracker::connect::disconnect(&api, order).await.map_err(|error| refusal(error, queue))?;
    if asked.json {
        let triggers: Vec<Value> = outcomes.iter().map(|outcome| entry(outcome, queue)).collect();
        json_line(out, &json!({"queue": queue, "dry_run": dry_run, "triggers": triggers}))?;
    } else if outcomes.is_empty() {
        writeln!(out, "nothing: no such trigger of {} calls {public_url}", visible(queue))?;
    } else {
        write!(out, "{}", told(&outcomes, dry_run, queue))?;
    }
    Ok(end(&outcomes))
}

fn or_all(events: &[Watched]) -> Vec<Watched> {
    if events.is_empty() { Watched::ALL.to_vec() } else { events.to_vec() }
}

fn end(outcomes: &[Outcome]) -> End {
    if outcomes.iter().any(|outcome| outcome.did.is_refusal()) { End::Refused } else { End::Done }
}

fn of_tracker<'a>(config: &'a Config, name: Option<&str>) -> Result<&'a config::Source, Refusal> {
    let found = source(config, name)?;
    match found.kind {
        SourceKind::Tracker => Ok(found),
        other => Err(Refusal::new(format!("source `{}` is of kind `{}`", found.name, other.as_str()))
            .hint("a queue's triggers call a source of kind `tracker`")),
    }
}

fn public_url(config: &Config) -> Result<&str, Refusal> {
    let public = config.server.public_url.as_ref().map(config::BaseUrl::as_str);
    public.ok_or_else(|| {
        Refusal::new("the configuration does not say how Tracker reaches the bridge: `server.public_url` is not set")
            .hint("as in `public_url: https://bells.example.com`")
    })
}

/// What the triggers send. Of two during a rotation the first.
fn secret(config: &Config, source: &config::Source, env: Env<'_>) -> Result<SecretString, Refusal> {
    let name = format!("sources.{}.secret", source.name);
    let secret = source.secrets.first().ok_or_else(|| Refusal::new(format!("`{name}` is not set")))?;
    let secret = secret.value.resolve(&config.folder, env).map_err(|error| {
        Refusal::new(format!("`{name}` has no value: {error}")).hint("the triggers send it, and `--print` needs none")
    })?;
    let text = secret.expose_secret();
    if HeaderValue::from_str(text).is_err() || !text.is_ascii() || text.contains("{{") {
        return Err(Refusal::new(format!("`{name}` holds what no trigger's header can carry"))
            .hint("take Latin letters and digits, as `openssl rand -hex 32` gives them"));
    }
    Ok(secret)
}

/// Where the secret stands, in its place.
fn shown(source: &config::Source) -> String {
    match source.secrets.first().map(|secret| &secret.value) {
        Some(Secret::Env(name)) if is_variable(name) => format!("<the value of {name}>"),
        Some(Secret::File(path)) if path.to_str().is_some_and(is_path) => {
            format!("<the content of {}>", path.display())
        }
        _ => format!("<the secret of the source {}>", source.name),
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the outside")]
pub fn api(config: &Config, env: Env<'_>, clock: &Clock) -> Result<Api, Refusal> {
    let client = tracker_client(config, env, clock, &mut fastrand::Rng::new());
    let client = client.map_err(|error| Refusal::new(error.to_string()))?.ok_or_else(|| {
        Refusal::new("the configuration has no `tracker.token`, and Tracker shows no queue without one")
            .hint("as in `tracker: {token: {env: NAME}, org_id: \"…\"}`; `connect --print` needs none")
    })?;
    Ok(client.free())
}

/// Asks who the token's owner is: later refusals name him.
pub async fn let_in(api: &Api, queue: &str) -> Result<(), Refusal> {
    api.myself().await.map(drop).map_err(|error| match error {
        Error::Forbidden(said) => Refusal::new(format!("Tracker lets nobody in by this token: {said}"))
            .hint("is `tracker.org_id` or `cloud_org_id` the organisation of the token's owner?"),
        error => refusal(error, queue),
    })
}

pub fn refusal(error: Error, queue: &str) -> Refusal {
    let (what, hint) = explained(&error, queue);
    Refusal { what, hint }
}

/// What is wrong, and the way out.
fn explained(error: &Error, queue: &str) -> (String, Option<String>) {
    let hint = match error {
        Error::Call(SendError::Held { code, hint, .. }) => {
            return (format!("Tracker does not take our calls: {code}"), hint.clone());
        }
        Error::Call(SendError::Unclear { what, .. }) => {
            let hint = "it may have been done or not: ask once more with `--dry-run`";
            return (format!("there was no answer of Tracker: {what}"), Some(hint.into()));
        }
        Error::Call(error) => {
            let what = format!("Tracker could not be asked: {}", innermost(error));
            return (what, Some("check `tracker.url`, and whether this machine can reach it".into()));
        }
        Error::Forbidden(said) => {
            let by = if said.by.is_empty() { "the token's owner" } else { &said.by };
            Some(format!("triggers need the right to change the queue's settings: give it to {by} in Tracker"))
        }
        Error::NotFound(_) if queue.chars().any(char::is_lowercase) => {
            Some(format!("a queue's key is written in capitals: `{}`", queue.to_uppercase()))
        }
        Error::NotFound(_) => Some("is the queue's key right, and may the token's owner see the queue?".into()),
        Error::Conflict(_) => Some("somebody else is at it; ask once more".into()),
        _ => None,
    };
    (error.to_string(), hint)
}

/// A line for each trigger.
fn told(outcomes: &[Outcome], dry_run: bool, queue: &str) -> String {
    let rows = outcomes.iter().map(|outcome| {
        let id = outcome.id.clone().unwrap_or_else(|| "-".into());
        vec![words(&outcome.did, dry_run).into(), id, outcome.name.clone(), detail(&outcome.did, queue)]
    });
    let mut text = table(&["WHAT", "ID", "TRIGGER", "WHY"], rows);
    if dry_run {
        text += "\nNothing was written.\n";
    }
    text
}

fn words(did: &Did, dry_run: bool) -> &'static str {
    match (did, dry_run) {
        (Did::Created, false) => "created",
        (Did::Created, true) => "would be created",
        (Did::Updated(_), false) => "updated",
        (Did::Updated(_), true) => "would be updated",
        (Did::SwitchedOff, false) => "switched off",
        (Did::SwitchedOff, true) => "would be switched off",
        (Did::Unchanged, _) => "as it should be",
        (Did::Left(_), _) => "left alone",
        (Did::Failed(_), _) => "failed",
    }
}

fn detail(did: &Did, queue: &str) -> String {
    match did {
        Did::Updated(members) => members.join(", "),
        Did::Left(left) => why(*left).into(),
        Did::Failed(error) => match explained(error, queue) {
            (what, Some(hint)) => format!("{what}; {hint}"),
            (what, None) => what,
        },
        Did::Created | Did::Unchanged | Did::SwitchedOff => String::new(),
    }
}

fn why(left: Left) -> &'static str {
    match left {
        Left::DoesMore => "it calls this source and does more: give its other actions a trigger of their own",
        Left::CallsOthers => {
            "it has the name, and calls another address: of another bridge, or of this one's `public_url` before? then: --was URL"
        }
        Left::CallsToo => "it calls this source too: what it tells comes twice where one of ours tells it",
        Left::NotAsked => "it is ours, and was not asked for",
    }
}

fn entry(outcome: &Outcome, queue: &str) -> Value {
    let did = match &outcome.did {
        Did::Created => "created",
        Did::Updated(_) => "updated",
        Did::Unchanged => "unchanged",
        Did::SwitchedOff => "switched_off",
        Did::Left(_) => "left",
        Did::Failed(_) => "failed",
    };
    let mut entry = json!({"name": outcome.name, "id": outcome.id, "did": did});
    match &outcome.did {
        Did::Updated(members) => entry["members"] = json!(members),
        Did::Left(_) | Did::Failed(_) => entry["why"] = detail(&outcome.did, queue).into(),
        Did::Created | Did::Unchanged | Did::SwitchedOff => {}
    }
    entry
}

/// What the pages of the queue's settings ask for, trigger by trigger.
fn print(ours: &[Wanted], events: &[Watched], asked: &Connect, out: &mut dyn Write) -> Result<End, Stop> {
    let wanted: Vec<&Wanted> = ours.iter().filter(|wanted| events.contains(&wanted.watched())).collect();
    if asked.json {
        return json_line(out, &wanted.iter().map(|wanted| wanted.json()).collect::<Vec<_>>());
    }
    let queue = visible(&asked.queue);
    writeln!(out, "In Tracker: queue {queue}, settings, Triggers, Create trigger; once for each of these.")?;
    for wanted in wanted {
        let json = wanted.json();
        let action = &json["actions"][0];
        let text = |member: &str| action[member].as_str().unwrap_or_default().to_owned();
        let secret = action["headers"][SECRET_HEADER].as_str().unwrap_or_default();
        writeln!(out, "\nName           {}", wanted.name())?;
        writeln!(out, "Conditions     {}", conditions(wanted.watched()))?;
        writeln!(out, "Action         HTTP request")?;
        writeln!(out, "Method         {}", text("method"))?;
        writeln!(out, "Address        {}", wanted.endpoint())?;
        writeln!(out, "Authorization  none")?;
        writeln!(out, "Content type   {}", text("contentType"))?;
        writeln!(out, "Header         {SECRET_HEADER}: {secret}")?;
        writeln!(out, "Body\n{}", wanted.body())?;
    }
    Ok(End::Done)
}

/// As the pages name them.
fn conditions(watched: Watched) -> String {
    match watched {
        Watched::Created => "Event: issue created".into(),
        Watched::StatusChanged => "Status: field changed".into(),
        Watched::CommentAdded => "Event: comment created".into(),
        Watched::Assigned => "Assignee: field changed".into(),
        Watched::Updated => {
            let fields = UPDATES.map(|field| format!("{}: field changed", capital(field))).join("; ");
            format!("any of (logic Or, not And): {fields}")
        }
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}
