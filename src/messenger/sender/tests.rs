use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tower::ServiceExt;

use super::*;
use crate::clock::Clock;
use crate::delivery::{Messenger, Outcome, Platform};
use crate::layers::breaker::{Breaker, State};
use crate::layers::observe::Observer;
use crate::transport::Transport;
use crate::transport::fixture::{Act, Fixture, json};

/// Ends its calls as the script says, and hangs when there is no more of it.
#[derive(Default)]
struct Scripted {
    ends: Mutex<VecDeque<Result<Receipt, SendError>>>,
    calls: AtomicUsize,
}

impl Client for Arc<Scripted> {
    async fn send(&self, _: &Call) -> Result<Receipt, SendError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let end = self.ends.lock().unwrap().pop_front();
        match end {
            Some(end) => end,
            None => std::future::pending().await,
        }
    }
}

#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Observer for Notes {
    fn attempt(&self, _: Platform, outcome: Outcome, _: Duration) {
        self.0.lock().unwrap().push(outcome.as_str().into());
    }

    fn not_tried(&self, _: Platform, outcome: Outcome) {
        self.0.lock().unwrap().push(format!("({})", outcome.as_str()));
    }
}

struct World {
    clock: Clock,
    client: Arc<Scripted>,
    notes: Arc<Notes>,
    breaker: Breaker,
    sender: Sender,
}

impl World {
    fn new(width: usize, ends: impl IntoIterator<Item = Result<Receipt, SendError>>) -> Self {
        let clock = Clock::held(Timestamp::UNIX_EPOCH);
        let client = Arc::new(Scripted { ends: Mutex::new(ends.into_iter().collect()), ..Scripted::default() });
        let (notes, breaker) = (Arc::new(Notes::default()), Breaker::new(clock.clone()));
        let limits = Limits { width, ..Limits::default() };
        let to = Platform::Messenger(Messenger::Telegram);
        let watched = Watched { to, breaker: breaker.clone(), observer: notes.clone(), clock: clock.clone() };
        let sender = sender(client.clone(), &limits, watched);
        Self { clock, client, notes, breaker, sender }
    }

    /// Sends while the clock runs.
    async fn send(&self, call: Call) -> Result<Receipt, SendError> {
        let mut attempt = pin!(self.sender.clone().oneshot(call));
        loop {
            match std::future::poll_fn(|cx| Poll::Ready(attempt.as_mut().poll(cx))).await {
                Poll::Ready(end) => return end,
                Poll::Pending => self.clock.pass(Duration::from_millis(10)),
            }
        }
    }

    fn calls(&self) -> usize {
        self.client.calls.load(Ordering::SeqCst)
    }

    fn noted(&self) -> String {
        self.notes.0.lock().unwrap().join(" ")
    }
}

fn call() -> Call {
    leased(|| true)
}

fn leased(lease: impl Fn() -> bool + Send + Sync + 'static) -> Call {
    let content = Content::Telegram(telegram::format::TelegramContent { text: "hello".into(), ..Default::default() });
    Call::new(Arc::new(lease), &Target::Telegram { chat: -1, topic: None }, None, content, DeliveryId(1), 0).unwrap()
}

fn placed() -> Result<Receipt, SendError> {
    Ok(Receipt::Telegram { chat: -1, message: 9, reply_to: None })
}

fn unreached() -> Result<Receipt, SendError> {
    Err(SendError::Unreached("refused".into()))
}

#[tokio::test]
async fn what_did_not_arrive_is_tried_again_and_each_try_is_seen() {
    let world = World::new(8, [unreached(), unreached(), placed()]);
    assert_eq!(world.send(call()).await.unwrap(), Receipt::Telegram { chat: -1, message: 9, reply_to: None });
    assert_eq!(world.noted(), "unreached unreached delivered");
}

#[tokio::test]
async fn a_third_failure_is_the_lanes() {
    let world = World::new(8, [unreached(), unreached(), unreached(), placed()]);
    assert!(matches!(world.send(call()).await, Err(SendError::Unreached(_))));
    assert_eq!(world.calls(), 3);
}

#[tokio::test]
async fn the_lease_is_looked_at_before_each_try() {
    let world = World::new(8, [unreached(), placed()]);
    let holds = AtomicBool::new(true);
    let end = world.send(leased(move || holds.swap(false, Ordering::SeqCst))).await;
    assert!(matches!(end, Err(SendError::LeaseLost)), "{end:?}");
    assert_eq!((world.calls(), world.noted().as_str()), (1, "unreached (lease_lost)"));
}

