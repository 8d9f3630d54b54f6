//! `bench-link`, as a pipeline runs it: in a clone, with the variables that its CI sets.

use std::path::Path;
use std::process::Command;

use super::Ran;
use crate::harness::child::BINARY;
use crate::harness::{HOOK_SECRET, Setup};

/// Runs the binary in a folder, with these variables alone.
async fn run(folder: &Path, env: &[(&str, &str)], flags: &[&str]) -> Ran {
    let mut command = Command::new(BINARY);
    command.current_dir(folder).env_clear().envs(env.iter().copied()).arg("bench-link").args(flags);
    let end = tokio::task::spawn_blocking(move || command.output().unwrap());
    Ran::of(end.await.unwrap())
}

#[tokio::test]
async fn bench_link_ends_with_0_1_2() {
    let world = Setup::default().start().await;
    let to = world.public_url("/hooks/tracker");
    let flags = ["--url", "https://test-7.example.com", "--to", &to];
    let folder = tempfile::tempdir().unwrap();
    let secret = ("CAMPANILE_BENCH_SECRET", HOOK_SECRET);

    let on_none = run(folder.path(), &[secret], &flags).await;
    assert_eq!(on_none.code, Some(2), "{}", on_none.err);
    assert!(on_none.err.contains("hint: name it by `--branch`"), "{}", on_none.err);
    assert_eq!(run(folder.path(), &[secret], &["--to", &to]).await.code, Some(2), "no --url");

    let flags = [&flags[..], &["--issue", "TEST-7"]].concat();
    let taken = run(folder.path(), &[secret], &flags).await.done();
    assert!(taken.starts_with("taken: event "), "{taken}");
    let again = run(folder.path(), &[secret], &flags).await.done();
    assert!(again.starts_with("taken: event ") && again != taken, "a bench that comes again is news: {again}");

    let forged = run(folder.path(), &[("CAMPANILE_BENCH_SECRET", "another")], &flags).await.refused();
    assert!(forged.contains("does not take the secret") && !forged.contains("another"), "{forged}");
}

#[tokio::test]
async fn the_branch_that_git_is_on_is_told_where_no_pipeline_names_one() {
    let world = Setup::default().start().await;
    let clone = tempfile::tempdir().unwrap();
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "commit.gpgsign=false"];
        let ran = Command::new("git").args(identity).args(arguments).current_dir(clone.path()).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
    };
    git(&["init", "--quiet", "--initial-branch", "feature/TEST-8-login"]);
    git(&["commit", "--quiet", "--allow-empty", "--message", "x"]);
    let flags = ["--url", "https://test-8.example.com", "--to", &world.public_url("/hooks/tracker"), "--json"];
    let env = [("CAMPANILE_BENCH_SECRET", HOOK_SECRET), ("PATH", "/usr/bin:/bin")];
    let on_branch = run(clone.path(), &env, &flags).await.json();
    let event = world.api(&format!("/api/v1/events/{}", on_branch["event"])).await;
    assert_eq!(event["event"]["document"]["body"]["branch"], "feature/TEST-8-login", "{event}");
    git(&["checkout", "--quiet", "--detach"]);
    assert_eq!(run(clone.path(), &env, &flags).await.code, Some(2), "a commit by itself is no branch");
}

#[tokio::test]
async fn the_script_without_campanile_tells_the_same() {
    let world = Setup::default().start().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/ci/bench.sh");
    let to = world.public_url("/hooks/tracker");
    let run = async |env: &[(&str, &str)], arguments: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.arg(&script).args(arguments).current_dir(folder.path()).env_clear().env("PATH", "/usr/bin:/bin");
        command.envs(env.iter().copied());
        Ran::of(tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap())
    };
    let told = [("CAMPANILE_BENCH_TO", to.as_str()), ("CAMPANILE_BENCH_SECRET", HOOK_SECRET)];
    let bench = ["ready", "https://bench.example.com/?a=b&c=d"];
    for (variables, issue) in [
        (&[("GITHUB_HEAD_REF", "feature/TEST-9"), ("GITHUB_REF_NAME", "12/merge")][..], "TEST-9"),
        (&[("BRANCH_NAME", "TEST-10-x")], "TEST-10"),
    ] {
        let taken = run(&[&told, variables].concat(), &bench).await.json();
        let event = world.api(&format!("/api/v1/events/{}", taken["event"])).await;
        assert_eq!(event["event"]["issue"], issue, "{event}");
        let body = &event["event"]["document"]["body"];
        assert_eq!((&body["url"], &body["state"]), (&bench[1].into(), &bench[0].into()), "{event}");
    }
    let forged = [("CAMPANILE_BENCH_SECRET", "another"), ("CHANGE_BRANCH", "TEST-9"), told[0]];
    let forged = run(&forged, &bench).await;
    assert!(forged.code == Some(1) && !forged.err.contains("another"), "{}", forged.err);
    for (env, arguments) in [
        (&told[..], &bench[..]),
        (&[told[0], told[1], ("GITHUB_REF_NAME", "12/merge"), ("BRANCH_NAME", "PR-12")], &bench),
        (&[told[0], told[1], ("CHANGE_BRANCH", "TEST-9")], &["maybe", "https://a"]),
        (&[told[0], told[1], ("CHANGE_BRANCH", "TEST-9")], &["ready"]),
        (&[told[0], ("CHANGE_BRANCH", "TEST-9")], &bench),
        (&[told[1], ("CHANGE_BRANCH", "TEST-9")], &bench),
    ] {
        let ran = run(env, arguments).await;
        assert_eq!(ran.code, Some(2), "{env:?} {arguments:?}: {}{}", ran.out, ran.err);
    }
}
