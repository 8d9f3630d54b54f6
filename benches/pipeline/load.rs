//! The triggers: HTTP/1.1 written by hand over connections that stay open, or the load would eat the cores it measures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::bridge::{LANES, SECRET};
use crate::messengers::now_micros;

/// Each trigger has its own number, over all rows: no two bodies are equal.
static NUMBER: AtomicU32 = AtomicU32::new(0);
/// Stands before the number, in the body and in the message.
const MARK: &[u8] = b"zq";
const DIGITS: usize = 9;

/// How much to send, where to, and how fast.
pub struct Load {
    /// The connections take them in turn.
    pub to: Vec<SocketAddr>,
    pub connections: u32,
    pub most: Most,
    /// Triggers per second in all; without it each connection sends as soon as it is answered.
    pub pace: Option<f64>,
}

#[derive(Clone, Copy)]
pub enum Most {
    Triggers(u32),
    Time(Duration),
}

#[derive(Default)]
pub struct Done {
    pub accepted: u64,
    /// Answered with anything but 202.
    pub refused: u64,
    pub took: Duration,
    /// Microseconds from the send to the answer, sorted.
    pub waits: Vec<u32>,
    /// A trigger's number and when it was sent.
    pub sent: Vec<(u32, u64)>,
}

impl Done {
    pub fn per_second(&self) -> f64 {
        self.accepted as f64 / self.took.as_secs_f64()
    }

    /// Milliseconds.
    pub fn percentile(&self, percent: f64) -> f64 {
        f64::from(percentile(&self.waits, percent)) / 1_000.0
    }
}

/// Of sorted values, the one that `percent` of them do not exceed.
pub fn percentile(sorted: &[u32], percent: f64) -> u32 {
    let at = (sorted.len() as f64 * percent / 100.0).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or_default()
}

pub fn number_in(body: &[u8]) -> Option<u32> {
    let at = body.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    std::str::from_utf8(body.get(at..at + DIGITS)?).ok()?.parse().ok()
}

impl Load {
    /// Sends it all from one thread and waits for the answers.
    pub fn run(self) -> Done {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(self.send())
    }

    async fn send(self) -> Done {
        let left = Arc::new(AtomicU32::new(match self.most {
            Most::Triggers(most) => most,
            Most::Time(_) => u32::MAX,
        }));
        let begun = Instant::now();
        let mut connections = JoinSet::new();
        let load = Arc::new(self);
        for number in 0..load.connections {
            connections.spawn(load.clone().connection(number, begun, left.clone()));
        }
        let mut done = Done::default();
        while let Some(part) = connections.join_next().await {
            let part = part.expect("a connection of the load");
            done.accepted += part.accepted;
            done.refused += part.refused;
            done.waits.extend(part.waits);
            done.sent.extend(part.sent);
        }
        done.took = begun.elapsed();
        done.waits.sort_unstable();
        done
    }

    async fn connection(self: Arc<Self>, place: u32, begun: Instant, left: Arc<AtomicU32>) -> Done {
        let mut stream = TcpStream::connect(self.to[place as usize % self.to.len()]).await.expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        let mut trigger = Trigger::new();
        let mut answer = vec![0; 8 << 10];
        let mut done = Done::default();
        for turn in 0.. {
            if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err() {
                break;
            }
            if let Some(pace) = self.pace {
                let at = f64::from(place + turn * self.connections) / pace;
                tokio::time::sleep_until((begun + Duration::from_secs_f64(at)).into()).await;
            }
            if matches!(self.most, Most::Time(time) if begun.elapsed() >= time) {
                break;
            }
            let number = trigger.renumber();
            let (at, started) = (now_micros(), Instant::now());
            stream.write_all(&trigger.request).await.expect("the server reads");
            let status = read_answer(&mut stream, &mut answer).await;
            done.waits.push(started.elapsed().as_micros() as u32);
            done.sent.push((number, at));
            match status {
                202 => done.accepted += 1,
                _ => done.refused += 1,
            }
        }
        done
    }
}

/// A request whose number is written over in place.
struct Trigger {
    request: Vec<u8>,
    number_at: usize,
    lane_at: usize,
}

impl Trigger {
    fn new() -> Self {
        let body = format!(
            r#"{{"v":1,"event":"created","key":"BENCH-77","lane":"l00","summary":"The north bell \"Swan\" is {}{} ms late","author":"ivan-ivanov","actor":"maria.petrova","at":"2026-05-12T09:15:02.100Z","status":"open","priority":"normal","assignee":"ivan-ivanov"}}"#,
            String::from_utf8_lossy(MARK),
            "0".repeat(DIGITS),
        );
        let request = format!(
            "POST /hooks/tracker HTTP/1.1\r\nhost: bells\r\nauthorization: Bearer {SECRET}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes();
        let find = |what: &[u8]| request.windows(what.len()).position(|part| part == what).expect("it is there");
        let (number_at, lane_at) = (find(MARK) + MARK.len(), find(b"\"l00\"") + 2);
        Self { request, number_at, lane_at }
    }

    fn renumber(&mut self) -> u32 {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        write_digits(&mut self.request[self.number_at..][..DIGITS], number);
        write_digits(&mut self.request[self.lane_at..][..2], number % LANES);
        number
    }
}

fn write_digits(to: &mut [u8], mut number: u32) {
    for digit in to.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Reads one answer to its end; gives its status.
async fn read_answer(stream: &mut TcpStream, into: &mut [u8]) -> u16 {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut into[filled..]).await.expect("an answer");
        assert!(read > 0, "the server closed: {}", String::from_utf8_lossy(&into[..filled]));
        filled += read;
        let Some(head) = into[..filled].windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&into[..head]).expect("a head");
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).and_then(|n| n.parse().ok());
        if filled >= head + 4 + length.unwrap_or(0) {
            return text.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
        }
    }
}
