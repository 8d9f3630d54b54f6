//! Every statement that Campanile sends to PostgreSQL, a function each. All are unnamed and typed: a pooler that gives
//! each transaction another connection takes them, and none is prepared where another would look for it.

mod accept;
mod issue_lanes;
mod lanes;
mod leases;
mod links;
mod listings;
mod marks;
mod places;
mod retention;
mod route;
mod settle;
mod slots;
mod time;

use serde::de::DeserializeOwned;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::outbox::{Hold, Ledger, OutboxError, State};

pub use accept::*;
pub use issue_lanes::*;
pub use lanes::*;
pub use leases::*;
pub use links::*;
pub use listings::*;
pub use marks::*;
pub use places::*;
pub use retention::*;
pub use route::*;
pub use settle::*;
pub use slots::*;
pub use time::note_time;

/// What a statement is given: values with PostgreSQL's names of their types.
macro_rules! given {
    ($($value:expr => $of:ident),* $(,)?) => {
        &[$((&$value as &(dyn tokio_postgres::types::ToSql + Sync), tokio_postgres::types::Type::$of)),*]
    };
}
use given;

/// A database that failed under a statement.
pub type Failed = tokio_postgres::Error;
pub type Result<T> = std::result::Result<T, Failed>;

/// A row that cannot be what Campanile wrote.
fn unreadable(table: &'static str, column: &'static str, id: i64, why: impl ToString) -> OutboxError {
    OutboxError::Unreadable { table, column, id, why: why.to_string() }
}

fn json<T: DeserializeOwned>(
    text: &str,
    table: &'static str,
    column: &'static str,
    id: i64,
) -> std::result::Result<T, OutboxError> {
    serde_json::from_str(text).map_err(|error| unreadable(table, column, id, error))
}

/// Of a number that a `check` of the table keeps in bounds.
fn state_of(number: i16) -> State {
    match number {
        0 => State::Pending,
        1 => State::Delivered,
        2 => State::Dead,
        _ => State::Filtered,
    }
}

fn number_of(state: State) -> i16 {
    match state {
        State::Pending => 0,
        State::Delivered => 1,
        State::Dead => 2,
        State::Filtered => 3,
    }
}

/// `hold_until`, `hold_reason`, `hold_needs_a_person` from the column `at` on.
fn hold_of(row: &Row, at: usize) -> Result<Option<Hold>> {
    let Some(until) = row.try_get(at)? else { return Ok(None) };
    Ok(Some(Hold { until, reason: row.try_get(at + 1)?, needs_a_person: row.try_get(at + 2)? }))
}

fn column<'a, T: FromSql<'a>>(rows: &'a [Row], at: usize) -> Result<Vec<T>> {
    rows.iter().map(|row| row.try_get(at)).collect()
}

macro_rules! ledger {
    ($($column:ident)*) => {
        const LEDGER: &[&str] = &[$(stringify!($column)),*];

        /// Of columns with these names.
        fn ledger_of(row: &Row) -> Result<Ledger> {
            Ok(Ledger { $($column: row.try_get(stringify!($column))?),* })
        }
    };
}
ledger!(received routed to_route ignored duplicate unreadable planned delivered pending dead filtered merged);
