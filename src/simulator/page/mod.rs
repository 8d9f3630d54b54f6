//! The simulators' page: a queue of Tracker, the Slack channel and the Telegram chat as a person sees them, side by side
//! and live, with what a person does in Tracker and says on a pull request, and switches that make a service fail. For
//! loopback only.
//!
//! It shows what the simulators have and received (`Service::shown`), not what was meant. Tracker's triggers call the
//! bridge by themselves; the page speaks to it as anybody does: by a code host's hook, the admin API and the metrics
//! ([`Bridge`]).

mod bridge;
mod chat;
mod deed;
mod others;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use bridge::Bridge;
use bridge::Figures;
pub use chat::Chat;
use chat::{Switched, Trouble};
use deed::{Deed, Failed};
use stream::Stream;

use super::slack::Slack;
use super::telegram::Telegram;
use super::tracker::{Tracker, TrackerSimulator};
use crate::clock::Clock;

/// How often the bridge is asked for its figures while somebody looks.
const ASK_EVERY: Duration = Duration::from_millis(300);
/// The login in Tracker of whoever sits before the page.
pub const VISITOR: &str = "visitor";

/// Own files and own connections only, no script or style in the page: text that gets in cannot become more.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const FILES: [(&str, &str, &str); 8] = [
    ("/", "text/html; charset=utf-8", include_str!("index.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page.css")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("page.js")),
    ("/dom.js", "text/javascript; charset=utf-8", include_str!("dom.js")),
    ("/slack.js", "text/javascript; charset=utf-8", include_str!("slack.js")),
    ("/telegram.js", "text/javascript; charset=utf-8", include_str!("telegram.js")),
    ("/tracker.js", "text/javascript; charset=utf-8", include_str!("tracker.js")),
    ("/tower.svg", "image/svg+xml", include_str!("tower.svg")),
];

/// The page of one running bridge.
pub struct Page {
    slack: Chat<Slack>,
    telegram: Chat<Telegram>,
    tracker: Switched<Tracker>,
    /// The key of the queue that is shown.
    queue: String,
    bridge: Bridge,
    /// The bridge's configuration, shown as it is.
    config: String,
    clock: Clock,
    /// The number of the newest review.
    reviews: AtomicU64,
    figures: watch::Sender<Figures>,
}

/// A switch was moved.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    service: Service,
    trouble: Trouble,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Service {
    Slack,
    Telegram,
    Tracker,
}

impl Page {
    /// `queue`: of the simulated Tracker, where [`VISITOR`] must be known.
    pub fn new(
        (slack, telegram): (Chat<Slack>, Chat<Telegram>),
        (tracker, queue): (Arc<TrackerSimulator>, &str),
        bridge: Bridge,
        config: String,
        clock: Clock,
    ) -> Self {
        let (figures, tracker) = (watch::Sender::new(Figures::default()), Switched::new(tracker));
        let (queue, reviews) = (queue.to_owned(), AtomicU64::new(0));
        Self { slack, telegram, tracker, queue, bridge, config, clock, reviews, figures }
    }

    /// Serves the page, and asks the bridge for its figures, until dropped.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) -> io::Result<()> {
        let served = axum::serve(listener, self.clone().router());
        tokio::select! {
            end = served.into_future() => end,
            () = self.ask_for_figures() => Ok(()),
        }
    }

    /// Tracker's queue as it is shown.
    fn board(&self) -> Value {
        self.tracker.simulator.board(&self.queue)
    }

    fn router(self: Arc<Self>) -> Router {
        let files = FILES.into_iter().fold(Router::new(), |router, (path, kind, text)| {
            router.route(path, get(async move || ([(header::CONTENT_TYPE, kind)], text)))
        });
        files
            .route("/config.yaml", get(async |State(page): State<Arc<Self>>| page.config.clone()))
            .route("/events", get(events))
            .route("/issues/{key}", get(async |Path(key): Path<String>| Redirect::to(&on_the_board(&key))))
            .route("/deed", post(deed))
            .route("/trouble", post(trouble))
            .fallback(async || refusal(StatusCode::NOT_FOUND, "nothing is here; the page is at /"))
            .layer(middleware::from_fn(guarded))
            .with_state(self)
    }

    async fn ask_for_figures(&self) {
        loop {
            if self.figures.receiver_count() > 0
                && let Ok(mut figures) = self.bridge.figures(self.clock.now()).await
            {
                figures.slack.trouble = self.slack.messenger.trouble();
                figures.telegram.trouble = self.telegram.messenger.trouble();
                figures.tracker.trouble = self.tracker.trouble();
                self.figures.send_if_modified(|known| {
                    let differs = *known != figures;
                    *known = figures;
                    differs
                });
            }
            self.clock.sleep(ASK_EVERY).await;
        }
    }
}

/// Where an issue is shown, for the links in messages. What cannot be in a key is left out: it becomes a header.
fn on_the_board(key: &str) -> String {
    format!("/#{}", key.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect::<String>())
}

/// A page of somebody else can make a browser call any address, but neither with our `Host` nor, unasked, with JSON.
async fn guarded(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    let loopback = name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let mut response = match loopback || name.eq_ignore_ascii_case("localhost") {
        true => next.run(request).await,
        false => refusal(StatusCode::FORBIDDEN, "this `Host` is not the page's: open it as http://127.0.0.1:<port>/"),
    };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn events(State(page): State<Arc<Page>>) -> Response {
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::new(Stream::of(page))).into_response()
}

async fn deed(State(page): State<Arc<Page>>, deed: Result<Json<Deed>, JsonRejection>) -> Response {
    let deed = match deed {
        Ok(Json(deed)) => deed,
        Err(why) => return refusal(why.status(), &why.body_text()),
    };
    match page.act(deed).await {
        Ok(done) => Json(done).into_response(),
        Err(why @ Failed::Refused(_)) => refusal(StatusCode::UNPROCESSABLE_ENTITY, &why.to_string()),
        Err(why @ Failed::Bridge(_)) => refusal(StatusCode::BAD_GATEWAY, &why.to_string()),
    }
}

async fn trouble(State(page): State<Arc<Page>>, switch: Result<Json<Switch>, JsonRejection>) -> Response {
    let Switch { service, trouble } = match switch {
        Ok(Json(switch)) => switch,
        Err(why) => return refusal(why.status(), &why.body_text()),
    };
    let made = match service {
        Service::Slack => page.slack.messenger.make(trouble).await,
        Service::Telegram => page.telegram.messenger.make(trouble).await,
        Service::Tracker => page.tracker.make(trouble).await,
    };
    match made {
        Ok(()) => Json(json!({ "trouble": trouble })).into_response(),
        Err(why) => {
            let why = format!("its port cannot be taken again ({why}); start the demo anew");
            refusal(StatusCode::SERVICE_UNAVAILABLE, &why)
        }
    }
}

fn refusal(status: StatusCode, why: &str) -> Response {
    (status, Json(json!({ "error": why }))).into_response()
}
