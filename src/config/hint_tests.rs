//! What a finding says of how to mend it, where people are known to go wrong.

use super::tests::{HEAD, accepted, findings, refused, with};
use super::*;

#[test]
fn what_is_no_yaml_has_the_hint_for_its_mistake_and_no_other() {
    for (yaml, message, hint) in [
        ("slack:\n\tpace: none", "tab", "indent with spaces"),
        ("channels:\n  a: {slack: C1\n  b: {slack: C2}", "", "the `{` in the line above is open here: close it"),
        ("routes:\n  - channels: [a, b\n    name: x", "", "the `[` in the line above is open here: close it"),
        ("log: [text", "", "the `[` in this line is open here: close it"),
        ("routes:\n  - channels: [a,\n    b\n    name: x", "", "the `[` 2 lines above is open here: close it"),
        ("log: [text}", "", "`[` is closed by `]`"),
        ("log: *format", "unknown anchor", "`*` names what stands at `&` before"),
        ("log: text: json", "", "stand in single quotes"),
        ("log: 'text' json", "", "stand in single quotes"),
        ("log: 'text", "", "a quote is open here"),
        ("log: \"te\\xt\"", "", "in single quotes"),
    ] {
        let found = findings(&with(yaml));
        let [finding] = found.as_slice() else { panic!("{yaml}: {found:#?}") };
        assert!(finding.message.starts_with("this is no YAML: ") && finding.message.contains(message), "{finding:?}");
        assert!(finding.hint.as_deref().is_some_and(|told| told.contains(hint)), "{yaml}: {finding:?}");
    }
    let deep = findings(&with(&format!("log: {}", "[".repeat(20_000))));
    assert_eq!((deep.len(), deep[0].hint.as_deref()), (1, None), "{deep:?}");
}

#[test]
fn a_merge_key_is_one_finding() {
    for yaml in [
        "channels:\n  a: &hook {slack_webhook: {env: A}}\n  b: {<<: *hook}",
        "channels:\n  a: &hook {slack_webhook: {env: A}}\n  <<: *hook",
    ] {
        let found = findings(&with(yaml));
        let told: Vec<_> = found.iter().filter(|finding| finding.message.contains("`<<` is not read")).collect();
        assert_eq!(told.len(), 1, "{found:#?}");
        assert!(found.iter().all(|finding| !finding.message.contains("``")), "{found:#?}");
    }
}

#[test]
fn keys_that_are_written_otherwise_are_named() {
    let route = "channels: {a: {slack_webhook: {env: A}}}\nroutes: [{channels: [a], thread: true}]";
    refused(&[(route, (5, 26), "unknown key `thread` in route `#1`", "it is written `style: thread`")]);
    refused(&[("\"\": 1", (4, 1), "unknown key ``", "")]);
    let found = findings(&HEAD.replace("kind: tracker", "kind: gitlub"));
    assert!(found[0].hint.as_deref().unwrap().starts_with("did you mean `github`?"), "{found:?}");
}

#[test]
fn findings_name_the_file_that_was_read() {
    let (_, found) = parse(&with("chanels: {}"), "etc/bells.yaml".into(), PathBuf::new(), &|_| Vec::new());
    assert_eq!(found[0].message, "unknown key `chanels` in bells.yaml");
}

#[test]
fn an_address_of_a_store_that_cannot_be_one_is_told_where_it_stands() {
    let config = accepted(&HEAD.replace("sqlite://db", "{env: STORE}"));
    let found = |url: &str| config.check_secrets(&|_| Some(url.to_owned()), Severity::Warning);
    assert_eq!(found("postgres://u:hunter2@h/db?sslmode=require"), []);
    for (url, why) in
        [("postgres://u:hunter2@h/db?sslmode=on", "one of disable"), ("mysql://u:hunter2@h", "postgres://")]
    {
        let [finding] = &*found(url) else { panic!("{url}") };
        assert_eq!((finding.line, finding.severity), (2, Severity::Error));
        assert!(finding.message.starts_with("`store` is no address of a PostgreSQL: "), "{finding:?}");
        assert!(finding.message.contains(why) && !format!("{finding:?}").contains("hunter2"), "{finding:?}");
    }
}

