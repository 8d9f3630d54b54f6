//! One small file per mistake.

use super::*;

/// The least that is accepted; its three lines stand before what a test adds.
pub(super) const HEAD: &str =
    "server: {listen: \"[::]:8080\"}\nstore: sqlite://db\nsources: {tracker: {kind: tracker, secret: {env: S}}}\n";

pub(super) fn findings(yaml: &str) -> Vec<Finding> {
    parse(yaml, "config.yaml".into(), PathBuf::from("etc"), &|_| Vec::new()).1
}

pub(super) fn with(yaml: &str) -> String {
    format!("{HEAD}{yaml}\n")
}

pub(super) fn accepted(yaml: &str) -> Config {
    let (loaded, findings) = parse(yaml, "config.yaml".into(), PathBuf::from("etc"), &|_| Vec::new());
    assert_eq!(findings, [], "{yaml}");
    loaded.unwrap().0
}

/// Each case: what stands after [`HEAD`], line and column, a part of the message, a part of the hint.
#[track_caller]
pub(super) fn refused(cases: &[(&str, (usize, usize), &str, &str)]) {
    for (yaml, place, message, hint) in cases {
        let findings = findings(&with(yaml));
        let [finding] = findings.as_slice() else { panic!("{yaml}: {findings:#?}") };
        assert_eq!((finding.line, finding.column), *place, "{yaml}: {finding:?}");
        assert!(finding.message.contains(message), "{yaml}: {}", finding.message);
        assert!(finding.hint.as_deref().unwrap_or_default().contains(hint), "{yaml}: {:?}", finding.hint);
    }
}

#[test]
fn the_least_configuration_has_the_defaults_of_the_surface() {
    let config = accepted(HEAD);
    assert_eq!(config.server.listen.to_string(), "[::]:8080");
    assert_eq!(config.server.admin.to_string(), "127.0.0.1:8081");
    assert_eq!(config.server.shutdown_seconds, 25);
    assert_eq!(config.store, Store::Sqlite("etc/db".into()));
    assert_eq!((config.store_reserve_mb, config.max_pending, config.retention_days), (64, 5_000_000, 30));
    assert_eq!(config.templates, None, "no such folder beside it");
    assert_eq!((config.language, config.log), (Language::En, LogFormat::Text));
    assert_eq!(config.time_zone.iana_name(), Some("Europe/Moscow"));
    assert_eq!(config.tracker.web_url.as_str(), "https://tracker.yandex.ru");
    assert!(
        config.slack.is_none() && config.telegram.is_none() && config.channels.is_empty() && config.routes.is_empty()
    );
    let source = &config.sources[0];
    assert_eq!((source.name.as_str(), source.kind, source.dedupe_seconds), ("tracker", SourceKind::Tracker, None));
    assert_eq!(source.secrets[0].value, Secret::Env("S".into()));
}

/// A configuration in which each key stands once.
pub(super) const EVERY_KEY: &str = r#"
server:
  listen: 0.0.0.0:80
  admin: "0.0.0.0:81"
  admin_token: {file: run/admin}
  public_url: https://bells.example.com/
  trusted_proxies: [10.0.0.1, 192.168.0.0/16]
  shutdown_seconds: 5
store: sqlite:///var/lib/campanile.db
store_reserve_mb: 0
max_pending: 1
retention_days: 1
templates: /etc/templates
language: ru
time_zone: UTC
log: json
tracker:
  {url: "https://t/", web_url: "https://w", token: {env: T}, token_type: Bearer, cloud_org_id: x, queues: [A, OPS],
   pace: {per_second: 2}, enrich_within_seconds: 1, loop_guard: actions, recover_every_minutes: 0}
