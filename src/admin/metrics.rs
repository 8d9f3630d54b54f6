//! `/metrics`: the parts' own figures and what the outbox knows, as Prometheus reads them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use prometheus_client::encoding::EncodeGaugeValue;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{Atomic, Gauge};
use prometheus_client::registry::Registry;

use super::Api;
use crate::outbox::{Fleet, Gauges};
use crate::telemetry::{END, open_ended};

type Labels = Vec<(&'static str, String)>;

pub async fn metrics_page(State(api): State<Arc<Api>>) -> Response {
    let gauges = match api.gauges().await {
        Ok(gauges) => gauges,
        Err(error) => return (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    };
    let registry = of_outbox(&gauges, api.outbox.fleet(), &api.configuration.borrow().hash, api.clock.now_ms());
    let page = api.metrics.expose().and_then(|own| Ok(own + &open_ended(&registry)? + END));
    match page {
        Ok(page) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], page)
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn of_outbox(gauges: &Gauges, fleet: Option<Fleet>, configuration: &str, now_ms: i64) -> Registry {
    let mut figures = Figures(Registry::with_prefix("campanile"));
    figures.by::<i64, AtomicI64>(
        "configuration_info",
        "1, with the hash of the configuration that runs: another at another replica means other files",
        [(vec![("hash", configuration.to_owned())], 1)].into_iter(),
    );
    if let Some(Fleet { replicas, wakes }) = fleet {
        figures.one("replicas", "Replicas that share the outbox, this one among them", replicas as i64);
        figures.one("replicas_wake", "1 while replicas wake each other, 0 while each looks for work", wakes.into());
    }
    let ledger = gauges.ledger;
    figures.one("received", "Calls taken, all of them", ledger.received);
    figures.parts(
        "ledger_received",
        "Calls taken, by what became of them: the parts sum up to campanile_received",
        [
            ("routed", ledger.routed),
            ("to_route", ledger.to_route),
            ("ignored", ledger.ignored),
            ("duplicate", ledger.duplicate),
            ("unreadable", ledger.unreadable),
        ],
    );
    figures.one("planned", "Deliveries planned, all of them", ledger.planned);
    figures.parts(
        "ledger_planned",
        "Deliveries planned, by what became of them: the parts sum up to campanile_planned",
        [
            ("delivered", ledger.delivered),
            ("pending", ledger.pending),
            ("dead", ledger.dead),
            ("filtered", ledger.filtered),
            ("merged", ledger.merged),
        ],
    );
    let channels = || gauges.channels.iter().map(|(name, gauge)| (vec![("channel", name.clone())], gauge));
    figures.by::<i64, AtomicI64>(
        "pending",
        "Deliveries waiting, by channel",
        channels().map(|(labels, gauge)| (labels, i64::try_from(gauge.pending).unwrap_or(i64::MAX))),
    );
    let age = |oldest: Option<i64>| oldest.map_or(0.0, |oldest| (now_ms - oldest).max(0) as f64 / 1_000.0);
    figures.by::<f64, AtomicU64>(
        "oldest_pending_seconds",
        "Age of the oldest waiting delivery, by channel",
        channels().map(|(labels, gauge)| (labels, age(gauge.oldest))),
    );
    let by_account = |account: &String| vec![("account", account.clone())];
    let lanes = gauges.lanes_held.iter();
    figures.by::<i64, AtomicI64>(
        "lanes_held",
        "Lanes that wait for a messenger's pause or for a person",
        lanes.map(|(account, lanes)| (by_account(account), i64::try_from(*lanes).unwrap_or(i64::MAX))),
    );
    let held = gauges.accounts_held.iter();
    figures.by::<i64, AtomicI64>(
        "account_held",
        "1 while an account waits for a messenger's pause or for a person",
        held.map(|(account, hold)| (by_account(account), i64::from(hold.until > now_ms || hold.needs_a_person))),
    );
    figures.one("outbox_commits", "Commits since the start", i64::try_from(gauges.commits).unwrap_or(i64::MAX));
    let statements = i64::try_from(gauges.statements).unwrap_or(i64::MAX);
    figures.one("outbox_statements", "Writing statements since the start", statements);
    figures.0
}

/// Figures as they are now, made anew for each page.
struct Figures(Registry);

impl Figures {
    fn one(&mut self, name: &str, help: &str, value: i64) {
        let gauge = Gauge::<i64, AtomicI64>::default();
        gauge.set(value);
        self.0.register(name, help, gauge);
    }

    fn parts<const N: usize>(&mut self, name: &str, help: &str, parts: [(&str, i64); N]) {
        let rows = parts.into_iter().map(|(part, value)| (vec![("part", part.to_owned())], value));
        self.by::<i64, AtomicI64>(name, help, rows);
    }

    fn by<N, A>(&mut self, name: &str, help: &str, rows: impl Iterator<Item = (Labels, N)>)
    where
        N: EncodeGaugeValue + Send + Sync + std::fmt::Debug + 'static,
        A: Atomic<N> + Default + Send + Sync + std::fmt::Debug + 'static,
    {
        let family = Family::<Labels, Gauge<N, A>>::default();
        for (labels, value) in rows {
            family.get_or_create(&labels).set(value);
        }
        self.0.register(name, help, family);
    }
}
