//! A store's file, opened for reading alone: whether or not somebody serves it, nothing in it changes.

use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;

use super::file::{MIGRATIONS, mine, open, unreadable};
use super::statements;
use crate::delivery::{DeliveryId, EventId};
use crate::outbox::{DeliveryRow, EventRow, Filter, OutboxError};

pub struct SqliteFile {
    db: Connection,
}

impl SqliteFile {
    /// # Errors
    /// One plain sentence each for: no such file, not ours, of another version, cannot be read.
    pub fn open(path: &Path) -> Result<Self, OutboxError> {
        let opening = |what: &str| OutboxError::Opening(format!("{}: {what}", path.display()));
        if !path.exists() {
            return Err(opening("there is no store yet; `campanile serve` makes it"));
        }
        let db = open(path, false).map_err(|error| opening(&unreadable(error)))?;
        mine(&db).map_err(|why| opening(&why))?;
        let version = db.query_row("pragma user_version", [], |row| row.get::<_, i64>(0));
        match version.map_err(|error| opening(&unreadable(error)))?.cmp(&(MIGRATIONS.len() as i64)) {
            Ordering::Equal => Ok(Self { db }),
            Ordering::Greater => Err(opening("was written by a newer campanile; ask that one")),
            Ordering::Less => Err(opening("was written by an older campanile; `campanile serve` brings it up to date")),
        }
    }

    pub fn events(&self, filter: &Filter) -> Result<Vec<EventRow>, OutboxError> {
        statements::events(&self.db, filter, false).map_err(unavailable)
    }

    pub fn event(&self, id: EventId) -> Result<Option<EventRow>, OutboxError> {
        statements::event(&self.db, id).map_err(unavailable)
    }

    pub fn deliveries(&self, filter: &Filter) -> Result<Vec<DeliveryRow>, OutboxError> {
        statements::deliveries(&self.db, filter, None).map_err(unavailable)
    }

    pub fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRow>, OutboxError> {
        statements::delivery(&self.db, id).map_err(unavailable)
    }
}

fn unavailable(error: rusqlite::Error) -> OutboxError {
    OutboxError::Unavailable(Arc::new(error))
}
