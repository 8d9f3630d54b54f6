//! By what a repeated call is known. Tracker has no delivery id, and repeats what was not answered in ten seconds; code
//! hosts have one, and a person may send a delivery again days later.

use std::time::Duration;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::Call;
use super::review::header;
use crate::event::{Host, SourceName};
use crate::outbox::Fingerprint;

/// A sender that names its delivery means it for longer than Tracker repeats a call.
const NAMED: Duration = Duration::from_secs(24 * 60 * 60);
/// Tracker's five attempts with room to spare. A body with the time of the event cannot be another event's.
const DATED: Duration = Duration::from_secs(10 * 60);
/// Five attempts of ten seconds with 10, 20, 40 and 80 s between them span 200 s. Two real events that look alike
/// (opened, closed, opened) must not merge for longer.
pub const UNDATED: Duration = Duration::from_secs(4 * 60);

/// A code host sends what failed again for so long (code-hosts.md, section 10).
const DELIVERED: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// What happened stands in a header of some hosts: bodies alone may be of one form.
const EVENTS: [&str; 4] = ["x-event-key", "x-github-event", "x-gitea-event", "x-forgejo-event"];

/// The mark of a code host's call, and how long it counts: its delivery's id, or the whole of it.
pub fn delivery(
    source: &SourceName,
    host: Host,
    call: &Call<'_>,
    dated: bool,
    asked: Option<Duration>,
) -> (Fingerprint, Duration) {
    let named = |name: &str| header(call.headers, name);
    let source = source.as_str().as_bytes();
    let id = match host {
        Host::BitbucketCloud => named("x-request-uuid"),
        Host::BitbucketServer => named("x-request-id"),
        Host::GitHub => named("x-github-delivery"),
        Host::GitLab => named("idempotency-key"),
        Host::Gitea => named("x-gitea-delivery").or_else(|| named("x-forgejo-delivery")),
    };
    if let Some(id) = id {
        return (fingerprint(&[b"delivery", source, id.as_bytes()]), asked.unwrap_or(DELIVERED));
    }
    // Hooks that are set off by a hook share this one, so that it names no delivery by itself.
    if let Some(id) = named("x-gitlab-event-uuid").filter(|_| host == Host::GitLab) {
        return (fingerprint(&[b"shared", source, id.as_bytes(), call.body]), asked.unwrap_or(DELIVERED));
    }
    let event = EVENTS.iter().find_map(|name| named(name)).unwrap_or_default();
    let parts: [&[u8]; 6] =
        [b"host", source, call.method.as_str().as_bytes(), call.query.as_bytes(), event.as_bytes(), call.body];
    (fingerprint(&parts), asked.unwrap_or(if dated { DATED } else { UNDATED }))
}

/// The mark of one of the events of a call: each of its keys has its own.
pub fn of_key(call: Fingerprint, key: Option<&String>) -> Fingerprint {
    key.map_or(call, |key| fingerprint(&[b"key", &call.0, key.as_bytes()]))
}

/// The mark of a call, and how long it counts. `asked` is the source's `dedupe_seconds`; zero makes every call its own.
pub fn mark(
    source: &SourceName,
    call: &Call<'_>,
    members: &Map<String, Value>,
    asked: Option<Duration>,
) -> (Fingerprint, Duration) {
    let named = call.headers.get("idempotency-key").map(|value| value.as_bytes().to_vec());
    let named = named.filter(|name| !name.is_empty()).or_else(|| match members.get("delivery_id") {
        Some(Value::String(id)) => Some(id.clone().into_bytes()),
        Some(Value::Number(id)) => Some(id.to_string().into_bytes()),
        _ => None,
    });
    match named {
        Some(name) => (fingerprint(&[b"named", source.as_str().as_bytes(), &name]), asked.unwrap_or(NAMED)),
        None => {
            let parts: [&[u8]; 5] = [
                b"call",
                source.as_str().as_bytes(),
                call.method.as_str().as_bytes(),
                call.query.as_bytes(),
                call.body,
            ];
            let window = if members.contains_key("at") { DATED } else { UNDATED };
            (fingerprint(&parts), asked.unwrap_or(window))
        }
    }
}

/// Half of a SHA-256 over the parts, each with its length before it, so that no two lists of parts look alike.
pub fn fingerprint(parts: &[&[u8]]) -> Fingerprint {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let whole: [u8; 32] = hash.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&whole[..16]);
    Fingerprint(half)
}
