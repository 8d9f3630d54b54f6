//! Every statement that Campanile sends to SQLite, a function each. Updates say how many rows they expect.

mod accept;
mod lanes;
mod ledger;
mod links;
mod listings;
mod marks;
mod places;
mod retention;
mod settle;

use std::time::Duration;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Result, Row, ToSql};

use crate::outbox::{Hold, State};

pub use accept::*;
pub use lanes::*;
pub use ledger::*;
pub use links::*;
pub use listings::{deliveries, delivery, event, events};
pub use marks::*;
pub use places::*;
pub use retention::*;
pub use settle::*;

/// A change that hit another number of rows than it must is a bug here, and must not be committed.
fn one_row(rows: usize) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(rows)) }
}

/// How long one connection waits for another's lock. There is one writer, so this is for backups.
pub const BUSY: Duration = Duration::from_secs(5);

fn hold_of(row: &Row<'_>, at: usize) -> Result<Option<Hold>> {
    let Some(until) = row.get(at)? else { return Ok(None) };
    Ok(Some(Hold { until, reason: row.get(at + 1)?, needs_a_person: row.get(at + 2)? }))
}

impl ToSql for State {
    fn to_sql(&self) -> Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok((*self as i64).into())
    }
}

impl FromSql for State {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            0 => Ok(Self::Pending),
            1 => Ok(Self::Delivered),
            2 => Ok(Self::Dead),
            3 => Ok(Self::Filtered),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}

/// A column that holds JSON.
struct Json<T>(T);

impl<T: serde::Serialize> ToSql for Json<T> {
    fn to_sql(&self) -> Result<rusqlite::types::ToSqlOutput<'_>> {
        serde_json::to_string(&self.0)
            .map(Into::into)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
    }
}

impl<T: serde::de::DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Self).map_err(FromSqlError::other)
    }
}

/// A column that holds one word of an enum.
struct Word<T>(T);

impl<T: serde::de::DeserializeOwned> FromSql for Word<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let word = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(value.as_str()?);
        T::deserialize(word).map(Self).map_err(FromSqlError::other)
    }
}
