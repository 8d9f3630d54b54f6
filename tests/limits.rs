//! What callers can take of us at most: connections, streams, memory, and the time they are kept waiting. Each limit
//! from both of its sides.

use std::time::Duration;

use campanile::clock::Clock;
use campanile::simulator::SlackSimulator;
use rusqlite::Connection;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::child::Bridge;
use crate::harness::{Client, HOOK_SECRET, LOOPBACK, SLACK, Setup, World, issue, numbered, numbers, open_files};

/// Real time that a machine under load may take for what is due at once.
const PATIENCE: Duration = Duration::from_secs(30);

impl World {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.public_url("").trim_start_matches("http://")).await.unwrap()
    }

    /// A call whose answer is not waited for.
    async fn call(&self, length: &str, body: &str) -> TcpStream {
        let head = format!("POST /hooks/tracker HTTP/1.1\r\nhost: x\r\nauthorization: {HOOK_SECRET}\r\n");
        let mut call = self.connect().await;
        call.write_all(format!("{head}{length}\r\n\r\n{body}").as_bytes()).await.unwrap();
        call
    }

    /// Until this is dropped the store is neither written nor broken: somebody else holds SQLite's lock. The writer
    /// waits five seconds of the machine's time for it.
    fn stuck_store(&self) -> Connection {
        let store = Connection::open(self.folder.path().join("data/campanile.db")).unwrap();
        store.execute_batch("begin immediate").unwrap();
        store
    }

    /// Returns when the server has done what it could do with everything that was sent to it before: it and this test
    /// share one thread.
    async fn let_it_work(&self) {
        let mut connection = self.connect().await;
        for _ in 0..50 {
            assert!(alive(&mut connection).await);
        }
    }
}

/// Whether a request on this connection is answered.
async fn alive(connection: &mut TcpStream) -> bool {
    connection.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    answer(connection).await.ends_with("alive\n")
}

