//! A service on the page with its switch, and one conversation of a messenger with its messages.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::fault::Fault;
use super::super::server::{Service, Simulator};

/// How long a rate limit of the page asks to wait, in seconds.
const RETRY_AFTER: u64 = 10;

/// A simulator that the page can make fail.
pub struct Switched<S> {
    pub simulator: Arc<Simulator<S>>,
    trouble: Mutex<Trouble>,
}

/// A messenger and the conversation in it that the page shows.
pub struct Chat<S> {
    pub messenger: Switched<S>,
    /// As [`super::super::Posted::conversation`].
    conversation: String,
}

/// What a switch of the page does to a service, until it is moved again.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    #[default]
    None,
    /// 429 to every call.
    RateLimited,
    /// 502 to every call.
    BadGateway,
    /// Takes calls and never answers.
    Hangs,
    /// Refuses connections.
    Down,
}

/// A message that stands, with what tells one edition from the next.
pub struct Standing {
    pub id: String,
    pub edits: u32,
    pub json: Value,
}

impl<S: Service> Switched<S> {
    pub fn new(simulator: Arc<Simulator<S>>) -> Self {
        Self { simulator, trouble: Mutex::default() }
    }

    pub fn trouble(&self) -> Trouble {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the trouble that is and makes this one. Calls that hang go on; if the caller still waits, they are taken.
    ///
    /// # Errors
    /// The service was down and its port is taken.
    pub async fn make(&self, trouble: Trouble) -> io::Result<()> {
        self.simulator.clear();
        match trouble {
            Trouble::None | Trouble::Down => {}
            Trouble::RateLimited => self.simulator.fault(Fault::rate_limited(RETRY_AFTER).always()),
            Trouble::BadGateway => self.simulator.fault(Fault::bad_gateway().always()),
            Trouble::Hangs => self.simulator.fault(Fault::HangBefore.always()),
        }
        match trouble {
            Trouble::Down => self.simulator.go_down().await,
            _ => self.simulator.come_up().await?,
        }
        self.simulator.release();
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        Ok(())
    }
}

impl<S: Service> Chat<S> {
    pub fn new(simulator: Arc<Simulator<S>>, conversation: impl Into<String>) -> Self {
        Self { messenger: Switched::new(simulator), conversation: conversation.into() }
    }

    /// All messages of the conversation, oldest first.
    pub fn standing(&self) -> Vec<Standing> {
        self.messenger.simulator.look(|service, record| {
            let standing = record.posted(&self.conversation).map(|post| {
                let json = json!({
                    "id": post.id, "thread": post.thread, "at": format!("{:.3}", post.at), "edits": post.edits,
                    "shown": service.shown(post),
                });
                Standing { id: post.id.clone(), edits: post.edits, json }
            });
            standing.collect()
        })
    }
}
