//! The simulators' page: the Slack channel and the Telegram chat as a person sees them, side by side and live, with a
//! form that fires triggers and switches that make a messenger fail. For loopback only.
//!
//! It shows what the simulators received (`Service::shown`), not what was meant, and speaks to the bridge as anybody
//! does: by its hook, its admin API and its metrics ([`Bridge`]).

mod bridge;
mod chat;
mod stream;
#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use bridge::Bridge;
use bridge::{Figures, Unreached};
pub use chat::Chat;
use chat::Trouble;
use stream::Stream;

use super::slack::Slack;
use super::telegram::Telegram;
use crate::clock::Clock;

/// How often the bridge is asked for its figures while somebody looks.
const ASK_EVERY: Duration = Duration::from_millis(300);
/// Most triggers of one press.
const MOST_AT_ONCE: u32 = 20;

/// Own files and own connections only, no script or style in the page: text that gets in cannot become more.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const FILES: [(&str, &str, &str); 7] = [
    ("/", "text/html; charset=utf-8", include_str!("index.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page.css")),
    ("/page.js", "text/javascript; charset=utf-8", include_str!("page.js")),
    ("/dom.js", "text/javascript; charset=utf-8", include_str!("dom.js")),
    ("/slack.js", "text/javascript; charset=utf-8", include_str!("slack.js")),
    ("/telegram.js", "text/javascript; charset=utf-8", include_str!("telegram.js")),
    ("/tower.svg", "image/svg+xml", include_str!("tower.svg")),
];

/// The page of one running bridge.
pub struct Page {
    slack: Chat<Slack>,
    telegram: Chat<Telegram>,
    bridge: Bridge,
    /// The bridge's configuration, shown as it is.
    config: String,
    clock: Clock,
    /// The number of the newest issue.
    issue: AtomicU64,
    figures: watch::Sender<Figures>,
}

/// One press of the form: the members of a trigger's body, but for those that [`Page::fire`] adds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Press {
    trigger: Map<String, Value>,
    times: u32,
}

/// A switch was moved.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    messenger: Messenger,
    trouble: Trouble,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Messenger {
    Slack,
    Telegram,
}

/// A trigger as it was sent, and what the bridge answered.
#[derive(Serialize)]
pub struct Fired {
    pub sent: Value,
    pub status: u16,
    pub answer: Value,
}

impl Page {
    pub fn new(slack: Chat<Slack>, telegram: Chat<Telegram>, bridge: Bridge, config: String, clock: Clock) -> Self {
        let figures = watch::Sender::new(Figures::default());
        Self { slack, telegram, bridge, config, clock, issue: AtomicU64::new(0), figures }
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

    /// Fires one trigger at the bridge's hook, as Tracker does. A `created` one is about a new issue, the others are
    /// about the newest.
    ///
    /// # Errors
    /// The bridge cannot be reached.
    pub async fn fire(&self, mut trigger: Map<String, Value>) -> Result<Fired, Unreached> {
        let is_new = trigger.get("event").is_some_and(|event| event == "created");
        let newest = self.issue.fetch_add(u64::from(is_new), Ordering::Relaxed) + u64::from(is_new);
        trigger.insert("v".to_owned(), 1.into());
        trigger.insert("key".to_owned(), format!("DEMO-{}", newest.max(1)).into());
        trigger.insert("at".to_owned(), format!("{:.3}", self.clock.now()).into());
        let sent = Value::Object(trigger);
        let (status, answer) = self.bridge.fire(&sent).await?;
        Ok(Fired { sent, status, answer })
    }

    fn router(self: Arc<Self>) -> Router {
        let files = FILES.into_iter().fold(Router::new(), |router, (path, kind, text)| {
            router.route(path, get(async move || ([(header::CONTENT_TYPE, kind)], text)))
        });
        files
            .route("/config.yaml", get(async |State(page): State<Arc<Self>>| page.config.clone()))
            .route("/events", get(events))
            .route("/trigger", post(trigger))
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
                figures.slack.trouble = self.slack.trouble();
                figures.telegram.trouble = self.telegram.trouble();
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

async fn trigger(State(page): State<Arc<Page>>, press: Result<Json<Press>, JsonRejection>) -> Response {
    let Press { trigger, times } = match press {
        Ok(Json(press)) => press,
        Err(why) => return refusal(why.status(), &why.body_text()),
    };
    let mut fired = Vec::new();
    let times = times.clamp(1, MOST_AT_ONCE);
    for number in 1..=times {
        let mut trigger = trigger.clone();
        if let Some(Value::String(summary)) = trigger.get_mut("summary").filter(|_| times > 1) {
            summary.push_str(&format!(" · {number}/{times}"));
        }
        match page.fire(trigger).await {
            Ok(one) => fired.push(one),
            Err(why) => return refusal(StatusCode::BAD_GATEWAY, &why.to_string()),
        }
    }
    Json(json!({ "fired": fired })).into_response()
}

async fn trouble(State(page): State<Arc<Page>>, switch: Result<Json<Switch>, JsonRejection>) -> Response {
    let Switch { messenger, trouble } = match switch {
        Ok(Json(switch)) => switch,
        Err(why) => return refusal(why.status(), &why.body_text()),
    };
    let made = match messenger {
        Messenger::Slack => page.slack.make(trouble).await,
        Messenger::Telegram => page.telegram.make(trouble).await,
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
