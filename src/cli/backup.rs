//! `campanile backup`: a copy of the store as it is at one moment, whether or not somebody serves it.

use std::io::Write;
use std::path::Path;

use serde_json::json;

use super::progress::Progress;
use super::{End, Refusal, Stop, json_line};
use crate::config::{Store, reach};
use crate::outbox::SqliteFile;

const KILOBYTE: u64 = 1 << 10;
const MEGABYTE: u64 = 1 << 20;

pub fn backup(config: &Path, copy: &Path, json: bool, out: &mut dyn Write) -> Result<End, Stop> {
    let Store::Sqlite(path) = reach(config).map_err(Stop::Findings)?.store else {
        return Err(Refusal::new("the store is a PostgreSQL database, which copies itself")
            .hint("pg_dump --format custom --file campanile.dump DATABASE_URL")
            .into());
    };
    let store = SqliteFile::open(&path).map_err(|error| Refusal::new(error.to_string()))?;
    let mut progress = Progress::new("MB copied");
    let copied = store.copy_to(copy, &mut |done, all| progress.at(done / MEGABYTE, Some(all / MEGABYTE)));
    progress.end();
    let bytes = copied.map_err(|error| Refusal::new(error.to_string()))?;
    if json {
        return json_line(out, &json!({ "file": copy.display().to_string(), "bytes": bytes }));
    }
    writeln!(out, "{}: {}, checked", copy.display(), size(bytes))?;
    Ok(End::Done)
}

/// Rounded up, in the unit that people read it in.
fn size(bytes: u64) -> String {
    match bytes {
        0..MEGABYTE => format!("{} KB", bytes.div_ceil(KILOBYTE)),
        _ => format!("{} MB", bytes.div_ceil(MEGABYTE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_told_in_its_unit() {
        let sizes = [81_920, MEGABYTE - 1, MEGABYTE, 10 * MEGABYTE + 1].map(size);
        assert_eq!(sizes, ["80 KB", "1024 KB", "1 MB", "11 MB"]);
    }
}