slack: {token: {env: A}, api_url: "http://127.0.0.1:9/api/", pace: {burst: 7}}
telegram: {token: {env: B}, api_url: "http://127.0.0.1:9", pace: none}
sources:
  a: {kind: tracker, secret: [{env: S}, {env: OLD}], dedupe_seconds: 60, url_secret: false, enrich: false}
  b: {kind: github, secret: {env: G}, keys: refuse, members_only: true, enrich: true}
  c: {kind: gitlab, secret: {env: G}, all_approvals: true, fetch_comments: {api_url: "https://g/api/v4/", token: {env: GT}}}
  d: {kind: bitbucket-cloud, secret: {env: C}, fetch_comments: {api_url: "https://c", token: {env: CT}, user: me}}
  e: {kind: bench, secret: {env: B}}
links:
  {info: '/o?k={{remoteKey}}', create: /new, remove: '/o?k={{remoteKey}}&i={{issueKey}}', auth: {token: {env: L}},
   application: campanile, icon_url: "https://bells.example.com/bell.png?v=1"}
channels:
  c: {slack: C0123456789}
  same: {slack: C0123456789, on_unclear: give_up}
  hook: {slack_webhook: {env: HOOK}}
  t: {telegram: -1001234567890, topic: 7, give_up_after_hours: 1, on_unclear: send_again}
routes:
  - {name: one, when: 'true', channels: [c, t], template: critical, style: post, continue: true, give_up_after_hours: 2}
  - {channels: [hook], disabled: true}
  - issue: {set: {benchLink: "{{bench.url}}", 65f1c0ffee0000000000000b--team: ''}, transition: {to: readyForTest, by: '7'},
            fields: {resolution: fixed}, comment: {template: review}, link: true}
  - {channels: [c], issue: {transition: closed, comment: "by {{actor.display}}", link: "channel:c"}}
"#;

#[test]
fn every_key_is_read() {
    let config = accepted(EVERY_KEY);
    assert_eq!(config.server.public_url.as_ref().unwrap().as_str(), "https://bells.example.com");
    assert_eq!(config.server.trusted_proxies.len(), 2);
    assert_eq!(config.store, Store::Sqlite("/var/lib/campanile.db".into()));
    assert_eq!((config.language, config.log), (Language::Ru, LogFormat::Json));
    assert_eq!(config.tracker.organization, Some(Organization::Cloud("x".into())));
    assert_eq!(config.tracker.queues, ["A", "OPS"]);
    let slack = config.slack.as_ref().unwrap();
    assert_eq!(slack.api_url.as_str(), "http://127.0.0.1:9/api");
    assert_eq!(slack.pace, Some(SlackPace { per_channel_per_second: 1.0, burst: 7 }));
    assert_eq!(config.telegram.as_ref().unwrap().pace, None);
    assert_eq!(config.sources[0].secrets.len(), 2);
    let conversations: Vec<_> = config.channels.iter().map(|channel| &channel.conversation).collect();
    assert_eq!(conversations[3], &Conversation::Telegram { chat: -1001234567890, topic: Some(7) });
    assert_eq!(config.channels[1].on_unclear, crate::delivery::OnUnclear::GiveUp);
    assert_eq!(config.routes[0].when.as_ref().unwrap().text(), "true");
    assert_eq!((config.routes[1].name.as_str(), config.routes[1].disabled), ("#2", true));
    let secrets: Vec<_> = config.secrets().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        secrets,
        [
            "server.admin_token",
            "tracker.token",
            "slack.token",
            "telegram.token",
            "sources.a.secret",
            "sources.a.secret",
            "sources.b.secret",
            "sources.c.secret",
            "sources.c.fetch_comments.token",
            "sources.d.secret",
            "sources.d.fetch_comments.token",
            "sources.e.secret",
            "links.auth.token",
            "channels.hook.slack_webhook"
        ]
    );
}

