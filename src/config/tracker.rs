//! `tracker:` — Tracker's API and pages.

use super::messenger::pace;
use super::reader::{Fields, Findings, Placed, choice, elements, rate, whole, word};
use super::secret::{Secret, secret};
use super::tree::Node;
use super::url::{BaseUrl, base_url, known};
use crate::route::LoopGuard;
pub use crate::tracker::client::Organization;
pub use crate::tracker::token::TokenType;

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
    /// `None`: no pacing by rate (`pace: none`).
    pub pace: Option<TrackerPace>,
    /// How long an event may wait for Tracker, from its receipt; then it is routed as it came.
    pub enrich_within_seconds: u32,
    pub loop_guard: LoopGuard,
    /// Between two looks into Tracker's webhook log for calls that were missed. 0: never.
    pub recover_every_minutes: u32,
    pub(super) tokenless: bool,
}

/// How fast Tracker takes calls of one token (reference T 9.11).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrackerPace {
    pub per_second: f64,
}

impl Default for TrackerPace {
    fn default() -> Self {
        Self { per_second: 5.0 }
    }
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
            pace: Some(TrackerPace::default()),
            enrich_within_seconds: 60,
            loop_guard: LoopGuard::Events,
            recover_every_minutes: 5,
            tokenless: true,
        }
    }
}

/// The way out where a token is wanted.
pub(super) const TOKEN: &str = "as in `tracker: {token: {env: NAME}, org_id: \"…\"}`";

pub(super) fn read(node: &Node, findings: &mut Findings) -> Option<Tracker> {
    let mut fields = Fields::of(node, "`tracker`", findings)?;
    let defaults = Tracker::default();
    let url = fields.read("url", findings, base_url);
    let web_url = fields.read("web_url", findings, base_url);
    let token_node = fields.get("token");
    let token = token_node.and_then(|node| secret(node, findings));
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
    let pace = fields.read("pace", findings, |node, findings| {
        pace(node, findings, |fields, findings| {
            let default = TrackerPace::default();
            TrackerPace { per_second: fields.read("per_second", findings, rate).unwrap_or(default.per_second) }
        })
    });
    let enrich_within_seconds = fields.read("enrich_within_seconds", findings, whole(1..=86_400));
    let guards = [("events", LoopGuard::Events), ("actions", LoopGuard::Actions), ("off", LoopGuard::Off)];
    let loop_guard = fields.read("loop_guard", findings, choice(&guards));
    let recover_node = fields.get("recover_every_minutes");
    let recover_every_minutes = recover_node.and_then(|node| whole(0..=1_440)(node, findings));
    if let (Some(node), None, Some(1..)) = (recover_node, token_node, recover_every_minutes) {
        findings.hinted(node.place, "`recover_every_minutes` needs `token`: Tracker's log is read with it", TOKEN);
    }
    fields.close(findings);
    Some(Tracker {
        url: url.unwrap_or(defaults.url),
        web_url: web_url.unwrap_or(defaults.web_url),
        token,
        token_type: token_type.unwrap_or(defaults.token_type),
        organization: org.or(cloud),
        queues: queues.unwrap_or_default(),
        pace: pace.unwrap_or(defaults.pace),
        enrich_within_seconds: enrich_within_seconds.unwrap_or(defaults.enrich_within_seconds),
        loop_guard: loop_guard.unwrap_or_default(),
        recover_every_minutes: recover_every_minutes.unwrap_or(defaults.recover_every_minutes),
        tokenless: token_node.is_none(),
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
