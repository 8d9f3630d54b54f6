use std::error::Error;

use jiff::Timestamp;
use tokio::net::TcpListener;

use super::*;
use crate::transport::fixture::{Act, Fixture, answer};

const SECRET: &str = "SECRET-CANARY";

async fn post(base: &str) -> Result<Reply, TransportError> {
    let secret = HeaderValue::from_static("Bearer SECRET-CANARY");
    let transport = Transport::new(Clock::machine()).unwrap();
    transport.post(join(base, &format!("bot{SECRET}/x")).unwrap(), Some(secret), b"{}".to_vec()).await
}

/// Everything that a log could show of an error.
fn seen(error: &(dyn Error + 'static)) -> String {
    let mut text = format!("{error:?}");
    let mut next = Some(error);
    while let Some(error) = next {
        text.push_str(&format!(" / {error}"));
        next = error.source();
    }
    text
}

#[tokio::test]
async fn a_reply_comes_whole_whatever_its_status() {
    let server =
        Fixture::start([answer("302 Found", "Location: http://elsewhere.test/\r\nRetry-After: 7", "moved")]).await;
    let reply = post(&server.base).await.unwrap();
    assert_eq!(
        (reply.status.as_u16(), &reply.body[..], &reply.headers["retry-after"]),
        (302, &b"moved"[..], &HeaderValue::from_static("7"))
    );
    let request = server.requests().remove(0);
    assert!(request.starts_with("POST /botSECRET-CANARY/x HTTP/1.1\r\n"), "{request}");
    for line in
        ["content-type: application/json; charset=utf-8", "authorization: Bearer SECRET-CANARY", "content-length: 2"]
    {
        assert!(request.contains(line), "{line} in {request}");
    }
}

#[tokio::test]
async fn only_a_connection_that_was_never_made_is_surely_not_sent() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let refused = post(&base).await.unwrap_err();
    assert!(matches!(refused, TransportError::NotConnected(_)), "{refused:?}");
    assert!(!seen(&refused).contains(SECRET), "{}", seen(&refused));

    let closing = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("https://{}", closing.local_addr().unwrap());
    let (no_tls, _) = tokio::join!(post(&base), async { drop(closing.accept().await) });
    let no_tls = no_tls.unwrap_err();
    assert!(matches!(no_tls, TransportError::NotConnected(_)), "{no_tls:?}");
    assert!(!seen(&no_tls).contains(SECRET), "{}", seen(&no_tls));

    for act in [Act::Close, Act::Reset, Act::CutBody, Act::Raw("what is this".into())] {
        let named = format!("{act:?}");
        let server = Fixture::start([act]).await;
        let broken = post(&server.base).await.unwrap_err();
        assert!(matches!(broken, TransportError::Broken(_)), "{named}: {broken:?}");
        assert!(!seen(&broken).contains(SECRET), "{}", seen(&broken));
        assert_eq!(server.requests().len(), 1, "{named} arrived once");
    }
}

#[tokio::test]
async fn a_connection_that_hangs_in_its_handshake_was_not_made() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let clock = Clock::held(Timestamp::UNIX_EPOCH);
    let uri = join(&format!("https://{}", silent.local_addr().unwrap()), "x").unwrap();
    let transport = Transport::new(clock.clone()).unwrap();
    let call = tokio::spawn(async move { transport.post(uri, None, Vec::new()).await });
    let _accepted = silent.accept().await.unwrap();
    clock.pass(CONNECT_WITHIN);
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error, TransportError::NotConnected(_)), "{error:?}");
}

#[tokio::test]
async fn a_body_of_a_megabyte_is_read_and_a_longer_one_is_not() {
    let fits = Fixture::start([answer("200 OK", "", &"x".repeat(LONGEST_REPLY))]).await;
    assert_eq!(post(&fits.base).await.unwrap().body.len(), LONGEST_REPLY);
    let longer = Fixture::start([answer("200 OK", "", &"x".repeat(LONGEST_REPLY + 1))]).await;
    let error = post(&longer.base).await.unwrap_err();
    assert!(matches!(error, TransportError::Overlong(StatusCode::OK)), "{error:?}");
}

#[tokio::test]
async fn connections_are_used_again() {
    let server =
        Fixture::start([answer("200 OK", "", "1"), answer("200 OK", "", "2"), answer("200 OK", "", "3")]).await;
    let transport = Transport::new(Clock::machine()).unwrap();
    for _ in 0..3 {
        transport.post(join(&server.base, "x").unwrap(), None, Vec::new()).await.unwrap();
    }
    assert_eq!((server.requests().len(), server.connections()), (3, 1));
}

#[test]
fn addresses_are_joined_and_checked() {
    for (base, wanted) in [
        ("https://slack.com/api", Ok("https://slack.com/api/m")),
        ("https://slack.com/api/", Ok("https://slack.com/api/m")),
        ("http://127.0.0.1:8081", Ok("http://127.0.0.1:8081/m")),
        ("http://[::1]:8081/tg/", Ok("http://[::1]:8081/tg/m")),
        ("https://slack.com/api//", Ok("https://slack.com/api//m")),
        ("", Err(AddressError::ApiUrl)),
        ("slack.com", Err(AddressError::ApiUrl)),
        ("/api", Err(AddressError::ApiUrl)),
        ("ftp://slack.com", Err(AddressError::ApiUrl)),
        ("https://slack.com/api?x=1", Err(AddressError::ApiUrl)),
        ("https://slack.com/api#x", Err(AddressError::ApiUrl)),
        ("https://sl ack.com", Err(AddressError::ApiUrl)),
    ] {
        assert_eq!(join(base, "m").map(|uri| uri.to_string()), wanted.map(str::to_owned), "{base}");
    }
}
