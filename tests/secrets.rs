//! No secret is ever seen: not in logs at `trace`, command output, metrics, API answers or the store's files.

mod tracker;

use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use campanile::clock::Clock;
use campanile::simulator::{Fault, SlackOptions, SlackSimulator, TelegramOptions, TelegramSimulator};

use crate::harness::child::{Bridge, run};
use crate::harness::{Client, LOOPBACK, Setup, numbered};

const HOOK: &str = "canary1hook7dfe93";
const HOOK_OLD: &str = "canary2old41aa0c";
const SLACK: &str = "xoxb-canary3slack-9b7a11";
const TELEGRAM: &str = "7001:canary4telegram_55e0c2";
const WEBHOOK: &str = "T1/B1/canary5webhook0f3d";
const ADMIN: &str = "canary6admin88d2f1";
/// What a caller sends who mistyped: nearly the secret, so nothing to keep either.
const MISTYPED: &str = "canary7mistyped31c0";
const ALL: [&str; 7] = [HOOK, HOOK_OLD, SLACK, TELEGRAM, WEBHOOK, ADMIN, MISTYPED];
/// Where a secret may be pasted whose way should have stood there.
const PASTED: [fn(&str) -> String; 9] = [
    str::to_owned,
    |value| format!("{{env: '{value}'}}"),
    |value| format!("{{evn: '{value}'}}"),
    |value| format!("{{file: '{value}'}}"),
    |value| format!("{{file: '{value}', env: X}}"),
    |value| format!("{{file: '{value}', x"),
    |value| format!("{{file: {{x: '{value}'}}}}"),
    |value| format!("!secret '{value}'"),
    |value| format!("['{value}'"),
];

fn assert_clean(what: &str, bytes: impl AsRef<[u8]>) {
    let text = String::from_utf8_lossy(bytes.as_ref());
    let basic = [format!("anyone:{HOOK}"), format!("{}:{}", tracker::API_USER, tracker::API)];
    let basic = basic.map(|user| BASE64_STANDARD.encode(user));
    let all = ALL.iter().chain(&tracker::ALL);
    for canary in all.flat_map(|canary| [(*canary).to_owned(), canary.replace(':', "%3A")]).chain(basic) {
        if let Some(at) = text.find(&canary) {
            let around: String = text[..at].chars().rev().take(300).collect::<Vec<_>>().into_iter().rev().collect();
            panic!("{what} holds {canary}, behind: {around}");
        }
    }
}

fn assert_folder_clean(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => assert_folder_clean(&path),
            false => assert_clean(&path.display().to_string(), std::fs::read(&path).unwrap()),
        }
    }
}

/// One failure for each conversation, and every one that echoes a secret where it can.
fn slack_faults() -> Vec<Fault> {
    vec![
        Fault::Status { status: 500, body: format!("<h1>oops, Authorization: Bearer {SLACK}</h1>") },
        Fault::Status { status: 400, body: format!("no: {SLACK}") },
        Fault::error(format!("unknown_word {SLACK}")),
        Fault::rate_limited(1),
        Fault::UnreadableAnswer,
        Fault::LoseAnswer,
        Fault::ResetBefore,
    ]
}

fn telegram_faults() -> Vec<Fault> {
    vec![
        Fault::Status { status: 502, body: format!("no upstream for /bot{TELEGRAM}/sendMessage") },
        Fault::error(format!("Bad Request: odd /bot{TELEGRAM}/")),
        Fault::error(format!("Forbidden: bot {TELEGRAM} was kicked")),
        Fault::WrongJson,
        Fault::ResetAfter,
    ]
}

struct Place {
    bridge: Bridge,
    slack: SlackSimulator,
    telegram: TelegramSimulator,
    http: Client,
    _folder: tempfile::TempDir,
}

