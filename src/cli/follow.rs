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

/// Reloads for as long as it is awaited. Cancelled in the middle of a reload it leaves a bridge that can only be stopped.
pub async fn follow(reloader: &Reloader, path: &Path, config: Config, clock: Clock, mut hangup: Signal) {
    let mut files = config.files();
    let mut counted = look(&files);
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
        let errors = |config: &Config| config.missing_secrets(&env, Severity::Error);
        let end = match load(path, &errors) {
            Err(findings) => Err(findings),
            Ok(loaded) => {
                files = loaded.config.files();
                counted = look(&files); // before the rest is read: what changes meanwhile is seen next time
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
type Seen = (PathBuf, Option<(Option<SystemTime>, u64, u64)>);

fn look(files: &[PathBuf]) -> Vec<Seen> {
    let mut seen = Vec::new();
    files.iter().for_each(|path| look_at(path, DEEPEST, &mut seen));
    seen
}

fn look_at(path: &Path, deeper: usize, seen: &mut Vec<Seen>) {
    let found = std::fs::metadata(path).ok();
    let state = |file: &Metadata| (file.modified().ok(), file.len(), file.ino());
    seen.push((path.to_owned(), found.as_ref().map(state)));
    if deeper > 0 && found.is_some_and(|found| found.is_dir()) {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut entries: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| look_at(entry, deeper - 1, seen));
    }
}
