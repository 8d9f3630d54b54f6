//! The commands beside `serve` and `check`, as a person or a script runs them: the real binary, its output, its end.

mod benches;
mod copies;
mod findings;
mod health;
mod previews;
mod store;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::World;
use crate::harness::child::BINARY;

/// How a command ended and what it said.
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    pub fn done(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }

    #[track_caller]
    pub fn json(self) -> Value {
        serde_json::from_str(&self.done()).unwrap()
    }

    /// It said what is wrong and the way out, and nothing else.
    #[track_caller]
    pub fn refused(self) -> String {
        assert_eq!((self.code, self.out.as_str()), (Some(1), ""), "{}", self.err);
        self.err
    }
}

/// Runs the binary without any secret set, in a world's folder.
async fn run_in(folder: &Path, arguments: &[&str], input: &str) -> Ran {
    run_with_secrets(folder, arguments, input, &[]).await
}

/// Runs the binary in a folder, with only these variables set.
pub async fn run_with_secrets(folder: &Path, arguments: &[&str], input: &str, secrets: &[(&str, &str)]) -> Ran {
    let mut command = Command::new(BINARY);
    command.args(arguments).current_dir(folder).env_clear().envs(secrets.iter().copied());
    let (input, mut child) = (input.to_owned(), {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    // Not on the runtime's own thread: the command may ask the world's server.
    let end = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    });
    Ran::of(end.await.unwrap())
}

#[test]
fn a_configuration_without_its_flag_is_told_which() {
    let run = |arguments: &[&str]| Ran::of(Command::new(BINARY).args(arguments).env_clear().output().unwrap());
    for arguments in [&["check", "bells.yaml"][..], &["serve", "bells.yaml"], &["events", "list", "bells.yaml"]] {
        let ran = run(arguments);
        assert_eq!(ran.code, Some(2));
        assert!(ran.err.contains("tip: a configuration is named by `--config bells.yaml`"), "{}", ran.err);
    }
    assert!(!run(&["check", "bells"]).err.contains("tip: a configuration"));
}

#[test]
fn output_that_cannot_be_written_is_no_panic() {
    let run = |arguments: &[&str], out: Stdio, err: Stdio| {
        let mut child = Command::new(BINARY).args(arguments).env_clear().stdout(out).stderr(err).spawn().unwrap();
        drop(child.stdout.take()); // a reader that has seen enough
        child.wait().unwrap().code()
    };
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    assert_eq!(run(&["check", "--config", "/nonexistent"], Stdio::null(), full()), Some(1));
    assert_eq!(run(&["explain", "--event", "/nonexistent"], Stdio::null(), full()), Some(1));
    assert_eq!(run(&["schema"], full(), full()), Some(1));
    assert_eq!(run(&["schema"], Stdio::piped(), Stdio::null()), Some(0));
}

#[tokio::test]
async fn help_breaks_its_lines_by_itself_and_explains_each_argument() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["events", "deliveries"] {
        let help = run_in(folder.path(), &[command, "--help"], "").await.done();
        assert!(help.contains("none runs, the store's file is read;"), "{help}");
        for one in ["show", "replay"] {
            let help = run_in(folder.path(), &[command, one, "--help"], "").await.done();
            assert!(help.contains("`events list` shows") || help.contains("`deliveries list` shows"), "{help}");
        }
    }
}

impl World {
    async fn run(&self, arguments: &[&str]) -> Ran {
        run_in(self.folder.path(), arguments, "").await
    }

    async fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        run_in(self.folder.path(), arguments, input).await
    }

    fn file(&self, name: &str, content: &str) {
        std::fs::write(self.folder.path().join(name), content).unwrap();
    }
}
