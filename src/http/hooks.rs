//! The public listener: `/hooks/<source>`, `/healthz`, `/readyz`; what else comes there may be for [`links`](super::links).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{info, warn};

use super::answer::{ANOTHER_METHOD, last_word, ok, refusal};
use crate::admin::Configuration;
use crate::clock::Clock;
use crate::finding::nearest;
use crate::lifecycle::Lifecycle;
use crate::link::Application;
use crate::outbox::{Fleet, Outbox};
use crate::source::{Admission, Answer, Call, Intake, Kind, Source};
use crate::telemetry::BySource;

/// Longest body of a call.
const LONGEST_BODY: usize = 1024 * 1024;
/// Bodies in memory at once, over all calls.
const BODIES: usize = 64 * 1024 * 1024;
/// From the end of a head to the end of its body.
const BODY: Duration = Duration::from_secs(10);
/// A store that was not written for so long is not ready.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5);

const NO_SOURCE: &str = "no source of that name; the address ends in /hooks/<name of a source in config.yaml>";
const NO_SECRET: &str =
    "the secret is wrong or missing; send it as `Authorization: Bearer <secret>` or `X-Campanile-Token: <secret>`";
const NO_SIGNATURE: &str =
    "the signature or token is wrong or missing; the secret of the host's webhook must be that of this source";

/// What `/readyz` asks.
#[derive(Clone)]
pub struct Readiness {
    pub outbox: Arc<dyn Outbox>,
    pub lifecycle: Lifecycle,
    pub configuration: watch::Receiver<Configuration>,
}

/// The answer of `/readyz` on both listeners.
#[derive(Serialize)]
struct Ready {
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'static str>,
    /// The same at all replicas that run on the same files.
    configuration: String,
    /// Accounts that wait for a person: a token has ended, a right is missing. Why stands on the admin listener.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held: Vec<String>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    fleet: Option<Fleet>,
}

impl Readiness {
    pub fn answer(&self) -> Response {
        let why = self.check().err();
        let status = if why.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let configuration = self.configuration.borrow().hash.clone();
        let held = self.outbox.accounts_held().into_iter().filter(|(_, hold)| hold.needs_a_person);
        let mut held: Vec<String> = held.map(|(account, _)| account).collect();
        held.sort();
        let ready = Ready { ready: why.is_none(), why, configuration, held, fleet: self.outbox.fleet() };
        (status, Json(ready)).into_response()
    }

    /// # Errors
    /// Why a balancer should look elsewhere.
    fn check(&self) -> Result<(), &'static str> {
        if self.lifecycle.stopping.is_cancelled() {
            Err("stopping")
        } else if !self.outbox.can_write() || self.outbox.since_last_write() > WRITTEN_WITHIN {
            Err("the store was not written in the last 5 s")
        } else {
            Ok(())
        }
    }
}

pub struct Hooks {
    pub intake: Arc<Intake>,
    pub application: Arc<Application>,
    pub readiness: Readiness,
    pub clock: Clock,
    /// Whose `X-Forwarded-For` counts.
    trusts: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
    bodies: Arc<AtomicUsize>,
}

impl Hooks {
    pub fn new(
        intake: Arc<Intake>,
        application: Arc<Application>,
        readiness: Readiness,
        clock: Clock,
        trusts: impl Fn(IpAddr) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { intake, application, readiness, clock, trusts: Box::new(trusts), bodies: Arc::default() }
    }

    /// Who called: the nearest address that is no trusted proxy's.
    pub(super) fn caller(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        let mut caller = peer?.ip().to_canonical();
        let forwarded = headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        let hops: Vec<&str> = forwarded.flat_map(|value| value.split(',')).collect();
        for hop in hops.into_iter().rev() {
            if !(self.trusts)(caller) {
                break;
            }
            let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
            caller = address.to_canonical();
        }
        Some(caller)
    }
}

pub fn public_router(hooks: Arc<Hooks>) -> Router {
    Router::new()
        .route("/hooks/{source}", any(hook))
        .route("/hooks/{source}/{secret}", any(hook_with_secret))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .method_not_allowed_fallback(async || refusal(StatusCode::METHOD_NOT_ALLOWED, ANOTHER_METHOD))
        .fallback(nothing)
        .layer(CatchPanicLayer::custom(|_| refusal(StatusCode::INTERNAL_SERVER_ERROR, "a mistake of ours")))
        .with_state(hooks)
}

async fn ready(State(hooks): State<Arc<Hooks>>) -> Response {
    hooks.readiness.answer()
}

async fn nothing(State(hooks): State<Arc<Hooks>>, request: Request) -> Response {
    let mut segments = request.uri().path().split('/').skip(1);
    match segments.next() {
        Some("hooks") => hooks.no_source(segments.next().unwrap_or_default()),
        _ => match hooks.link(request).await {
            Ok(answer) => answer,
            Err(_) => refusal(StatusCode::NOT_FOUND, "nothing is here"),
        },
    }
}

async fn hook(State(hooks): State<Arc<Hooks>>, Path(source): Path<String>, request: Request) -> Response {
    hooks.take(&source, None, request).await
}

async fn hook_with_secret(
    State(hooks): State<Arc<Hooks>>,
    Path((source, secret)): Path<(String, String)>,
    request: Request,
) -> Response {
    hooks.take(&source, Some(&secret), request).await
}

impl Hooks {
    async fn take(&self, name: &str, url_secret: Option<&str>, request: Request) -> Response {
        let started = std::time::Instant::now();
        let rules = self.intake.rules.borrow().clone();
        let Some(source) = rules.sources.get(name) else {
            return self.no_source(name);
        };
        let response = self.take_from(source, url_secret, request).await;
        let metrics = &self.intake.metrics;
        let by = BySource { source: source.name.to_string(), answer: response.status().as_u16() };
        metrics.calls.get_or_create(&by).inc();
        metrics.accept_seconds.observe(started.elapsed().as_secs_f64());
        response
    }

