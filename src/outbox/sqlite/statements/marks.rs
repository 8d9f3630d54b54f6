//! The greatest numbers that are known.

use rusqlite::{Connection, OptionalExtension, Result, params};

use crate::delivery::Mark;
use crate::outbox::{Millis, RECOVERED};

/// Keeps a number, unless a greater one is known.
pub fn raise(db: &Connection, mark: &Mark, at: Millis) -> Result<()> {
    db.prepare_cached(
        "insert into marks (name, number, at) values (?1, ?2, ?3)
         on conflict (name) do update set number = max(number, excluded.number), at = excluded.at",
    )?
    .execute(params![mark.name, mark.number, at])?;
    Ok(())
}

pub fn mark(db: &Connection, name: &str) -> Result<Option<i64>> {
    db.prepare_cached("select number from marks where name = ?1")?.query_row(params![name], |row| row.get(0)).optional()
}

/// Forgets up to `most` of those that were last raised before `cutoff`.
pub fn forget_marks(db: &Connection, cutoff: Millis, most: usize) -> Result<usize> {
    db.prepare_cached(
        "delete from marks where name in
             (select name from marks where at < ?1 and substr(name, 1, length(?3)) <> ?3 order by at limit ?2)",
    )?
    .execute(params![cutoff, most as i64, RECOVERED])
}
