//! While `serve` runs: SIGHUP and a change of the files reload them.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio::signal::unix::Signal;

use super::{env, templates};
use crate::app::Reloader;
use crate::clock::Clock;
use crate::config::{Config, load};
use crate::finding::{Finding, Severity};

/// How often the files are looked at. A change counts once two looks saw the same: an editor may be writing still.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Folders in the templates' folder.
const DEEPEST: usize = 2;

/// The files of a configuration, as they were before they were read: what changes meanwhile is then seen afterwards.
pub struct Followed {
    files: Vec<PathBuf>,
    seen: Vec<Seen>,
}

impl Followed {
    /// `config_yaml` was looked at before the configuration was read from it; templates and secrets are read later.
    pub fn of(config: &Config, config_yaml: Seen) -> Self {
        let files = config.files();
        let mut seen = look(&files);
        if let Some(first) = seen.first_mut() {
            *first = config_yaml;
        }
        Self { files, seen }
    }
}

/// Reloads for as long as it is awaited. Cancelled in the middle of a reload it leaves a bridge that can only be stopped.
pub async fn follow(reloader: &Reloader, path: &Path, followed: Followed, clock: Clock, mut hangup: Signal) {
    let Followed { mut files, seen: mut counted } = followed;
    let mut before = counted.clone();
    loop {
        let asked = tokio::select! {
            Some(()) = hangup.recv() => true,
            () = clock.sleep(LOOK_EVERY) => false,
        };
        let now = look(&files);
        let has_settled = std::mem::replace(&mut before, now.clone()) == now;
        if !asked && (now == counted || !has_settled) {
            continue;
        }
        counted = now;
        let config_yaml = look_at(path);
        let errors = |config: &Config| config.check_secrets(&env, Severity::Error);
        let end = match load(path, &errors) {
            Err(findings) => Err(findings),
            Ok(loaded) => {
                Followed { files, seen: counted } = Followed::of(&loaded.config, config_yaml);
                let (templates, findings) = templates(&loaded.config);
                match findings.iter().any(|finding| finding.severity == Severity::Error) {
                    true => Err(findings),
                    false => reloader
                        .reload(loaded, templates, &env)
                        .await
                        .map_err(|error| vec![Finding::error(path.display().to_string(), 0, 0, error.to_string())]),
                }
            }
        };
        before = counted.clone();
        if let Err(findings) = end {
            reloader.refused(findings);
        }
    }
}

/// What tells one state of a file from another. A file that is put in another's place is another inode.
pub type Seen = (PathBuf, Option<(Option<SystemTime>, u64, u64)>);

pub fn look_at(path: &Path) -> Seen {
    let state = |file: Metadata| (file.modified().ok(), file.len(), file.ino());
    (path.to_owned(), std::fs::metadata(path).ok().map(state))
}

fn look(files: &[PathBuf]) -> Vec<Seen> {
    let mut seen = Vec::new();
    files.iter().for_each(|path| look_into(path, DEEPEST, &mut seen));
    seen
}

fn look_into(path: &Path, deeper: usize, seen: &mut Vec<Seen>) {
    seen.push(look_at(path));
    if deeper > 0 && path.is_dir() {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut entries: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| look_into(entry, deeper - 1, seen));
    }
}
