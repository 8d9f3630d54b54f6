//! `campanile demo`: the bridge between a simulated Tracker and simulated messengers, with a page on which all are seen.
//!
//! Everything is the real thing but Tracker, the code host, Slack and Telegram: the store is a file in a temporary folder,
//! triggers and reviews come over HTTP through `/hooks/…`, Tracker is asked and the messages leave over HTTP.

mod tracker;

use std::collections::HashMap;
use std::fmt::Display;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use secrecy::SecretString;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use super::serve::until_asked_to_stop;
use super::{End, complain, env, templates};
use crate::app::{App, Outside};
use crate::clock::Clock;
use crate::config;
use crate::simulator::page::{Bridge, Chat, Page};
use crate::simulator::{
    ChatKind, SlackChannel, SlackOptions, SlackSimulator, TelegramChat, TelegramOptions, TelegramSimulator,
    TrackerSimulator,
};
use crate::telemetry::{self, LogFormat};

const CONFIG: &str = include_str!("config.yaml");
const CRITICAL: &str = include_str!("critical.md.hbs");

/// What `config.yaml` names, in the simulators' words.
const SLACK: &str = "C0123456789";
const TELEGRAM: i64 = -1_001_234_567_890;
const CHANNELS: [&str; 2] = ["oncall-slack", "oncall-telegram"];
const REVIEWS: &str = "reviews";

/// What hinders the demo, and the way out.
struct Hindrance {
    what: String,
    hint: &'static str,
}

pub fn demo() -> io::Result<End> {
    let filter = env("CAMPANILE_LOG").unwrap_or_else(|| "error".to_owned()); // the page tells the rest
    if let Err(why) = telemetry::start_logging(LogFormat::Text, Some(&filter)) {
        complain(&why, Some("CAMPANILE_LOG takes `info`, `debug`, or filters such as `campanile::lane=debug`"));
        return Ok(End::Refused);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match runtime.block_on(run()) {
        Ok(end) => Ok(end),
        Err(Hindrance { what, hint }) => {
            complain(&what, Some(hint));
            Ok(End::Refused)
        }
    }
}

async fn run() -> Result<End, Hindrance> {
    let asked = until_asked_or_left().map_err(loopback("the signals cannot be heard"))?;
    let folder = tempfile::Builder::new().prefix("campanile-demo-").tempdir().map_err(disk("no temporary folder"))?;
    let clock = Clock::machine();
    let no_port = || loopback("no free port on loopback");
    let slack = Arc::new(SlackSimulator::start(LOOPBACK, slack(&clock)).await.map_err(no_port())?);
    let telegram = Arc::new(TelegramSimulator::start(LOOPBACK, telegram(&clock)).await.map_err(no_port())?);

    let queue = TrackerSimulator::start(LOOPBACK, tracker::options(&clock)).await.map_err(no_port())?;
    let queue = Arc::new(queue);
    let bound = async || TcpListener::bind(LOOPBACK).await.map_err(no_port());
    let page_at = bound().await?;
    let address = page_at.local_addr().map_err(no_port())?;

    let config = CONFIG
        .replace("SLACK_API_URL", &slack.api_url())
        .replace("TELEGRAM_API_URL", &telegram.api_url())
        .replace("TRACKER_API_URL", &queue.api_url())
        .replace("PAGE_URL", &format!("http://{address}/issues"));
    let file = folder.path().join("config.yaml");
    write(&file, &config).map_err(disk("the temporary folder cannot be written"))?;
    write(&folder.path().join("templates/critical.md.hbs"), CRITICAL)
        .map_err(disk("the temporary folder cannot be written"))?;
    let loaded = config::load(&file, &|_| Vec::new()).map_err(|findings| ours(&format!("{findings:?}")))?;
    let (templates, _) = templates(&loaded.config);

    #[expect(clippy::disallowed_methods, reason = "this is the outside")]
    let mut random = fastrand::Rng::new();
    let mut secret = || format!("{:032x}", random.u128(..));
    let (of_triggers, of_reviews) = (secret(), secret());
    let secrets = HashMap::from([
        ("TRACKER_HOOK_SECRET", of_triggers.clone()),
        ("GITHUB_SECRET", of_reviews.clone()),
        ("TRACKER_TOKEN", tracker::TOKEN.to_owned()),
        ("SLACK_BOT_TOKEN", "xoxb-demo".to_owned()),
        ("TELEGRAM_BOT_TOKEN", "1:demo".to_owned()),
    ]);
    let app = App::start(
        loaded,
        templates,
        Outside {
            clock: clock.clone(),
            random,
            env: &|name| secrets.get(name).cloned(),
            public: bound().await?,
            admin: bound().await?,
        },
    )
    .await
    .map_err(|error| ours(&error))?;

    tracker::connect(&queue, app.public, &SecretString::from(of_triggers)).map_err(|error| ours(&error))?;
    let bridge = Bridge::new(app.public, app.admin, REVIEWS, &of_reviews, CHANNELS);
    let chats = (Chat::new(slack.clone(), SLACK), Chat::new(telegram, TELEGRAM.to_string()));
    let page = Arc::new(Page::new(chats, (queue.clone(), tracker::QUEUE), bridge, config, clock));
    let mut tasks = JoinSet::new();
    tasks.spawn(page.serve(page_at));
    tell(address, &folder);
    let samples = tracker::samples().map_err(|error| ours(&error))?;
    let stop = async {
        let happens = async {
            tracker::happen(&queue, samples, async |posts| slack.wait_for_posts(posts).await).await;
            std::future::pending().await
        };
        tokio::select! {
            () = asked => {}
            Some(ended) = tasks.join_next() => tracing::error!(?ended, "the page ended by itself; stopping"),
            () = happens => {}
        }
    };
    let asked = app.run(stop).await;
    tasks.shutdown().await;
    let place = folder.path().display().to_string();
    match folder.close() {
        // Gone is what it should be: whoever cleans up temporary files was first.
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let what = format!("{place} could not be removed: {error}");
            return Err(Hindrance { what, hint: "remove it; nothing else is left of the demo" });
        }
        _ => {}
    }
    Ok(if asked { End::Done } else { End::Refused })
}

