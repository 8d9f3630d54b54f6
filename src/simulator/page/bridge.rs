//! The bridge as the outside knows it: a hook that takes reviews, an admin API, metrics.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::chat::Trouble;
use super::deed::Sent;
use super::others::{Delivery, Review};

/// Where a running bridge is, and how its configuration names what the page shows.
pub struct Bridge {
    client: Client<HttpConnector, Full<Bytes>>,
    reviews: String,
    secret: String,
    admin: String,
    slack_channel: String,
    telegram_channel: String,
}

/// How the bridge stands with each service.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    pub slack: Figure,
    pub telegram: Figure,
    pub tracker: Figure,
    /// Keys of the issues to which something is still to be done.
    pub to_change: BTreeSet<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figure {
    pub trouble: Trouble,
    pub delivered: u64,
    pub pending: u64,
    /// Of Tracker: events that wait for what it knows of their issue.
    pub to_route: u64,
    /// Of the oldest that waits: how often it was tried, and how the last try failed.
    pub attempts: u64,
    pub reason: Option<String>,
    /// The service, or a person's absence, asks to wait until then.
    pub paused_until: Option<Timestamp>,
    /// The bridge keeps back what the messenger would not take before.
    pub paced_until: Option<Timestamp>,
}

#[derive(Debug, thiserror::Error)]
pub enum Unreached {
    #[error("the bridge does not answer: {0}")]
    Call(#[from] hyper_util::client::legacy::Error),
    #[error("the bridge's answer broke off: {0}")]
    Answer(#[from] hyper::Error),
    #[error("the bridge's answer is not as expected: {0}")]
    Json(#[from] serde_json::Error),
    #[error("not a request: {0}")]
    Request(#[from] http::Error),
    #[error("the secret of the code host's source signs nothing")]
    Secret,
}

impl Bridge {
    /// `reviews` (a source of kind `github`) and the channels are names in its configuration, `secret` is the source's.
    pub fn new(
        public: SocketAddr,
        admin: SocketAddr,
        reviews: &str,
        secret: &str,
        [slack_channel, telegram_channel]: [&str; 2],
    ) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            reviews: format!("http://{public}/hooks/{reviews}"),
            secret: secret.to_owned(),
            admin: format!("http://{admin}"),
            slack_channel: slack_channel.to_owned(),
            telegram_channel: telegram_channel.to_owned(),
        }
    }

    /// Sends a verdict as GitHub does. `number`: of the review.
    pub async fn review(
        &self,
        verdict: Review,
        key: &str,
        summary: &str,
        number: u64,
        now: Timestamp,
    ) -> Result<Sent, Unreached> {
        let made = verdict.delivery(key, summary, number, now, &self.secret);
        let Delivery { headers, body } = made.ok_or(Unreached::Secret)?;
        let request = Request::builder().method(Method::POST).uri(&self.reviews);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
        let (status, text) = self.call(request.body(body.to_string().into())?).await?;
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let endpoint = self.reviews.clone();
        Ok(Sent { endpoint, headers, body, status, answer: serde_json::from_slice(&text)? })
    }

    pub async fn figures(&self, now: Timestamp) -> Result<Figures, Unreached> {
        let metrics = String::from_utf8_lossy(&self.get("/metrics").await?).into_owned();
        let holds: Value = serde_json::from_slice(&self.get("/api/v1/holds").await?)?;
        let waiting: Value = serde_json::from_slice(&self.get("/api/v1/deliveries?state=pending&limit=1000").await?)?;
        let of = |service: &str, is_own: &dyn Fn(&str) -> bool| {
            let delivered = format!("campanile_delivery_duration_seconds_count{{messenger=\"{service}\"}}");
            let mut rows = waiting["deliveries"].as_array().into_iter().flatten();
            let own = |row: &&Value| row["channel"].as_str().is_some_and(is_own);
            let oldest = rows.rfind(own).unwrap_or(&Value::Null); // newest come first
            let held = holds["holds"].as_array().into_iter().flatten().filter(|hold| hold["account"] == service);
            let until = |wait: &Value| wait["until"].as_str()?.parse().ok().filter(|until| *until > now);
            let paced = Some(&oldest["lane_wait"]).filter(|wait| wait["why"] == "pace");
            let pauses = held.chain([&oldest["lane_hold"]]).filter_map(until);
            Figure {
                trouble: Trouble::default(),
                delivered: sample(&metrics, &delivered),
                pending: pending(&metrics, is_own),
                to_route: 0,
                attempts: oldest["attempts"].as_u64().unwrap_or_default(),
                reason: oldest["reason"].as_str().map(str::to_owned),
                paused_until: pauses.max(),
                paced_until: paced.and_then(until),
            }
        };
        let (slack, telegram) =
            (of("slack", &|name| name == self.slack_channel), of("telegram", &|name| name == self.telegram_channel));
        // An issue's actions have a lane of its own.
        let mut tracker = of("tracker", &|name| name.starts_with("issue:"));
        tracker.to_route = sample(&metrics, "campanile_ledger_received{part=\"to_route\"}");
        let rows = waiting["deliveries"].as_array().into_iter().flatten();
        let keys = rows.filter_map(|row| row["channel"].as_str()?.strip_prefix("issue:"));
        Ok(Figures { slack, telegram, tracker, to_change: keys.map(str::to_owned).collect() })
    }

    async fn get(&self, path: &str) -> Result<Bytes, Unreached> {
        let request = Request::builder().uri(format!("{}{path}", self.admin)).body(Full::default())?;
        Ok(self.call(request).await?.1)
    }

    async fn call(&self, request: Request<Full<Bytes>>) -> Result<(u16, Bytes), Unreached> {
        let (head, body) = self.client.request(request).await?.into_parts();
        Ok((head.status.as_u16(), body.collect().await?.to_bytes()))
    }
}

/// A figure of an exposition by its name with labels; 0 where it is not there yet.
fn sample(metrics: &str, name: &str) -> u64 {
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.split(' ').next()?.parse().ok()).unwrap_or_default()
}

/// What waits in all channels of these names.
fn pending(metrics: &str, is_own: &dyn Fn(&str) -> bool) -> u64 {
    let samples = metrics.lines().filter_map(|line| {
        let (channel, value) = line.strip_prefix("campanile_pending{channel=\"")?.split_once("\"} ")?;
        is_own(channel).then(|| value.parse::<u64>().ok())?
    });
    samples.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_their_whole_name() {
        let page = "a_count{m=\"slack\"} 12\na{m=\"slack\"} 3\n# EOF\n";
        assert_eq!(sample(page, "a{m=\"slack\"}"), 3);
        assert_eq!(sample(page, "a_count{m=\"slack\"}"), 12);
        assert_eq!(sample(page, "a_count{m=\"s"), 0);
    }
}
