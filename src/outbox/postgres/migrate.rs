//! The schema's versions. Any number of replicas may start at once: the first to come holds a lock until the end of the one
//! transaction in which all is done, and the others then find it done.

use refinery_core::traits::r#async::{AsyncQuery, AsyncTransaction};
use refinery_core::{AsyncMigrate, Migration, Runner};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_postgres::{Client, Transaction};

use super::connect::plain;

/// The table of the versions that were applied: where it stands, the database is ours.
const HISTORY: &str = "campanile_migrations";
const VERSIONS: &[(&str, &str)] = &[("V1__outbox", include_str!("migrations/V1__outbox.sql"))];

/// Makes the schema or brings it up to date.
///
/// # Errors
/// One plain sentence each for: not ours, of a newer version, rights that are missing, whatever else PostgreSQL says.
pub async fn migrate(db: &mut Client) -> Result<(), String> {
    let whole = db.transaction().await.map_err(plain)?;
    whole.batch_execute("select pg_advisory_xact_lock(hashtext('campanile:migrate'))").await.map_err(plain)?;
    ours(&whole).await?;
    let versions = VERSIONS.iter().map(|(name, sql)| Migration::unapplied(name, sql));
    let versions = versions.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let mut runner = Runner::new(&versions);
    runner.set_migration_table_name(HISTORY);
    match runner.run_async(&mut Locked(&whole)).await {
        Ok(_) => whole.commit().await.map_err(plain),
        Err(error) => Err(match std::error::Error::source(&error).and_then(|cause| cause.downcast_ref()) {
            Some(cause) => super::connect::words(cause),
            None => error.to_string(),
        }),
    }
}

/// An empty schema is ours too, soon.
async fn ours(db: &Transaction<'_>) -> Result<(), String> {
    let known = db.query_one("select to_regclass($1) is not null", &[&HISTORY]).await.map_err(plain)?.get(0);
    if known {
        let newest = db.query_one(&format!("select max(version) from {HISTORY}"), &[]).await.map_err(plain)?;
        return match newest.get::<_, Option<i32>>(0) {
            Some(version) if version as usize > VERSIONS.len() => Err(format!(
                "was written by a newer campanile (schema version {version}, this one knows {}); start that one",
                VERSIONS.len()
            )),
            _ => Ok(()),
        };
    }
    let others = "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = current_schema() and c.relkind in ('r', 'p', 'v', 'm', 'S') order by 1 limit 1";
    match db.query_opt(others, &[]).await.map_err(plain)? {
        None => Ok(()),
        Some(table) => Err(format!(
            "the database is not empty and not Campanile's: it has `{}`; name an empty one, or make one: create database campanile",
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
        let rows = self.0.query(query, &[]).await?;
        let applied = rows.iter().map(|row| {
            // Only refinery writes this table.
            let at = OffsetDateTime::parse(row.get(2), &Rfc3339).unwrap_or(OffsetDateTime::UNIX_EPOCH);
            Migration::applied(row.get(0), row.get(1), at, row.get::<_, &str>(3).parse().unwrap_or_default())
        });
        Ok(applied.collect())
    }
}

impl AsyncMigrate for Locked<'_> {}
