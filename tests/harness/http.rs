//! A small HTTP client for tests, over the same hyper as the rest.

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

#[derive(Clone)]
pub struct Client(hyper_util::client::legacy::Client<HttpConnector, Full<Bytes>>);

impl Default for Client {
    fn default() -> Self {
        Self(
            // Pooled connections would be cut under the client whenever a test moves the clock.
            hyper_util::client::legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http(),
        )
    }
}

impl Client {
    /// Keeps its connections: for many calls to a server on the machine's clock.
    pub fn kept_alive() -> Self {
        Self(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http())
    }

    pub fn http2() -> Self {
        Self(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http())
    }
}

pub struct Asked {
    client: Client,
    request: http::request::Builder,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

impl Client {
    pub fn call(&self, method: Method, url: &str) -> Asked {
        Asked { client: self.clone(), request: Request::builder().method(method).uri(url) }
    }

    pub fn get(&self, url: &str) -> Asked {
        self.call(Method::GET, url)
    }

    pub fn post(&self, url: &str) -> Asked {
        self.call(Method::POST, url)
    }
}

impl Asked {
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        Self { request: self.request.header(name, value.as_ref()), ..self }
    }

    pub async fn json(self, body: &Value) -> Answer {
        self.header("content-type", "application/json").body(body.to_string()).await
    }

    pub async fn send(self) -> Answer {
        self.body("").await
    }

    pub async fn body(self, body: impl Into<Bytes>) -> Answer {
        self.try_body(body).await.expect("the server answers")
    }

    pub async fn try_body(self, body: impl Into<Bytes>) -> Result<Answer, hyper_util::client::legacy::Error> {
        let request = self.request.body(Full::new(body.into())).expect("a request");
        let (head, body) = self.client.0.request(request).await?.into_parts();
        let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        })
    }
}
