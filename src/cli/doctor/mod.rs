//! `campanile doctor`: whether the store, Slack, Telegram and Tracker would accept us. Everything is asked and nothing is
//! changed, also while a bridge runs on the same configuration.

mod row;
mod slack;
mod store;
mod telegram;
mod tracker;
mod trigger;
mod url;
mod variables;

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use self::row::{Row, Trouble, text};
use super::{End, Refusal, Stop, json_line, template_findings};
use crate::clock::Clock;
use crate::config::{Config, Placed, Secret, load};
use crate::finding::{Finding, Severity};
use crate::transport::Transport;

/// From a question to its answer.
const WITHIN: Duration = Duration::from_secs(10);
/// Questions to one service at the same time.
const AT_ONCE: usize = 4;

/// What the questions are asked with.
struct Ground<'a> {
    config: &'a Config,
    env: &'a dyn Fn(&str) -> Option<String>,
    clock: Clock,
    transport: Transport,
}

impl Ground<'_> {
    /// `None`: it has no value, and a row has told.
    fn secret(&self, secret: &Placed<Secret>) -> Option<SecretString> {
        secret.value.resolve(&self.config.folder, self.env).ok()
    }

    /// The answer, or why there is none in time.
    async fn ask<T, E: Into<Trouble>>(&self, question: impl Future<Output = Result<T, E>>) -> Result<T, Trouble> {
        tokio::select! {
            answer = question => answer.map_err(Into::into),
            () = self.clock.sleep(WITHIN) => Err(Trouble::late(WITHIN)),
        }
    }
}

/// Ends with 0 when nothing failed; warnings are no failure.
pub async fn doctor(
    path: &Path,
    json: bool,
    env: &dyn Fn(&str) -> Option<String>,
    clock: Clock,
    out: &mut dyn Write,
) -> Result<End, Stop> {
    let (rows, secrets) = match load(path, &template_findings) {
        Err(findings) => (findings.iter().map(Row::of_finding).collect(), Vec::new()),
        Ok(loaded) => {
            let transport = Transport::new(clock.clone());
            let transport = transport.map_err(|error| Refusal::new(format!("no HTTPS: {error}")))?;
            let ground = Ground { config: &loaded.config, env, clock, transport };
            let secrets = loaded.config.secrets();
            let forms = |(name, secret): (String, _)| Some(forms(&name, &ground.secret(secret)?));
            let secrets = secrets.into_iter().filter_map(forms).flatten().collect();
            (examine(&ground, &loaded.warnings).await, secrets)
        }
    };
    let rows: Vec<Row> = rows.into_iter().map(|row| row.without(&secrets)).collect();
    if json {
        json_line(out, &rows)?;
    } else {
        write!(out, "{}", text(&rows))?;
    }
    Ok(if rows.iter().any(Row::failed) { End::Refused } else { End::Done })
}

/// Different services are asked at the same time.
async fn examine(ground: &Ground<'_>, warnings: &[Finding]) -> Vec<Row> {
    let mut rows = configuration(ground, warnings);
    let (store, slack, telegram, (tracker, sent), url) = tokio::join!(
        store::store(ground),
        slack::slack(ground),
        telegram::telegram(ground),
        tracker::tracker(ground),
        url::public_url(ground),
    );
    for of_service in [store, slack, telegram, tracker, url] {
        rows.extend(of_service);
    }
    rows.extend(variables::variables(ground, &sent));
    rows
}

/// What `check` says, and each secret that `serve` would miss.
fn configuration(ground: &Ground<'_>, warnings: &[Finding]) -> Vec<Row> {
    let config = ground.config;
    let missing = config.check_secrets(ground.env, Severity::Error);
    let mut rows: Vec<Row> =
        warnings.iter().chain(&missing).chain(&config.without_routes()).map(Row::of_finding).collect();
    if rows.is_empty() {
        let set = config.secrets().len();
        rows.push(Row::ok(
            "configuration",
            "config.yaml",
            format!("nothing to find fault with; {set} secrets are set"),
        ));
    }
    rows
}

/// What must not be seen of a secret: all of it, and the half of it that tells as much.
fn forms(name: &str, secret: &SecretString) -> Vec<String> {
    let secret = secret.expose_secret();
    // Of a database's address that half would be its name.
    let signs: &[char] = if name == "store" { &[] } else { &[':', '/'] };
    let behind = signs.iter().filter_map(|sign| Some(secret.rsplit_once(*sign)?.1));
    // Very short ones would cut words out of texts and are no secrets.
    std::iter::once(secret).chain(behind).filter(|form| form.len() >= 6).map(str::to_owned).collect()
}
