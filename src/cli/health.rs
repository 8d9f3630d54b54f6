//! `campanile health`: whether the bridge of a configuration runs, for a container's health check and for people.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::Value;

use super::running::Running;
use super::{End, Refusal, Stop};
use crate::config;

/// The whole call: what answers later does not answer Tracker in time either.
const WITHIN: Duration = Duration::from_secs(3);

/// Asks the public listener whether it is alive, or `ready` to take calls. Of the configuration only `server.listen` is
/// read: a server lives on while somebody edits the rest.
pub async fn health(config: &Path, ready: bool, out: &mut dyn Write) -> Result<End, Stop> {
    let listen = config::listen(config).map_err(Stop::Findings)?;
    let bridge = Running::at(listen, WITHIN);
    let at = format!("{} (server.listen)", bridge.address());
    let path = if ready { "/readyz" } else { "/healthz" };
    let request = Request::get(format!("http://{}{path}", bridge.address())).body(Full::<Bytes>::default());
    let request = request.map_err(|error| Refusal::new(error.to_string()))?;
    match bridge.ask(request).await {
        Ok(Some((StatusCode::OK, _))) => {
            writeln!(out, "{}", if ready { "ready" } else { "alive" })?;
            Ok(End::Done)
        }
        Ok(Some((StatusCode::SERVICE_UNAVAILABLE, answer))) if ready => {
            let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
            let why = answer["why"].as_str().unwrap_or("it does not say why");
            Err(Refusal::new(format!("the bridge at {at} is not ready: {why}"))
                .hint("its log says more; it is ready again when that is over")
                .into())
        }
        Ok(Some((status, _))) => Err(Refusal::new(format!("what listens at {at} is no campanile: HTTP {status}"))
            .hint("stop it or set another `server.listen`")
            .into()),
        Ok(None) => Err(Refusal::new(format!("nobody listens at {at}"))
            .hint(format!("start it: campanile serve --config {}", config.display()))
            .into()),
        Err(error) => Err(Refusal::new(format!("{at} gives no answer: {error}"))
            .hint("is it a campanile that listens there? Then its log says what holds it; else restart it")
            .into()),
    }
}
