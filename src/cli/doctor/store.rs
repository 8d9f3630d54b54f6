//! The store: whether it can be opened and written, without doing either.

use std::path::{Path, PathBuf};

use rustix::fs::Access;
use secrecy::ExposeSecret;

use super::Ground;
use super::row::{Row, State, Trouble};
use crate::config::{Store, Url};
use crate::outbox::{FileState, Postgres, PostgresLook, PostgresUrl, SqliteFile, free_bytes};

const CHECK: &str = "store";

pub async fn store(ground: &Ground<'_>) -> Vec<Row> {
    match &ground.config.store {
        Store::Sqlite(path) => sqlite(path, ground.config.store_reserve_mb),
        Store::Postgres(url) => postgres(ground, url).await.into_iter().collect(),
    }
}

fn sqlite(path: &Path, reserve_mb: u64) -> Vec<Row> {
    let subject = path.display().to_string();
    let folder = existing(path);
    let mut rows = vec![match SqliteFile::state(path) {
        Err(error) => Row::fail(CHECK, &subject, error.to_string()),
        Ok(_) if rustix::fs::access(&folder, Access::WRITE_OK).is_err() => {
            Row::fail(CHECK, &subject, format!("{} cannot be written by this user", folder.display()))
                .hint("run this as the user of `campanile serve`; if it says so then too, give that user the folder")
        }
        Ok(FileState::Absent) => Row::ok(CHECK, &subject, "it is not there yet; `campanile serve` makes it"),
        Ok(FileState::Older) => {
            Row::ok(CHECK, &subject, "of an older campanile; `campanile serve` brings it up to date")
        }
        Ok(FileState::Current) => Row::ok(CHECK, &subject, "it can be read, and its folder written"),
    }];
    if let Some(free) = free_bytes(&folder) {
        let free_mb = free / (1024 * 1024);
        let what = format!("{free_mb} MB are free, {reserve_mb} are the reserve");
        rows.push(match free_mb {
            free if free < reserve_mb => Row::fail("disk", &subject, format!("{what}: calls are refused"))
                .hint("make room, or lower `store_reserve_mb`"),
            free if free < reserve_mb.saturating_mul(4) => Row::warn("disk", &subject, what).hint("make room soon"),
            _ => Row::ok("disk", &subject, what),
        });
    }
    rows
}

/// The folder that is there: missing ones are made.
fn existing(path: &Path) -> PathBuf {
    let folders = path.ancestors().skip(1).map(|folder| match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    });
    folders.into_iter().find(|folder| folder.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

/// `None`: its address is a secret without a value.
async fn postgres(ground: &Ground<'_>, url: &Url) -> Option<Row> {
    let url = url.resolve(&ground.config.folder, ground.env).ok()?;
    let url = PostgresUrl::read(url.expose_secret()).ok()?.in_folder(&ground.config.folder);
    let place = url.place();
    #[expect(clippy::disallowed_methods, reason = "this is the outside")]
    let random = fastrand::Rng::new();
    let asked = Postgres::look(&url, ground.clock.clone(), random);
    let failed =
        |error: crate::outbox::OutboxError| Trouble { state: State::Fail, message: error.to_string(), hint: None };
    Some(match ground.ask(async { asked.await.map_err(failed) }).await {
        Err(trouble) => Row::of_trouble(CHECK, place, trouble),
        Ok(look) => of_look(place, &look),
    })
}

fn of_look(place: String, look: &PostgresLook) -> Row {
    let PostgresLook { version, schema, newest, off } = look;
    if let Some(setting) = off.first() {
        let what = format!("{setting} is off: what was accepted can be lost when the machine fails");
        return Row::fail(CHECK, place, what).hint(format!("set {setting} = on"));
    }
    let schema = match schema {
        None => "empty; `campanile serve` makes its tables".to_owned(),
        Some(schema) if schema < newest => {
            format!("schema version {schema}; `campanile serve` brings it to {newest}")
        }
        Some(schema) => format!("schema version {schema}"),
    };
    Row::ok(CHECK, place, format!("PostgreSQL {version}, {schema}"))
}
