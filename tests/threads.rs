//! `style: thread`: the first message about an issue in a channel begins a thread, later ones reply to it.

use std::collections::BTreeMap;

use campanile::clock::Clock;
use campanile::simulator::{
    ChatKind, ChatState, Fault, Posted, SlackSimulator, TelegramChat, TelegramSimulator, Topic,
};
use serde_json::{Value, json};

use crate::harness::child::Bridge;
use crate::harness::{
    Client, HOOK_SECRET, LOOPBACK, SLACK, SLACK_TOKEN, Setup, TELEGRAM, TELEGRAM_TOKEN, World, issue,
};

const TELL: (&str, &str) = ("tell.md.hbs", "{{issue.key}} {{issue.summary}}");
const THREADS: &str = "  - {channels: [ops-slack, ops-telegram], template: tell, style: thread}\n";

fn threads(routes: &str) -> Setup {
    Setup { templates: vec![TELL], ..Setup::default() }.routes(routes)
}

fn about(key: &str, summary: &str) -> Value {
    let mut body = issue(key, "updated");
    body["summary"] = json!(summary);
    body
}

/// What was said, and under what: the text of the message that each replies to.
fn told(posts: &[Posted]) -> Vec<(&str, Option<&str>)> {
    let texts: BTreeMap<&str, &str> = posts.iter().map(|post| (&*post.id, &*post.seen.text)).collect();
    let under = |post: &Posted| post.thread.as_deref().map(|parent| texts.get(parent).copied().unwrap_or("gone"));
    posts.iter().map(|post| (&*post.seen.text, under(post))).collect()
}

impl World {
    async fn tell(&self, key: &str, summary: &str) {
        self.accepted(&about(key, summary)).await;
        self.until_all("delivered").await;
    }

    /// As a person who takes the message away.
    async fn delete_slack(&self, ts: &str) {
        let call = self.http.post(&format!("{}/chat.delete", self.slack.api_url()));
        let call = call.header("authorization", format!("Bearer {SLACK_TOKEN}"));
        assert_eq!(call.json(&json!({"channel": SLACK, "ts": ts})).await.json()["ok"], true);
    }

    async fn delete_telegram(&self, chat: &str, message: &str) {
        let url = format!("{}/bot{TELEGRAM_TOKEN}/deleteMessage", self.telegram.api_url());
        let answer = self.http.post(&url).json(&json!({"chat_id": chat, "message_id": message})).await;
        assert_eq!(answer.json()["ok"], true, "{}", answer.text);
    }
}

#[tokio::test]
async fn the_first_message_about_an_issue_posts_and_later_ones_reply_to_it() {
    let world = threads(THREADS).start().await;
    for (key, summary) in [("TEST-1", "a"), ("TEST-2", "b"), ("TEST-1", "c"), ("TEST-1", "d"), ("TEST-2", "e")] {
        world.tell(key, summary).await;
    }
    for posts in [world.slack.posted(SLACK), world.telegram.posted(TELEGRAM)] {
        assert_eq!(
            told(&posts),
            [
                ("TEST-1 a", None),
                ("TEST-2 b", None),
                ("TEST-1 c", Some("TEST-1 a")),
                ("TEST-1 d", Some("TEST-1 a")), // and not to the reply before
                ("TEST-2 e", Some("TEST-2 b")),
            ]
        );
    }
    let last = world.delivery(10).await["parts"][0]["receipt"].clone();
    assert!(last["telegram"]["reply_to"].is_i64(), "{last}");
}

#[tokio::test]
async fn replies_that_were_accepted_in_one_burst_find_the_message_before_them() {
    let world = threads(THREADS).start().await;
    for n in 0..8 {
        world.accepted(&about("TEST-1", &format!("n{n}"))).await;
    }
    world.until_all("delivered").await;
    for posts in [world.slack.posted(SLACK), world.telegram.posted(TELEGRAM)] {
        let told = told(&posts);
        assert_eq!(told[0], ("TEST-1 n0", None));
        assert!(told[1..].iter().all(|(_, under)| *under == Some("TEST-1 n0")), "{told:?}");
    }
}

