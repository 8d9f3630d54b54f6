//! The token that opens Tracker's API. It is read anew where it comes from, for an IAM token lives hours (T 4.1) and a
//! token that ended must not wait for a restart.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::transport::reply::Secrets;

/// It is not looked at more often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The word before the token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenType {
    OAuth,
    /// An IAM token.
    Bearer,
}

type Read = dyn Fn() -> Result<SecretString, String> + Send + Sync;

/// The token and its word. Never shown.
pub struct Token {
    word: TokenType,
    read: Box<Read>,
    clock: Clock,
    held: Mutex<Held>,
}

struct Held {
    token: SecretString,
    looked_at: Duration,
    /// The last look found nothing that can be used, and that was said.
    is_stale: bool,
}

impl Token {
    /// `read` gives the token as it is now; it may block as long as reading a small file does.
    ///
    /// # Errors
    /// That it cannot be read or is no token, without saying anything of what is in it.
    pub fn new(
        word: TokenType,
        clock: Clock,
        read: impl Fn() -> Result<SecretString, String> + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let held = Held { token: usable(read()?)?, looked_at: clock.elapsed(), is_stale: false };
        Ok(Self { word, read: Box::new(read), clock, held: Mutex::new(held) })
    }

    /// The header's value, of the token as it was at most a second ago.
    pub fn authorization(&self) -> HeaderValue {
        let mut held = self.held();
        if self.clock.elapsed().saturating_sub(held.looked_at) >= LOOK_EVERY {
            self.look(&mut held);
        }
        let word = match self.word {
            TokenType::OAuth => "OAuth",
            TokenType::Bearer => "Bearer",
        };
        // What `usable` let through is one.
        let value = HeaderValue::try_from(format!("{word} {}", held.token.expose_secret()));
        let mut value = value.unwrap_or(HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }

    /// Reads it anew. True: it is another now.
    pub fn read_again(&self) -> bool {
        self.look(&mut self.held())
    }

    /// What must be cut out of texts.
    pub(super) fn secrets(&self) -> Secrets {
        Secrets::new([self.held().token.expose_secret()])
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What cannot be read, or is no token, changes nothing: the file may be half written.
    fn look(&self, held: &mut Held) -> bool {
        held.looked_at = self.clock.elapsed();
        match (self.read)().and_then(usable) {
            Ok(token) => {
                held.is_stale = false;
                let is_new = token.expose_secret() != held.token.expose_secret();
                if is_new {
                    held.token = token;
                    info!("Tracker's token has changed: the new one counts");
                }
                is_new
            }
            Err(why) => {
                if !std::mem::replace(&mut held.is_stale, true) {
                    warn!(why, "Tracker's token cannot be read anew: the one of before counts");
                }
                false
            }
        }
    }
}

fn usable(token: SecretString) -> Result<SecretString, String> {
    let text = token.expose_secret().trim();
    match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true if text.len() == token.expose_secret().len() => Ok(token),
        true => Ok(text.into()),
        false => Err("the token is empty or holds a character that no token has".to_owned()),
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({:?} [secret])", self.word)
    }
}
