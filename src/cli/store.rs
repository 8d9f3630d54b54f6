//! `campanile events`, `campanile deliveries` and what `campanile links` lists: from the bridge that runs, else from the store's file.

use std::io::Write;
use std::path::Path;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use http::Method;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as WordError;
use serde_json::{Value, json};

use super::admin::Admin;
use super::progress::Progress;
use super::rows;
use super::{Configured, End, Refusal, Stop, env, json_line};
use crate::app::sqlite_options;
use crate::clock::Clock;
use crate::config::{Config, Store, reach};
use crate::delivery::{DeliveryId, EventId};
use crate::finding::suggest;
use crate::outbox::{Filter, LinkFilter, Outbox, OutboxError, Replay, Sqlite, SqliteFile, State};
use crate::route::GIVE_UP_AFTER_HOURS;

/// Dead letters that one call makes due again at most.
const BATCH: u64 = 1_000;

#[derive(Debug, Args)]
pub struct Asking {
    #[command(flatten)]
    configured: Configured,
    /// Do not ask the server that runs: read the store's file, and replay only while nobody serves it
    #[arg(long)]
    offline: bool,
    /// Print what the admin API answers
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Page {
    /// Below this id: the page after the one that ended with it
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
    /// So many at most
    #[arg(long, value_name = "ROWS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    limit: u64,
    #[command(flatten)]
    pub(super) asking: Asking,
}

#[derive(Debug, Subcommand)]
pub enum Events {
    /// What was received, newest first
    List {
        /// Of this source
        #[arg(long, value_name = "NAME")]
        source: Option<String>,
        /// Of this kind, as issue.created
        #[arg(long)]
        kind: Option<String>,
        /// Of this issue, as TEST-1
        #[arg(long, value_name = "KEY")]
        issue: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// An event as it was read, with its deliveries
    Show {
        /// As `events list` shows it
        id: i64,
        #[command(flatten)]
        asking: Asking,
    },
    /// Make the dead letters of an event due again
    Replay {
        /// Of the event, as `events list` shows it
        id: i64,
        #[command(flatten)]
        asking: Asking,
    },
}

#[derive(Debug, Subcommand)]
pub enum Deliveries {
    /// What goes out, newest first
    List {
        /// pending, delivered, or dead: given up, with its cause
        #[arg(long, value_parser = state_parser())]
        state: Option<State>,
        /// To this channel
        #[arg(long, value_name = "NAME")]
        channel: Option<String>,
        /// Of this event
        #[arg(long, value_name = "ID")]
        event: Option<i64>,
        #[command(flatten)]
        page: Page,
    },
    /// A delivery with its message, receipts and failed attempts
    Show {
        /// As `deliveries list` shows it
        id: i64,
        #[command(flatten)]
        asking: Asking,
    },
    /// Make a dead letter due again, or all of a channel
    Replay {
        #[command(flatten)]
        dead: Dead,
        #[command(flatten)]
        asking: Asking,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Dead {
    /// This one, by the id that `deliveries list` shows
    id: Option<i64>,
    /// All of this channel, in their old order
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
}

fn state_parser() -> impl TypedValueParser<Value = State> {
    PossibleValuesParser::new(["pending", "delivered", "dead"]).try_map(|word| {
        let word: &str = &word;
        State::deserialize(IntoDeserializer::<WordError>::into_deserializer(word))
    })
}

pub async fn events(command: Events, out: &mut dyn Write) -> Result<End, Stop> {
    match command {
        Events::List { source, kind, issue, page } => {
            let filter = Filter { source, kind, issue, ..page.filter() };
            page.asking.show(&Ask::Events(filter), rows::events, out).await
        }
        Events::Show { id, asking } => asking.show(&Ask::Event(EventId(id)), rows::event, out).await,
        Events::Replay { id, asking } => {
            let desk = Desk::new(&asking)?;
            let event = desk.ask(&Ask::Event(EventId(id))).await?;
            let deliveries = event["deliveries"].as_array().into_iter().flatten();
            let dead = deliveries.filter(|row| row["state"] == "dead").filter_map(|row| row["id"].as_i64());
            let mut replayed = 0;
            for id in dead {
                replayed += desk.replay(&Replay::One(DeliveryId(id))).await?;
            }
            asking.replayed(replayed, out)
        }
    }
}

pub async fn deliveries(command: Deliveries, out: &mut dyn Write) -> Result<End, Stop> {
    match command {
        Deliveries::List { state, channel, event, page } => {
            let filter = Filter { state, channel, event, ..page.filter() };
            page.asking.show(&Ask::Deliveries(filter), rows::deliveries, out).await
        }
        Deliveries::Show { id, asking } => asking.show(&Ask::Delivery(DeliveryId(id)), rows::delivery, out).await,
        Deliveries::Replay { dead: Dead { id, channel }, asking } => {
            let desk = Desk::new(&asking)?;
            desk.knows(&Filter { channel: channel.clone(), ..Filter::default() }).await?;
            let which = match (id, channel) {
                (Some(id), _) => Replay::One(DeliveryId(id)),
                (None, channel) => Replay::Channel(channel.unwrap_or_default()),
            };
            let (mut replayed, mut progress) = (0, Progress::new("dead letters are due again"));
            loop {
                let batch = desk.replay(&which).await?;
                replayed += batch;
                progress.at(replayed, None);
                if batch < BATCH {
                    break;
                }
            }
            progress.end();
            asking.replayed(replayed, out)
        }
    }
}

impl Page {
    /// Below which id, and how many.
    pub(super) fn bounds(&self) -> (Option<i64>, usize) {
        (self.before, self.limit as usize)
    }

    fn filter(&self) -> Filter {
        Filter { before: self.before, limit: self.limit as usize, ..Filter::default() }
    }
}

impl Asking {
    pub(super) async fn show(
        &self,
        ask: &Ask,
        text: impl FnOnce(&Value, &rows::Times) -> String,
        out: &mut dyn Write,
    ) -> Result<End, Stop> {
        let desk = Desk::new(self)?;
        if let Ask::Events(filter) | Ask::Deliveries(filter) = ask {
            desk.knows(filter).await?;
        }
        let answer = desk.ask(ask).await?;
        if self.json {
            return json_line(out, &answer);
        }
        write!(out, "{}", text(&answer, &rows::Times(desk.config.time_zone.clone())))?;
        Ok(End::Done)
    }

    fn replayed(&self, replayed: u64, out: &mut dyn Write) -> Result<End, Stop> {
        if self.json {
            return json_line(out, &json!({ "replayed": replayed }));
        }
        match replayed {
            0 => writeln!(out, "no dead letter: nothing to replay")?,
            1 => writeln!(out, "1 delivery is due again")?,
            more => writeln!(out, "{more} deliveries are due again")?,
        }
        Ok(End::Done)
    }
}

/// A question that the admin API and the store's file both answer.
pub(super) enum Ask {
    Links(LinkFilter),
    Events(Filter),
    Event(EventId),
    Deliveries(Filter),
    Delivery(DeliveryId),
}

impl Ask {
    fn path(&self) -> String {
        match self {
            Self::Links(filter) => format!("/links?{}", links_query(filter)),
            Self::Events(filter) => format!("/events?{}", query(filter)),
            Self::Event(id) => format!("/events/{}", id.0),
            Self::Deliveries(filter) => format!("/deliveries?{}", query(filter)),
            Self::Delivery(id) => format!("/deliveries/{}", id.0),
        }
    }

    /// What the API would answer.
    fn of(&self, file: &SqliteFile) -> Result<Value, Stop> {
        let gone = |what: String| Refusal::new(format!("there is no {what}; it may be past retention_days"));
        Ok(match self {
            Self::Links(filter) => json!({ "links": file.links(filter).map_err(refused)? }),
            Self::Events(filter) => json!({ "events": file.events(filter).map_err(refused)? }),
            Self::Deliveries(filter) => json!({ "deliveries": file.deliveries(filter).map_err(refused)? }),
            Self::Delivery(id) => {
                let delivery = file.delivery(*id).map_err(refused)?;
                json!({ "delivery": delivery.ok_or_else(|| gone(format!("delivery {}", id.0)))? })
            }
            Self::Event(id) => {
                let event = file.event(*id).map_err(refused)?.ok_or_else(|| gone(format!("event {}", id.0)))?;
                let filter = Filter { event: Some(id.0), limit: BATCH as usize, ..Filter::default() };
                json!({ "event": event, "deliveries": file.deliveries(&filter).map_err(refused)? })
            }
        })
    }
}

fn links_query(filter: &LinkFilter) -> String {
    let members = [
        ("before", filter.before.map(|before| before.to_string())),
        ("limit", Some(filter.limit.to_string())),
        ("issue", filter.issue.clone()),
        ("object", filter.object.clone()),
    ];
    written(members.into_iter())
}

fn written(members: impl Iterator<Item = (&'static str, Option<String>)>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(members.filter_map(|(name, value)| Some((name, value?))));
    query.finish()
}

fn query(filter: &Filter) -> String {
    let number = |number: Option<i64>| number.map(|number| number.to_string());
    let members = [
        ("before", number(filter.before)),
        ("limit", number(i64::try_from(filter.limit).ok())),
        ("source", filter.source.clone()),
        ("kind", filter.kind.clone()),
        ("issue", filter.issue.clone()),
        ("channel", filter.channel.clone()),
        ("event", number(filter.event)),
        ("state", filter.state.map(|state| rows::word(&state))),
    ];
    written(members.into_iter())
}

/// Where the answers come from.
struct Desk {
    config: Config,
    /// `None`: nobody is asked but the file.
    admin: Option<Admin>,
}

impl Desk {
    fn new(asking: &Asking) -> Result<Self, Stop> {
        let config = reach(&asking.configured.config).map_err(Stop::Findings)?;
        let admin = (!asking.offline).then(|| Admin::new(&config, &env));
        Ok(Self { config, admin })
    }

    /// # Errors
    /// There is no file.
    fn path(&self) -> Result<&Path, Refusal> {
        match &self.config.store {
            Store::Sqlite(path) => Ok(path),
            Store::Postgres(_) => Err(Refusal::new("the store is a PostgreSQL database, and no replica answers")
                .hint("start one, or name the address at which one answers in `server.admin`")),
        }
    }

    async fn ask(&self, ask: &Ask) -> Result<Value, Stop> {
        match self.call(Method::GET, &ask.path(), None).await? {
            Some(answer) => Ok(answer),
            None => ask.of(&SqliteFile::open(self.path()?).map_err(refused)?),
        }
    }

    /// # Errors
    /// A channel or source that the configuration does not name and of which the store has nothing either.
    async fn knows(&self, filter: &Filter) -> Result<(), Stop> {
        let one = Filter { limit: 1, ..Filter::default() };
        if let Some(name) = &filter.channel {
            let known: Vec<_> = self.config.channels.iter().map(|channel| channel.name.as_str()).collect();
            let ask = Ask::Deliveries(Filter { channel: Some(name.clone()), ..one.clone() });
            self.knows_one("channel", name, &known, &ask).await?;
        }
        if let Some(name) = &filter.source {
            let known: Vec<_> = self.config.sources.iter().map(|source| source.name.as_str()).collect();
            let ask = Ask::Events(Filter { source: Some(name.clone()), ..one });
            self.knows_one("source", name, &known, &ask).await?;
        }
        Ok(())
    }

    /// `ask`: for a row that has the name.
    async fn knows_one(&self, what: &str, name: &str, known: &[&str], ask: &Ask) -> Result<(), Stop> {
        let has_rows = |answer: &Value| {
            answer
                .as_object()
                .is_some_and(|answer| answer.values().any(|rows| rows.as_array().is_some_and(|r| !r.is_empty())))
        };
        if known.contains(&name) || has_rows(&self.ask(ask).await?) {
            return Ok(());
        }
        let hint = suggest(name, &format!("{what}s"), known.iter().copied());
        Err(Refusal::new(format!("no {what} is named `{name}`")).hint(hint).into())
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Option<Value>, Stop> {
        match &self.admin {
            Some(admin) => Ok(admin.call(method, path, body).await?),
            None => Ok(None),
        }
    }

    /// How many became due.
    async fn replay(&self, which: &Replay) -> Result<u64, Stop> {
        let (path, body) = match which {
            Replay::One(id) => (format!("/deliveries/{}/replay", id.0), json!({})),
            Replay::Channel(channel) => ("/deliveries/replay".to_owned(), json!({ "channel": channel })),
        };
        match self.call(Method::POST, &path, Some(body)).await? {
            Some(answer) => Ok(answer["replayed"].as_u64().unwrap_or(0)),
            None => self.replay_in_file(which).await,
        }
    }

    /// Takes the store's lock as `serve` does: two must not write.
    async fn replay_in_file(&self, which: &Replay) -> Result<u64, Stop> {
        let path = self.path()?;
        SqliteFile::open(path).map_err(refused)?;
        let clock = Clock::machine();
        let outbox = Sqlite::open(sqlite_options(&self.config, path), clock.clone()).map_err(|error| {
            let refusal = Refusal::new(error.to_string());
            match &self.admin {
                Some(admin) => refusal.hint(format!(
                    "no campanile answers at {} (server.admin); does it run on another configuration?",
                    admin.address()
                )),
                None => refusal.hint("leave `--offline` out: the server that runs replays it"),
            }
        })?;
        let give_up_at = clock.now_ms() + i64::from(GIVE_UP_AFTER_HOURS) * 3_600_000;
        let replayed = outbox.replay(which.clone(), give_up_at).await;
        outbox.close().await;
        Ok(replayed.map_err(refused)? as u64)
    }
}

fn refused(error: OutboxError) -> Refusal {
    match error {
        OutboxError::Unavailable(cause) => Refusal::new(format!("the store's file cannot be read: {cause}")),
        error => Refusal::new(error.to_string()),
    }
}