#[test]
fn keys_and_words_that_are_not_known() {
    refused(&[
        ("chanels: {}", (4, 1), "unknown key `chanels` in config.yaml", "did you mean `channels`?"),
        ("slack: {tokn: {env: A}}", (4, 9), "unknown key `tokn` in `slack`", "did you mean `token`?"),
        ("tracker: {queue: [A]}", (4, 11), "unknown key `queue` in `tracker`", "`queues`"),
        ("channels: {a: {slack_webhook: {env: A}, topik: 1}}", (4, 41), "in channel `a`", "`topic`"),
        (
            "slack: {pace: {per_chat_per_second: 1}}",
            (4, 16),
            "unknown key `per_chat_per_second` in `pace`",
            "per_channel",
        ),
        ("slack: {pace: defualt}", (4, 15), "`pace` does not know `defualt`", "did you mean `default`?"),
        ("log: yaml", (4, 6), "`log` does not know `yaml`", "`text` and `json`"),
        ("language: de", (4, 11), "does not know `de`", "`en` and `ru`"),
        ("time_zone: Europe/Moskow", (4, 12), "no time zone `Europe/Moskow`", "Europe/Moscow"),
        ("max_pending: 1\nmax_pending: 2", (5, 1), "`max_pending` stands here twice, first in line 4", ""),
    ]);
}

#[test]
fn nothing_can_reply_to_a_webhook() {
    let config = |style: &str| {
        format!(
            "channels: {{c: {{slack: C1}}, hook: {{slack_webhook: {{env: A}}}}}}\nslack: {{token: {{env: T}}}}\n\
             routes: [{{name: all, channels: [c, hook], style: {style}}}]"
        )
    };
    let hint = "lead `style: post` to it";
    refused(&[(&config("thread"), (6, 36), "route `all` has `style: thread`, but `hook` is a webhook", hint)]);
    accepted(&with(&config("post")));
}

#[test]
fn what_comes_later_is_said_to() {
    let route =
        |rest: &str| format!("channels: {{a: {{slack_webhook: {{env: A}}}}}}\nroutes: [{{channels: [a], {rest}}}]");
    for (rest, column, what) in
        [("style: card", 33, "`style: card`"), ("settle_for: 5", 26, "`settle_for`"), ("urgent: true", 26, "`urgent`")]
    {
        refused(&[(&route(rest), (5, column), what, "")]);
        refused(&[(&route(rest), (5, column), "comes with a later version", "")]);
    }
    for key in ["people", "hours", "digest", "alerts", "admin"] {
        refused(&[(&format!("{key}: {{}}"), (4, 1), "comes with a later version", "")]);
    }
    for (from, to, message) in [
        ("sqlite://db", "postgres://user:pw@host/db?nonsense=1", "`store` is no address of a PostgreSQL"),
        ("sqlite://db", "sqlite://", "`store` must be sqlite://"),
        ("sqlite://db", "data.db", "`store` must be sqlite://"),
    ] {
        let findings = findings(&HEAD.replace(from, to));
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert!(finding.message.contains(message), "{finding:?}");
        assert!(!finding.message.contains("pw"));
    }
}

#[test]
fn conditions_must_be_text_and_known() {
    let route =
        |when: &str| format!("channels: {{a: {{slack_webhook: {{env: A}}}}}}\nroutes:\n  - channels: [a]\n    {when}");
    for (when, column, message, hint) in [
        ("when: !has(issue.assignee)", 11, "`!has(issue.assignee)` is read by YAML as a tag", "single quotes"),
        ("when: !has(x) && true", 11, "`!has(x)` is read by YAML as a tag", "single quotes"),
        ("when:", 5, "`when` is empty", "leave it out"),
        ("when: ''", 11, "`when` is empty", "leave it out"),
        ("when: # later", 5, "`when` is empty", "leave it out"),
        ("when: [a]", 11, "`when` must be a text", ""),
        ("when: 'issue.kee == \"A\"'", 18, "`issue.kee` is not known", "did you mean `key`?"),
        ("when: issue.key == 1 && isue.key == 2", 29, "`isue` is not known", "did you mean `issue`?"),
        ("when: 'sise(issue.tags) > 1'", 12, "no function `sise`", "did you mean `size`?"),
    ] {
        let found = findings(&with(&route(when)));
        let [finding] = found.as_slice() else { panic!("{when}: {found:#?}") };
        assert!(finding.message.contains(message), "{when}: {}", finding.message);
        assert!(finding.hint.as_deref().unwrap_or_default().contains(hint), "{when}: {finding:?}");
        assert_eq!((finding.line, finding.column), (7, column), "{when}: {finding:?}");
    }
    let folded = route("when: >-\n      issue.key == \"A\" &&\n      issue.kee == \"B\"");
    refused(&[(&folded, (9, 13), "`issue.kee` is not known", "`key`")]);
}