#[tokio::test]
async fn a_message_of_a_route_without_threads_begins_none_and_joins_none() {
    let routes = "  - {when: 'issue.summary == \"alone\"', channels: [ops-slack], template: tell}\n  \
                  - {channels: [ops-slack], template: tell, style: thread}\n";
    let world = threads(routes).start().await;
    for summary in ["alone", "a", "alone", "b"] {
        let mut body = about("TEST-1", summary);
        body["n"] = json!(world.slack.counts().posted);
        world.accepted(&body).await;
        world.until_all("delivered").await;
    }
    let posts = world.slack.posted(SLACK);
    assert_eq!(
        told(&posts),
        [("TEST-1 alone", None), ("TEST-1 a", None), ("TEST-1 alone", None), ("TEST-1 b", Some("TEST-1 a"))]
    );
}

#[tokio::test]
async fn a_forums_topics_have_threads_of_their_own() {
    let chat = -1_001_234_567_890;
    let mut setup = threads("  - {channels: [seven, eight], template: tell, style: thread}\n");
    setup.telegram = setup.telegram.chat(chat, TelegramChat::forum("Forum", [(7, Topic::Open), (8, Topic::Open)]));
    let channels = format!("  seven: {{telegram: {chat}, topic: 7}}\n  eight: {{telegram: {chat}, topic: 8}}\n");
    let world = Setup { channels, ..setup }.start().await;
    world.tell("TEST-1", "a").await;
    world.tell("TEST-1", "b").await;
    for topic in [7, 8] {
        let posts = world.telegram.posted(&format!("{chat}/{topic}"));
        assert_eq!(told(&posts), [("TEST-1 a", None), ("TEST-1 b", Some("TEST-1 a"))], "topic {topic}");
        assert!(posts.iter().all(|post| post.body["message_thread_id"] == topic));
    }
}

#[tokio::test]
async fn when_the_first_message_was_deleted_a_new_thread_begins() {
    let world = threads(THREADS).start().await;
    world.tell("TEST-1", "a").await;
    world.delete_slack(&world.slack.posted(SLACK)[0].id).await;
    world.delete_telegram(TELEGRAM, &world.telegram.posted(TELEGRAM)[0].id).await;
    world.tell("TEST-1", "b").await;
    world.tell("TEST-1", "c").await;
    for posts in [world.slack.posted(SLACK), world.telegram.posted(TELEGRAM)] {
        assert_eq!(told(&posts), [("TEST-1 b", None), ("TEST-1 c", Some("TEST-1 b"))]);
    }
    // Slack posts to the channel by itself; Telegram refuses the reply, once.
    assert_eq!((world.slack.counts().refused, world.telegram.counts().refused), (0, 1));
    let rows = world.deliveries().await;
    assert!(rows.iter().all(|row| row["unclear"] == false), "{rows:#?}");
}

#[tokio::test]
async fn a_thread_that_slack_has_closed_is_begun_anew() {
    for code in ["cannot_reply_to_message", "restricted_action_thread_locked", "thread_not_found"] {
        let world = threads("  - {channels: [ops-slack], template: tell, style: thread}\n").start().await;
        world.tell("TEST-1", "a").await;
        world.slack.fault(Fault::error(code).once());
        world.tell("TEST-1", "b").await;
        world.tell("TEST-1", "c").await;
        let posts = world.slack.posted(SLACK);
        let expected = [("TEST-1 a", None), ("TEST-1 b", None), ("TEST-1 c", Some("TEST-1 b"))];
        assert_eq!(told(&posts), expected, "{code}");
    }
}

/// The old messages have no names in the new chat: one that is called the same is another message.
#[tokio::test]
async fn in_a_chat_that_has_moved_a_new_thread_begins() {
    let (old, new) = (-4_567, -1_009_876_543_210);
    let mut setup = threads("  - {channels: [ops-telegram], template: tell, style: thread}\n");
    setup.channels = format!("  ops-telegram: {{telegram: {old}}}\n");
    setup.telegram = setup.telegram.chat(old, TelegramChat::new(ChatKind::Group, "Ops"));
    let mut world = setup.start().await;
    world.tell("TEST-1", "a").await;
    let upgraded = TelegramChat::new(ChatKind::Group, "Ops").state(ChatState::Upgraded { to: new });
    world.telegram.set_chat(old, upgraded);
    world.telegram.set_chat(new, TelegramChat::new(ChatKind::Supergroup, "Ops"));
    world.tell("TEST-1", "b").await;
    world.restart().await;
    world.tell("TEST-1", "c").await;
    let posts = world.telegram.posted(&new.to_string());
    assert_eq!(told(&posts), [("TEST-1 b", None), ("TEST-1 c", Some("TEST-1 b"))]);
}

