//! Where triggers lead: each to a lane of its own on both messengers, and some to lanes that several channels share. Some are
//! asked about in Tracker first and become a comment on an issue.

use super::harness::Setup;

/// Triggers are dealt out over so many routes.
const ROUTES: usize = 12;
/// A route of these leads to the shared lanes too.
const SHARED_EVERY: usize = 3;
/// These are refused by both messengers whatever is done: dead letters.
const POISON_EVERY: usize = 199;

/// These are of the source that enriches.
const ACTS_EVERY: usize = 25;
const ISSUES: usize = 8;
pub const ACTS: &str = "acts";

pub const SHARED_SLACK: &str = "C0SHARED001";
pub const SHARED_TELEGRAM: i64 = -1_009_000;
/// Half of the routes lead to topics of one Telegram chat.
const FORUM: i64 = -1_001_008_000_000;

/// One channel of a route: its name, its place in config.yaml, and the lane as the simulators' records name it.
pub struct Channel {
    pub name: String,
    place: String,
    pub lane: String,
}

pub fn of(n: usize) -> Vec<Channel> {
    match issue(n) {
        Some(key) => {
            vec![Channel { name: format!("issue:{key}"), place: String::new(), lane: format!("{TRACKER} {key}") }]
        }
        None => channels(n % ROUTES),
    }
}

/// What the lanes of issues begin with.
pub const TRACKER: &str = "tracker";

/// The issue that this trigger comments on.
pub fn issue(n: usize) -> Option<String> {
    (n % ACTS_EVERY == 3).then(|| issues().nth(n / ACTS_EVERY % ISSUES).unwrap())
}

pub fn issues() -> impl Iterator<Item = String> {
    (1..=ISSUES).map(|n| format!("ACT-{n}"))
}

pub fn is_poison(n: usize) -> bool {
    n % POISON_EVERY == 7 && issue(n).is_none()
}

fn channels(route: usize) -> Vec<Channel> {
    let slack = |name: String, id: &str| Channel { name, place: format!("slack: {id}"), lane: format!("slack {id}") };
    let telegram = |name: String, chat: i64, topic: Option<i64>| Channel {
        name,
        place: topic.map_or(format!("telegram: {chat}"), |topic| format!("telegram: {chat}, topic: {topic}")),
        lane: format!("telegram {}", campanile::simulator::telegram::conversation(chat, topic)),
    };
    let mut all = vec![slack(format!("slack-{route}"), &format!("C00000{route:05}"))];
    all.push(match route % 2 {
        0 => telegram(format!("telegram-{route}"), FORUM, Some(100 + route as i64)),
        _ => telegram(format!("telegram-{route}"), -1_000 - route as i64, None),
    });
    if route.is_multiple_of(SHARED_EVERY) {
        all.push(slack(format!("shared-slack-{route}"), SHARED_SLACK));
        all.push(telegram(format!("shared-telegram-{route}"), SHARED_TELEGRAM, None));
    }
    all
}

/// Channels, sources and routes of config.yaml.
pub fn configured(setup: Setup, tracker_url: &str) -> Setup {
    let act = "issue: {comment: 'message {{body.n}}'}";
    let (mut named, mut routes) =
        (String::new(), format!("  - {{name: act, when: 'event.source == \"{ACTS}\"', {act}}}\n"));
    for route in 0..ROUTES {
        let channels = channels(route);
        for channel in &channels {
            named += &format!("  {}: {{{}}}\n", channel.name, channel.place);
        }
        let names: Vec<&str> = channels.iter().map(|channel| &*channel.name).collect();
        routes += &format!("  - {{when: 'body.n % {ROUTES} == {route}', channels: [{}]}}\n", names.join(", "));
    }
    let sources = format!("  {ACTS}: {{kind: tracker, secret: {{env: HOOK}}, enrich: true}}\n");
    let more = format!(
        "tracker: {{url: '{tracker_url}', token: {{env: TRACKER_TOKEN}}, org_id: '1', queues: [TEST, ACT], pace: none}}\n"
    );
    Setup { channels: named, sources, routes, more, ..setup }
}

/// The number in a message's text.
pub fn number(text: &str) -> Option<usize> {
    let (_, rest) = text.split_once("message ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
