//! `campanile bench-link`: what a pipeline tells of its test bench.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use clap::Args;
use http::{HeaderValue, StatusCode, Uri};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::running::innermost;
use super::{Configured, End, Refusal, Stop, json_line};
use crate::clock::Clock;
use crate::config::{Config, Secret, SourceKind, reach};
use crate::transport::{Reply, Transport, TransportError, checked};

/// From a call to the end of its answer. The bridge itself answers in 8 s.
const WITHIN: Duration = Duration::from_secs(15);
/// Between the tries. A bridge that restarts is back within them.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
/// Where a secret is looked for that no flag names.
const SECRET: &str = "CAMPANILE_BENCH_SECRET";
/// What stands there is not a branch. Source of the table: code-hosts.md, section 13.
type IsNone = fn(&str) -> bool;
const BRANCHES: [(&str, IsNone); 7] = [
    ("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", |_| false), // GitLab
    ("GITHUB_HEAD_REF", |_| false),                     // GitHub, Gitea: of a pull request
    ("BITBUCKET_BRANCH", |_| false),
    ("CHANGE_BRANCH", |_| false), // Jenkins: of a pull request
    ("CI_COMMIT_REF_NAME", |_| false),
    ("GITHUB_REF_NAME", |name| name.strip_suffix("/merge").is_some_and(is_number)),
    ("BRANCH_NAME", |name| name.strip_prefix("PR-").is_some_and(is_number)),
];

#[derive(Debug, Args)]
pub struct Bench {
    /// The bench's address, http or https
    #[arg(long, required_unless_present = "gone")]
    url: Option<String>,
    /// The branch that is on it; its name has the issue's key [default: the pipeline's own, or git's]
    #[arg(long, conflicts_with = "issue")]
    branch: Option<String>,
    /// The issue's key, where no branch has it
    #[arg(long, value_name = "KEY")]
    issue: Option<String>,
    /// The bench is gone; with --url only a field that still holds it is cleared
    #[arg(long)]
    gone: bool,
    /// Whom to tell: https://…/hooks/<source> [default: the first source of kind `bench` in the configuration]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// The environment variable with the source's secret [default: CAMPANILE_BENCH_SECRET, else the configuration's]
    #[arg(long, value_name = "NAME")]
    secret_env: Option<String>,
    #[command(flatten)]
    configured: Configured,
    /// Print the bridge's answer instead of text
    #[arg(long)]
    json: bool,
}

/// Tells the bridge. `env` gives an environment variable, `git` the checked out branch.
pub async fn bench_link(
    bench: &Bench,
    env: &dyn Fn(&str) -> Option<String>,
    git: &dyn Fn() -> Option<String>,
    clock: &Clock,
    out: &mut dyn Write,
) -> Result<End, Stop> {
    let body = body(bench, env, git, clock.now())?;
    let Receiver { to, secret } = receiver(bench, env)?;
    let authorization = HeaderValue::try_from(format!("Bearer {}", secret.expose_secret()));
    let mut authorization = authorization.map_err(|_| {
        Refusal::new("the secret holds a character that no header can carry").hint("take letters and digits")
    })?;
    authorization.set_sensitive(true);
    let at = place(&to);
    let reply = tell(&to, &authorization, &body.to_string(), clock).await.map_err(|why| {
        Refusal::new(format!("{at} did not take it in {} tries: {why}", PAUSES.len() + 1))
            .hint("does the bridge run, and can this machine reach it? The same call may be made again at any time")
    })?;
    let answer = understood(&reply, &at)?;
    if bench.json {
        return json_line(out, &answer);
    }
    writeln!(out, "{}", told(&answer))?;
    Ok(End::Done)
}