#[tokio::test]
async fn the_parts_of_a_long_message_stand_together() {
    const LONG: (&str, &str) = ("tell.md.hbs", "{{issue.key}} {{issue.summary}}\n\n{{issue.description}}\n");
    let setup = Setup { templates: vec![LONG], ..Setup::default() }.routes(THREADS);
    let world = setup.start().await;
    for (n, summary) in ["a", "b"].iter().enumerate() {
        let mut body = about("TEST-1", summary);
        let words: Vec<_> = (0..1_600).map(|word| format!("word{word:04}")).collect();
        body["description"] = json!(words.join(" "));
        world.accepted(&body).await;
        world.until_all("delivered").await;
        for posts in [world.slack.posted(SLACK), world.telegram.posted(TELEGRAM)] {
            let parent = &posts[0].id;
            assert!(posts.len() >= 2 * (n + 1), "{} parts", posts.len());
            let (first, later) = posts.split_at(posts.len() / (n + 1));
            assert!(first.iter().all(|part| part.thread.is_none()));
            assert!(later.iter().all(|part| part.thread.as_ref() == Some(parent)));
        }
    }
}

#[tokio::test]
async fn a_channel_that_leads_elsewhere_has_other_threads() {
    let world = threads("  - {channels: [ops-slack], template: tell, style: thread}\n").start().await;
    world.tell("TEST-1", "a").await;
    world.reload_with(|text| text.replace(SLACK, "C0AAAAAAAAA")).await.unwrap();
    world.tell("TEST-1", "b").await;
    world.tell("TEST-1", "c").await;
    world.reload_with(|text| text.replace("C0AAAAAAAAA", SLACK)).await.unwrap();
    world.tell("TEST-1", "d").await;
    assert_eq!(told(&world.slack.posted("C0AAAAAAAAA")), [("TEST-1 b", None), ("TEST-1 c", Some("TEST-1 b"))]);
    assert_eq!(told(&world.slack.posted(SLACK)), [("TEST-1 a", None), ("TEST-1 d", Some("TEST-1 a"))]);
}

#[tokio::test]
async fn threads_outlive_a_kill() {
    let setup = Setup { templates: Vec::new(), ..Setup::on(Clock::machine()) };
    let setup = setup.routes("  - {channels: [ops-slack, ops-telegram], style: thread}\n");
    let slack = SlackSimulator::start(LOOPBACK, setup.slack.clone()).await.unwrap();
    let telegram = TelegramSimulator::start(LOOPBACK, setup.telegram.clone()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut bridge = Bridge::new(folder.path(), &setup, &slack.api_url(), &telegram.api_url());
    for n in 1..=3 {
        bridge.start().await;
        let call = Client::default().post(&bridge.hook_url());
        let call = call.header("authorization", format!("Bearer {HOOK_SECRET}"));
        assert_eq!(call.json(&about("TEST-1", &format!("n{n}"))).await.status, 202);
        for listed in ["slack", "telegram"] {
            let url = format!("http://{}/api/v1/deliveries?state=delivered&channel=ops-{listed}", bridge.admin);
            until(async || {
                Client::default().get(&url).send().await.json()["deliveries"].as_array().unwrap().len() == n
            })
            .await;
        }
        bridge.kill();
    }
    for posts in [slack.posted(SLACK), telegram.posted(TELEGRAM)] {
        let first = Some(posts[0].id.clone());
        let under: Vec<_> = posts.iter().map(|post| post.thread.clone()).collect();
        assert_eq!(under, [None, first.clone(), first]);
    }
}

/// On the machine's clock: what another process does cannot be awaited.
async fn until(mut come: impl AsyncFnMut() -> bool) {
    for _ in 0..3_000 {
        if come().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("never came");
}

/// Without anything to reply to, the same words are about the channel.
#[tokio::test]
async fn a_channel_that_takes_no_first_message_waits_for_a_person() {
    let world = threads("  - {channels: [ops-slack], template: tell, style: thread}\n").start().await;
    world.slack.fault(Fault::error("cannot_reply_to_message").once());
    world.accepted(&about("TEST-1", "a")).await;
    world.settled(|rows| rows.iter().any(|row| row["lane_hold"]["needs_a_person"] == true)).await;
    world.until_all("delivered").await;
}