/// Ends as `serve` is ended, and when its terminal is closed.
fn until_asked_or_left() -> io::Result<impl Future<Output = ()>> {
    let (asked, mut hangup) = (until_asked_to_stop()?, signal(SignalKind::hangup())?);
    Ok(async move {
        tokio::select! {
            () = asked => {}
            _ = hangup.recv() => {}
        }
    })
}

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn slack(clock: &Clock) -> SlackOptions {
    let channel = SlackChannel { name: "oncall".to_owned(), ..SlackChannel::default() };
    SlackOptions::new(clock.clone()).channel(SLACK, channel).only_known()
}

fn telegram(clock: &Clock) -> TelegramOptions {
    let chat = TelegramChat::new(ChatKind::Supergroup, "On call");
    TelegramOptions::new(clock.clone()).chat(TELEGRAM, chat).only_known()
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(file, text)
}

fn tell(address: SocketAddr, folder: &TempDir) {
    let text = format!(
        "Campanile's demo is at  http://{address}/\n\
         Tracker, Slack and Telegram are simulated, and nothing leaves this machine.\n\
         Ctrl-C ends it and removes {}\n",
        folder.path().display()
    );
    // Whoever reads the first line only and closes the pipe still wants the demo.
    let _ = io::stdout().write_all(text.as_bytes());
}

fn loopback(what: &str) -> impl FnOnce(io::Error) -> Hindrance {
    move |error| Hindrance {
        what: format!("{what}: {error}"),
        hint: "the demo needs 127.0.0.1, six free ports on it and a few open files (ulimit -n)",
    }
}

fn disk(what: &str) -> impl FnOnce(io::Error) -> Hindrance {
    move |error| Hindrance {
        what: format!("{what}: {error}"),
        hint: "set TMPDIR to a folder that can be written and has some megabytes free",
    }
}

fn ours(what: &impl Display) -> Hindrance {
    Hindrance {
        what: format!("the demo cannot start: {what}"),
        hint: "this is a mistake of Campanile's; please report it",
    }
}
