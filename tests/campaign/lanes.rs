//! Where triggers lead: each to a lane of its own on both messengers, and some to lanes that several channels share.

use super::harness::Setup;

/// Triggers are dealt out over so many routes.
const ROUTES: usize = 12;
/// A route of these leads to the shared lanes too.
const SHARED_EVERY: usize = 3;
/// These are refused by both messengers whatever is done: dead letters.
const POISON_EVERY: usize = 199;

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
    channels(n % ROUTES)
}

pub fn is_poison(n: usize) -> bool {
    n % POISON_EVERY == 7
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

/// Channels and routes of config.yaml.
pub fn configured(setup: Setup) -> Setup {
    let (mut named, mut routes) = (String::new(), String::new());
    for route in 0..ROUTES {
        let channels = channels(route);
        for channel in &channels {
            named += &format!("  {}: {{{}}}\n", channel.name, channel.place);
        }
        let names: Vec<&str> = channels.iter().map(|channel| &*channel.name).collect();
        routes += &format!("  - {{when: 'body.n % {ROUTES} == {route}', channels: [{}]}}\n", names.join(", "));
    }
    Setup { channels: named, routes, ..setup }
}

/// The number in a message's text.
pub fn number(text: &str) -> Option<usize> {
    let (_, rest) = text.split_once("message ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
