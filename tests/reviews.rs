//! Code hosts as sources: what each of their calls is read as, who is let in, and what they hear.

mod answers;
mod events;
mod issues;
mod recorded;

use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use serde_json::Value;
use sha2::Sha256;

use crate::harness::{Answer, Client, Setup, World};

/// The one under which the recorded calls are signed that were not signed at their source.
pub const SECRET: &str = "fixture-secret";

/// A source of each host, named as its kind. `more` follows in each that takes it: `, keys: first`.
async fn world(queues: &str, more: &str) -> World {
    let taken = |host: &str| match more {
        ", members_only: true" => matches!(host, "github" | "bitbucket-cloud"),
        ", all_approvals: true" => host == "gitlab",
        _ => true,
    };
    let source = |(host, second): (&str, &str)| {
        let more = if taken(host) { more } else { "" };
        format!("  {host}: {{kind: {host}, secret: [{{env: FIXTURE}}, {{env: {second}}}]{more}}}\n")
    };
    let hosts = [
        ("bitbucket-cloud", "OTHER"),
        ("bitbucket-server", "SERVER"),
        ("github", "OTHER"),
        ("gitlab", "OTHER"),
        ("gitea", "GITEA"),
    ];
    let setup = Setup {
        sources: hosts.map(source).concat(),
        secrets: vec![
            ("FIXTURE", SECRET),
            ("OTHER", "another-secret"),
            ("SERVER", "secret"),
            ("GITEA", "IsWishesWereHorsesWedAllBeEatingSteak!"),
            ("API", "api-token"),
        ],
        more: format!("tracker: {{queues: [{queues}]}}\n"),
        ..Setup::default()
    };
    setup.only_slack().start().await
}

/// Reviews without a key are events too: their comments are looked through later.
const FETCHED: &str = ", fetch_comments: {api_url: 'http://127.0.0.1:9', token: {env: API}}";

/// A call of a host, as it goes over the wire.
#[derive(Clone)]
pub struct Call {
    /// The source's name and kind.
    to: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Call {
    /// One of the recorded calls, as in `github/ping`, to the byte.
    pub fn recorded(name: &str) -> Self {
        let stem = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/code-hosts").join(name);
        let lines = std::fs::read_to_string(stem.with_extension("headers")).unwrap();
        let lines = lines.lines().filter(|line| !line.starts_with('#'));
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.parse().unwrap(), value.parse().unwrap())
        });
        let body = std::fs::read(stem.with_extension("json")).unwrap();
        Self { to: name.split('/').next().unwrap().to_owned(), headers: HeaderMap::from_iter(headers), body }
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// With another body, signed anew.
    fn with(mut self, change: impl FnOnce(&mut Value)) -> Self {
        let mut body = self.json();
        change(&mut body);
        self.body = body.to_string().into_bytes();
        self.signed(SECRET)
    }

    /// With one member changed, as in `pullrequest.title`; null takes it away.
    pub fn set(self, path: &str, value: impl Into<Value>) -> Self {
        self.with(|body| {
            let (front, name) = path.rsplit_once('.').unwrap_or(("", path));
            let parent = front.split('.').filter(|name| !name.is_empty()).fold(body, |value, name| &mut value[name]);
            match value.into() {
                Value::Null => drop(parent.as_object_mut().unwrap().remove(name)),
                value => parent[name] = value,
            }
        })
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    pub fn to(mut self, source: &str) -> Self {
        source.clone_into(&mut self.to);
        self
    }

    pub fn signed(self, secret: &str) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(&self.body);
        let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        match self.to.as_str() {
            "bitbucket-cloud" | "bitbucket-server" => self.header("x-hub-signature", &format!("sha256={hex}")),
            "github" => self.header("x-hub-signature-256", &format!("sha256={hex}")),
            "gitlab" => self.header("x-gitlab-token", secret),
            _ => self.header("x-gitea-signature", &hex),
        }
    }

    /// Under a delivery id of its own.
    pub fn anew(mut self, id: impl std::fmt::Display) -> Self {
        for name in ["x-request-uuid", "x-request-id", "x-github-delivery", "idempotency-key", "x-gitea-delivery"] {
            if self.headers.contains_key(name) {
                self.headers.insert(name, format!("delivery-{id}").parse().unwrap());
            }
        }
        self
    }

    pub async fn send(self, world: &World) -> Answer {
        self.send_to(&world.http, &world.public_url("")).await
    }

    /// Of a server at this address.
    pub async fn send_to(self, http: &Client, address: &str) -> Answer {
        let call = http.post(&format!("{address}/hooks/{}", self.to));
        let call = self.headers.iter().fold(call, |call, (name, value)| call.header(name.as_str(), value.as_bytes()));
        call.body(self.body).await
    }

    /// The documents of the events that it became, or that had said the same before; of what was ignored, why.
    async fn events(self, world: &World) -> Result<Vec<Value>, String> {
        let answer = self.send(world).await;
        let told = answer.json();
        if answer.status == 200 && told["ignored"].is_string() {
            return Err(told["ignored"].as_str().unwrap().to_owned());
        }
        let is_known = answer.status == 200 && told["duplicate"] == true;
        assert!(answer.status == 202 || is_known, "{}: {}", answer.status, answer.text);
        let ids = told["events"].as_array().cloned().unwrap_or_else(|| vec![told["event"].clone()]);
        let mut documents = Vec::new();
        for id in ids {
            documents.push(world.api(&format!("/api/v1/events/{id}")).await["event"]["document"].clone());
        }
        Ok(documents)
    }

    async fn event(self, world: &World) -> Value {
        self.events(world).await.unwrap().remove(0)
    }

    /// The event's kind without its family, or `ignored`.
    async fn verdict(self, world: &World) -> String {
        match self.events(world).await {
            Ok(events) => events[0]["event"]["kind"].as_str().unwrap().trim_start_matches("review.").to_owned(),
            Err(_) => "ignored".to_owned(),
        }
    }
}

/// The issues that events are about.
fn keys(events: &[Value]) -> Vec<&str> {
    events.iter().filter_map(|event| event["issue"]["key"].as_str()).collect()
}
