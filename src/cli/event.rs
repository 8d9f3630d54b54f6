//! `--event FILE`: an event to try routes and templates on.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::{Refusal, Stop};
use crate::app::{kind, reader};
use crate::clock::Clock;
use crate::config::{self, Config, SourceKind};
use crate::event::Document;
use crate::finding::suggest;
use crate::source::{Call, Read, Said, Secrets, Source};

/// As the public listener takes it: what is longer is no call.
const LONGEST: u64 = 1 << 20;

#[derive(Debug, Args)]
pub struct EventFile {
    /// A call's body as it came, or an event as Campanile keeps it (an object with an object `event`, as
    /// `events show ID --json` prints); `-` is standard input
    #[arg(long = "event", value_name = "FILE")]
    file: PathBuf,
    /// The source that the body came to [default: the first of kind `tracker`]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// A header that the call came with, as a code host's kind of event: 'X-GitHub-Event: pull_request'
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("it is no header: write 'NAME: VALUE'")?;
    let name = name.trim().parse().map_err(|_| "its name is no header's")?;
    let value = value.trim().parse().map_err(|_| "its value holds a character that no header has")?;
    Ok((name, value))
}

/// What happened, as conditions and templates see it.
pub struct Told {
    json: String,
    pub kind: String,
}

impl Told {
    pub fn document(&self) -> Document<'_> {
        Document::new(&self.json, None)
    }
}

/// The source of this name; without one the first of kind `tracker`.
pub fn source<'a>(config: &'a Config, name: Option<&str>) -> Result<&'a config::Source, Refusal> {
    let mut sources = config.sources.iter();
    match name {
        None => sources.find(|source| source.kind == SourceKind::Tracker).ok_or_else(|| {
            Refusal::new("no source of kind `tracker` is configured").hint("say which by `--source NAME`")
        }),
        Some(name) => sources.find(|source| source.name.as_str() == name).ok_or_else(|| {
            let known = config.sources.iter().map(|source| source.name.as_str());
            Refusal::new(format!("no source is named `{name}`")).hint(suggest(name, "sources", known))
        }),
    }
}

impl EventFile {
    /// # Errors
    /// No such file, no such source, a body in which nothing says what happened.
    pub fn read(&self, config: &Config) -> Result<Told, Stop> {
        let bytes = self.bytes()?;
        let own = serde_json::from_slice::<Value>(&bytes).ok().filter(|body| body["event"].is_object());
        match own {
            Some(own) => self.own(own),
            None => self.call(&bytes, config),
        }
    }

    fn name(&self) -> String {
        if self.is_standard_input() { "standard input".into() } else { self.file.display().to_string() }
    }

    fn is_standard_input(&self) -> bool {
        self.file.as_os_str() == "-"
    }

    fn bytes(&self) -> Result<Vec<u8>, Stop> {
        let mut bytes = Vec::new();
        let read = match self.is_standard_input() {
            true => std::io::stdin().take(LONGEST + 1).read_to_end(&mut bytes),
            false => File::open(&self.file).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes)),
        };
        let name = self.name();
        read.map_err(|error| {
            Refusal::new(format!("{name} cannot be read: {error}"))
                .hint("`--event` takes a file with the body of a call, or `-` for standard input")
        })?;
        if bytes.len() as u64 > LONGEST {
            return Err(Refusal::new(format!("{name} is longer than 1 MiB; a call is answered 413 then")).into());
        }
        Ok(bytes)
    }

    /// An event of ours; one that `events show` printed stands in `event.document`.
    fn own(&self, mut own: Value) -> Result<Told, Stop> {
        let (id, document) = (own["event"]["id"].take(), own["event"]["document"].take());
        if document.is_object() {
            own = document;
        }
        if !id.is_null() {
            own["event"]["id"] = id;
        }
        match own["event"]["kind"].as_str().map(str::to_owned) {
            Some(kind) => Ok(Told { json: own.to_string(), kind }),
            None => Err(Refusal::new(format!("{}: the event does not say its `event.kind`", self.name()))
                .hint(r#"as in {"event": {"kind": "issue.created"}, "issue": {"key": "TEST-1"}}"#)
                .into()),
        }
    }

    /// A body, read as the source would read it.
    fn call(&self, body: &[u8], config: &Config) -> Result<Told, Stop> {
        let configured = source(config, self.source.as_deref())?;
        let source = source_of(config, configured);
        let call = Call {
            method: &Method::POST,
            query: "",
            headers: &self.headers.iter().cloned().collect::<HeaderMap>(),
            body,
            room: Arc::new(()),
            received_at: Clock::machine().now(),
        };
        match source.read(&call) {
            Said::Unreadable { why } => {
                let hint = match body.windows(2).any(|two| two == b"{{") {
                    true => "Tracker puts a value in the place of each `{{…}}`: write samples there, as TEST-1",
                    false => "such a call is answered 400; README, \"5. A trigger in Tracker\", has a body that works",
                };
                Err(Refusal::new(format!("{}: {why}", self.name())).hint(hint).into())
            }
            Said::Ignored { why } => {
                Err(Refusal::new(format!("{}: {why}; such a call is ignored", self.name())).into())
            }
            Said::Events(reads) => match reads.into_iter().next() {
                Some(Read { event, .. }) => {
                    let json = serde_json::to_string(&event).map_err(std::io::Error::other)?;
                    Ok(Told { json, kind: event.event.kind })
                }
                None => Err(Refusal::new(format!("{}: nothing happened", self.name())).into()),
            },
        }
    }
}

/// What reads the calls of a source, which nobody has to have the right to make here.
pub fn source_of(config: &Config, configured: &config::Source) -> Source {
    Source {
        name: configured.name.clone(),
        secrets: Secrets::new([]),
        kind: kind(configured),
        url_secret: false,
        dedupe: None,
        enrich: false,
        reader: reader(config),
    }
}
