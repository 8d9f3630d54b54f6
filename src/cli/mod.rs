//! One file per command. Errors here are for people: what, where, and the way out.

pub mod check;
mod demo;
mod serve;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Config;
use crate::finding::Finding;
use crate::template::Templates;

/// The bridge from Yandex Tracker to Slack and Telegram that loses nothing.
///
/// A trigger in Tracker calls `/hooks/<source>`; the call is on disk before it is answered; the message is placed in
/// order, at the messenger's pace, until there is a receipt.
#[derive(Debug, Parser)]
#[command(
    name = "campanile",
    version,
    after_help = "Logs go to standard error; CAMPANILE_LOG=debug shows more of them."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the bridge until SIGTERM or Ctrl-C
    Serve(Configured),
    /// Run the bridge between a simulated Slack and Telegram, with a page that shows both; needs nothing
    Demo,
    /// Say everything that is wrong with the configuration and the templates, without starting anything
    Check {
        #[command(flatten)]
        configured: Configured,
        /// Print [{file, line, column, severity, message, hint}] instead of text
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct Configured {
    /// The configuration; paths in it are relative to its folder
    #[arg(long, value_name = "PATH", default_value = "config.yaml")]
    config: PathBuf,
}

/// How a command ended: 0 done, 1 findings or refused; clap itself answers 2 for wrong usage.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    Done,
    Refused,
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        match end {
            End::Done => Self::SUCCESS,
            End::Refused => Self::FAILURE,
        }
    }
}

impl Cli {
    /// Runs the command that was asked for.
    ///
    /// # Errors
    /// Only when standard output is gone.
    pub fn run(self) -> std::io::Result<End> {
        match self.command {
            Command::Serve(Configured { config }) => serve::serve(&config),
            Command::Demo => demo::demo(),
            Command::Check { configured, json } => {
                let findings = check::check(&configured.config, &template_findings, &env);
                let mut out = std::io::stdout().lock();
                if json {
                    writeln!(out, "{}", check::json(&findings).map_err(std::io::Error::other)?)?;
                } else {
                    write!(out, "{}", check::text(&findings, out.is_terminal()))?;
                }
                Ok(if check::exit_code(&findings) == 0 { End::Done } else { End::Refused })
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The configured folder's templates, with the findings in them and in the routes that name them.
fn templates(config: &Config) -> (Templates, Vec<Finding>) {
    let (templates, mut findings) = Templates::load(config.templates.as_deref());
    findings.extend(config.unknown_templates(&templates.names()));
    (templates, findings)
}

fn template_findings(config: &Config) -> Vec<Finding> {
    templates(config).1
}

/// A sentence on standard error, with the way out where there is one.
fn complain(what: &str, hint: Option<&str>) {
    eprintln!("error: {what}");
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
}

fn complain_findings(findings: &[Finding], config: &Path) {
    eprint!("{}", check::text(findings, std::io::stderr().is_terminal()));
    eprintln!("hint: `campanile check --config {}` says this without starting anything", config.display());
}