#[test]
fn secrets_stand_outside() {
    refused(&[
        ("slack: {token: hunter2}", (4, 16), "the secret `token` must stand outside this file", "{env: NAME}"),
        ("slack: {token: [hunter2]}", (4, 16), "must stand outside", "{env: NAME}"),
        ("slack: {token: }", (4, 9), "`token` is empty", ""),
        ("slack: {token: {}}", (4, 16), "needs one of `env` and `file`", "{file: PATH}"),
        ("slack: {token: {env: A, file: b}}", (4, 16), "needs one of `env` and `file`", ""),
        ("slack: {token: {evn: A}}", (4, 17), "takes `env` or `file` and nothing else", "did you mean `env`?"),
        ("slack: {token: {env: a-b}}", (4, 22), "must be the name of an environment variable", ""),
        ("channels: {a: {slack_webhook: https://hunter2}}", (4, 31), "must stand outside", ""),
    ]);
    for (secret, message) in [("[]", "a list of two"), ("[{env: A}, {env: B}, {env: C}]", "a list of two")] {
        let found = findings(&HEAD.replace("{env: S}", secret));
        assert!(found.len() == 1 && found[0].message.contains(message), "{found:?}");
    }
    let debug = format!("{:?}", findings(&with("slack: {token: hunter2, tokn: hunter2}")));
    assert!(!debug.contains("hunter2"), "{debug}");
}

#[test]
fn secrets_that_are_not_set_are_told_with_their_place() {
    let config = accepted(&with("slack: {token: {file: absent}}\nchannels: {a: {slack_webhook: {env: SET}}}"));
    let env = |name: &str| (name == "SET").then(|| "hunter2".to_owned());
    let missing = config.check_secrets(&env, Severity::Error);
    let places: Vec<_> = missing.iter().map(|finding| (finding.line, finding.column, finding.severity)).collect();
    assert_eq!(places, [(4, 16, Severity::Error), (3, 44, Severity::Error)]);
    assert!(missing[0].message.contains("`slack.token` has no value: the secret's file `etc/absent` does not exist"));
    assert!(missing[1].message.contains("the environment variable `S` is not set"));
    assert_eq!(config.check_secrets(&env, Severity::Warning)[0].severity, Severity::Warning);
}

