//! This executable in another process: a role by argument, a line on its standard input asks, a line answers.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use crate::{bare, messengers};

/// A process of ours; it ends with this value.
pub struct Child {
    process: std::process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// What it said first: where it listens.
    pub hello: String,
}

impl Child {
    pub fn start(role: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().expect("this executable"))
            .arg(format!("role:{role}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a second process of the bench");
        let input = process.stdin.take().expect("piped");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let mut child = Self { process, input, output, hello: String::new() };
        child.hello = child.line();
        child
    }

    pub fn ask(&mut self, question: &str) -> String {
        writeln!(self.input, "{question}").expect("the child listens");
        self.line()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the child answers");
        line.trim_end().to_owned()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The child's side.
pub fn play(role: &str) {
    match role {
        "simulators" => messengers::simulators(),
        "receiver" => messengers::receiver(),
        "hyper" => bare::hyper(),
        _ => panic!("no role `{role}`"),
    }
}

/// Answers the parent's lines until it is gone.
pub fn answer(hello: &str, mut answer: impl FnMut(&str) -> String) {
    let mut out = std::io::stdout();
    let mut say = |line: &str| writeln!(out, "{line}").and_then(|()| out.flush());
    if say(hello).is_err() {
        return;
    }
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        if say(&answer(&line)).is_err() {
            return;
        }
    }
}
