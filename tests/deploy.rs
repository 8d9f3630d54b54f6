//! What deploy/Dockerfile packs: one static binary that needs nothing of the system around it.

use std::fs::{self, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use campanile::clock::Clock;
use campanile::simulator::{SlackSimulator, TelegramSimulator};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::harness::child::{Bridge, Enclosed};
use crate::harness::{Client, HOOK_SECRET, LOOPBACK, SLACK, Setup, TELEGRAM, issue};

/// The binary as the Dockerfile builds it, from `tests/run.sh`.
fn static_binary(test: &str) -> Option<PathBuf> {
    let built = std::env::var_os("CAMPANILE_STATIC").map(PathBuf::from);
    if built.is_none() {
        eprintln!("skipped: {test} needs CAMPANILE_STATIC, the binary that tests/run.sh builds by deploy/Dockerfile");
    }
    built
}

#[test]
fn no_loader_is_asked_for() {
    let Some(binary) = static_binary("deploy::no_loader_is_asked_for") else { return };
    let wanted = |elf: &[u8]| {
        let word = |at: usize| usize::from(u16::from_le_bytes([elf[at], elf[at + 1]]));
        let headers = usize::try_from(u64::from_le_bytes(elf[0x20..0x28].try_into().unwrap())).unwrap();
        let (size, count) = (word(0x36), word(0x38));
        // PT_INTERP, see elf(5).
        (0..count).any(|header| elf[headers + header * size..].starts_with(&3_u32.to_le_bytes()))
    };
    assert!(!wanted(&fs::read(binary).unwrap()));
    assert!(wanted(&fs::read("/bin/sh").unwrap()), "the test can see a loader");
}

/// Answers every question with this machine, as the DNS server of the address. `None`: its port may not be bound.
async fn name_server(address: Ipv4Addr) -> Option<JoinHandle<()>> {
    let socket = UdpSocket::bind((address, 53)).await.ok()?;
    Some(tokio::spawn(async move {
        let mut question = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut question).await {
            // RFC 1035, 4.1: id, flags, counts; the question; for type A a record that points at the question's name.
            let is_a = question[..length].windows(5).any(|end| end == [0, 0, 1, 0, 1]);
            let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
            let counts = [0, 1, 0, u8::from(is_a), 0, 0, 0, 0];
            let record = [&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4][..], &Ipv4Addr::LOCALHOST.octets()].concat();
            let answer = [&question[..2], &[0x81, 0x80], &counts, &question[12..end], if is_a { &record } else { &[] }];
            let _ = socket.send_to(&answer.concat(), from).await;
        }
    }))
}

fn put(root: &Path, file: &str, content: &str) {
    let file = root.join(file);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, content).unwrap();
}

/// No shell, no libraries, no certificates, no time zones: what every container engine mounts (names), the
/// configuration, and a place for the store.
#[tokio::test]
async fn the_binary_alone_in_an_empty_root_sends() {
    const TEST: &str = "deploy::the_binary_alone_in_an_empty_root_sends";
    let Some(binary) = static_binary(TEST) else { return };
    let Some(enclosed) = Enclosed::possible() else {
        return eprintln!("skipped: {TEST} needs root, or user namespaces (unshare --user)");
    };
    let setup = Setup {
        templates: vec![("issue-created.md.hbs", "{{issue.key}}: {{date event.at}}")],
        more: "language: ru\n".into(),
        ..Setup::on(Clock::machine())
    };
    let slack = SlackSimulator::start(LOOPBACK, setup.slack.clone()).await.unwrap();
    let telegram = TelegramSimulator::start(LOOPBACK, setup.telegram.clone()).await.unwrap();
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    fs::set_permissions(root, Permissions::from_mode(0o755)).unwrap();
    fs::copy(binary, root.join("campanile")).unwrap();
    fs::create_dir(root.join("data")).unwrap();
    if let Some(uid) = enclosed.uid {
        chown(root.join("data"), Some(uid), Some(uid)).unwrap();
    }
    put(root, "etc/campanile/templates/issue-created.md.hbs", setup.templates[0].1);
    let dns = Ipv4Addr::new(127, 0, 0, 77);
    let serves_names = name_server(dns).await;
    put(root, "etc/resolv.conf", &format!("nameserver {dns}\n"));
    put(root, "etc/hosts", &format!("127.0.0.1 telegram{}\n", if serves_names.is_some() { "" } else { " slack" }));

    let telegram_url = format!("http://telegram:{}", telegram.addr().port());
    let slack_url = slack.api_url().replace("127.0.0.1", "slack");
    let mut bridge = Bridge::new(&root.join("etc/campanile"), &setup, &slack_url, &telegram_url);
    bridge.enclosed = Some(enclosed.within(root));
    let text = fs::read_to_string(root.join("etc/campanile/config.yaml")).unwrap();
    let text = text.replace("sqlite://data/", "sqlite:///data/").replace("Europe/Moscow", "Asia/Vladivostok");
    put(root, "etc/campanile/config.yaml", &text);
    bridge.env("TMPDIR", "/data");
    bridge.start().await;
    let health = bridge.command("health").output().unwrap();
    assert_eq!((health.status.code(), &health.stdout[..]), (Some(0), &b"alive\n"[..]), "{health:?}");

    let hook = Client::default().post(&bridge.hook_url()).header("authorization", HOOK_SECRET);
    assert_eq!(hook.json(&issue("TEST-1", "created")).await.status, 202);
    slack.wait_for_posts(1).await;
    telegram.wait_for_posts(1).await;
    for posts in [slack.posted(SLACK), telegram.posted(TELEGRAM)] {
        assert!(posts[0].seen.text.contains("TEST-1: 12 мая 2026, 19:15"), "{}", posts[0].seen.text);
    }
    assert_eq!(bridge.terminate().await.code(), Some(0), "{}", bridge.log());
    assert!(!bridge.log().contains("WARN"), "{}", bridge.log());
    assert!(root.join("data/campanile.db").exists());
}
