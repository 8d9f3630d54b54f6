//! `/api/v1`: events, deliveries and links, newest first; what is paused; replay of dead letters.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use http::request::Parts;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::delivery::{DeliveryId, EventId};
use crate::finding::Finding;
use crate::outbox::{self, Filter, Gauges, LinkFilter, Outbox, OutboxError, Replay};
use crate::telemetry::Metrics;

/// Rows of one page.
const MOST_ROWS: usize = 1_000;
const ROWS: usize = 100;

pub struct Api {
    pub outbox: Arc<dyn Outbox>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
    pub configuration: watch::Receiver<Configuration>,
    /// How long a replayed delivery may wait, in hours.
    pub give_up_after_hours: u32,
}

/// Which configuration runs.
#[derive(Clone, Debug, Serialize)]
pub struct Configuration {
    /// The same where the files say the same: config.yaml and the templates.
    pub hash: String,
    pub loaded_at: Timestamp,
    /// The files as they are now were refused; what ran before goes on.
    pub refused: Option<RefusedConfiguration>,
    /// Keys whose changes count after a restart.
    pub waits_for_restart: Vec<&'static str>,
}

#[derive(Clone, Debug, Serialize)]
pub struct RefusedConfiguration {
    pub at: Timestamp,
    pub findings: Vec<Finding>,
}

/// Query of a listing. `before` is the last id of the page before.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    before: Option<i64>,
    limit: Option<usize>,
    source: Option<String>,
    kind: Option<String>,
    issue: Option<String>,
    channel: Option<String>,
    event: Option<i64>,
    state: Option<outbox::State>,
}

impl Page {
    fn filter(self) -> Filter {
        let Self { before, limit, source, kind, issue, channel, event, state } = self;
        Filter { before, limit: limit.unwrap_or(ROWS).clamp(1, MOST_ROWS), source, kind, issue, channel, event, state }
    }
}

/// The number in a path.
struct Id(i64);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let id = Path::<i64>::from_request_parts(parts, state).await;
        id.map(|Path(id)| Self(id)).map_err(|_| refusal(StatusCode::NOT_FOUND, "an id is a whole number"))
    }
}

pub fn api_router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/config", get(async |State(api): State<Arc<Api>>| Json(api.configuration.borrow().clone())))
        .route("/events", get(events))
        .route("/events/{id}", get(event))
        .route("/deliveries", get(deliveries))
        .route("/holds", get(holds))
        .route("/links", get(links))
        .route("/deliveries/replay", post(replay_many))
        .route("/deliveries/{id}", get(delivery))
        .route("/deliveries/{id}/replay", post(replay_one))
        .method_not_allowed_fallback(async || refusal(StatusCode::METHOD_NOT_ALLOWED, "this path takes another method"))
        .with_state(api)
}

async fn events(State(api): State<Arc<Api>>, page: Result<Query<Page>, QueryRejection>) -> Response {
    match page {
        Ok(Query(page)) => answer(api.outbox.events(page.filter()).await.map(|rows| json!({ "events": rows }))),
        Err(why) => refusal(StatusCode::BAD_REQUEST, &why.body_text()),
    }
}

async fn event(State(api): State<Arc<Api>>, Id(id): Id) -> Response {
    match api.outbox.event(EventId(id)).await {
        Ok(None) => gone(&format!("event {id}")),
        Ok(Some(event)) => {
            let filter = Filter { event: Some(id), limit: MOST_ROWS, ..Filter::default() };
            let deliveries = api.outbox.deliveries(filter).await;
            answer(deliveries.map(|deliveries| json!({ "event": event, "deliveries": deliveries })))
        }
        Err(error) => answer(Err(error)),
    }
}

async fn deliveries(State(api): State<Arc<Api>>, page: Result<Query<Page>, QueryRejection>) -> Response {
    match page {
        Ok(Query(page)) => answer(api.outbox.deliveries(page.filter()).await.map(|rows| json!({ "deliveries": rows }))),
        Err(why) => refusal(StatusCode::BAD_REQUEST, &why.body_text()),
    }
}

