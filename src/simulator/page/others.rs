//! The other side of a pull request: what GitHub would send of a review, in its own form and signed as it signs.
//! Source: code-hosts.md, sections 5 and 9.

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::Sha256;

const REPOSITORY: &str = "campanile-demo/shop";
/// Where a pull request would be seen; nobody calls it.
const WEB: &str = "https://code.example.com";

/// What a reviewer says.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Review {
    Approve,
    Reject,
}

/// A call of GitHub's, ready to be sent.
pub struct Delivery {
    pub headers: [(&'static str, String); 4],
    pub body: Value,
}

impl Review {
    /// Of the pull request that belongs to an issue. `number`: of the review, each has its own.
    ///
    /// None: `secret` is no key.
    pub fn delivery(self, key: &str, summary: &str, number: u64, now: Timestamp, secret: &str) -> Option<Delivery> {
        let body = self.body(key, summary, number, now);
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).ok()?;
        mac.update(body.to_string().as_bytes());
        let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let headers = [
            ("Content-Type", "application/json".to_owned()),
            ("X-GitHub-Event", "pull_request_review".to_owned()),
            ("X-GitHub-Delivery", format!("00000000-0000-4000-8000-{number:012x}")),
            ("X-Hub-Signature-256", format!("sha256={signature}")),
        ];
        Some(Delivery { headers, body })
    }

    fn body(self, key: &str, summary: &str, number: u64, now: Timestamp) -> Value {
        let (state, said) = match self {
            Self::Approve => ("approved", "Looks good to me"),
            Self::Reject => ("changes_requested", "Please add a test that fails without this change"),
        };
        let person = |login: &str| json!({"login": login, "type": "User", "html_url": format!("{WEB}/{login}")});
        let pull = key.rsplit_once('-').and_then(|(_, number)| number.parse::<u64>().ok()).unwrap_or_default() + 100;
        let url = format!("{WEB}/{REPOSITORY}/pull/{pull}");
        let at = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        json!({
            "action": "submitted",
            "review": {"id": number, "state": state, "body": said, "submitted_at": at, "user": person("reviewer"),
                "author_association": "MEMBER", "html_url": format!("{url}#pullrequestreview-{number}")},
            "pull_request": {"number": pull, "state": "open", "title": format!("{key}: {summary}"), "html_url": url,
                "user": person("anna"), "head": {"ref": format!("feature/{key}")}, "base": {"ref": "main"}},
            "repository": {"full_name": REPOSITORY},
            "sender": person("reviewer"),
        })
    }
}
