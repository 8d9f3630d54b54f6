//! Where triggers and links lead in these tests: takes every call, and answers as told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::super::super::wire::ANY_PORT;

pub struct Receiver {
    pub url: String,
    received: mpsc::UnboundedReceiver<Received>,
    answers: Answers,
    _serving: JoinSet<()>,
}

#[derive(Debug)]
pub struct Received {
    /// Method and address: `POST /hook?x=1`.
    pub what: String,
    pub headers: axum::http::HeaderMap,
    pub body: String,
}

type Answers = Arc<Mutex<VecDeque<Option<u16>>>>;

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(ANY_PORT).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (out, received) = mpsc::unbounded_channel();
        let answers = Answers::default();
        let router = axum::Router::new().fallback(take).with_state((out, Arc::clone(&answers)));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, received, answers, _serving: serving }
    }

    /// With what status the next calls are answered, none: never; the others after them with 200.
    pub fn answers(&self, answers: impl IntoIterator<Item = Option<u16>>) {
        self.answers.lock().unwrap().extend(answers);
    }

    pub async fn next(&mut self) -> Received {
        self.received.recv().await.unwrap()
    }

    pub fn is_silent(&self) -> bool {
        self.received.is_empty()
    }
}

async fn take(
    State((out, answers)): State<(mpsc::UnboundedSender<Received>, Answers)>,
    request: Request<Body>,
) -> (StatusCode, &'static str) {
    let (head, body) = request.into_parts();
    let body = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
    let what = format!("{} {}", head.method, head.uri);
    let answer = answers.lock().unwrap().pop_front().unwrap_or(Some(200));
    out.send(Received { what, headers: head.headers, body }).unwrap();
    match answer {
        Some(status) => (StatusCode::from_u16(status).unwrap(), "{\"summary\":\"x\"}"),
        None => std::future::pending().await,
    }
}