impl Place {
    async fn start() -> Self {
        let clock = Clock::machine();
        let slack = SlackOptions::new(clock.clone()).token(SLACK).without_pace();
        let telegram = TelegramOptions::new(clock.clone()).token(TELEGRAM).without_pace();
        let slack = SlackSimulator::start(LOOPBACK, slack).await.unwrap();
        let telegram = TelegramSimulator::start(LOOPBACK, telegram).await.unwrap();
        let (mut channels, mut names) = (String::new(), vec!["hooked".to_owned()]);
        for (n, fault) in slack_faults().into_iter().enumerate() {
            channels += &format!("  slack-{n}: {{slack: C000000000{n}}}\n");
            names.push(format!("slack-{n}"));
            slack.fault(fault.times(1).on(format!("C000000000{n}")));
        }
        for (n, fault) in telegram_faults().into_iter().enumerate() {
            channels += &format!("  telegram-{n}: {{telegram: -100{n}}}\n");
            names.push(format!("telegram-{n}"));
            telegram.fault(fault.times(1).on(format!("-100{n}")));
        }
        slack.fault(Fault::Status { status: 500, body: format!("at /services/{WEBHOOK}") }.times(1).method("webhook"));
        let setup = Setup {
            channels: channels + "  hooked: {slack_webhook: {env: WEBHOOK}}\n",
            routes: format!("  - channels: [{}]\n", names.join(", ")),
            source: "kind: tracker, secret: [{env: HOOK}, {env: HOOK_OLD}], url_secret: true",
            ..Setup::on(clock)
        };
        let folder = tempfile::tempdir().unwrap();
        let mut bridge = Bridge::new(folder.path(), &setup, &slack.api_url(), &telegram.api_url());
        let config = folder.path().join("config.yaml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text.replace("server: {", "server: {admin_token: {env: ADMIN}, ")).unwrap();
        let webhook = format!("http://{}/services/{WEBHOOK}", slack.addr());
        for (name, value) in [
            ("HOOK", HOOK),
            ("HOOK_OLD", HOOK_OLD),
            ("SLACK_TOKEN", SLACK),
            ("TELEGRAM_TOKEN", TELEGRAM),
            ("WEBHOOK", &webhook),
            ("ADMIN", ADMIN),
            ("CAMPANILE_LOG", "trace,h2=trace,hyper_util=trace"),
            ("RUST_LOG", "trace"),
        ] {
            bridge.env(name, value);
        }
        Self { bridge, slack, telegram, http: Client::default(), _folder: folder }
    }
}

async fn admin(bridge: &Bridge, path: &str) -> String {
    let url = format!("http://{}{path}", bridge.admin);
    let answer = Client::default().get(&url).header("authorization", format!("Bearer {ADMIN}")).send().await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    assert_clean(path, &answer.text);
    answer.text
}

/// Looks at everything the admin listener shows.
async fn look_around(bridge: &Bridge) {
    admin(bridge, "/metrics").await;
    admin(bridge, "/api/v1/links").await;
    for what in ["events", "deliveries"] {
        let rows: serde_json::Value = serde_json::from_str(&admin(bridge, &format!("/api/v1/{what}")).await).unwrap();
        for row in rows[what].as_array().unwrap() {
            admin(bridge, &format!("/api/v1/{what}/{}", row["id"])).await;
        }
    }
}

async fn until_metrics(bridge: &Bridge, wanted: impl Fn(&str) -> bool) {
    for _ in 0..3_000 {
        if wanted(&admin(bridge, "/metrics").await) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("never came: {}\n{}", admin(bridge, "/metrics").await, bridge.log());
}

#[tokio::test]
async fn no_secret_is_logged_shown_or_kept_whatever_fails() {
    let mut place = Place::start().await;
    place.bridge.start().await;
    let url = place.bridge.hook_url();
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("anyone:{HOOK}")));
    let calls = [
        (url.clone(), "authorization", format!("Bearer {HOOK}"), 202),
        (url.clone(), "x-campanile-token", HOOK_OLD.to_owned(), 202),
        (url.clone(), "authorization", basic, 202),
        (format!("{url}/{HOOK}"), "x-a", String::new(), 202),
        (format!("{url}/{MISTYPED}"), "x-a", String::new(), 401),
        (url.clone(), "authorization", format!("Bearer {MISTYPED}"), 401),
        (url.replace("tracker", "trakcer"), "authorization", format!("Bearer {HOOK}"), 404),
        (format!("{}/{HOOK}", url.replace("tracker", "trakcer")), "x-a", String::new(), 404),
        (format!("{url}/{HOOK}/"), "x-a", String::new(), 404),
        (url.replace("tracker", HOOK), "x-a", String::new(), 404),
        (url.replace("tracker", MISTYPED), "x-a", String::new(), 404),
    ];
    for (n, (url, header, value, status)) in calls.into_iter().enumerate() {
        let answer = place.http.post(&url).header(header, value).json(&numbered(n)).await;
        assert_eq!(answer.status, status, "{n}: {}", answer.text);
        assert_clean("an answer", &answer.text);
    }
    let over_http2 = Client::http2().post(&url).header("authorization", format!("Bearer {HOOK}"));
    assert_eq!(over_http2.json(&numbered(11)).await.status, 202);
    let again = place.http.post(&url).header("authorization", HOOK).json(&numbered(0)).await;
    assert_eq!(again.status, 200);
    let long = place.http.post(&url).header("authorization", HOOK).body("x".repeat((1 << 20) + 1)).await;
    assert_eq!(long.status, 413);
    let unreadable = place.http.post(&format!("{url}/{HOOK}")).body("no key").await;
    assert_eq!(unreadable.status, 400);
    let guess = place.http.get(&format!("http://{}/metrics", place.bridge.admin));
    let guess = guess.header("authorization", MISTYPED).send().await;
    assert_eq!(guess.status, 401);
    assert_clean("an answer", &guess.text);

    let each_failed = |faults: usize| {
        move |record: &campanile::simulator::Record| {
            record.arrivals().iter().filter(|arrival| arrival.fault.is_some()).count() >= faults
        }
    };
    place.slack.wait_for(each_failed(slack_faults().len() + 1)).await;
    place.telegram.wait_for(each_failed(telegram_faults().len())).await;
    // A 404 holds the account: before the others it would keep them waiting for a minute.
    let body = format!("/bot{}/sendMessage", TELEGRAM.replace(':', "%3A"));
    place.telegram.fault(Fault::Status { status: 404, body }.once());
    let answer = place.http.post(&url).header("authorization", HOOK).json(&numbered(19)).await;
    assert_eq!(answer.status, 202);
    place.telegram.wait_for(each_failed(telegram_faults().len() + 1)).await;
    place.slack.set_tokens(["another".to_owned()]);
    place.telegram.set_tokens(["7001:another".to_owned()]);
    let answer = place.http.post(&url).header("authorization", HOOK).json(&numbered(20)).await;
    assert_eq!(answer.status, 202);
    until_metrics(&place.bridge, |page| {
        ["slack", "telegram"].iter().all(|m| page.contains(&format!(r#"account_held{{account="{m}"}} 1"#)))
    })
    .await;
    look_around(&place.bridge).await;
    place.bridge.terminate().await;

    place.slack.go_down().await;
    place.telegram.go_down().await;
    place.bridge.start().await;
    until_metrics(&place.bridge, |page| page.contains(r#"outcome="unreached""#)).await;
    look_around(&place.bridge).await;
    place.bridge.kill();

    let log = place.bridge.log();
    // The second line is one of `debug`: more than `info` was asked for, and given.
    for line in [
        "a call without the right secret",
        "secret=\"wrong\"",
        "a call to no source; the address must end in /hooks/<name of a source in config.yaml> asked=\"trakcer\"",
        "asked=\"(not shown: it may be a secret)\"",
        "a call was refused: a body has at most 1 MiB",
        "DEBUG campanile::source::intake: a call came again",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert_only_ours(&log);
    assert_folder_clean(&place.bridge.folder);
}

/// Traces of other crates may hold headers.
fn assert_only_ours(log: &str) {
    let not_ours = log.lines().filter(|line| {
        let mut words = line.split_whitespace().skip(1);
        let told = matches!(words.next(), Some("TRACE" | "DEBUG" | "INFO"));
        told && !words.next().is_some_and(|target| target.starts_with("campanile::"))
    });
    assert_eq!(not_ours.collect::<Vec<_>>(), [] as [&str; 0]);
}

#[tokio::test]
async fn no_command_prints_a_secret_even_where_it_stands_in_the_wrong_place() {
    let place = Place::start().await;
    let config = place.bridge.folder.join("config.yaml");
    let right = std::fs::read_to_string(&config).unwrap();
    let clean = |what: &str, mut run: std::process::Command| {
        let output = run.output().unwrap();
        assert_clean(&format!("{run:?} with {what}"), [output.stdout, output.stderr].concat());
        output.status.code().unwrap()
    };
    let checked = |what: &str| {
        let mut as_json = place.bridge.command("check");
        as_json.arg("--json");
        assert_eq!(clean(what, place.bridge.command("check")), clean(what, as_json));
    };
    checked("all secrets set");
    for (name, value) in [
        ("HOOK", HOOK),
        ("HOOK_OLD", HOOK_OLD),
        ("SLACK_TOKEN", SLACK),
        ("TELEGRAM_TOKEN", TELEGRAM),
        ("WEBHOOK", &format!("https://hooks.slack.com/services/{WEBHOOK}")),
        ("ADMIN", ADMIN),
    ] {
        let way = format!("{{env: {name}}}");
        assert!(right.contains(&way), "{name}");
        for pasted in PASTED.map(|pasted| pasted(value)) {
            std::fs::write(&config, right.replace(&way, &pasted)).unwrap();
            checked(&pasted);
            assert_eq!(clean(&pasted, place.bridge.command("serve")), 1, "{pasted}");
        }
    }
    std::fs::write(&config, format!("{right}telegram_token: '{TELEGRAM}'\nslack_tokn: {SLACK}\n")).unwrap();
    checked("unknown keys");
    for arguments in [&["--help"][..], &["serve", "--help"], &["check", "--help"], &["--version"]] {
        let output = run(arguments, &[("HOOK", HOOK), ("TELEGRAM_TOKEN", TELEGRAM), ("CAMPANILE_LOG", "trace")]);
        assert_clean("help", [output.stdout, output.stderr].concat());
    }
}

#[tokio::test]
async fn a_webhook_that_is_no_url_is_refused_without_showing_it() {
    let mut place = Place::start().await;
    place.bridge.env("WEBHOOK", WEBHOOK);
    let output = place.bridge.command("serve").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("channels.hooked.slack_webhook"), "{told}");
    assert_clean("serve", &*told);
}
