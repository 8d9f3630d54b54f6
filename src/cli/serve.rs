//! `campanile serve`: the bridge, until it is told to stop.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::follow::{Followed, Seen, follow, look_at};
use super::{End, complain, complain_findings, env, tell, templates};
use crate::app::{App, Outside};
use crate::clock::Clock;
use crate::config::{Loaded, load};
use crate::finding::Severity;
use crate::telemetry;

/// Files that may be open at once: the connections of both listeners, those to the messengers, and the store's.
const OPEN_FILES: u64 = 10_000;

pub fn serve(path: &Path) -> io::Result<End> {
    let checks = |config: &crate::config::Config| {
        let mut findings = config.check_secrets(&env, Severity::Error);
        // A broken template stops its own messages only, and they go out as the fallback text: a warning here.
        findings.extend(templates(config).1.into_iter().map(|finding| match finding.file.ends_with(".hbs") {
            true => crate::finding::Finding { severity: Severity::Warning, ..finding },
            false => finding,
        }));
        findings
    };
    let config_yaml = look_at(path);
    let loaded = match load(path, &checks) {
        Ok(loaded) => loaded,
        Err(findings) => {
            complain_findings(&findings);
            tell(&format!("hint: `campanile check --config {}` says this without starting anything\n", path.display()));
            return Ok(End::Refused);
        }
    };
    if let Err(why) = telemetry::start_logging(loaded.config.log, env("CAMPANILE_LOG").as_deref()) {
        complain(&why, Some("CAMPANILE_LOG takes `info`, `debug`, or filters such as `campanile::lane=debug`"));
        return Ok(End::Refused);
    }
    for finding in &loaded.warnings {
        tracing::warn!(file = finding.file, line = finding.line, hint = finding.hint, "{}", finding.message);
    }
    allow_open_files();
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(loaded, path, config_yaml))
}

/// Raises the soft limit, which is 1,024 on most machines: a thousand silent callers would otherwise take every file
/// there is, and the messengers and the store would have none.
fn allow_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(OPEN_FILES, |maximum| maximum.min(OPEN_FILES));
    let is_enough = |files: Option<u64>| files.is_none_or(|files| files >= wanted);
    let raised = is_enough(current) || setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok();
    if !raised || wanted < OPEN_FILES {
        tracing::warn!(
            allowed = wanted,
            wanted = OPEN_FILES,
            "few files may be open at once (ulimit -Hn); many callers can starve the lanes"
        );
    }
}

async fn run(loaded: Loaded, path: &Path, config_yaml: Seen) -> io::Result<End> {
    let (listen, admin) = (loaded.config.server.listen, loaded.config.server.admin);
    let (Some(public), Some(admin)) = (bind("listen", listen).await, bind("admin", admin).await) else {
        return Ok(End::Refused);
    };
    let stop = until_asked_to_stop()?;
    let hangup = signal(SignalKind::hangup())?; // taken before anything starts: by itself it ends a process
    let (followed, clock) = (Followed::of(&loaded.config, config_yaml), Clock::machine());
    let (templates, _) = templates(&loaded.config);
    #[expect(clippy::disallowed_methods, reason = "this is the outside")]
    let random = fastrand::Rng::new();
    let outside = Outside { clock: clock.clone(), random, env: &env, public, admin };
    let app = match App::start(loaded, templates, outside).await {
        Ok(app) => app,
        Err(error) => {
            complain(&error.to_string(), None);
            return Ok(End::Refused);
        }
    };
    let reloader = app.reloader();
    let asked = tokio::select! {
        asked = app.run(stop) => asked,
        () = follow(&reloader, path, followed, clock, hangup) => false,
    };
    Ok(if asked { End::Done } else { End::Refused })
}

/// Ends at SIGTERM or Ctrl-C. The process lives on from here on, whether or not this is awaited.
pub(super) fn until_asked_to_stop() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

async fn bind(key: &str, address: SocketAddr) -> Option<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Some(listener),
        Err(error) => {
            let hint = format!("set another `server.{key}`, or stop what listens there");
            complain(&format!("server.{key} {address} cannot be bound: {error}"), Some(&hint));
            None
        }
    }
}
