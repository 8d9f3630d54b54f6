use jiff::Timestamp;
use tower::limit::ConcurrencyLimitLayer;
use tower::{ServiceBuilder, ServiceExt, service_fn};

use super::*;
use crate::delivery::Scope;

fn unclear() -> SendError {
    SendError::Unclear { what: "HTTP 502".into(), cause: None }
}

fn unreached() -> SendError {
    SendError::Unreached("refused".into())
}

fn paced() -> SendError {
    SendError::Paced { code: "ratelimited".into(), wait: None, scope: Scope::Account }
}

fn refused() -> SendError {
    SendError::Content { code: "no_text".into() }
}

struct World {
    clock: Clock,
    breaker: Breaker,
}

impl World {
    fn new() -> Self {
        let clock = Clock::held(Timestamp::UNIX_EPOCH);
        Self { breaker: Breaker::new(clock.clone()), clock }
    }

    async fn call(&self, end: Result<(), SendError>) -> Result<(), SendError> {
        let end = Mutex::new(Some(end));
        let client = service_fn(|(): ()| std::future::ready(end.lock().unwrap().take().unwrap()));
        ServiceBuilder::new().layer(BreakerLayer::new(self.breaker.clone())).service(client).oneshot(()).await
    }

    async fn open(&self) {
        for _ in 0..OPENS_AFTER {
            let _ = self.call(Err(unclear())).await;
        }
        assert_eq!(self.breaker.state(), State::Open);
    }
}

#[tokio::test]
async fn ten_failures_in_a_row_open_it_and_nine_do_not() {
    let world = World::new();
    for failure in 1..=10 {
        let end = world.call(Err(if failure % 2 == 0 { unclear() } else { unreached() })).await;
        assert!(!matches!(end, Err(SendError::BreakerOpen { .. })));
        assert_eq!(world.breaker.state() == State::Open, failure == 10, "after {failure}");
    }
    assert!(matches!(world.call(Ok(())).await, Err(SendError::BreakerOpen { probe_in }) if probe_in == PROBE_EVERY));
}

#[tokio::test]
async fn an_answer_of_any_kind_begins_the_row_anew() {
    for answer in [|| Ok(()), || Err(paced()), || Err(refused()), || Err(SendError::Moved { chat: 1 })] {
        let world = World::new();
        for _ in 0..3 {
            for _ in 1..OPENS_AFTER {
                let _ = world.call(Err(unclear())).await;
            }
            let _ = world.call(answer()).await;
        }
        assert_eq!(world.breaker.state(), State::Closed);
    }
}

#[tokio::test]
async fn what_was_not_tried_counts_neither_way() {
    let world = World::new();
    for _ in 1..OPENS_AFTER {
        let _ = world.call(Err(unclear())).await;
        let _ = world.call(Err(SendError::LeaseLost)).await;
    }
    assert_eq!(world.breaker.state(), State::Closed);
    let _ = world.call(Err(unclear())).await;
    assert_eq!(world.breaker.state(), State::Open);
}

#[tokio::test]
async fn an_open_breaker_lets_one_probe_pass_every_two_seconds() {
    let world = World::new();
    world.open().await;
    for _ in 0..3 {
        world.clock.pass(PROBE_EVERY - Duration::from_millis(1));
        assert!(
            matches!(world.call(Ok(())).await, Err(SendError::BreakerOpen { probe_in }) if probe_in.as_millis() == 1)
        );
        world.clock.pass(Duration::from_millis(1));
        assert!(matches!(world.call(Err(unreached())).await, Err(SendError::Unreached(_))), "the probe");
        assert!(matches!(world.call(Ok(())).await, Err(SendError::BreakerOpen { .. })), "no second probe");
    }
}

#[tokio::test]
async fn a_probe_that_is_answered_closes_it_and_wakes_who_watches() {
    let world = World::new();
    world.open().await;
    let mut watch = world.breaker.watch();
    world.clock.pass(PROBE_EVERY);
    assert!(!watch.has_changed().unwrap());
    assert!(world.call(Err(paced())).await.is_err(), "a 429 is an answer");
    assert_eq!(*watch.borrow_and_update(), State::Closed);
    assert!(world.call(Ok(())).await.is_ok());
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_keep_it_open() {
    let (world, earlier) = (World::new(), Clock::held(Timestamp::UNIX_EPOCH));
    world.open().await;
    let far = Tally::Open { probe_at_ms: earlier.now_ms() + 3_600_000 };
    *world.breaker.tally() = far;
    assert!(world.call(Ok(())).await.is_ok());
}

#[tokio::test]
async fn a_refusal_waits_for_no_permit() {
    let world = World::new();
    let hanging = service_fn(|(): ()| std::future::pending::<Result<(), SendError>>());
    let stack = ServiceBuilder::new()
        .layer(BreakerLayer::new(world.breaker.clone()))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(hanging);
    let mut holder = stack.clone();
    let _in_flight = holder.ready().await.unwrap().call(());
    world.open().await;
    assert!(matches!(stack.oneshot(()).await, Err(SendError::BreakerOpen { .. })));
}

#[tokio::test]
async fn a_call_that_waited_while_the_breaker_opened_is_refused() {
    let world = World::new();
    let mut guarded = BreakerLayer::new(world.breaker.clone()).layer(service_fn(|(): ()| async { Ok(()) }));
    guarded.ready().await.unwrap();
    world.open().await;
    assert!(matches!(guarded.call(()).await, Err(SendError::BreakerOpen { .. })));
}
