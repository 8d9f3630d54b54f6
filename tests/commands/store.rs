//! `events` and `deliveries`: from the running server, and from the file when none runs.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use campanile::simulator::Fault;
use serde_json::json;

use crate::harness::{SLACK, Setup, World, issue, numbers};

/// Two dead letters and a comment that was delivered; and the configuration by which commands find the server.
async fn world() -> World {
    let templates = vec![("issue-created.md.hbs", "{{issue.key}}: {{issue.summary}}")];
    let world = Setup { templates, ..Setup::default() }.only_slack().start().await;
    world.slack.fault(Fault::error("msg_too_long").times(4));
    world.burst(0..2).await;
    world.settled_as("dead", 2).await;
    let mut comment = issue("TEST-3", "comment");
    comment["comment"] = json!({"text": "\u{1b}[2Jso be it"});
    world.accepted(&comment).await;
    world.settled_as("delivered", 1).await;
    world.configure(|text| text);
    world
}

impl World {
    /// Writes where the server listens into the configuration, which asked for any port.
    fn configure(&self, change: impl FnOnce(String) -> String) {
        let text = std::fs::read_to_string(self.config_path()).unwrap();
        let admin = self.admin_url("").replace("http://", "");
        let text = text.replace("admin: '127.0.0.1:0'", &format!("admin: '{admin}'"));
        std::fs::write(self.config_path(), change(text)).unwrap();
    }

    /// What a command says with the server running, and without it, must be the same.
    async fn both(&self, arguments: &[&str]) -> [super::Ran; 2] {
        [self.run(arguments).await, self.run(&[arguments, &["--offline"]].concat()).await]
    }
}

#[tokio::test]
async fn the_file_tells_what_the_server_tells() {
    let mut world = world().await;
    for (arguments, path) in [
        (&["events", "list"][..], "events"),
        (
            &["events", "list", "--kind", "issue.comment_added", "--source", "tracker"],
            "events?kind=issue.comment_added",
        ),
        (&["events", "list", "--issue", "TEST-2"], "events?issue=TEST-2"),
        (&["events", "list", "--issue", "a&kind=b"], "events?issue=a%26kind%3Db"),
        (&["events", "show", "3"], "events/3"),
        (&["deliveries", "list"], "deliveries"),
        (&["deliveries", "list", "--state", "dead", "--limit", "1"], "deliveries?state=dead&limit=1"),
        (&["deliveries", "list", "--state", "dead", "--before", "2"], "deliveries?state=dead&before=2"),
        (&["deliveries", "list", "--channel", "ops-slack", "--event", "3"], "deliveries?channel=ops-slack&event=3"),
        (&["deliveries", "show", "1"], "deliveries/1"),
    ] {
        let expected = world.api(&format!("/api/v1/{path}")).await;
        for ran in world.both(&[arguments, &["--json"]].concat()).await {
            assert_eq!(ran.json(), expected, "{arguments:?}");
        }
    }
    let online = world.run(&["deliveries", "list"]).await.done();
    world.stop_app().await;
    assert_eq!(world.run(&["deliveries", "list"]).await.done(), online, "nobody listens: the file is read");
}

