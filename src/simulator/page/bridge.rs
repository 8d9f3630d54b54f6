//! The bridge as the outside knows it: a hook that takes triggers, an admin API, metrics.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::chat::Trouble;

/// Where a running bridge is, and how its configuration names what the page shows.
pub struct Bridge {
    client: Client<HttpConnector, Full<Bytes>>,
    hook: String,
    secret: String,
    admin: String,
    slack_channel: String,
    telegram_channel: String,
}

/// How the bridge stands with each messenger.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    pub slack: Figure,
    pub telegram: Figure,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figure {
    pub trouble: Trouble,
    pub delivered: u64,
    pub pending: u64,
    /// Of the oldest that waits: how often it was tried, and how the last try failed.
    pub attempts: u64,
    pub reason: Option<String>,
    /// The messenger, or a person's absence, asks to wait until then.
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
}

impl Bridge {
    /// `source`, `slack_channel` and `telegram_channel` are names in its configuration, `secret` is the source's.
    pub fn new(
        public: SocketAddr,
        admin: SocketAddr,
        source: &str,
        secret: &str,
        [slack_channel, telegram_channel]: [&str; 2],
    ) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            hook: format!("http://{public}/hooks/{source}"),
            secret: secret.to_owned(),
            admin: format!("http://{admin}"),
            slack_channel: slack_channel.to_owned(),
            telegram_channel: telegram_channel.to_owned(),
        }
    }

    /// Sends a trigger's body as Tracker does; the answer's status and body.
    pub async fn fire(&self, body: &Value) -> Result<(u16, Value), Unreached> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.hook)
            .header(header::AUTHORIZATION, format!("Bearer {}", self.secret))
            .header(header::CONTENT_TYPE, "application/json");
        let (status, text) = self.call(request.body(body.to_string().into())?).await?;
        Ok((status, serde_json::from_slice(&text)?))
    }

    pub async fn figures(&self, now: Timestamp) -> Result<Figures, Unreached> {
        let metrics = String::from_utf8_lossy(&self.get("/metrics").await?).into_owned();
        let holds: Value = serde_json::from_slice(&self.get("/api/v1/holds").await?)?;
        let waiting: Value = serde_json::from_slice(&self.get("/api/v1/deliveries?state=pending&limit=1000").await?)?;
        let of = |messenger: &str, channel: &str| {
            let delivered = format!("campanile_delivery_duration_seconds_count{{messenger=\"{messenger}\"}}");
            let mut rows = waiting["deliveries"].as_array().into_iter().flatten();
            let oldest = rows.rfind(|row| row["channel"] == channel).unwrap_or(&Value::Null); // newest come first
            let held = holds["holds"].as_array().into_iter().flatten().filter(|hold| hold["account"] == messenger);
            let until = |wait: &Value| wait["until"].as_str()?.parse().ok().filter(|until| *until > now);
            let paced = Some(&oldest["lane_wait"]).filter(|wait| wait["why"] == "pace");
            let pauses = held.chain([&oldest["lane_hold"]]).filter_map(until);
            Figure {
                trouble: Trouble::default(),
                delivered: sample(&metrics, &delivered),
                pending: sample(&metrics, &format!("campanile_pending{{channel=\"{channel}\"}}")),
                attempts: oldest["attempts"].as_u64().unwrap_or_default(),
                reason: oldest["reason"].as_str().map(str::to_owned),
                paused_until: pauses.max(),
                paced_until: paced.and_then(until),
            }
        };
        let (slack, telegram) = (of("slack", &self.slack_channel), of("telegram", &self.telegram_channel));
        Ok(Figures { slack, telegram })
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