/// What comes next on a connection.
async fn answer(connection: &mut TcpStream) -> String {
    let mut answer = [0; 1_024];
    let read = tokio::time::timeout(PATIENCE, connection.read(&mut answer)).await;
    let read = read.expect("an answer comes").unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

fn unanswered(connection: &TcpStream) -> bool {
    connection.try_read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

#[tokio::test]
async fn four_thousand_and_ninety_six_connections_are_served_and_the_next_when_one_has_ended() {
    if open_files() < 10_000 {
        return eprintln!("skipped: both ends of 4,096 connections need 10,000 open files (ulimit -Hn)");
    }
    let world = Setup::default().start().await;
    let mut silent = Vec::new();
    for _ in 1..4_096 {
        silent.push(world.connect().await);
    }
    let mut last = world.connect().await;
    assert!(alive(&mut last).await);
    let mut one_more = world.connect().await; // the kernel takes it
    one_more.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    for _ in 0..50 {
        assert!(alive(&mut last).await);
    }
    assert!(unanswered(&one_more));
    assert_eq!(world.figure("campanile_received").await, 0.0, "the admin listener has places of its own");
    silent.pop();
    assert!(answer(&mut one_more).await.ends_with("alive\n"));
}

/// The real binary, with the few files that a shell allows by default.
#[tokio::test]
async fn silent_connections_leave_files_for_everything_else() {
    let setup = Setup::on(Clock::machine()).only_slack();
    let slack = SlackSimulator::start(LOOPBACK, setup.slack.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut bridge = Bridge::new(folder.path(), &setup, &slack.api_url(), "http://127.0.0.1:9");
    bridge.open_files = Some(256);
    bridge.start().await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(TcpStream::connect(bridge.public).await.unwrap());
    }
    let call = Client::default().post(&bridge.hook_url()).header("authorization", HOOK_SECRET);
    assert_eq!(call.json(&numbered(0)).await.status, 202);
    slack.wait_for_posts(1).await;
    assert!(!bridge.log().contains("could not be accepted"), "{}", bridge.log());
}

/// Frames of HTTP/2, by hand: a library would keep to the limit by itself.
mod h2 {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    /// The error of a stream over the limit, which was not looked at.
    pub const REFUSED_STREAM: u32 = 7;
    pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    /// Source: RFC 9113, section 4.1.
    pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// A call's head: names out of the static table, values as they are. Source: RFC 7541, section 6.2.2.
    pub fn call(secret: &str, length: usize) -> Vec<u8> {
        let mut block = vec![0x83, 0x86]; // POST, http
        for (name, value) in [
            (&[0x01][..], "x"),                   // :authority
            (&[0x04], "/hooks/tracker"),          // :path
            (&[0x0f, 0x08], secret),              // authorization
            (&[0x0f, 0x0d], &length.to_string()), // content-length
        ] {
            block.extend(name);
            block.push(value.len() as u8);
            block.extend(value.as_bytes());
        }
        block
    }
}

/// The kind, stream and payload of the frames up to the first that `ends`.
async fn frames(connection: &mut TcpStream, ends: impl Fn(u8, u32) -> bool) -> Vec<(u8, u32, Vec<u8>)> {
    let mut frames = Vec::new();
    let read = async {
        loop {
            let mut head = [0; 9];
            connection.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            connection.read_exact(&mut payload).await.unwrap();
            let (kind, stream) = (head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
            frames.push((kind, stream, payload));
            if ends(kind, stream) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the frame comes");
    frames
}

#[tokio::test]
async fn a_hundred_streams_of_one_connection_are_served_and_the_next_is_refused() {
    let world = Setup::default().only_slack().start().await;
    let body = |n: usize| numbered(n).to_string();
    let stream = |n: usize| 2 * n as u32 + 1;
    let call = |n| h2::frame(h2::HEADERS, h2::END_HEADERS, stream(n), &h2::call(HOOK_SECRET, body(n).len()));
    let ping = h2::frame(h2::PING, 0, 0, &[0; 8]); // answered after what came before it
    let is_ping = |kind, _| kind == h2::PING;
    let refused = |frames: &[(u8, u32, Vec<u8>)]| -> Vec<(u32, u32)> {
        let resets = frames.iter().filter(|(kind, ..)| *kind == h2::RST_STREAM);
        resets.map(|(_, stream, why)| (*stream, u32::from_be_bytes(why[..].try_into().unwrap()))).collect()
    };
    let mut connection = world.connect().await;
    let calls: Vec<u8> = (0..=100).flat_map(call).collect();
    let begin = [h2::PREFACE, &h2::frame(h2::SETTINGS, 0, 0, &[]), &calls, &ping].concat();
    connection.write_all(&begin).await.unwrap();
    let answered = frames(&mut connection, is_ping).await;
    assert_eq!(refused(&answered), [(stream(100), h2::REFUSED_STREAM)]);

    for n in [0, 99] {
        let body = h2::frame(h2::DATA, h2::END_STREAM, stream(n), body(n).as_bytes());
        connection.write_all(&body).await.unwrap();
        frames(&mut connection, |kind, of| (kind, of) == (h2::HEADERS, stream(n))).await;
    }
    world.settled_as("delivered", 2).await;
    assert_eq!(numbers(&world.slack.posted(SLACK)), [0, 99]);
    connection.write_all(&[call(101), call(102), ping].concat()).await.unwrap();
    assert_eq!(refused(&frames(&mut connection, is_ping).await), [], "two have ended");
}

#[tokio::test]
async fn sixty_four_mebibytes_of_bodies_fit_and_one_more_is_told_to_come_again() {
    let world = Setup::default().only_slack().start().await;
    let mut waiting = Vec::new();
    for _ in 0..64 {
        let mut call = world.call("expect: 100-continue\r\ncontent-length: 1048576", "").await;
        let mut go_on = [0; 12];
        call.read_exact(&mut go_on).await.unwrap(); // its body is being read, so its room is taken
        assert_eq!(&go_on, b"HTTP/1.1 100");
        waiting.push(call);
    }
    assert_eq!(world.trigger(&issue("TEST-1", "created")).await.status, 500);
    drop(waiting);
    for _ in 0..2_000 {
        if world.trigger(&issue("TEST-1", "created")).await.status == 202 {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("the room was never given back");
}

/// A body of unknown length counts as the longest.
#[tokio::test]
async fn a_body_keeps_its_room_until_it_is_stored_however_long_its_caller_waits() {
    for (waits, status) in [(Duration::ZERO, 202), (Duration::from_secs(8), 500)] {
        let world = Setup::default().only_slack().start().await;
        let stuck = world.stuck_store();
        let mut waiting = Vec::new();
        for n in 0..64 {
            let body = numbered(n).to_string();
            let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
            waiting.push(world.call("transfer-encoding: chunked", &chunks).await);
        }
        world.let_it_work().await;
        world.clock.pass(waits);
        world.let_it_work().await;
        let refused = world.trigger(&numbered(64)).await;
        assert_eq!((refused.status, &refused.json()["error"]), (500, &"too many bodies at once; call again".into()));
        drop(stuck);
        for call in &mut waiting {
            assert!(answer(call).await.starts_with(&format!("HTTP/1.1 {status}")));
        }
        world.settled_as("delivered", 64).await;
        world.burst(64..65).await;
        world.settled_as("delivered", 65).await;
    }
}

#[tokio::test]
async fn what_is_not_stored_within_eight_seconds_is_answered_500_and_known_when_it_comes_again() {
    let world = Setup::default().only_slack().start().await;
    let stuck = world.stuck_store();
    let body = numbered(0).to_string();
    let mut call = world.call(&format!("content-length: {}", body.len()), &body).await;
    world.let_it_work().await;
    world.clock.pass(Duration::from_millis(7_999));
    world.let_it_work().await;
    assert!(unanswered(&call));
    world.clock.pass(Duration::from_millis(1));
    let told = answer(&mut call).await;
    assert!(told.starts_with("HTTP/1.1 500") && told.contains("not stored; call again"), "{told}");
    drop(stuck);
    assert_eq!(world.trigger(&numbered(0)).await.status, 200, "it was stored after all, and is not taken twice");
    world.settled_as("delivered", 1).await;
    assert_eq!(numbers(&world.slack.posted(SLACK)), [0]);
}
