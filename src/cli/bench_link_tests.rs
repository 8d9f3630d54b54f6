use clap::Parser;
use serde_json::json;

use super::*;
use crate::cli::{Cli, Command as Asked};
use crate::transport::fixture::{Act, Fixture, answer};

fn parsed(flags: &[&str]) -> Result<Bench, clap::Error> {
    let all = ["campanile", "bench-link"].iter().chain(flags);
    match Cli::try_parse_from(all)?.command {
        Asked::BenchLink(bench) => Ok(bench),
        _ => panic!("another command"),
    }
}

/// How the command ended: what it printed; or the exit code, what is wrong, and the hint.
type Ended = Result<String, (u8, String, String)>;

async fn run(flags: &[&str], env: &[(&str, &str)]) -> Ended {
    let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let mut out = Vec::new();
    let bench = parsed(flags).unwrap();
    let end = bench_link(&bench, &env, &|| Some("checked-out".to_owned()), &Clock::machine(), &mut out).await;
    let refused = |code, Refusal { what, hint }: Refusal| (code, what, hint.unwrap_or_default());
    match end {
        Ok(End::Done) => Ok(String::from_utf8(out).unwrap()),
        Err(Stop::Refused(refusal)) => Err(refused(1, refusal)),
        Err(Stop::Usage(refusal)) => Err(refused(2, refusal)),
        Err(Stop::Findings(findings)) => Err((1, findings[0].message.clone(), String::new())),
        _ => panic!("it ended otherwise"),
    }
}

/// To a server that answers so.
async fn told_to(acts: impl IntoIterator<Item = Act>, flags: &[&str]) -> (Ended, Fixture) {
    let fixture = Fixture::start(acts).await;
    let to = format!("{}/hooks/benches", fixture.base);
    let flags: Vec<_> = ["--to", to.as_str()].iter().chain(flags).copied().collect();
    (run(&flags, &[(SECRET, "s3cret\n")]).await, fixture)
}

const URL: [&str; 2] = ["--url", "https://test-1.example.com"];