#[test]
fn a_token_that_cannot_be_one_is_told_where_it_stands() {
    let yaml = with("slack: {token: {env: SLACK}}\ntelegram: {token: {env: TELEGRAM}}");
    let found = |slack: &str, telegram: &str| {
        let env = |name: &str| match name {
            "SLACK" => Some(slack.to_owned()),
            "TELEGRAM" => Some(telegram.to_owned()),
            _ => Some("hook".to_owned()),
        };
        let found = accepted(&yaml).check_secrets(&env, Severity::Warning);
        assert!(found.iter().all(|finding| finding.severity == Severity::Error && finding.hint.is_some()));
        assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
        found.into_iter().map(|finding| (finding.line, finding.column, finding.message)).collect::<Vec<_>>()
    };
    for (slack, telegram) in [
        ("xoxb-1-2-hunter2\n", "123456:AA_hunter-2\r\n"),
        ("xoxe.xoxb-1-hunter2", "1:hunter2"),
        ("through-a-proxy", "through-a-proxy"),
    ] {
        assert_eq!(found(slack, telegram), []);
    }
    for odd in ["xoxb-hunter2 ", " xoxb-hunter2", "xoxb-hun\nter2", "xoxb-hunter2\u{a0}", "хохb-hunter2"] {
        let what = "`slack.token` has a blank in it, or another character that no token has";
        assert_eq!(found(odd, "1:x"), [(4, 16, what.to_owned())], "{odd:?}");
    }
    for odd in ["1:hunter2 ", "1:hunter2/getMe", "1:hunter2?", "1:\thunter2"] {
        let what = "`telegram.token` has a blank in it, or another character that no token has";
        assert_eq!(found("xoxb-1", odd), [(5, 19, what.to_owned())], "{odd:?}");
    }
    let swapped = found("123456:hunter2", "xoxb-hunter2");
    assert_eq!(
        swapped.into_iter().map(|(line, _, message)| (line, message)).collect::<Vec<_>>(),
        [
            (4, "`slack.token` is a token of Telegram's".to_owned()),
            (5, "`telegram.token` is a token of Slack's".to_owned())
        ]
    );
}

#[test]
fn a_group_without_its_minus_is_a_warning() {
    let yaml = |chat: &str| with(&format!("telegram: {{token: {{env: T}}}}\nchannels: {{a: {{telegram: {chat}}}}}"));
    for (chat, message) in [("10000000000", 1), ("4503599627370495", 1), ("9999999999", 0), ("-1001234567890", 0)] {
        let (loaded, found) = parse(&yaml(chat), "config.yaml".into(), PathBuf::new(), &|_| Vec::new());
        assert!(loaded.is_some());
        assert_eq!(found.len(), message, "{found:?}");
        for finding in found {
            assert_eq!((finding.severity, finding.line, finding.column), (Severity::Warning, 5, 26));
            assert_eq!(finding.hint, Some(format!("a group's id begins with a minus, as in -{chat}")));
        }
    }
}

#[test]
fn a_store_that_is_a_folder_is_a_finding() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    for (store, hint) in [("data/", "sqlite://data/campanile.db"), ("data", "sqlite://data/campanile.db")] {
        let yaml = HEAD.replace("sqlite://db", &format!("sqlite://{store}"));
        let (_, found) = parse(&yaml, "config.yaml".into(), folder.path().to_owned(), &|_| Vec::new());
        let [finding] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((finding.line, finding.column, finding.message.as_str()), (2, 8, "`store` names a folder"));
        assert!(finding.hint.as_deref().unwrap().ends_with(hint), "{finding:?}");
    }
}
