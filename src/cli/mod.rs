//! One file per command. Errors here are for people: what, where, and the way out.

mod admin;
mod backup;
mod bench_link;
pub mod check;
mod connect;
mod demo;
mod doctor;
mod event;
mod explain;
mod follow;
mod health;
mod import;
mod links;
mod preview;
mod progress;
mod render;
mod rows;
mod running;
mod serve;
mod show;
mod store;

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, Parser, Subcommand};

use self::event::EventFile;
use self::show::{indented, json_line, table, visible};
use crate::clock::Clock;
use crate::config::{self, Config, Loaded, load};
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
    after_help = "\
Examples:
  campanile check                                      what is wrong with ./config.yaml
  campanile doctor                                     whether all services would accept the bridge
  campanile explain --event call.json                  where this call would lead, and why
  campanile render critical --event call.json          what `critical` would say of it
  campanile deliveries list --state dead               what was given up, and why
  campanile connect TEST --dry-run                     the triggers of a queue that are lacking
  campanile backup /backups/campanile.db               a copy, while the bridge runs
  campanile bench-link --url https://test-1.example.com  where a branch can be tried, from a pipeline
  campanile serve --config /etc/campanile/config.yaml

Exit codes: 0 done, 1 findings or refused, 2 wrong usage.
Logs and errors go to standard error; CAMPANILE_LOG=debug shows more."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the bridge until SIGTERM or Ctrl-C
    ///
    /// SIGHUP and a change of config.yaml, a template or a secret's file reload them: all of it or, when something is
    /// wrong, nothing. Changes of `server` and `store` wait for a restart; the log names them.
    Serve(Configured),
    /// Run the bridge between a simulated Tracker, Slack and Telegram, with a page that shows all; needs nothing
    Demo,
    /// Say everything that is wrong with the configuration and the templates, without starting anything
    Check {
        #[command(flatten)]
        configured: Configured,
        /// Print [{file, line, column, severity, message, hint}] instead of text
        #[arg(long)]
        json: bool,
    },
    /// Ask the store, Slack, Telegram and Tracker whether they would accept the bridge
    ///
    /// Nothing is changed anywhere and nothing is posted; it may run beside `serve`. Each question has 10 s, and one that
    /// is not answered fails alone. Ends with 0 when nothing failed; warnings are no failure.
    #[command(after_help = "\
Examples:
  campanile doctor --config /etc/campanile/config.yaml
  campanile doctor --json | jq -r '.[] | select(.state != \"ok\") | .subject + \": \" + .message'")]
    Doctor {
        #[command(flatten)]
        configured: Configured,
        /// Print [{check, subject, state, message, hint}] instead of a table; `state` is ok, warn or fail
        #[arg(long)]
        json: bool,
    },
    /// Say what each route makes of an event and why, what would be sent, and what done to its issue
    ///
    /// Nothing is sent or stored, and no secret has to be set.
    #[command(after_help = "\
Examples:
  campanile explain --event call.json
  campanile explain --source reviews --header 'X-GitHub-Event: pull_request' --event pull.json
  campanile events show 7 --json | campanile explain --event -
  campanile explain --event call.json --json | jq -r '.[] | select(.matched).route'")]
    Explain {
        #[command(flatten)]
        event: EventFile,
        #[command(flatten)]
        configured: Configured,
        /// Print [{route, matched, why}] instead of text, with `actions` where an issue would be changed
        #[arg(long)]
        json: bool,
    },
    /// Show a template's messages for an event, as both messengers or one channel would get them
    ///
    /// Nothing is sent or stored, and no secret has to be set. A template that fails shows the fallback text that would
    /// go out instead, and ends with 1.
    #[command(after_help = "\
Examples:
  campanile render critical --event call.json
  campanile render critical --event call.json --channel oncall-telegram --json | jq '.telegram[0].text'")]
    Render {
        /// A file of the templates' folder without `.md.hbs` and its like, or one from the binary
        template: String,
        #[command(flatten)]
        event: EventFile,
        /// Only what would go to this channel [default: each messenger's first]
        #[arg(long, value_name = "NAME")]
        channel: Option<String>,
        #[command(flatten)]
        configured: Configured,
        /// Print {"slack": [chat.postMessage bodies], "telegram": [sendMessage bodies]} instead of text
        #[arg(long)]
        json: bool,
    },
    /// Make and mend a queue's triggers, so that Tracker calls the bridge
    ///
    /// One trigger for each event, with the body, the header and the conditions that README recommends. Asked again, it
    /// writes only what is not as it should be; triggers that are not its own, by name and address, it never touches.
    /// Needs `server.public_url` and `tracker.token`, whose owner may change the queue's settings.
    #[command(after_help = "\
