//! A look at a database before it is served, which changes nothing there.

use tokio::task::JoinSet;

use super::connect::Database;
use super::words::plain;
use super::{Postgres, PostgresUrl, migrate};
use crate::clock::Clock;
use crate::outbox::OutboxError;

/// What a database is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PostgresLook {
    /// Of the server, as its people write it.
    pub version: String,
    /// Of our tables. `None`: there are none yet.
    pub schema: Option<i32>,
    /// What `serve` brings the schema to.
    pub newest: i32,
    /// Settings without which a commit does not survive the machine's failure, and that are switched off.
    pub off: Vec<&'static str>,
}

impl Postgres {
    /// Connects, and asks what stands there. Bounded by the log-in's and the answers' own deadlines.
    ///
    /// # Errors
    /// One plain sentence each for: cannot be reached, password, not ours, of a newer version.
    pub async fn look(url: &PostgresUrl, clock: Clock, random: fastrand::Rng) -> Result<PostgresLook, OutboxError> {
        let opening = OutboxError::Opening;
        let database = Database::new(url, clock, random).map_err(opening)?;
        let (db, connection) = database.connect().await.map_err(|error| opening(error.to_string()))?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(connection.await) });
        let version = migrate::server(&db).await.map_err(opening)?;
        let schema = migrate::standing(&db).await.map_err(opening)?;
        let mut off = Vec::new();
        for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
            let asked = format!("select current_setting('{setting}')");
            let is: String = db.query_typed_one(&asked, &[]).await.map_err(|error| opening(plain(error)))?.get(0);
            if is == "off" {
                off.push(setting);
            }
        }
        Ok(PostgresLook { version, schema, newest: migrate::newest(), off })
    }
}