    /// No source has the name that a call asks for. Somebody may have put the secret there, so a name is logged only
    /// where it reads like one: near a source's own, or letters alone.
    fn no_source(&self, asked: &str) -> Response {
        let rules = self.intake.rules.borrow().clone();
        let is_secret = rules.sources.values().any(|source| source.secrets.admit_text(asked));
        let is_near =
            rules.sources.contains_key(asked) || nearest(asked, rules.sources.keys().map(|n| n.as_str())).is_some();
        let is_word = |fits: fn(u8) -> bool| asked.len() <= 64 && asked.bytes().all(fits);
        let reads_like_one = is_word(|b| b.is_ascii_lowercase() || b == b'-' || b == b'_');
        let shown = !is_secret && (reads_like_one || is_near && is_word(|b| b.is_ascii_graphic()));
        let asked = if shown { asked } else { "(not shown: it may be a secret)" };
        info!(asked, "a call to no source; the address must end in /hooks/<name of a source in config.yaml>");
        // One label for all of them: callers choose the names.
        let by = BySource { source: String::new(), answer: StatusCode::NOT_FOUND.as_u16() };
        self.intake.metrics.calls.get_or_create(&by).inc();
        refusal(StatusCode::NOT_FOUND, NO_SOURCE)
    }

    async fn take_from(&self, source: &Source, url_secret: Option<&str>, request: Request) -> Response {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0);
        let (head, body) = request.into_parts();
        let in_url = match url_secret {
            Some(_) if !source.url_secret => {
                info!(source = %source.name, "a call with more behind the source's name, and no `url_secret: true`");
                return refusal(StatusCode::NOT_FOUND, NO_SOURCE);
            }
            Some(secret) => source.secrets.admit_text(secret),
            None => false,
        };
        let caller = || self.caller(peer, &head.headers).map(|caller| caller.to_string()).unwrap_or_default();
        let unauthorized = || {
            let is_offered = url_secret.is_some() || source.is_offered(&head.headers);
            let secret = if is_offered { "wrong" } else { "missing" };
            warn!(source = %source.name, caller = caller(), secret, "a call without the right secret");
            let why = if matches!(source.kind, Kind::Host(..)) { NO_SIGNATURE } else { NO_SECRET };
            last_word(StatusCode::UNAUTHORIZED, why)
        };
        let admission = source.admit(&head.headers); // looked at in any case, so that the time tells nothing
        match admission {
            Admission::No if !in_url => return unauthorized(),
            Admission::Ping => return ok(StatusCode::OK, json!({"ignored": "a ping"})),
            Admission::Yes | Admission::No | Admission::AfterBody => {}
        }
        let (body, room) = match self.read(&head.headers, body).await {
            Ok(read) => read,
            Err((status, why)) => {
                warn!(source = %source.name, caller = caller(), answer = status.as_u16(), "a call was refused: {why}");
                return last_word(status, why);
            }
        };
        let received_at = self.clock.now();
        if admission == Admission::AfterBody && !source.verify(&head.headers, &body, received_at) {
            return unauthorized();
        }
        let call = Call {
            method: &head.method,
            query: head.uri.query().unwrap_or_default(),
            headers: &head.headers,
            body: &body,
            room: Arc::new(room),
            received_at,
        };
        match self.intake.take(source, &call).await {
            Answer::Accepted { events, deliveries } => {
                let mut answer = json!({"event": events.first(), "deliveries": deliveries});
                if events.len() > 1 {
                    answer["events"] = json!(events);
                }
                ok(StatusCode::ACCEPTED, answer)
            }
            Answer::Duplicate { event } => ok(StatusCode::OK, json!({"event": event, "duplicate": true})),
            Answer::Ignored { why } => ok(StatusCode::OK, json!({"ignored": why})),
            Answer::Unreadable { why } => refusal(StatusCode::BAD_REQUEST, &why),
            Answer::NotStored => refusal(StatusCode::INTERNAL_SERVER_ERROR, "not stored; call again"),
        }
    }

    /// The whole body, within its length, its time and the memory that all bodies share.
    pub(super) async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Bytes, Room), (StatusCode, &'static str)> {
        const TOO_LONG: (StatusCode, &str) = (StatusCode::PAYLOAD_TOO_LARGE, "a body has at most 1 MiB");
        let told = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if told.is_some_and(|length| length > LONGEST_BODY) {
            return Err(TOO_LONG);
        }
        let Some(room) = Room::take(&self.bodies, told.unwrap_or(LONGEST_BODY)) else {
            return Err((StatusCode::INTERNAL_SERVER_ERROR, "too many bodies at once; call again"));
        };
        let read = Limited::new(body, LONGEST_BODY).collect();
        tokio::select! {
            end = read => match end {
                Ok(body) => Ok((body.to_bytes(), room)),
                Err(error) if error.is::<LengthLimitError>() => Err(TOO_LONG),
                Err(_) => Err((StatusCode::BAD_REQUEST, "the body broke off")),
            },
            () = self.clock.sleep(BODY) => Err((StatusCode::REQUEST_TIMEOUT, "the body took longer than 10 s")),
        }
    }
}

/// A share of the memory for bodies, given back when dropped.
pub(super) struct Room(Arc<AtomicUsize>, usize);

impl Room {
    fn take(taken: &Arc<AtomicUsize>, size: usize) -> Option<Self> {
        let before = taken.fetch_add(size, Ordering::Relaxed);
        let room = Self(taken.clone(), size);
        (before + size <= BODIES).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}