Examples:
  campanile connect TEST --dry-run
  campanile connect TEST --events created,status_changed --config /etc/campanile/config.yaml
  campanile connect TEST --print          what to paste by hand, where no token may change the queue
  campanile connect TEST --secret-again   after the source's secret was changed
  campanile connect TEST --was https://old.example.com   after a change of `server.public_url`")]
    Connect(connect::Connect),
    /// Switch off a queue's triggers that call the bridge, and no others
    ///
    /// They stay in the queue, inactive; `connect` switches them on again.
    #[command(after_help = "\
Examples:
  campanile disconnect TEST --dry-run
  campanile disconnect TEST --events assigned")]
    Disconnect(connect::Disconnect),
    /// Propose channels, routes and templates for a queue's triggers that call Slack or Telegram by themselves
    ///
    /// Reads the triggers, writes nothing, and names whatever could not be carried over. Tokens and webhooks' addresses are
    /// not printed: they stand as {env: NAME}.
    #[command(after_help = "\
Examples:
  campanile import-triggers TEST
  campanile import-triggers TEST --json | jq -r .config")]
    ImportTriggers(import::Import),
    /// List what was received, show an event, replay its dead letters
    #[command(subcommand, after_help = LISTING_HELP)]
    Events(store::Events),
    /// List what goes out, show a delivery, replay dead letters
    #[command(subcommand, after_help = LISTING_HELP)]
    Deliveries(store::Deliveries),
    /// List what issues are linked to; say what Tracker has to be told to register the application
    #[command(subcommand, after_help = LINKS_HELP)]
    Links(links::Links),
    /// Copy the store into a new file, while the bridge runs or not
    ///
    /// The copy is what the store held at one moment, checked, for its owner alone (0600). To restore it: stop the
    /// bridge, put the copy in the store's place, remove the `-wal` and `-shm` beside it, and start.
    #[command(after_help = "\
Examples:
  campanile backup /backups/campanile-$(date +%F).db --config /etc/campanile/config.yaml")]
    Backup {
        /// Where the copy goes; what exists is not overwritten
        file: PathBuf,
        #[command(flatten)]
        configured: Configured,
        /// Print {file, bytes} instead of text
        #[arg(long)]
        json: bool,
    },
    /// Tell the bridge of a test bench, from a pipeline
    ///
    /// The issue is the one whose key stands in the branch's name: what a pipeline's variables say, else git. What is not
    /// reached is tried three times. Needs no configuration where --to and CAMPANILE_BENCH_SECRET are given. Ends with 0
    /// when it was taken, or ignored because no issue is meant; with 1 when it was refused or not reached.
    #[command(after_help = "\
Examples:
  CAMPANILE_BENCH_SECRET=… campanile bench-link --to https://bells.example.com/hooks/benches --url https://test-1.bench.example.com
  campanile bench-link --gone --branch feature/TEST-1-login --config /etc/campanile/config.yaml
deploy/ci has it in GitHub Actions, GitLab CI, Bitbucket Pipelines and a shell script without campanile.")]
    BenchLink(bench_link::Bench),
    /// Say whether the bridge runs, as a container's health check asks
    ///
    /// Asks `/healthz` at `server.listen`, from this machine, for at most 3 s. Ends with 0 when it is alive, else with 1.
    #[command(after_help = "\
Examples:
  campanile health --config /etc/campanile/config.yaml
  campanile health --ready        whether it takes calls: not while it stops, nor while its store cannot be written")]
    Health {
        /// Ask `/readyz`: whether calls can be taken and kept
        #[arg(long)]
        ready: bool,
        #[command(flatten)]
        configured: Configured,
    },
    /// Print the JSON Schema of config.yaml, for editors and checks
    #[command(after_help = "\
Examples:
  campanile schema > campanile.schema.json
  # the first line of config.yaml, for editors with the YAML language server:
  # yaml-language-server: $schema=campanile.schema.json")]
    Schema,
    /// Print a shell's completions
    #[command(after_help = "\
Examples:
  campanile completions bash > /etc/bash_completion.d/campanile
  campanile completions zsh > \"${fpath[1]}/_campanile\"
  campanile completions fish > ~/.config/fish/completions/campanile.fish")]
    Completions { shell: clap_complete::Shell },
}

/// How the links are told.
const LINKS_HELP: &str = "\
Examples:
  campanile links list --issue TEST-1
  campanile links registration            what to write into Tracker's form for external applications

`list` asks the server that runs on this configuration (`server.admin`); when none runs, the store's file.";

/// How the listing commands and their answers read.
const LISTING_HELP: &str = "\
The server that runs on this configuration is asked (`server.admin`, `server.admin_token`). When none runs, \
the store's file is read; a replay then takes the store's lock, as `serve` does.";

#[derive(Debug, Args)]
struct Configured {
    /// The configuration; paths in it are relative to its folder
    #[arg(long, value_name = "PATH", default_value = "config.yaml")]
    config: PathBuf,
}

/// How a command ended: 0 done, 1 findings or refused, 2 wrong usage, where clap itself did not find it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    Done,
    Refused,
    Misused,
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        match end {
            End::Done => Self::SUCCESS,
            End::Refused => Self::FAILURE,
            End::Misused => Self::from(2),
        }
    }
}

