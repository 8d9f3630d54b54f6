//! `tracker:` — Tracker's API and pages.

use super::reader::{Fields, Findings, Placed, choice, elements, word};
use super::secret::{Secret, secret};
use super::tree::Node;
use super::url::{BaseUrl, base_url, known};

#[derive(Clone, Debug)]
pub struct Tracker {
    pub url: BaseUrl,
    /// Where people open issues: this and the key.
    pub web_url: BaseUrl,
    pub token: Option<Placed<Secret>>,
    pub token_type: TokenType,
    /// Always there when there is a token.
    pub organization: Option<Organization>,
    /// Known queues; keys of others are not taken from texts, titles and branches. Empty: all.
    pub queues: Vec<String>,
}

/// The word before the token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenType {
    OAuth,
    Bearer,
}

/// Tracker wants one of two headers with every call (reference T, "Auth").
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Organization {
    /// `X-Org-ID`: Yandex 360.
    Yandex360(String),
    /// `X-Cloud-Org-ID`: Yandex Cloud.
    Cloud(String),
}

impl Default for Tracker {
    fn default() -> Self {
        Self {
            url: known("https://api.tracker.yandex.net"),
            web_url: known("https://tracker.yandex.ru"),
            token: None,
            token_type: TokenType::OAuth,
            organization: None,
            queues: Vec::new(),
        }
    }
}

pub(super) fn read(node: &Node, findings: &mut Findings) -> Option<Tracker> {
    let mut fields = Fields::of(node, "`tracker`", findings)?;
    let defaults = Tracker::default();
    let url = fields.read("url", findings, base_url);
    let web_url = fields.read("web_url", findings, base_url);
    let token = fields.read("token", findings, secret);
    let token_types = [("OAuth", TokenType::OAuth), ("Bearer", TokenType::Bearer)];
    let token_type = fields.read("token_type", findings, choice(&token_types));
    let (org_node, cloud_node) = (fields.get("org_id"), fields.get("cloud_org_id"));
    let org = org_node.and_then(|node| word(node, findings)).map(|id| Organization::Yandex360(id.to_owned()));
    let cloud = cloud_node.and_then(|node| word(node, findings)).map(|id| Organization::Cloud(id.to_owned()));
    match (org_node, cloud_node) {
        (Some(_), Some(second)) => {
            findings.error(second.place, "`tracker` takes one of `org_id` and `cloud_org_id`, not both");
        }
        (None, None) if token.is_some() => {
            let hint = "the id stands at tracker.yandex.ru/admin/orgs";
            findings.hinted(fields.place(), "`tracker` with a token needs `org_id` or `cloud_org_id`", hint);
        }
        _ => {}
    }
    let queues = fields.read("queues", findings, queues);
    fields.close(findings);
    Some(Tracker {
        url: url.unwrap_or(defaults.url),
        web_url: web_url.unwrap_or(defaults.web_url),
        token,
        token_type: token_type.unwrap_or(defaults.token_type),
        organization: org.or(cloud),
        queues: queues.unwrap_or_default(),
    })
}

/// Queue keys are Latin letters only (reference T, section 6); digits and `_` are let through for older queues.
fn queues(node: &Node, findings: &mut Findings) -> Option<Vec<String>> {
    let fits = |key: &str| {
        key.starts_with(|c: char| c.is_ascii_uppercase())
            && key.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    let queue = |node: &Node, findings: &mut Findings| {
        let key = word(node, findings)?;
        if !fits(key) {
            findings.hinted(
                node.place,
                format!("`{key}` is no queue's key"),
                "the part of an issue's key before the `-`",
            );
        }
        Some(key.to_owned())
    };
    Some(elements(node, findings)?.iter().filter_map(|node| queue(node, findings)).collect())
}