#[test]
fn each_ci_names_its_branch() {
    let found = |env: &[(&str, &str)], git: Option<&str>| {
        let get = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        branch(&get, &|| git.map(str::to_owned)).unwrap_or_default()
    };
    for (env, name) in [
        (&[("BITBUCKET_BRANCH", "feature/TEST-1")][..], "feature/TEST-1"),
        (&[("GITHUB_HEAD_REF", "test-2"), ("GITHUB_REF_NAME", "12/merge")], "test-2"),
        (&[("GITHUB_HEAD_REF", ""), ("GITHUB_REF_NAME", "main")], "main"),
        (&[("GITHUB_REF_NAME", "TEST-3/merge")], "TEST-3/merge"),
        (&[("GITHUB_REF_NAME", "12/merge")], "git's"),
        (&[("CI_COMMIT_REF_NAME", "a"), ("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "TEST-4")], "TEST-4"),
        (&[("CI_COMMIT_REF_NAME", "TEST-5"), ("CI_COMMIT_REF_SLUG", "test-5")], "TEST-5"),
        (&[("CI_COMMIT_REF_SLUG", "test-5")], "git's"),
        (&[("CHANGE_BRANCH", "TEST-6"), ("BRANCH_NAME", "PR-12")], "TEST-6"),
        (&[("BRANCH_NAME", "PR-12")], "git's"),
        (&[("BRANCH_NAME", "PR-TEST-7")], "PR-TEST-7"),
        (&[], "git's"),
    ] {
        assert_eq!(found(env, Some("git's")), name, "{env:?}");
    }
    assert_eq!(found(&[("BRANCH_NAME", "PR-12")], None), "");
}

#[test]
fn the_script_without_campanile_looks_for_a_branch_in_the_same_places() {
    let script = include_str!("../../deploy/ci/bench.sh");
    let places: Vec<_> = BRANCHES.iter().map(|(variable, _)| script.find(&format!("${{{variable}:-}}"))).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
    assert_eq!(script.matches(":-}").count(), BRANCHES.len() + 4, "another place");
}

#[test]
fn flags_that_say_nothing_or_two_things_are_wrong_usage() {
    for flags in [&[][..], &["--branch", "a"], &["--url", "x", "--branch", "a", "--issue", "TEST-1"]] {
        assert_eq!(parsed(flags).unwrap_err().exit_code(), 2, "{flags:?}");
    }
    assert!(parsed(&["--gone"]).is_ok());
}

#[tokio::test]
async fn what_is_sent_is_what_the_flags_say() {
    let taken = || [answer("202 Accepted", "", r#"{"event": 7, "deliveries": 2}"#)];
    let url = "https://test-1.example.com";
    for (flags, body) in [
        (&["--url", url][..], json!({"branch": "checked-out", "url": url, "state": "ready"})),
        (&["--url", url, "--branch", "TEST-1"], json!({"branch": "TEST-1", "url": url, "state": "ready"})),
        (&["--url", url, "--issue", "TEST-1"], json!({"issue": "TEST-1", "url": url, "state": "ready"})),
        (&["--gone", "--branch", "TEST-1"], json!({"branch": "TEST-1", "state": "gone"})),
        (&["--gone", "--url", url], json!({"branch": "checked-out", "url": url, "state": "gone"})),
    ] {
        let (ended, fixture) = told_to(taken(), flags).await;
        assert_eq!(ended, Ok("taken: event 7\n".to_owned()), "{flags:?}");
        let mut sent = fixture.body(0);
        let at = sent.as_object_mut().unwrap().remove("at").unwrap();
        assert!(at.as_str().unwrap().parse::<Timestamp>().is_ok(), "{at}");
        assert_eq!(sent, body);
        let request = &fixture.requests()[0];
        assert!(request.starts_with("POST /hooks/benches HTTP/1.1\r\n"), "{request}");
        let head = request.to_lowercase();
        assert!(head.contains("authorization: bearer s3cret\r\n"), "line ends are no part of a secret: {head}");
        assert!(head.contains("content-type: application/json"), "{head}");
    }
}

#[tokio::test]
async fn an_answer_is_told_in_words_and_as_it_came() {
    for (status, body, told) in [
        ("202 Accepted", r#"{"event": 7, "deliveries": null}"#, "taken: event 7\n"),
        ("200 OK", r#"{"event": 7, "duplicate": true}"#, "taken before: event 7\n"),
        ("200 OK", r#"{"ignored": "no issue key in branch `main`"}"#, "ignored: no issue key in branch `main`\n"),
    ] {
        assert_eq!(told_to([answer(status, "", body)], &URL).await.0, Ok(told.to_owned()));
        let (ended, _) = told_to([answer(status, "", body)], &[&URL[..], &["--json"]].concat()).await;
        let printed: Value = serde_json::from_str(&ended.unwrap()).unwrap();
        assert_eq!(printed, serde_json::from_str::<Value>(body).unwrap());
    }
}

#[tokio::test]
async fn a_refusal_is_not_repeated_and_says_the_way_out() {
    for (status, body, what, hint) in [
        ("401 Unauthorized", "{}", "does not take the secret", SECRET),
        ("404 Not Found", "{}", "has no such source", "/hooks/<name of a source"),
        (
            "400 Bad Request",
            r#"{"error": "`url` is no web address"}"#,
            "cannot read it: `url` is no web",
            "http or https",
        ),
        ("200 OK", "<html>", "is no campanile: HTTP 200", "https"),
        ("200 OK", "{}", "is no campanile: HTTP 200", "https"),
        ("301 Moved Permanently", "", "is no campanile: HTTP 301", "https"),
    ] {
        let (ended, fixture) = told_to([answer(status, "", body)], &URL).await;
        let (code, told, way_out) = ended.unwrap_err();
        assert!(code == 1 && told.contains(what) && way_out.contains(hint), "{status}: {told} ({way_out})");
        assert_eq!(fixture.requests().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn what_is_not_stored_or_not_reached_is_tried_three_times() {
    let no = || answer("500 Internal Server Error", "", r#"{"error": "the disk is full"}"#);
    let yes = answer("202 Accepted", "", r#"{"event": 7, "deliveries": 0}"#);
    let (ended, fixture) = told_to([no(), Act::Close, yes], &URL).await;
    assert_eq!(ended, Ok("taken: event 7\n".to_owned()));
    assert_eq!(fixture.requests().len(), 3);
    let (ended, fixture) = told_to([no(), no(), no(), no()], &URL).await;
    let (code, told, _) = ended.unwrap_err();
    assert_eq!((code, fixture.requests().len()), (1, 3));
    assert!(told.ends_with("did not take it in 3 tries: HTTP 500: the disk is full"), "{told}");
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let to = format!("http://user:hunter2@{gone}/hooks/benches/hunter2");
    let ended = run(&["--url", "https://a", "--to", &to], &[(SECRET, "hunter2")]).await;
    let (code, told, _) = ended.unwrap_err();
    assert!(code == 1 && told.starts_with(&format!("{gone} did not take it in 3 tries: no connection: ")), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[tokio::test]
async fn whom_to_tell_stands_in_flags_environment_and_configuration() {
    let taken = || answer("202 Accepted", "", r#"{"event": 7, "deliveries": 0}"#);
    let fixture = Fixture::start([taken(), taken(), taken()]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, sources: &str, url: &str| {
        let path = folder.path().join(name);
        let yaml =
            format!("server: {{listen: \"[::]:1\"{url}}}\nstore: sqlite://db\nsources: {{{sources}}}\nrotues: x\n");
        std::fs::write(&path, yaml).unwrap();
        path.display().to_string()
    };
    let (url, benches) = (format!(", public_url: \"{}\"", fixture.base), "b: {kind: bench, secret: {env: OWN}}");
    let whole = file("whole.yaml", &format!("t: {{kind: tracker, secret: {{env: T}}}}, {benches}"), &url);
    let of = |config: &str, flags: &[&str]| -> Vec<String> {
        [&URL[..], &["--config", config], flags].concat().into_iter().map(str::to_owned).collect()
    };
    let ended = async |config: &str, flags: &[&str], env: &[(&str, &str)]| {
        let flags = of(config, flags);
        run(&flags.iter().map(String::as_str).collect::<Vec<_>>(), env).await
    };
    let own = [("OWN", "own"), ("OTHER", "other")];
    for (flags, env, secret) in [
        (&[][..], &own[..], "own"),
        (&["--secret-env", "OTHER"], &own, "other"),
        (&[], &[("OWN", "own"), (SECRET, "usual")], "usual"),
    ] {
        assert_eq!(ended(&whole, flags, env).await, Ok("taken: event 7\n".to_owned()));
        let request = fixture.requests().pop().unwrap().to_lowercase();
        assert!(request.starts_with("post /hooks/b http/1.1") && request.contains(&format!("bearer {secret}\r\n")));
    }
    let (public, benchless) = (file("public.yaml", benches, ""), file("benchless.yaml", "", &url));
    let to = ["--to", "https://bells.example.com/hooks/b"];
    for (config, flags, env, code, what) in [
        (whole.as_str(), &[][..], &[][..], 1, "there is no secret: the environment variable `OWN` is not set"),
        (&whole, &["--secret-env", "NONE"], &own, 1, "the environment variable `NONE` is not set"),
        (&public, &[], &own, 1, "`server.public_url` is not set"),
        (&benchless, &[], &own, 1, "has no source of kind `bench`"),
        ("absent.yaml", &[], &own, 2, "nobody is named to tell, and there is no configuration `absent.yaml`"),
        ("absent.yaml", &to, &own, 2, "no secret is named, and there is no configuration"),
        ("absent.yaml", &["--to", "bells.example.com"], &own, 2, "`--to` is no http:// or https:// address"),
        ("absent.yaml", &to, &[(SECRET, "\n")], 1, "`CAMPANILE_BENCH_SECRET` is not set or empty"),
        ("absent.yaml", &to, &[(SECRET, "a\nb")], 1, "a character that no header can carry"),
    ] {
        let (ended, told, hint) = ended(config, flags, env).await.unwrap_err();
        assert!(ended == code && told.contains(what) && !hint.is_empty(), "{what}: {ended} {told} ({hint})");
    }
}

#[tokio::test]
async fn without_a_branch_nobody_is_told() {
    let bench = parsed(&["--url", "https://a", "--to", "http://127.0.0.1:1/hooks/b"]).unwrap();
    let end = bench_link(&bench, &|_| None, &|| None, &Clock::machine(), &mut Vec::new()).await;
    let Err(Stop::Usage(Refusal { what, hint })) = end else { panic!("it ended otherwise") };
    assert!(what.contains("git is on none") && hint.unwrap().contains("`--branch`"));
}
