//! A server for tests that answers each request with the next act of a list, byte for byte.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::delivery::{Advice, Receipt, SendError};

#[derive(Clone, Debug)]
pub enum Act {
    /// These bytes, and the connection stays open.
    Answer(String),
    /// These bytes, and the connection is closed.
    Raw(String),
    /// The head of a reply and half of its body.
    CutBody,
    Close,
    Reset,
    Hang,
}

/// An answer as HTTP wants it. `headers` are whole lines without the last line's end.
pub fn answer(status: &str, headers: &str, body: &str) -> Act {
    let headers = if headers.is_empty() { String::new() } else { format!("{headers}\r\n") };
    Act::Answer(format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()))
}

/// What a lane is told to do, without the texts.
pub fn told(end: &Result<Receipt, SendError>) -> String {
    match end.as_ref().map_err(SendError::advice) {
        Ok(receipt) => format!("{receipt:?}"),
        Err(Advice::Hold { scope, .. }) => format!("hold {scope:?}"),
        Err(Advice::Wait { at_least, scope }) => format!("wait {at_least:?} {scope:?}"),
        Err(Advice::GiveUp(_)) => "give up".into(),
        Err(advice) => format!("{advice:?}").to_lowercase(),
    }
}

pub fn json(body: &str) -> Act {
    answer("200 OK", "Content-Type: application/json", body)
}

pub struct Fixture {
    pub base: String,
    seen: Arc<Seen>,
}

struct Seen {
    acts: Mutex<VecDeque<Act>>,
    requests: Mutex<Vec<String>>,
    connections: AtomicUsize,
}

impl Fixture {
    /// After the last act each connection is closed without an answer.
    pub async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let acts = Mutex::new(acts.into_iter().collect());
        let seen = Arc::new(Seen { acts, requests: Mutex::default(), connections: AtomicUsize::new(0) });
        let server = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                server.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, server.clone()));
            }
        });
        Self { base, seen }
    }

    /// The requests that arrived, head and body as they came.
    pub fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// The body of the request `n`, as JSON.
    pub fn body(&self, n: usize) -> serde_json::Value {
        let request = &self.requests()[n];
        serde_json::from_str(&request[request.find("\r\n\r\n").unwrap() + 4..]).unwrap()
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Seen>) {
    while let Some(request) = read(&mut stream).await {
        seen.requests.lock().unwrap().push(request);
        let act = seen.acts.lock().unwrap().pop_front();
        let bytes = match act {
            Some(Act::Answer(bytes)) => {
                let _ = stream.write_all(bytes.as_bytes()).await;
                continue;
            }
            Some(Act::Raw(bytes)) => bytes,
            Some(Act::CutBody) => "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"ok\":true,".into(),
            Some(Act::Hang) => std::future::pending().await,
            Some(Act::Reset) => return stream.set_zero_linger().unwrap(),
            Some(Act::Close) | None => return,
        };
        let _ = stream.write_all(bytes.as_bytes()).await;
        return;
    }
}

async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return Some(text.into_owned());
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            // What never became a request (a TLS greeting) is none.
            return None;
        }
    }
}
