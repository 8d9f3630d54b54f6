//! The admin API of the bridge that runs on a configuration, as a client.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::Refusal;
use super::running::Running;
use crate::config::{Config, SecretError};

/// From the call to the end of its answer.
const WITHIN: Duration = Duration::from_secs(10);
/// The way out where the server cannot be asked.
const OR_THE_FILE: &str = "`--offline` reads the store's file instead";

pub struct Admin {
    bridge: Running,
    token: Option<Result<SecretString, SecretError>>,
}

impl Admin {
    pub fn new(config: &Config, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let token = config.server.admin_token.as_ref();
        Self {
            bridge: Running::at(config.server.admin, WITHIN),
            token: token.map(|token| token.value.resolve(&config.folder, env)),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.bridge.address()
    }

    /// The answer's JSON. `None`: nobody listens at the address.
    ///
    /// # Errors
    /// What the server refuses, in its own words; an answer that no Campanile gives.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Option<Value>, Refusal> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}/api/v1{path}", self.address()))
            .header(CONTENT_TYPE, "application/json");
        if let Some(Ok(token)) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose_secret()));
        }
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = request.body(Full::new(body)).map_err(|_| {
            Refusal::new("`server.admin_token` holds a character that no header can carry")
                .hint("take letters and digits")
        })?;
        match self.bridge.ask(request).await {
            Ok(Some((status, answer))) => self.understood(status, &answer).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(Refusal::new(format!("{} (server.admin) gives no answer: {error}", self.address()))
                .hint(format!("is it a campanile that listens there? {OR_THE_FILE}"))),
        }
    }

    fn understood(&self, status: StatusCode, answer: &[u8]) -> Result<Value, Refusal> {
        let json = serde_json::from_slice::<Value>(answer).ok().filter(Value::is_object);
        let why = json.as_ref().and_then(|json| json["error"].as_str());
        match (status, json.as_ref(), why) {
            (StatusCode::OK, Some(json), None) => Ok(json.clone()),
            (StatusCode::UNAUTHORIZED, ..) => Err(self.not_admitted()),
            (_, _, Some(why)) => Err(Refusal::new(why)),
            _ => Err(Refusal::new(format!(
                "what listens at {} (server.admin) is no campanile: HTTP {status}",
                self.address()
            ))
            .hint(format!("stop it or set another `server.admin`; {OR_THE_FILE}"))),
        }
    }

    fn not_admitted(&self) -> Refusal {
        let at = self.address();
        match &self.token {
            None => {
                Refusal::new(format!("the server at {at} wants an admin token, and `server.admin_token` is not set"))
                    .hint("name the configuration that it runs on by `--config PATH`")
            }
            Some(Err(error)) => Refusal::new(format!("`server.admin_token` has no value here: {error}"))
                .hint(format!("give this command what the server was started with; {OR_THE_FILE}")),
            Some(Ok(_)) => Refusal::new(format!("the server at {at} does not take this `server.admin_token`"))
                .hint(format!("it must be the one that the server was started with; {OR_THE_FILE}")),
        }
    }
}
