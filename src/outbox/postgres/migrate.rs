//! The schema's versions. Any number of replicas may start at once: the first to come holds a lock until the end of the one
//! transaction in which all is done, and the others then find it done.
//!
//! Replicas of the version before go on meanwhile: a migration only adds, and whatever nobody needs any more goes with the
//! version after. A version is looked at when a replica starts, so an older one is refused then, and not while it runs.

use refinery_core::traits::r#async::{AsyncQuery, AsyncTransaction};
use refinery_core::{AsyncMigrate, Migration, Runner};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, GenericClient, Transaction};
use tracing::info;

use super::words::{plain, words};

/// A migration that met a replica's statement half-way is tried again so often.
const TRIES: u32 = 9;

/// The table of the versions that were applied: where it stands, the database is ours.
const HISTORY: &str = "campanile_migrations";
/// Its `server_version_num`: the oldest that its makers still mended when this was written.
const OLDEST: i32 = 130_000;
const VERSIONS: &[(&str, &str)] = &[
    ("V1__outbox", include_str!("migrations/V1__outbox.sql")),
    ("V2__tracker", include_str!("migrations/V2__tracker.sql")),
    ("V3__links", include_str!("migrations/V3__links.sql")),
    ("V4__recovery", include_str!("migrations/V4__recovery.sql")),
];

/// Makes the schema or brings it up to date.
///
/// # Errors
/// One plain sentence each for: not ours, of a newer version, rights that are missing, whatever else PostgreSQL says.
pub async fn migrate(db: &mut Client) -> Result<(), String> {
    let mut tries = 0..TRIES;
    loop {
        match tried(db).await {
            Err(Refused { is_deadlock: true, .. }) if tries.next().is_some() => {
                info!("replicas that run were using what the migration changes; it is tried again");
            }
            end => return end.map_err(|refused| refused.why),
        }
    }
}

/// Why the schema could not be brought up to date.
struct Refused {
    why: String,
    /// With what a replica of the version before was doing: nothing of the migration stands.
    is_deadlock: bool,
}

impl From<String> for Refused {
    fn from(why: String) -> Self {
        Self { why, is_deadlock: false }
    }
}

async fn tried(db: &mut Client) -> Result<(), Refused> {
    server(db).await?;
    let whole = db.transaction().await.map_err(plain)?;
    let lock = "hashtext('campanile:migrate')";
    let free = whole.query_typed_one(&format!("select pg_try_advisory_xact_lock({lock})"), &[]).await.map_err(plain)?;
    if !free.get::<_, bool>(0) {
        info!("another replica is bringing the schema up to date; this one waits for it");
        whole.batch_execute(&format!("select pg_advisory_xact_lock({lock})")).await.map_err(plain)?;
    }
    standing(&whole).await?;
    let versions = VERSIONS.iter().map(|(name, sql)| Migration::unapplied(name, sql));
    let versions = versions.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let mut runner = Runner::new(&versions);
    runner.set_migration_table_name(HISTORY);
    match runner.run_async(&mut Locked(&whole)).await {
        Ok(_) => Ok(whole.commit().await.map_err(plain)?),
        Err(error) => {
            let cause =
                std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<tokio_postgres::Error>());
            let is_deadlock = cause.and_then(|cause| cause.code()) == Some(&SqlState::T_R_DEADLOCK_DETECTED);
            Err(Refused { why: cause.map_or_else(|| error.to_string(), words), is_deadlock })
        }
    }
}

/// The server's version, as its people write it.
///
/// # Errors
/// It is too old.
pub async fn server(db: &impl GenericClient) -> Result<String, String> {
    let version = "select current_setting('server_version_num')::int, current_setting('server_version')";
    let version = db.query_typed_one(version, &[]).await.map_err(plain)?;
    known(version.get(0), version.get(1))?;
    Ok(version.get(1))
}

/// What [`migrate`] brings a schema to.
pub fn newest() -> i32 {
    VERSIONS.len() as i32
}

/// `number` as 130004 for 13.4, `name` as its people write it.
fn known(number: i32, name: &str) -> Result<(), String> {
    match number {
        ..OLDEST => Err(format!("it is version {name}, and Campanile needs {} or later", OLDEST / 10_000)),
        _ => Ok(()),
    }
}

/// The schema's version. `None`: the schema is empty, and ours too, soon.
///
/// # Errors
/// It is not ours, or of a newer version.
pub async fn standing(db: &impl GenericClient) -> Result<Option<i32>, String> {
    let known =
        db.query_typed_one(&format!("select to_regclass('{HISTORY}') is not null"), &[]).await.map_err(plain)?.get(0);
    if known {
        let applied = db.query_typed_one(&format!("select max(version) from {HISTORY}"), &[]).await.map_err(plain)?;
        return match applied.get::<_, Option<i32>>(0) {
            Some(version) if version > newest() => Err(format!(
                "it was written by a newer campanile (schema version {version}, this one knows {}); start that one",
                newest()
            )),
            version => Ok(version),
        };
    }
    let others = "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = current_schema() and c.relkind in ('r', 'p', 'v', 'm', 'S') order by 1 limit 1";
    match db.query_typed_opt(others, &[]).await.map_err(plain)? {
        None => Ok(None),
        Some(table) => Err(format!(
            "it is not empty and not Campanile's: it has `{}`; name another, or make one: \
             create database NAME owner USER",
            table.get::<_, &str>(0)
        )),
    }
}

/// The migrations run inside a transaction that is there already.
struct Locked<'a>(&'a Transaction<'a>);

impl AsyncTransaction for Locked<'_> {
    type Error = tokio_postgres::Error;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, Self::Error> {
        let mut count = 0;
        for query in queries {
            self.0.batch_execute(query).await?;
            count += 1;
        }
        Ok(count)
    }
}

impl AsyncQuery<Vec<Migration>> for Locked<'_> {
    async fn query<'a>(&'a mut self, query: &'a str) -> Result<Vec<Migration>, Self::Error> {
        let rows = self.0.query_typed(query, &[]).await?;
        let applied = rows.iter().map(|row| {
            // Only refinery writes this table.
            let at = OffsetDateTime::parse(row.get(2), &Rfc3339).unwrap_or(OffsetDateTime::UNIX_EPOCH);
            Migration::applied(row.get(0), row.get(1), at, row.get::<_, &str>(3).parse().unwrap_or_default())
        });
        Ok(applied.collect())
    }
}

impl AsyncMigrate for Locked<'_> {}

#[cfg(test)]
mod tests {
    use super::known;

    #[test]
    fn an_older_server_is_refused() {
        assert_eq!(known(130_000, "13.0"), Ok(()));
        assert_eq!(known(170_006, "17.6 (Debian 17.6-0+deb13u1)"), Ok(()));
        assert_eq!(known(129_999, "12.22").unwrap_err(), "it is version 12.22, and Campanile needs 13 or later");
    }
}