#[test]
fn sections_fit_one_another() {
    refused(&[
        (
            "channels: {ops-room: {slack_webhook: {env: A}}, release-notes: {slack_webhook: {env: A}}}\nroutes: [{name: r, channels: [ops-rom]}]",
            (5, 31),
            "route `r` leads to a channel that does not exist: `ops-rom`",
            "did you mean `ops-room`? The channels are `ops-room` and `release-notes`",
        ),
        ("routes: [{channels: [a]}]", (4, 22), "does not exist: `a`", "there are no channels"),
        ("channels: {a: {slack: C1}}", (4, 12), "channel `a` needs the section `slack`", "{env: NAME}"),
        ("slack: {pace: none}\nchannels: {a: {slack: C1}, b: {slack: C2}}", (4, 8), "`slack` needs `token`", ""),
        ("channels: {a: {telegram: 1}}", (4, 12), "needs the section `telegram`", ""),
        ("channels: {a: {slack_webhook: {env: A}, topic: 1}}", (4, 48), "`topic` belongs to Telegram", ""),
        ("channels: {a: {}}", (4, 12), "needs one of `slack`, `slack_webhook` and `telegram`", ""),
        ("channels: {a: {slack: C1, telegram: 1}}", (4, 12), "needs one of", ""),
        ("channels: {A b: {slack_webhook: {env: A}}}", (4, 12), "`A b` is no channel name", ""),
        ("channels: {a: {slack: \"#ops\"}}", (4, 23), "`#ops` is no id of a Slack conversation", "C0123456789"),
        ("channels: {a: {slack: c0123}}", (4, 23), "`c0123` is no id", ""),
        ("channels: {a: {slack: C}}", (4, 23), "`C` is no id", ""),
        ("channels:\n  a:\n    slack: #ops", (6, 5), "`slack` is empty", "`#` begins a comment"),
        (
            "channels: {a: {slack_webhook: {env: A}}}\nroutes: [{when: 'true'}]",
            (5, 10),
            "route `#1` needs `channels` or `issue`",
            "",
        ),
        ("routes: [{channels: []}]", (4, 21), "names no channel", ""),
        ("tracker: {token: {env: T}}", (4, 10), "needs `org_id` or `cloud_org_id`", "tracker.yandex.ru/admin/orgs"),
        ("tracker: {org_id: \"1\", cloud_org_id: x}", (4, 38), "not both", ""),
        ("tracker: {queues: [ops]}", (4, 20), "`ops` is no queue's key", ""),
        ("slack: {api_url: ftp://x}", (4, 18), "`api_url` must be a URL with http:// or https://", ""),
        ("slack: {api_url: 'https://x?y'}", (4, 18), "without `?`", ""),
        ("slack: {api_url: slack}", (4, 18), "`api_url` must be a URL", ""),
    ]);
}

#[test]
fn needed_keys_and_files_that_are_none() {
    for (yaml, messages) in [
        ("", &["the configuration is empty"][..]),
        ("# nothing\n", &["the configuration is empty"]),
        ("{}", &["config.yaml needs `server`", "config.yaml needs `store`", "config.yaml needs `sources`"]),
        ("[]", &["must be a map"]),
        ("server: {}\nstore: sqlite://x\nsources: {}\n", &["`server` needs `listen`", "no source is configured"]),
        (
            "server: {listen: \"[::]:1\"}\nstore: sqlite://x\nsources: {a: {}}\n",
            &["source `a` needs `kind`", "needs `secret`"],
        ),
        ("a: b: c\n", &["this is no YAML"]),
        ("a: \"x\n", &["this is no YAML"]),
        ("a: *b\n", &["this is no YAML"]),
    ] {
        let found = findings(yaml);
        assert_eq!(found.len(), messages.len(), "{yaml}: {found:#?}");
        for (finding, message) in found.iter().zip(messages) {
            assert!(finding.message.contains(message), "{yaml}: {}", finding.message);
        }
    }
    let two = findings(&format!("{HEAD}---\n{HEAD}"));
    assert!(two.len() == 1 && two[0].line == 4 && two[0].message.contains("second document"), "{two:?}");

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"a: b\rc: \xd0\xb6\xff\n").unwrap();
    let found = load(file.path(), &|_| Vec::new()).err().unwrap();
    assert_eq!((found[0].line, found[0].column, found.len()), (2, 5, 1), "{found:?}");
    assert!(found[0].message.contains("not UTF-8"));
    std::fs::write(file.path(), format!("{HEAD}routes: [{{name: a, when: \"1 == \r 2 kee\", channels: [a]}}]\n"))
        .unwrap();
    let found = load(file.path(), &|_| Vec::new()).err().unwrap();
    assert_eq!((found[0].line, found[0].column), (5, 4), "{found:?}");
    let found = load(Path::new("/nonexistent/config.yaml"), &|_| Vec::new()).err().unwrap();
    assert_eq!((found[0].line, found[0].message.as_str()), (0, "the configuration does not exist"));
    let folder = tempfile::tempdir().unwrap();
    assert!(load(folder.path(), &|_| Vec::new()).err().unwrap()[0].message.contains("cannot be read"));
}

