//! What the crates under Campanile do by themselves: hyper that answers 202, and the messengers' clients that only send.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use campanile::clock::Clock;
use campanile::delivery::{DeliveryId, Messenger, Receipt, SendError};
use campanile::message::{Block, Message, Run};
use campanile::messenger::{Content, slack, telegram};
use campanile::transport::Transport;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::child;
use crate::messengers::{LOOPBACK, Messengers};

/// As the server's own runtime.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

/// Role: the server's builder and runtime, with a handler that reads the body and answers.
pub fn hyper() {
    let runtime = runtime();
    let listener = runtime.block_on(TcpListener::bind(LOOPBACK)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let builder = Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service_fn(accepted)).await;
            });
        }
    });
    child::answer(&address.to_string(), |_| String::new());
}

async fn accepted(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let _ = request.into_body().collect().await;
    let mut response = Response::new(Full::from(Bytes::from_static(br#"{"event":1,"deliveries":2}"#)));
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

pub fn address(hyper: &child::Child) -> SocketAddr {
    hyper.hello.parse().expect("an address")
}

/// Calls in flight of a bare client.
const IN_FLIGHT: usize = 64;

/// Messages per second by slack-morphism's client over our transport, and by teloxide's payloads over it.
pub fn clients(messengers: &Messengers, time: Duration) -> (f64, f64) {
    let runtime = runtime();
    let transport = Transport::new(Clock::machine()).expect("TLS");
    let token = SecretString::from("123456:bench");
    let slack = Arc::new(
        slack::client::Client::new(transport.clone(), &messengers.slack, Some(&token)).expect("a Slack client"),
    );
    let telegram =
        Arc::new(telegram::client::Client::new(transport, &messengers.telegram, &token).expect("a Telegram client"));
    let to_slack = per_second(&runtime, time, move |number| {
        let slack = slack.clone();
        async move {
            let Content::Slack(content) = content(Messenger::Slack) else { unreachable!("it is Slack's") };
            slack.post(&slack::client::Post::new("C0123456700", content, DeliveryId(number), 0)).await
        }
    });
    let to_telegram = per_second(&runtime, time, move |_| {
        let telegram = telegram.clone();
        async move {
            let Content::Telegram(content) = content(Messenger::Telegram) else { unreachable!("it is Telegram's") };
            telegram.post(&telegram::client::message(-1_001_234_567_800, None, content)).await
        }
    });
    (to_slack, to_telegram)
}

fn content(messenger: Messenger) -> Content {
    let text = "BENCH-77 created by maria.petrova: The north bell \"Swan\" is zq000000000 ms late, normal";
    Content::parts(messenger, Message::new(vec![Block::Paragraph(vec![Run::plain(text)])])).remove(0)
}

fn per_second<F>(runtime: &Runtime, time: Duration, send: impl Fn(i64) -> F + Clone + Send + 'static) -> f64
where
    F: Future<Output = Result<Receipt, SendError>> + Send,
{
    let sent = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    runtime.block_on(async {
        let mut senders = tokio::task::JoinSet::new();
        for _ in 0..IN_FLIGHT {
            let (sent, send) = (sent.clone(), send.clone());
            senders.spawn(async move {
                while begun.elapsed() < time {
                    let number = sent.fetch_add(1, Ordering::Relaxed);
                    send(number as i64).await.expect("the simulator takes it");
                }
            });
        }
        while let Some(ended) = senders.join_next().await {
            ended.expect("a bare client");
        }
    });
    sent.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}