/// Why a command ends without its result.
enum Stop {
    Refused(Refusal),
    /// What is lacking only the machine could tell.
    Usage(Refusal),
    /// The configuration has errors.
    Findings(Vec<Finding>),
    Output(std::io::Error),
}

/// What is wrong and where, and the way out.
#[derive(Debug)]
struct Refusal {
    what: String,
    hint: Option<String>,
}

impl Refusal {
    fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<serde_json::Error> for Stop {
    fn from(error: serde_json::Error) -> Self {
        Self::Output(error.into())
    }
}

impl Cli {
    /// What the process was called with. Ends it where that is no usage of ours.
    pub fn of_process() -> Self {
        Self::try_parse().unwrap_or_else(|mut error| {
            let stray = match error.get(ContextKind::InvalidArg) {
                Some(ContextValue::String(stray)) if stray.ends_with(".yaml") || stray.ends_with(".yml") => stray,
                _ => error.exit(),
            };
            let tip = format!("a configuration is named by `--config {stray}`");
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
            error.exit()
        })
    }

    /// Runs the command that was asked for.
    ///
    /// What is wrong is told on standard error, also that the output cannot be written. A reader that has seen enough is
    /// no error.
    pub fn run(self) -> End {
        match self.command.run(&mut std::io::stdout()) {
            Ok(end) => end,
            Err(Stop::Refused(Refusal { what, hint })) => {
                complain(&what, hint.as_deref());
                End::Refused
            }
            Err(Stop::Usage(Refusal { what, hint })) => {
                complain(&what, hint.as_deref());
                End::Misused
            }
            Err(Stop::Findings(findings)) => {
                complain_findings(&findings);
                End::Refused
            }
            Err(Stop::Output(error)) if error.kind() == ErrorKind::BrokenPipe => End::Done,
            Err(Stop::Output(error)) => {
                complain(&error.to_string(), None);
                End::Refused
            }
        }
    }
}

impl Command {
    fn run(self, out: &mut dyn Write) -> Result<End, Stop> {
        match self {
            Self::Serve(Configured { config }) => Ok(serve::serve(&config)?),
            Self::Demo => Ok(demo::demo()?),
            Self::Check { configured, json } => {
                let findings = check::check(&configured.config, &template_findings, &env);
                if json {
                    writeln!(out, "{}", check::json(&findings)?)?;
                } else {
                    write!(out, "{}", check::text(&findings, std::io::stdout().is_terminal()))?;
                }
                Ok(if check::exit_code(&findings) == 0 { End::Done } else { End::Refused })
            }
            Self::Doctor { configured, json } => {
                waited_for(doctor::doctor(&configured.config, json, &env, Clock::machine(), out))
            }
            Self::Explain { event, configured, json } => explain::explain(&configured.config, &event, json, out),
            Self::Render { template, event, channel, configured, json } => {
                render::render(&configured.config, &template, &event, channel.as_deref(), json, out)
            }
            Self::Backup { file, configured, json } => backup::backup(&configured.config, &file, json, out),
            Self::BenchLink(bench) => {
                let clock = Clock::machine();
                waited_for(bench_link::bench_link(&bench, &env, &bench_link::checked_out, &clock, out))
            }
            Self::Connect(asked) => waited_for(connect::connect(&asked, &env, &Clock::machine(), out)),
            Self::ImportTriggers(asked) => waited_for(import::import_triggers(&asked, &env, &Clock::machine(), out)),
            Self::Disconnect(asked) => waited_for(connect::disconnect(&asked, &env, &Clock::machine(), out)),
            Self::Health { ready, configured } => waited_for(health::health(&configured.config, ready, out)),
            Self::Schema => {
                write!(out, "{}", config::SCHEMA)?;
                Ok(End::Done)
            }
            Self::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "campanile", &mut script);
                out.write_all(&script)?;
                Ok(End::Done)
            }
            Self::Events(command) => waited_for(store::events(command, out)),
            Self::Links(command) => waited_for(links::links(command, out)),
            Self::Deliveries(command) => waited_for(store::deliveries(command, out)),
        }
    }
}

/// For the commands that ask over the network: one thread is enough.
fn waited_for(command: impl Future<Output = Result<End, Stop>>) -> Result<End, Stop> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}

/// The configuration without errors of its own; what its secrets and templates lack does not matter yet.
fn configured(path: &Path) -> Result<Loaded, Stop> {
    load(path, &|_| Vec::new()).map_err(Stop::Findings)
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
    tell(&format!("error: {what}\n"));
    if let Some(hint) = hint {
        tell(&format!("hint: {hint}\n"));
    }
}

fn complain_findings(findings: &[Finding]) {
    tell(&check::text(findings, std::io::stderr().is_terminal()));
}

/// To standard error. `eprint!` panics where nobody can be told, on a full disk or a closed pipe: the end says it too.
fn tell(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