#[tokio::test]
async fn people_get_tables() {
    let world = world().await;
    let told = async |arguments: &[&str]| {
        let [server, file] = world.both(arguments).await.map(super::Ran::done);
        assert_eq!(server, file);
        server
    };
    insta::assert_snapshot!(told(&["events", "list"]).await, @"
    ID  RECEIVED             SOURCE   KIND                 ISSUE   DELIVERIES
    3   2026-05-12 12:15:02  tracker  issue.comment_added  TEST-3  1
    2   2026-05-12 12:15:02  tracker  issue.created        TEST-2  1
    1   2026-05-12 12:15:02  tracker  issue.created        TEST-1  1
    ");
    insta::assert_snapshot!(told(&["deliveries", "list"]).await, @"
    ID  EVENT  PLANNED              CHANNEL    STATE      ATTEMPTS  WHY
    3   3      2026-05-12 12:15:02  ops-slack  delivered  1
    2   2      2026-05-12 12:15:02  ops-slack  dead       2         refused content: msg_too_long
    1   1      2026-05-12 12:15:02  ops-slack  dead       2         refused content: msg_too_long
    ");
    insta::assert_snapshot!(told(&["deliveries", "show", "1"]).await, @"
    delivery 1 of event 1: dead
    channel   ops-slack
    route     #1
    template  issue-created
    attempts  2
    planned   2026-05-12 12:15:02
    settled   2026-05-12 12:15:02
    why       refused content: msg_too_long
    receipt   -

        TEST-1: message 0

    FAILED               TOOK  OUTCOME  DETAIL
    2026-05-12 12:15:02  0 ms  content  refused content: msg_too_long
    2026-05-12 12:15:02  0 ms  content  refused content: msg_too_long
    ");
    let event = told(&["events", "show", "3"]).await;
    assert!(event.starts_with("event 3: issue.comment_added from tracker, received 2026-05-12 12:15:02\n"), "{event}");
    assert!(event.contains("\"TEST-3\"") && event.contains("ops-slack") && !event.contains('\u{1b}'), "{event}");
    assert_eq!(told(&["events", "list", "--issue", "NONE-1"]).await, "nothing\n");
}

#[tokio::test]
async fn what_waits_for_the_pace_says_so() {
    let world = Setup::paced().only_slack().start().await;
    world.configure(|text| text);
    world.burst(0..3).await;
    let rows = world.settled(|rows| rows[0]["state"] == "delivered" && rows[1]["lane_wait"]["why"] == "pace").await;
    assert_eq!(rows[1]["lane_wait"]["until"], "2026-05-12T09:15:03.02Z");
    let listed = world.run(&["deliveries", "list"]).await.done();
    let waits = "for the messenger's pace, until 2026-05-12 12:15:03";
    assert!(listed.lines().any(|row| row.starts_with("2 ") && row.ends_with(waits)), "{listed}");
    let shown = world.run(&["deliveries", "show", "2"]).await.done();
    assert!(shown.contains(&format!("waits     {waits}\n")), "{shown}");
}

#[tokio::test]
async fn the_running_server_replays() {
    let world = world().await;
    assert_eq!(world.run(&["deliveries", "replay", "1"]).await.done(), "1 delivery is due again\n");
    world.settled_as("delivered", 2).await;
    assert_eq!(world.run(&["events", "replay", "2", "--json"]).await.json(), json!({"replayed": 1}));
    world.settled_as("delivered", 3).await;
    assert_eq!(world.run(&["events", "replay", "2"]).await.done(), "no dead letter: nothing to replay\n");
    let refused = world.run(&["deliveries", "replay", "1"]).await.refused();
    assert!(refused.contains("delivery 1 is delivered: only a dead letter can be replayed"), "{refused}");
    let refused = world.run(&["deliveries", "replay", "--channel", "nowhere"]).await.refused();
    assert!(refused.contains("nowhere"), "{refused}");
}

#[tokio::test]
async fn a_whole_channel_is_replayed_beyond_one_batch() {
    let world = Setup::default().only_slack().start().await;
    world.slack.fault(Fault::error("msg_too_long").times(2 * 1_100));
    world.configure(|text| text);
    world.burst(0..1_100).await;
    world.until_figure(r#"campanile_ledger_planned{part="dead"}"#, 1_100.0, Duration::ZERO).await;
    let replayed = world.run(&["deliveries", "replay", "--channel", "ops-slack"]).await.done();
    assert_eq!(replayed, "1100 deliveries are due again\n");
    world.until_figure(r#"campanile_ledger_planned{part="delivered"}"#, 1_100.0, Duration::ZERO).await;
}

#[tokio::test]
async fn nobody_serves_so_the_file_is_replayed_under_its_lock() {
    let mut world = world().await;
    let refused = world.run(&["deliveries", "replay", "1", "--offline"]).await.refused();
    assert!(
        refused.contains("another campanile is running on this store") && refused.contains("leave `--offline` out")
    );
    world.stop_app().await;
    assert_eq!(
        world.run(&["deliveries", "replay", "--channel", "ops-slack"]).await.done(),
        "2 deliveries are due again\n"
    );
    let refused = world.run(&["deliveries", "replay", "77"]).await.refused();
    assert!(refused.contains("there is no delivery 77"), "{refused}");
    world.start_app().await;
    world.clock.pass(Duration::from_secs(1));
    world.settled_as("delivered", 3).await;
    assert_eq!(numbers(&world.slack.posted(SLACK)[1..]), [0, 1], "in their old order");
}

#[tokio::test]
async fn reading_the_file_changes_nothing_in_it() {
    let mut world = world().await;
    world.stop_app().await;
    let path = world.folder.path().join("data/campanile.db");
    let before = std::fs::read(&path).unwrap();
    let lock = std::fs::metadata(path.with_extension("db.lock")).unwrap().modified().unwrap();
    for arguments in [&["events", "list"][..], &["deliveries", "show", "1"]] {
        world.run(arguments).await.done();
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::metadata(path.with_extension("db.lock")).unwrap().modified().unwrap(), lock);
    for beside in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let beside = beside.unwrap();
        assert_eq!(beside.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", beside.path());
    }
}

#[tokio::test]
async fn what_hinders_is_named_with_the_way_out() {
    let mut world = world().await;
    let gone = ["event", "delivery"].map(|what| format!("there is no {what} 9; it may be past retention_days"));
    for (arguments, gone) in [(["events", "show", "9"], &gone[0]), (["deliveries", "show", "9"], &gone[1])] {
        for ran in world.both(&arguments).await {
            let refused = ran.refused();
            assert!(refused.contains(gone), "{refused}");
        }
    }
    world.stop_app().await;
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let old = world.admin_url("").replace("http://", "");
    world.configure(|text| text.replace(&old, &address));
    std::thread::spawn(move || {
        for stream in other.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4_096]);
            let _ =
                stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\nconnection: close\r\n\r\nnot found");
        }
    });
    let refused = world.run(&["events", "list"]).await.refused();
    assert!(
        refused.contains(&format!("what listens at {address} (server.admin) is no campanile: HTTP 404")),
        "{refused}"
    );
    assert!(refused.contains("hint: ") && refused.contains("--offline"), "{refused}");
    assert!(world.run(&["events", "list", "--offline"]).await.done().contains("TEST-3"));

    let mail = TcpListener::bind("127.0.0.1:0").unwrap();
    let mail_address = mail.local_addr().unwrap().to_string();
    world.configure(|text| text.replace(&address, &mail_address));
    std::thread::spawn(move || {
        let mut stream = mail.accept().unwrap().0;
        let _ = stream.read(&mut [0; 4_096]);
        let _ = stream.write_all(b"220 mail\r\n\r\n");
    });
    let refused = world.run(&["events", "list"]).await.refused();
    assert!(refused.contains(&format!("{mail_address} (server.admin) gives no answer: invalid HTTP ")), "{refused}");

    for beside in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(world.folder.path().join(format!("data/campanile.db{beside}")));
    }
    std::fs::write(world.folder.path().join("data/campanile.db"), "no database, but long enough").unwrap();
    let refused = world.run(&["events", "list", "--offline"]).await.refused();
    assert!(refused.contains("is no SQLite file"), "{refused}");
    std::fs::remove_dir_all(world.folder.path().join("data")).unwrap();
    let refused = world.run(&["deliveries", "replay", "1", "--offline"]).await.refused();
    assert!(refused.contains("there is no store yet"), "{refused}");
    assert!(!world.folder.path().join("data").exists(), "a command makes no store");
}

#[tokio::test]
async fn a_name_that_nobody_knows_is_no_empty_list() {
    let world = world().await;
    for (arguments, told, near) in [
        (["deliveries", "list", "--channel", "ops-slak"], "no channel is named `ops-slak`", "`ops-slack`"),
        (["deliveries", "replay", "--channel", "ops-slak"], "no channel is named `ops-slak`", "`ops-slack`"),
        (["events", "list", "--source", "traker"], "no source is named `traker`", "`tracker`"),
    ] {
        for ran in world.both(&arguments).await {
            let refused = ran.refused();
            assert!(refused.contains(told) && refused.contains(&format!("did you mean {near}?")), "{refused}");
        }
    }
    // A channel that is gone from the configuration has rows still.
    world.configure(|text| text.replace("ops-slack", "night"));
    for ran in world.both(&["deliveries", "list", "--channel", "ops-slack", "--state", "pending"]).await {
        assert_eq!(ran.done(), "nothing\n");
    }
    assert_eq!(world.run(&["deliveries", "list", "--channel", "night"]).await.done(), "nothing\n");
    let replayed = world.run(&["deliveries", "replay", "--channel", "ops-slack"]).await.done();
    assert_eq!(replayed, "2 deliveries are due again\n");
}

#[tokio::test]
async fn while_somebody_edits_the_configuration_the_bridge_can_be_asked() {
    let world = world().await;
    world.configure(|text| format!("{text}lunguage: de\nroutes2: [{{channels: [nowhere]\n  }}]\n"));
    assert!(world.run(&["check"]).await.out.contains("unknown key `lunguage`"));
    for arguments in
        [&["events", "list"][..], &["deliveries", "show", "1"], &["deliveries", "list", "--channel", "ops-slack"]]
    {
        for ran in world.both(arguments).await {
            assert!(ran.done().contains("TEST-1") || arguments[0] == "deliveries");
        }
    }
    world.run(&["backup", "copy.db"]).await.done();
    world.configure(|text| text.replace("sqlite://", "sqlite:/"));
    let refused = world.run(&["events", "list"]).await.refused();
    assert!(refused.contains("`store` must be sqlite://") && !refused.contains("lunguage"), "{refused}");
    assert!(!refused.contains("without starting"), "this command starts nothing: {refused}");
}

/// Root may read everything, so the command runs as somebody else then.
#[tokio::test]
async fn a_store_of_another_user_is_not_said_to_be_absent() {
    let mut world = world().await;
    world.stop_app().await;
    let allow = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    allow(world.folder.path(), 0o755);
    let binary = world.folder.path().join("campanile");
    std::fs::copy(crate::harness::child::BINARY, &binary).unwrap();
    let data = world.folder.path().join("data");
    for (folder, file, told) in [(0o000, 0o600, "cannot be looked at"), (0o555, 0o000, "cannot be opened")] {
        allow(&data.join("campanile.db"), file);
        allow(&data, folder);
        let mut command = std::process::Command::new(&binary);
        if rustix::process::geteuid().is_root() {
            use std::os::unix::process::CommandExt;
            command.uid(65_532);
        }
        let ran = command.args(["events", "list"]).current_dir(world.folder.path()).env_clear().output().unwrap();
        allow(&data, 0o700);
        let refused = super::Ran::of(ran).refused();
        assert!(refused.contains(told) && refused.contains("run this as its owner, or as root"), "{refused}");
    }
}

#[tokio::test]
async fn the_admin_token_must_be_the_servers() {
    let mut world = Setup::default().start().await;
    world.stop_app().await;
    world.secrets.insert("ADMIN", "adm1n-secret".into());
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    std::fs::write(world.config_path(), text.replace("admin: '", "admin_token: {env: ADMIN}, admin: '")).unwrap();
    world.start_app().await;
    world.configure(|text| text);
    let unset = world.run(&["events", "list"]).await.refused();
    assert!(unset.contains("`server.admin_token` has no value here") && unset.contains("`ADMIN`"), "{unset}");
    std::fs::write(world.folder.path().join("token"), "wrong-secret").unwrap();
    world.configure(|text| text.replace("{env: ADMIN}", "{file: token}"));
    let wrong = world.run(&["events", "list"]).await.refused();
    assert!(wrong.contains("does not take this `server.admin_token`") && wrong.contains("hint: "), "{wrong}");
    assert!(!wrong.contains("wrong-secret"));
    std::fs::write(world.folder.path().join("token"), "adm1n-secret\n").unwrap();
    assert_eq!(world.run(&["events", "list"]).await.done(), "nothing\n");
    world.configure(|text| text.replace("admin_token: {file: token}, ", ""));
    let none = world.run(&["events", "list"]).await.refused();
    assert!(none.contains("wants an admin token") && none.contains("--config"), "{none}");
}

#[tokio::test]
async fn what_to_replay_must_be_said() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, told) in [
        (&["deliveries", "replay"][..], "Usage: campanile deliveries replay <ID|--channel <NAME>>"),
        (&["deliveries", "replay", "1", "--channel", "ops"], "cannot be used with"),
    ] {
        let ran = super::run_in(folder.path(), arguments, "").await;
        assert!(ran.code == Some(2) && ran.err.contains(told), "{}", ran.err);
    }
}
