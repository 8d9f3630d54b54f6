//! Whose calls the application takes. What the head of a call says is enough: the body is read after that.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tracing::warn;

use crate::clock::Clock;
use crate::event::Person;

/// Somebody who lost his rights in Tracker is let in for so long.
const KNOWN_FOR: Duration = Duration::from_secs(5 * 60);
/// Who got them is kept out for so long.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);
/// Tokens whose owners are remembered.
const MOST_KNOWN: usize = 1_000;
/// Questions to Tracker at the same time: whoever calls makes them.
const MOST_QUESTIONS: usize = 8;
/// Tracker waits for our answer meanwhile: for the turn to ask, and for what is asked.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// Asks Tracker whose the token of this header is. `None`: nobody's.
///
/// Its error is why Tracker gave no answer, for the log.
pub type AskWhose = Arc<dyn Fn(HeaderValue) -> Asked + Send + Sync>;
type Asked = Pin<Box<dyn Future<Output = Result<Option<Person>, String>> + Send>>;

pub enum Auth {
    Anybody,
    /// Those with the token of the registration.
    Token(Known),
    /// Those with a token that Tracker knows.
    User(Users),
}

/// A token, as what is compared: digests take the same time for every guess.
pub struct Known([u8; 32]);

/// Why a call is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Denied {
    /// There is no token.
    Missing,
    Wrong,
    /// Tracker does not say whose the token is.
    NobodyKnows,
}

impl Auth {
    pub fn token(token: &SecretString) -> Self {
        Self::Token(Known(Sha256::digest(token.expose_secret()).into()))
    }

    /// Who calls, as far as it is known.
    ///
    /// # Errors
    /// The call is not to be taken.
    pub async fn admit(&self, headers: &HeaderMap) -> Result<Option<Person>, Denied> {
        match self {
            Self::Anybody => Ok(None),
            Self::Token(Known(known)) => {
                let digest: [u8; 32] = Sha256::digest(offered(headers)?.token).into();
                if digest.ct_eq(known).into() { Ok(None) } else { Err(Denied::Wrong) }
            }
            Self::User(users) => users.owner(offered(headers)?).await.map(Some),
        }
    }
}

struct Offered<'a> {
    word: &'static str,
    token: &'a [u8],
}

/// `Authorization: OAuth <token>` or `Bearer <token>`, the word in any case: how Tracker writes it is not documented.
fn offered(headers: &HeaderMap) -> Result<Offered<'_>, Denied> {
    let value = headers.get(AUTHORIZATION).ok_or(Denied::Missing)?.as_bytes().trim_ascii();
    let space = value.iter().position(|byte| *byte == b' ').ok_or(Denied::Wrong)?;
    let (word, token) = (&value[..space], value[space..].trim_ascii());
    let word = ["OAuth", "Bearer"].into_iter().find(|known| word.eq_ignore_ascii_case(known.as_bytes()));
    match word {
        Some(word) if token.iter().all(u8::is_ascii_graphic) => Ok(Offered { word, token }),
        _ => Err(Denied::Wrong),
    }
}

/// The owners of tokens, as Tracker tells them. Tokens themselves are not kept.
pub struct Users {
    ask: AskWhose,
    clock: Clock,
    known: Mutex<HashMap<[u8; 32], Remembered>>,
    questions: Semaphore,
}

struct Remembered {
    owner: Option<Person>,
    /// Of [`Clock::elapsed`].
    until: Duration,
}

impl Users {
    pub fn new(ask: AskWhose, clock: Clock) -> Self {
        Self { ask, clock, known: Mutex::default(), questions: Semaphore::new(MOST_QUESTIONS) }
    }

    async fn owner(&self, offered: Offered<'_>) -> Result<Person, Denied> {
        let hash: [u8; 32] = Sha256::new().chain_update(offered.word).chain_update(offered.token).finalize().into();
        let known = match self.remembered(&hash) {
            Some(known) => known,
            None => self.ask_once(hash, &offered).await?,
        };
        known.ok_or(Denied::Wrong)
    }

    fn remembered(&self, hash: &[u8; 32]) -> Option<Option<Person>> {
        let now = self.clock.elapsed();
        self.known().get(hash).filter(|known| known.until > now).map(|known| known.owner.clone())
    }

    async fn ask_once(&self, hash: [u8; 32], offered: &Offered<'_>) -> Result<Option<Person>, Denied> {
        let header = [offered.word.as_bytes(), b" ", offered.token].concat();
        let mut header = HeaderValue::from_bytes(&header).map_err(|_| Denied::Wrong)?;
        header.set_sensitive(true);
        let answered = tokio::select! {
            answered = self.ask_in_turn(hash, header) => answered,
            () = self.clock.sleep(ANSWERED_WITHIN) => Err(format!("no answer within {} s", ANSWERED_WITHIN.as_secs())),
        };
        answered.map_err(|why| {
            warn!(why, "a call to a link is refused: Tracker does not say whose token it has");
            Denied::NobodyKnows
        })
    }

    async fn ask_in_turn(&self, hash: [u8; 32], header: HeaderValue) -> Result<Option<Person>, String> {
        let _turn = self.questions.acquire().await.map_err(|error| error.to_string())?;
        if let Some(known) = self.remembered(&hash) {
            return Ok(known); // somebody asked the same meanwhile
        }
        let owner = (self.ask)(header).await?;
        self.remember(hash, owner.clone());
        Ok(owner)
    }

    fn remember(&self, hash: [u8; 32], owner: Option<Person>) {
        let now = self.clock.elapsed();
        let mut known = self.known();
        if known.len() >= MOST_KNOWN {
            known.retain(|_, known| known.until > now);
            let first = known.iter().min_by_key(|(_, known)| known.until).map(|(hash, _)| *hash);
            if let Some(first) = first.filter(|_| known.len() >= MOST_KNOWN) {
                known.remove(&first);
            }
        }
        let until = now + if owner.is_some() { KNOWN_FOR } else { UNKNOWN_FOR };
        known.insert(hash, Remembered { owner, until });
    }

    fn known(&self) -> MutexGuard<'_, HashMap<[u8; 32], Remembered>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;
