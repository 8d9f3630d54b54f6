//! The keys of an issue: one that was moved to another queue has a new key, and Tracker knows it by the old ones too
//! (T 4.4, 9).

use std::sync::Arc;
use std::time::Duration;

use super::client::Api;
use super::error::Error;
use crate::delivery::SendError;

/// Tracker waits for our own answer meanwhile, for less than 2 s (T 5.5).
const TOLD_WITHIN: Duration = Duration::from_secs(1);

/// Each key that the issue has or had; the one that was asked for alone, where Tracker knows no such issue or does not show
/// it. Remembered for a minute. Cancel safe.
///
/// # Errors
/// There was no answer within 1 s, or the token is refused.
pub async fn every_key(api: &Api, key: &str) -> Result<Arc<[String]>, SendError> {
    let known = &api.client.known.0;
    if let Some(keys) = known.keys.get(key) {
        return Ok(keys);
    }
    let asked = tokio::select! {
        asked = api.issue(key) => asked,
        () = known.clock.sleep(TOLD_WITHIN) => {
            return Err(SendError::Unreached(format!("no answer within {TOLD_WITHIN:?}").into()));
        }
    };
    let keys: Arc<[String]> = match asked {
        Ok(issue) => {
            let others = issue.aliases.iter().filter(|alias| **alias != issue.key);
            [issue.key.clone()].into_iter().chain(others.cloned()).collect()
        }
        Err(Error::Call(error)) => return Err(error),
        Err(_) => [key.to_owned()].into(),
    };
    known.keys.put(key.to_owned(), keys.clone());
    Ok(keys)
}
