//! The messengers' side: the lean simulators, which count, and a receiver, which notes when each message arrived.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use campanile::clock::Clock;
use campanile::simulator::{SlackOptions, SlackSimulator, TelegramOptions, TelegramSimulator};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::child::{self, Child};
use crate::load;

pub const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Microseconds since 1970: both processes share the machine's clock.
pub fn now_micros() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}

/// Both simulators in a process of their own.
pub struct Messengers {
    child: Child,
    pub slack: String,
    pub telegram: String,
}

impl Messengers {
    pub fn start(role: &str) -> Self {
        let child = Child::start(role);
        let (slack, telegram) = child.hello.split_once(' ').expect("two addresses");
        Self { slack: slack.to_owned(), telegram: telegram.to_owned(), child }
    }

    /// Their ports refuse: after ten failures the breakers open, and all lanes are held.
    pub fn go_down(&mut self) {
        self.child.ask("down");
    }

    pub fn come_up(&mut self) {
        self.child.ask("up");
    }

    /// Messages so far, at both.
    pub fn posted(&mut self) -> u64 {
        self.child.ask("posted").parse().expect("a count")
    }

    /// Waits until `posts` messages are there; says when it was so.
    pub fn wait_for(&mut self, posts: u64) -> Instant {
        let begun = Instant::now();
        while self.posted() < posts {
            assert!(begun.elapsed() < Duration::from_secs(600), "{} of {posts} messages came", self.posted());
            std::thread::sleep(Duration::from_millis(2));
        }
        Instant::now()
    }

    /// Of a receiver: a trigger's number and when its message came, for each message.
    pub fn arrivals(&mut self) -> Vec<(u32, u64)> {
        let line = self.child.ask("arrivals");
        let arrival = |word: &str| word.split_once(':').and_then(|(n, at)| Some((n.parse().ok()?, at.parse().ok()?)));
        line.split_whitespace().filter_map(arrival).collect()
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Role: Slack and Telegram that answer without judging.
pub fn simulators() {
    let runtime = runtime();
    let clock = Clock::machine();
    let (slack, telegram) = runtime.block_on(async {
        let slack = SlackSimulator::start(LOOPBACK, SlackOptions::new(clock.clone()).lean()).await;
        let telegram = TelegramSimulator::start(LOOPBACK, TelegramOptions::new(clock.clone()).lean()).await;
        (slack.expect("a free port"), telegram.expect("a free port"))
    });
    child::answer(&format!("{} {}", slack.api_url(), telegram.api_url()), |line| match line {
        "down" => runtime.block_on(async {
            slack.go_down().await;
            telegram.go_down().await;
            "is down".into()
        }),
        "up" => runtime.block_on(async {
            slack.come_up().await.and(telegram.come_up().await).expect("the ports are still free");
            "is up".into()
        }),
        _ => (slack.counts().posted + telegram.counts().posted).to_string(),
    });
}

type Arrivals = Arc<Mutex<Vec<(u32, u64)>>>;

/// Role: one server for both services that takes everything and notes when.
pub fn receiver() {
    let runtime = runtime();
    let arrivals = Arrivals::default();
    let listener = runtime.block_on(TcpListener::bind(LOOPBACK)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    runtime.spawn(receive(listener, arrivals.clone()));
    child::answer(&format!("http://{address}/api http://{address}"), |line| {
        let mut arrivals = arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        match line {
            "posted" => arrivals.len().to_string(),
            _ => arrivals.drain(..).map(|(n, at)| format!("{n}:{at} ")).collect(),
        }
    });
}

async fn receive(listener: TcpListener, arrivals: Arrivals) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let arrivals = arrivals.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| note(request, &arrivals));
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn note(request: Request<Incoming>, arrivals: &Arrivals) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_telegram = request.uri().path().ends_with("endMessage");
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let at = now_micros();
    if let Some(number) = load::number_in(&body) {
        arrivals.lock().unwrap_or_else(PoisonError::into_inner).push((number, at));
    }
    let answer: &'static [u8] = match is_telegram {
        true => br#"{"ok":true,"result":{"message_id":1,"date":1,"chat":{"id":-1001234567800,"type":"supergroup"},"text":"."}}"#,
        false => br#"{"ok":true,"channel":"C0","ts":"1.000001","message":{"type":"message","ts":"1.000001"}}"#,
    };
    let mut response = Response::new(Full::from(Bytes::from_static(answer)));
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    Ok(response)
}
