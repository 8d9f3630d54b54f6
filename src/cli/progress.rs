//! How far a command is, for who waits longer than a breath.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Nothing is said before, and a terminal's line is not written more often.
const BREATH: Duration = Duration::from_secs(1);
/// Where lines stay, one is enough for so long.
const LINE_EVERY: Duration = Duration::from_secs(10);

pub struct Progress {
    what: &'static str,
    next: Instant,
    is_terminal: bool,
    shown: bool,
}

impl Progress {
    /// `what` follows the numbers: "12 of 40 MB copied".
    pub fn new(what: &'static str) -> Self {
        Self { what, next: Instant::now() + BREATH, is_terminal: std::io::stderr().is_terminal(), shown: false }
    }

    /// Tells, when it is time to. What cannot be written is not worth an end.
    pub fn at(&mut self, done: u64, all: Option<u64>) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        let of = all.map(|all| format!(" of {all}")).unwrap_or_default();
        let line = format!("{done}{of} {}", self.what);
        let _ = match self.is_terminal {
            true => write!(std::io::stderr(), "\r{line}\u{1b}[K"),
            false => writeln!(std::io::stderr(), "{line}"),
        };
        self.next = now + if self.is_terminal { BREATH } else { LINE_EVERY };
        self.shown = true;
    }

    /// Leaves the line to what comes next.
    pub fn end(self) {
        if self.shown && self.is_terminal {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K");
        }
    }
}
