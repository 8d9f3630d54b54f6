//! `campanile backup`: a copy of the store as it is at one moment, whether or not somebody serves it.

use std::io::Write;
use std::path::Path;

use serde_json::json;

use super::progress::Progress;
use super::{End, Refusal, Stop, configured, json_line};
use crate::config::Store;
use crate::outbox::SqliteFile;

const MEGABYTE: u64 = 1 << 20;

pub fn backup(config: &Path, copy: &Path, json: bool, out: &mut dyn Write) -> Result<End, Stop> {
    let Store::Sqlite(path) = configured(config)?.config.store;
    let store = SqliteFile::open(&path).map_err(|error| Refusal::new(error.to_string()))?;
    let mut progress = Progress::new("MB copied");
    let copied = store.copy_to(copy, &mut |done, all| progress.at(done / MEGABYTE, Some(all / MEGABYTE)));
    progress.end();
    let bytes = copied.map_err(|error| Refusal::new(error.to_string()))?;
    if json {
        return json_line(out, &json!({ "file": copy.display().to_string(), "bytes": bytes }));
    }
    writeln!(out, "{}: {} MB, checked", copy.display(), bytes.div_ceil(MEGABYTE))?;
    Ok(End::Done)
}