#[test]
fn all_findings_of_all_parts_come_at_once_in_the_order_of_the_file() {
    let yaml = "server: {listen: here}\nstore: db\nlog: xml\nchannels: {a: {slack: ops}}\nroutes:\n  - {when: '1 +', channels: [b]}\n  - {when: 'x', channels: [a], foo: 1}\nsources: {}\n";
    let own = |config: &Config| {
        assert_eq!(config.routes.len(), 2);
        vec![Finding::error("config.yaml", 3, 1, "of another part")]
    };
    let (_, found) = parse(yaml, "config.yaml".into(), PathBuf::new(), &own);
    let lines: Vec<_> = found.iter().map(|finding| finding.line).collect();
    assert_eq!(lines, [1, 2, 3, 3, 4, 6, 6, 7, 7, 8], "{found:#?}");
}

#[test]
fn templates_that_routes_name_must_exist() {
    let config = accepted(&with(
        "channels: {a: {slack_webhook: {env: A}}}\nroutes:\n  - {name: r, channels: [a], template: critcal}\n  - {channels: [a], template: issue}",
    ));
    let unknown = config.unknown_templates(&["critical", "issue"]);
    let [finding] = unknown.as_slice() else { panic!("{unknown:?}") };
    assert_eq!((finding.line, finding.column), (6, 40));
    assert!(
        finding.message.contains("`critcal`") && finding.hint.as_deref().unwrap().contains("did you mean `critical`?")
    );
}

#[test]
fn a_secret_in_the_url_and_twin_routes_are_warnings() {
    let url = HEAD.replace("{env: S}", "{env: S}, url_secret: true");
    let twins =
        with("channels: {a: {slack_webhook: {env: A}}}\nroutes: [{name: r, channels: [a]}, {name: r, channels: [a]}]");
    for (yaml, column) in [(url, 66), (twins, 43)] {
        let (loaded, found) = parse(&yaml, "config.yaml".into(), PathBuf::new(), &|_| Vec::new());
        assert!(loaded.is_some());
        assert_eq!((found.len(), found[0].severity, found[0].column), (1, Severity::Warning, column), "{found:?}");
    }
}

#[test]
fn anchors_stand_for_what_they_name() {
    let config = accepted(&with("channels:\n  a: &hook {slack_webhook: {env: A}}\n  b: *hook"));
    assert_eq!(config.channels[0].conversation, config.channels[1].conversation);
}

#[test]
fn the_repositorys_own_configuration_is_accepted() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.yaml");
    let loaded =
        load(&path, &|config| config.check_secrets(&|_| None, Severity::Warning)).map_err(|f| format!("{f:#?}"));
    let loaded = loaded.map_err(|findings| panic!("{findings}")).unwrap();
    assert!(loaded.warnings.iter().all(|finding| finding.message.contains("is not set")), "{:#?}", loaded.warnings);
    assert_eq!(loaded.warnings.len(), loaded.config.secrets().len());
}

proptest::proptest! {
    #[test]
    fn any_text_is_accepted_or_has_findings(text in "[a-z :\\-\\[\\]{}'\"\n&*!|>#%\\\\0-9]{0,80}") {
        for yaml in [text.clone(), with(&text), with(&format!("routes: [{{when: {text}}}]"))] {
            let (loaded, found) = parse(&yaml, "config.yaml".into(), PathBuf::new(), &|_| Vec::new());
            proptest::prop_assert!(loaded.is_some() || !found.is_empty());
        }
    }
}