#[tokio::test]
async fn an_attempt_without_an_answer_ends_unclear_and_is_not_tried_again() {
    let world = World::new(8, []);
    let end = world.send(call()).await;
    assert!(matches!(end, Err(SendError::Unclear { .. })), "{end:?}");
    assert_eq!((world.calls(), world.noted().as_str()), (1, "unclear"));
    assert_eq!(world.clock.now_ms(), 10_000);
}

#[tokio::test]
async fn an_open_breaker_keeps_calls_from_the_client_until_a_probe_is_answered() {
    let unclear = || Err(SendError::Unclear { what: "HTTP 502".into(), cause: None });
    let world = World::new(8, (0..10).map(|_| unclear()).chain([placed(), placed()]));
    for _ in 0..10 {
        let _ = world.send(call()).await;
    }
    assert_eq!(world.breaker.state(), State::Open);
    let end = world.send(call()).await;
    assert!(matches!(end, Err(SendError::BreakerOpen { .. })), "{end:?}");
    assert_eq!(world.calls(), 10);
    assert!(world.noted().ends_with("unclear (breaker_open)"), "{}", world.noted());

    world.clock.pass(Duration::from_secs(2));
    assert!(world.send(call()).await.is_ok());
    assert_eq!(world.breaker.state(), State::Closed);
    assert!(world.send(call()).await.is_ok());
}

#[tokio::test]
async fn no_more_calls_at_once_than_the_width() {
    let world = World::new(2, []);
    let mut attempts: Vec<_> = (0..3).map(|_| Box::pin(world.sender.clone().oneshot(call()))).collect();
    for attempt in &mut attempts {
        std::future::poll_fn(|cx| Poll::Ready(attempt.as_mut().poll(cx).is_pending())).await;
    }
    assert_eq!(world.calls(), 2);
    attempts.remove(0);
    std::future::poll_fn(|cx| Poll::Ready(attempts[1].as_mut().poll(cx).is_pending())).await;
    assert_eq!(world.calls(), 3);
}

#[test]
fn content_of_another_messenger_is_refused() {
    let content = Content::Slack(slack::format::SlackContent::from(slack_morphism::SlackMessageContent::new()));
    let target = Target::Telegram { chat: -1, topic: None };
    let refused = Call::new(Arc::new(|| true), &target, None, content, DeliveryId(1), 0).err();
    assert!(matches!(refused, Some(SendError::Refused { .. })), "{refused:?}");
}

/// The whole way, over sockets: from the call to the outcome, and no secret in what is told of it.
async fn over_sockets(api_url: &str, clock: &Clock) -> (Sender, Arc<Notes>) {
    let client =
        telegram::client::Client::new(Transport::new(clock.clone()).unwrap(), api_url, &"1:canary".into()).unwrap();
    let (notes, breaker) = (Arc::new(Notes::default()), Breaker::new(clock.clone()));
    let to = Platform::Messenger(Messenger::Telegram);
    let watched = Watched { to, breaker, observer: notes.clone(), clock: clock.clone() };
    (sender(client, &Limits::default(), watched), notes)
}

#[tokio::test]
async fn a_messenger_that_is_not_there_is_unreached() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api_url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let clock = Clock::held(Timestamp::UNIX_EPOCH);
    let (sender, notes) = over_sockets(&api_url, &clock).await;
    let attempt = tokio::spawn(sender.oneshot(call()));
    while !attempt.is_finished() {
        clock.pass(Duration::from_millis(1));
        tokio::task::yield_now().await;
    }
    let error = attempt.await.unwrap().unwrap_err();
    assert!(matches!(error, SendError::Unreached(_)), "{error:?}");
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    assert!(notes.0.lock().unwrap().starts_with(&["unreached".into()]));
}

#[tokio::test]
async fn a_messenger_that_hangs_is_unclear_and_gets_the_message_once() {
    let server = Fixture::start([Act::Hang, json(r#"{"ok":true,"result":{"message_id":1}}"#)]).await;
    let clock = Clock::held(Timestamp::UNIX_EPOCH);
    let (sender, notes) = over_sockets(&server.base, &clock).await;
    let attempt = tokio::spawn(sender.clone().oneshot(call()));
    while server.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    clock.pass(Duration::from_secs(10));
    assert!(matches!(attempt.await.unwrap(), Err(SendError::Unclear { .. })));
    assert_eq!(server.requests().len(), 1);

    sender.oneshot(call()).await.unwrap();
    assert_eq!(server.connections(), 2, "a connection that hung is not used again");
    assert_eq!(notes.0.lock().unwrap().join(" "), "unclear delivered");
}