async fn delivery(State(api): State<Arc<Api>>, Id(id): Id) -> Response {
    match api.outbox.delivery(DeliveryId(id)).await {
        Ok(None) => gone(&format!("delivery {id}")),
        end => answer(end.map(|row| json!({ "delivery": row }))),
    }
}

/// Query of a listing of links. `before` is the last id of the page before.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinksPage {
    before: Option<i64>,
    limit: Option<usize>,
    issue: Option<String>,
    object: Option<String>,
}

async fn links(State(api): State<Arc<Api>>, page: Result<Query<LinksPage>, QueryRejection>) -> Response {
    match page {
        Ok(Query(LinksPage { before, limit, issue, object })) => {
            let filter = LinkFilter { before, limit: limit.unwrap_or(ROWS).clamp(1, MOST_ROWS), issue, object };
            answer(api.outbox.links(filter).await.map(|rows| json!({ "links": rows })))
        }
        Err(why) => refusal(StatusCode::BAD_REQUEST, &why.body_text()),
    }
}

/// Accounts that wait for a messenger's pause or for a person. A lane's own hold stands with its deliveries.
async fn holds(State(api): State<Arc<Api>>) -> Response {
    let now = api.clock.now_ms();
    let held = |hold: &outbox::Hold| hold.until > now || hold.needs_a_person;
    answer(api.gauges().await.map(|gauges| {
        let holds = gauges.accounts_held.into_iter().filter(|(_, hold)| held(hold));
        let row = |(account, hold): (String, outbox::Hold)| {
            let mut row = json!(hold);
            row["account"] = account.into();
            row
        };
        json!({ "holds": holds.map(row).collect::<Vec<_>>() })
    }))
}

async fn replay_one(State(api): State<Arc<Api>>, Id(id): Id) -> Response {
    api.replay(Replay::One(DeliveryId(id))).await
}

/// All dead letters of one channel, in batches of 1,000: the answer says how many became due.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Many {
    channel: String,
}

async fn replay_many(State(api): State<Arc<Api>>, body: Result<Json<Many>, JsonRejection>) -> Response {
    match body {
        Ok(Json(Many { channel })) => api.replay(Replay::Channel(channel)).await,
        Err(why) => refusal(StatusCode::BAD_REQUEST, &why.body_text()),
    }
}

impl Api {
    /// The outbox's figures. It hands each commit's time out once: they go to the histogram whoever asks.
    pub(super) async fn gauges(&self) -> Result<Gauges, OutboxError> {
        let gauges = self.outbox.gauges().await?;
        for seconds in &gauges.commit_seconds {
            self.metrics.commit_seconds.observe(*seconds);
        }
        Ok(gauges)
    }

    async fn replay(&self, which: Replay) -> Response {
        let now = self.clock.now_ms();
        let give_up_at = now + i64::from(self.give_up_after_hours) * 3_600_000;
        let end = self.outbox.replay(which.clone(), give_up_at).await;
        if let Ok(replayed @ 1..) = &end {
            tracing::info!(?which, replayed, "dead letters are due again");
        }
        answer(end.map(|replayed| json!({ "replayed": replayed })))
    }
}

fn answer(end: Result<serde_json::Value, OutboxError>) -> Response {
    match end {
        Ok(body) => Json(body).into_response(),
        Err(error) => {
            let status = match &error {
                OutboxError::NoSuchDelivery(_) | OutboxError::UnknownChannel(_) => StatusCode::NOT_FOUND,
                OutboxError::NotDead { .. } => StatusCode::CONFLICT,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            let why = match &error {
                OutboxError::Unavailable(cause) => format!("{error}: {cause}"),
                error => error.to_string(),
            };
            refusal(status, &why)
        }
    }
}

fn gone(what: &str) -> Response {
    refusal(StatusCode::NOT_FOUND, &format!("there is no {what}; it may be past retention_days"))
}

fn refusal(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}
