//! What an operator sees: metrics and logs. Names are the glossary's; no value of a secret reaches either.

use std::io::IsTerminal;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub struct ByOutcome {
    pub messenger: &'static str,
    pub outcome: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub struct ByMessenger {
    pub messenger: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub struct BySource {
    pub source: String,
    pub answer: u16,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub struct ByTemplate {
    pub template: String,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub struct ByRoute {
    pub route: String,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub struct ByAccount {
    pub account: String,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub struct ByEnd {
    pub end: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub struct OfSource {
    pub source: String,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub struct ByQueue {
    pub queue: String,
}

/// Counters that the parts move themselves. What the outbox knows better is added when `/metrics` is asked.
pub struct Metrics {
    registry: Registry,
    pub calls: Family<BySource, Counter>,
    pub unrouted: Counter,
    /// `enriched` or `unenriched`.
    pub events_enriched: Family<ByEnd, Counter>,
    pub events_recovered: Family<OfSource, Counter>,
    /// 1: the token may not read its triggers or what they called.
    pub recovery_refused: Family<ByQueue, Gauge>,
    pub condition_errors: Family<ByRoute, Counter>,
    pub attempts: Family<ByOutcome, Counter>,
    pub attempt_seconds: Family<ByMessenger, Histogram, fn() -> Histogram>,
    pub delivery_seconds: Family<ByMessenger, Histogram, fn() -> Histogram>,
    pub template_failures: Family<ByTemplate, Counter>,
    pub duplicates_possible: Family<ByMessenger, Counter>,
    pub holds: Family<ByAccount, Counter>,
    pub breaker_open: Family<ByAccount, Gauge>,
    pub accept_seconds: Histogram,
    pub commit_seconds: Histogram,
    /// `swapped` or `refused`.
    pub config_reloads: Family<ByEnd, Counter>,
    pub config_refused: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("campanile");
        let attempt_buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 16));
        let delivery_buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 3.0, 16));
        let metrics = Self {
            calls: Family::default(),
            unrouted: Counter::default(),
            events_enriched: Family::default(),
            events_recovered: Family::default(),
            recovery_refused: Family::default(),
            condition_errors: Family::default(),
            attempts: Family::default(),
            attempt_seconds: Family::new_with_constructor(attempt_buckets),
            delivery_seconds: Family::new_with_constructor(delivery_buckets),
            template_failures: Family::default(),
            duplicates_possible: Family::default(),
            holds: Family::default(),
            breaker_open: Family::default(),
            accept_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            commit_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
            config_reloads: Family::default(),
            config_refused: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("calls", "Calls to a source, by the status they were answered", metrics.calls.clone());
        registry.register("events_unrouted", "Events that no route led anywhere", metrics.unrouted.clone());
        registry.register(
            "events_enriched",
            "Events of sources that enrich, by whether Tracker told of their issue in time",
            metrics.events_enriched.clone(),
        );
        registry.register(
            "events_recovered",
            "Events of calls that had been missed and were found in Tracker's webhook log",
            metrics.events_recovered.clone(),
        );
        registry.register(
            "recovery_refused",
            "1 while the token may not read a queue's triggers: calls that are missed there are not recovered",
            metrics.recovery_refused.clone(),
        );
        registry.register(
            "condition_errors",
            "Conditions that failed or gave no boolean: counted as not matched",
            metrics.condition_errors.clone(),
        );
        registry.register("attempts", "Tries to send a delivery, by their end", metrics.attempts.clone());
        registry.register_with_unit(
            "attempt_duration",
            "From the call to the messenger to its answer",
            Unit::Seconds,
            metrics.attempt_seconds.clone(),
        );
        registry.register_with_unit(
            "delivery_duration",
            "From the acceptance of an event to the receipt of its message",
            Unit::Seconds,
            metrics.delivery_seconds.clone(),
        );
        registry.register(
            "template_failures",
            "Messages that went out as the fallback text because their template failed",
            metrics.template_failures.clone(),
        );
        registry.register(
            "duplicates_possible",
            "Messages sent again after an attempt whose end nobody can know",
            metrics.duplicates_possible.clone(),
        );
        registry.register("holds", "Times an account or one of its lanes was held for a person", metrics.holds.clone());
        registry.register("breaker_open", "1 while an account's breaker is open", metrics.breaker_open.clone());
        registry.register_with_unit(
            "accept_duration",
            "From a call's first byte to its answer, durable",
            Unit::Seconds,
            metrics.accept_seconds.clone(),
        );
        registry.register_with_unit(
            "commit_duration",
            "One commit of the outbox, fsync included",
            Unit::Seconds,
            metrics.commit_seconds.clone(),
        );
        registry.register(
            "config_reloads",
            "Reloads of the configuration, by their end",
            metrics.config_reloads.clone(),
        );
        registry.register(
            "config_refused",
            "1 while the files were refused and the configuration from before them runs",
            metrics.config_refused.clone(),
        );
        Self { registry, ..metrics }
    }
}

impl Metrics {
    /// The exposition text of the parts' own figures, without its closing line, so that others can follow.
    ///
    /// # Errors
    /// Only when the text cannot be written, which a `String` never refuses.
    pub fn expose(&self) -> Result<String, std::fmt::Error> {
        open_ended(&self.registry)
    }
}

/// A registry's text without the line that ends an exposition.
pub fn open_ended(registry: &Registry) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)?;
    if let Some(end) = text.rfind(END) {
        text.truncate(end);
    }
    Ok(text)
}

/// The line that ends an exposition.
pub const END: &str = "# EOF\n";

/// How log lines look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    Text,
    Json,
}

/// The target of our own lines. Other crates write headers, paths and bodies into their traces, and Telegram's token
/// stands in a path: of theirs only warnings and errors are written, whatever the operator asks for.
const OURS: &str = env!("CARGO_CRATE_NAME");

/// Starts logging to standard error. `CAMPANILE_LOG` takes the filter language of tracing (`info`, `debug`,
/// `campanile::lane=trace`).
///
/// # Errors
/// A sentence that says which part of the filter cannot be read.
pub fn start_logging(format: LogFormat, filter: Option<&str>) -> Result<(), String> {
    use tracing_subscriber::prelude::*;
    let asked = tracing_subscriber::EnvFilter::builder()
        .parse(filter.unwrap_or("info"))
        .map_err(|error| format!("CAMPANILE_LOG cannot be read: {error}"))?;
    let quiet = tracing_subscriber::filter::filter_fn(|line| {
        let target = line.target().split(['.', ':']).next();
        target == Some(OURS) || line.level() <= &tracing::Level::WARN
    });
    let lines =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let started = match format {
        LogFormat::Text => tracing_subscriber::registry().with(lines.with_filter(quiet).with_filter(asked)).try_init(),
        LogFormat::Json => tracing_subscriber::registry()
            .with(lines.json().flatten_event(true).with_filter(quiet).with_filter(asked))
            .try_init(),
    };
    started.map_err(|error| format!("logging cannot be started: {error}"))
}