/// With the time of the call: a bench that comes, goes and comes again is no call that came twice.
fn body(
    bench: &Bench,
    env: &dyn Fn(&str) -> Option<String>,
    git: &dyn Fn() -> Option<String>,
    at: Timestamp,
) -> Result<Value, Stop> {
    let mut body = Map::new();
    if let Some(issue) = &bench.issue {
        body.insert("issue".to_owned(), issue.as_str().into());
    } else {
        let branch = bench.branch.clone().or_else(|| branch(env, git));
        let branch = branch.ok_or_else(|| {
            Stop::Usage(
                Refusal::new("no variable of a pipeline names the branch, and git is on none")
                    .hint("name it by `--branch`, or the issue by `--issue`"),
            )
        })?;
        body.insert("branch".to_owned(), branch.into());
    }
    body.extend(bench.url.as_ref().map(|url| ("url".to_owned(), url.as_str().into())));
    body.insert("state".to_owned(), if bench.gone { "gone" } else { "ready" }.into());
    body.insert("at".to_owned(), at.to_string().into());
    Ok(body.into())
}

/// The branch that a pipeline runs for, else the one that is checked out.
fn branch(env: &dyn Fn(&str) -> Option<String>, git: &dyn Fn() -> Option<String>) -> Option<String> {
    let of_pipeline = BRANCHES.into_iter().find_map(|(variable, is_none)| {
        let name = env(variable)?;
        (!name.trim().is_empty() && !is_none(&name)).then_some(name)
    });
    of_pipeline.or_else(git)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What git says of the working folder. A commit that is checked out by itself is on no branch.
pub fn checked_out() -> Option<String> {
    let asked = Command::new("git").args(["rev-parse", "--abbrev-ref", "HEAD"]).output().ok()?;
    let name = String::from_utf8(asked.stdout).ok()?.trim().to_owned();
    (asked.status.success() && !matches!(&*name, "" | "HEAD")).then_some(name)
}

struct Receiver {
    to: Uri,
    secret: SecretString,
}

/// The configuration is read only for what neither a flag nor the environment names.
fn receiver(bench: &Bench, env: &dyn Fn(&str) -> Option<String>) -> Result<Receiver, Stop> {
    let variable = bench.secret_env.as_deref().or_else(|| env(SECRET).map(|_| SECRET));
    let secret = variable.map(|name| resolve(&Secret::Env(name.to_owned()), Path::new(""), env)).transpose()?;
    let to = bench.to.as_deref().map(address).transpose()?;
    if let (Some(to), Some(secret)) = (&to, &secret) {
        return Ok(Receiver { to: to.clone(), secret: secret.clone() });
    }
    let path = &bench.configured.config;
    if !path.exists() {
        let (lacks, hint) = match to {
            None => ("nobody is named to tell", format!("`--to https://…/hooks/<source>` and {SECRET} do without one")),
            Some(_) => ("no secret is named", format!("set {SECRET}, or name another variable by `--secret-env`")),
        };
        let what = format!("{lacks}, and there is no configuration `{}`", path.display());
        return Err(Stop::Usage(Refusal::new(what).hint(hint)));
    }
    let config = reach(path).map_err(Stop::Findings)?;
    let source = config.sources.iter().find(|source| source.kind == SourceKind::Bench).ok_or_else(|| {
        Refusal::new(format!("{} has no source of kind `bench`", path.display()))
            .hint("as in `sources: {benches: {kind: bench, secret: {env: BENCH_SECRET}}}`")
    })?;
    let to = to.map_or_else(|| at_public_url(&config, source.name.as_str()), Ok)?;
    let own = || source.secrets.first().map(|secret| resolve(&secret.value, &config.folder, env)).transpose();
    let secret = secret.map_or_else(own, |secret| Ok(Some(secret)))?;
    let secret = secret.ok_or_else(|| Refusal::new(format!("source `{}` has no secret", source.name)))?;
    Ok(Receiver { to, secret })
}

fn at_public_url(config: &Config, source: &str) -> Result<Uri, Stop> {
    let public = config.server.public_url.as_ref().ok_or_else(|| {
        Refusal::new("the configuration does not say how the world reaches the bridge: `server.public_url` is not set")
            .hint("set it, or name the address by `--to https://…/hooks/<source>`")
    })?;
    address(&format!("{public}/hooks/{source}"))
}

fn resolve(secret: &Secret, folder: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<SecretString, Stop> {
    secret.resolve(folder, env).map_err(|error| {
        Refusal::new(format!("there is no secret: {error}")).hint("it is that of the source of kind `bench`").into()
    })
}

fn address(text: &str) -> Result<Uri, Stop> {
    checked(text).ok_or_else(|| {
        let hint = "as in https://bells.example.com/hooks/benches";
        Stop::Usage(Refusal::new("`--to` is no http:// or https:// address, or has a query").hint(hint))
    })
}

/// As messages name it: a path may hold the secret, what stands before the host a password.
fn place(to: &Uri) -> String {
    let port = to.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", to.host().unwrap_or_default())
}

/// The answer that needs no further try, or why the last one brought none. A call that arrived twice is one event.
async fn tell(to: &Uri, authorization: &HeaderValue, body: &str, clock: &Clock) -> Result<Reply, String> {
    let transport = Transport::new(clock.clone()).map_err(|error| error.to_string())?;
    let mut pauses = PAUSES.into_iter();
    loop {
        let call = transport.post(to.clone(), Some(authorization.clone()), body.as_bytes().to_vec());
        let why = tokio::select! {
            answer = call => match answer {
                Ok(reply) if !is_passing(reply.status) => return Ok(reply),
                Ok(reply) => format!("HTTP {}{}", reply.status.as_u16(), words(&reply)),
                Err(error) => reason(&error),
            },
            () = clock.sleep(WITHIN) => format!("no answer in {} s", WITHIN.as_secs()),
        };
        match pauses.next() {
            Some(pause) => clock.sleep(pause).await,
            None => return Err(why),
        }
    }
}

/// Another try may fare better.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// With the innermost cause.
fn reason(error: &TransportError) -> String {
    let (cause, said) = (innermost(error).to_string(), error.to_string());
    if cause == said { said } else { format!("{said}: {cause}") }
}

/// What the bridge says of a refusal.
fn words(reply: &Reply) -> String {
    let json: Option<Value> = serde_json::from_slice(&reply.body).ok();
    json.and_then(|json| Some(format!(": {}", json["error"].as_str()?))).unwrap_or_default()
}

/// What was taken, or ignored with a reason.
fn understood(reply: &Reply, at: &str) -> Result<Value, Refusal> {
    let status = reply.status;
    let answer = serde_json::from_slice::<Value>(&reply.body).unwrap_or_default();
    match status {
        _ if status.is_success() && (answer["event"].is_number() || answer["ignored"].is_string()) => Ok(answer),
        StatusCode::BAD_REQUEST => Err(Refusal::new(format!("{at} cannot read it{}", words(reply)))
            .hint("the bench's address is http or https, without a user, of at most 2,048 characters")),
        StatusCode::UNAUTHORIZED => Err(Refusal::new(format!("{at} does not take the secret"))
            .hint(format!("it must be that of the source of kind `bench`; {SECRET} or `--secret-env` names it"))),
        StatusCode::NOT_FOUND => Err(Refusal::new(format!("{at} has no such source"))
            .hint("the address ends in /hooks/<name of a source of kind `bench`>")),
        _ => Err(Refusal::new(format!("what answers at {at} is no campanile: HTTP {}", status.as_u16()))
            .hint("is it the bridge's public address, with https where it wants that?")),
    }
}

fn told(answer: &Value) -> String {
    match (answer["event"].as_i64(), answer["duplicate"].as_bool(), answer["ignored"].as_str()) {
        (_, _, Some(why)) => format!("ignored: {why}"),
        (Some(event), Some(true), _) => format!("taken before: event {event}"),
        (Some(event), ..) => format!("taken: event {event}"),
        _ => "taken".to_owned(),
    }
}

#[cfg(test)]
#[path = "bench_link_tests.rs"]
mod tests;
