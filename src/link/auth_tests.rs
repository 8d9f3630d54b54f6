use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn head(authorization: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(authorization).unwrap())])
}

#[tokio::test]
async fn the_registered_token_is_taken_in_each_form() {
    let auth = Auth::token(&SecretString::from("t0ken"));
    for (value, expected) in [
        ("OAuth t0ken", Ok(None)),
        ("oauth t0ken", Ok(None)),
        ("BEARER   t0ken ", Ok(None)),
        ("t0ken", Err(Denied::Wrong)),
        ("Basic t0ken", Err(Denied::Wrong)),
        ("OAuth t0keN", Err(Denied::Wrong)),
        ("OAuth", Err(Denied::Wrong)),
        ("OAuth t0ken t0ken", Err(Denied::Wrong)),
    ] {
        assert_eq!(auth.admit(&head(value)).await, expected, "{value}");
    }
    assert_eq!(auth.admit(&HeaderMap::new()).await, Err(Denied::Missing));
    assert_eq!(Auth::Anybody.admit(&HeaderMap::new()).await, Ok(None));
}

/// Knows `good`, cannot answer for `late`, never does for `never`, and counts its questions.
fn users() -> (Auth, Clock, Arc<AtomicUsize>) {
    let (clock, asked) = (Clock::held(jiff::Timestamp::UNIX_EPOCH), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    let ask: AskWhose = Arc::new(move |header| {
        count.fetch_add(1, Ordering::Relaxed);
        let answer = match header.to_str().unwrap() {
            "OAuth good" => Ok(Some(Person { login: Some("maria".into()), ..Person::default() })),
            "OAuth late" => Err("down".to_owned()),
            _ => Ok(None),
        };
        let never = header.to_str().unwrap().starts_with("OAuth never");
        Box::pin(async move { if never { std::future::pending().await } else { answer } })
    });
    (Auth::User(Users::new(ask, clock.clone())), clock, asked)
}

#[tokio::test]
async fn tracker_is_asked_once_in_minutes_for_a_known_token_and_sooner_for_an_unknown() {
    let (auth, clock, asked) = users();
    let count = || asked.load(Ordering::Relaxed);
    for _ in 0..3 {
        let owner = auth.admit(&head("oauth good")).await.unwrap().unwrap();
        assert_eq!(owner.login.as_deref(), Some("maria"));
        assert_eq!(auth.admit(&head("OAuth bad")).await, Err(Denied::Wrong));
    }
    assert_eq!(count(), 2);
    clock.pass(UNKNOWN_FOR);
    auth.admit(&head("OAuth good")).await.unwrap();
    assert_eq!(count(), 2);
    assert_eq!(auth.admit(&head("OAuth bad")).await, Err(Denied::Wrong));
    assert_eq!(count(), 3);
    clock.pass(KNOWN_FOR);
    auth.admit(&head("OAuth good")).await.unwrap();
    assert_eq!(count(), 4);
    for _ in 0..2 {
        assert_eq!(auth.admit(&head("OAuth late")).await, Err(Denied::NobodyKnows));
    }
    assert_eq!(count(), 6, "what is not known is not remembered");
    assert_eq!(auth.admit(&head("Bearer good")).await, Err(Denied::Wrong), "its word is a part of it");
    assert_eq!(count(), 7);
}

#[tokio::test]
async fn what_is_remembered_is_bounded() {
    let (auth, ..) = users();
    for n in 0..=MOST_KNOWN {
        assert_eq!(auth.admit(&head(&format!("OAuth {n}"))).await, Err(Denied::Wrong));
    }
    let Auth::User(users) = &auth else { panic!("it is users'") };
    assert_eq!(users.known().len(), MOST_KNOWN);
}

#[tokio::test]
async fn who_waits_for_a_turn_to_ask_waits_no_longer_than_for_an_answer() {
    let (auth, clock, asked) = users();
    let auth = Arc::new(auth);
    let calls = (0..=MOST_QUESTIONS).map(|n| {
        let auth = auth.clone();
        tokio::spawn(async move { auth.admit(&head(&format!("OAuth never{n}"))).await })
    });
    let calls: Vec<_> = calls.collect();
    let settled = async || {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
    };
    settled().await;
    assert_eq!(asked.load(Ordering::Relaxed), MOST_QUESTIONS);
    clock.pass(ANSWERED_WITHIN);
    settled().await;
    for call in calls {
        assert!(call.is_finished());
        assert_eq!(call.await.unwrap(), Err(Denied::NobodyKnows));
    }
    assert!(auth.admit(&head("OAuth good")).await.is_ok());
}

#[tokio::test]
async fn who_waited_for_a_turn_hears_what_another_was_told_meanwhile() {
    let (auth, clock, asked) = users();
    let auth = Arc::new(auth);
    let call = |value: String| {
        let auth = auth.clone();
        tokio::spawn(async move { auth.admit(&head(&value)).await })
    };
    let settled = async || {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
    };
    let _busy: Vec<_> = (0..MOST_QUESTIONS).map(|n| call(format!("OAuth never{n}"))).collect();
    settled().await;
    clock.pass(ANSWERED_WITHIN / 2);
    let waiting = [call("OAuth good".into()), call("OAuth good".into())];
    settled().await;
    clock.pass(ANSWERED_WITHIN / 2);
    settled().await;
    for call in waiting {
        assert!(call.is_finished() && call.await.unwrap().is_ok());
    }
    assert_eq!(asked.load(Ordering::Relaxed), MOST_QUESTIONS + 1);
}
