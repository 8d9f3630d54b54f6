//! A caller for the tests: one connection for each call, so that each sees its own end.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::clock::Clock;

pub(super) const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub(super) fn held() -> Clock {
    Clock::held(Timestamp::from_second(1_700_000_000).unwrap())
}

#[derive(Debug)]
pub(super) struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// `ok`, or the word of the refusal.
    pub fn word(&self) -> String {
        let json = self.json();
        match (&json["ok"], &json["error"], &json["description"]) {
            (Value::Bool(true), ..) => "ok".to_owned(),
            (_, Value::String(word), _) | (_, _, Value::String(word)) => word.clone(),
            _ => panic!("no answer of a messenger: {json}"),
        }
    }
}

pub(super) type Called = Result<Got, Box<dyn std::error::Error + Send + Sync>>;

/// POSTs JSON with a bearer token.
pub(super) async fn post(addr: SocketAddr, path: &str, body: &Value) -> Called {
    let headers = [("authorization", "Bearer xoxb-1"), ("content-type", "application/json; charset=utf-8")];
    call(addr, "POST", path, &headers, body.to_string()).await
}

pub(super) async fn call(addr: SocketAddr, verb: &str, path: &str, headers: &[(&str, &str)], body: String) -> Called {
    let stream = TcpStream::connect(addr).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder().method(verb).uri(path);
    let named = headers.iter().any(|(name, _)| *name == "host");
    let request = if named { request } else { request.header("host", "simulator") };
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let request = request.body(Full::new(Bytes::from(body)))?;
    // Polled here, not spawned: dropping the call closes the connection at once.
    let answer = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Got {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    };
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        end = &mut connection => { end?; answer.await }
    }
}
