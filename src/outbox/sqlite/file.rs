//! The store's file: whose it is, how it is opened, and its schema.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};

use super::{checkpoint, statements};

/// "Camp" in ASCII, in the file's header: tells our files from other programs'.
const APPLICATION_ID: i32 = 0x4361_6d70;
pub const MIGRATIONS: &[M<'static>] = &[
    M::up(include_str!("../migrations/0001_outbox.sql")),
    M::up(include_str!("../migrations/0002_threads.sql")),
    M::up(include_str!("../migrations/0003_tracker.sql")),
    M::up(include_str!("../migrations/0004_links.sql")),
    M::up(include_str!("../migrations/0005_recovery.sql")),
];

/// The lock of the whole store: held while this process lives, gone with it.
pub fn lock(path: &Path) -> Result<File, String> {
    let beside = PathBuf::from(format!("{}.lock", path.display()));
    let file =
        own_file(&beside).map_err(|error| format!("its lock file {} cannot be made: {error}", beside.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err("another campanile is running on this store; stop it first, or give this one another `store:`".into())
        }
        Err(std::fs::TryLockError::Error(error)) => Err(format!("its lock file cannot be locked: {error}")),
    }
}

/// What is free for whoever is not root, in bytes. `None`: the file system does not say.
pub fn free_bytes(folder: &Path) -> Option<u64> {
    let free = rustix::fs::statvfs(folder).ok()?;
    Some(free.f_bavail.saturating_mul(free.f_frsize))
}

/// Opens or makes a file that only its owner may read.
pub fn own_file(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

pub fn open(path: &Path, writes: bool) -> rusqlite::Result<Connection> {
    let access = if writes { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
    let db = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.set_prepared_statement_cache_capacity(64);
    db.busy_timeout(statements::BUSY)?;
    // Without it a statement whose plan could depend on a bound value is prepared anew whenever that value changes.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.pragma_update(None, "cache_size", if writes { -16_000 } else { -4_000 })?;
    if writes {
        db.pragma_update(None, "journal_mode", "wal")?;
        db.pragma_update(None, "synchronous", "full")?;
        checkpoint::count_pages(&db);
        db.pragma_update(None, "temp_store", "memory")?;
    }
    Ok(db)
}

/// Refuses another program's file before anything in it is changed: [`open`] would give it our journal.
pub fn ours(path: &Path) -> Result<(), String> {
    let access = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, access).map_err(unreadable)?;
    let tables: i64 = db.query_row("select count(*) from sqlite_schema", [], |row| row.get(0)).map_err(unreadable)?;
    if tables == 0 { Ok(()) } else { mine(&db) }
}

/// Whether the file is a store of ours.
pub fn mine(db: &Connection) -> Result<(), String> {
    match db.query_row("pragma application_id", [], |row| row.get::<_, i64>(0)).map_err(unreadable)? {
        id if id == i64::from(APPLICATION_ID) => Ok(()),
        _ => Err("belongs to another program; give another path in `store:`".into()),
    }
}

/// SQLite keeps an index beside the file, for readers too.
pub const AS_THE_OWNER: &str =
    "whoever opens it must be able to write it and its folder: run this as its owner, or as root";

/// Why the file cannot be read, and the way out.
pub fn unreadable(error: rusqlite::Error) -> String {
    use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, NotADatabase, PermissionDenied, ReadOnly};
    match error.sqlite_error_code() {
        Some(NotADatabase) => "is no SQLite file; give another path in `store:`".to_owned(),
        Some(CannotOpen | PermissionDenied | ReadOnly) => format!("cannot be opened ({error}); {AS_THE_OWNER}"),
        Some(DatabaseBusy | DatabaseLocked) => {
            "another program holds it locked (`fuser` tells which); end that, and try again".to_owned()
        }
        _ => format!("cannot be read: {error}"),
    }
}

pub fn migrate(db: &mut Connection) -> Result<(), String> {
    let marked = db.pragma_update(None, "application_id", APPLICATION_ID);
    marked.map_err(|error| format!("cannot be marked as ours: {error}"))?;
    Migrations::from_slice(MIGRATIONS).to_latest(db).map_err(|error| match error {
        rusqlite_migration::Error::MigrationDefinition(
            rusqlite_migration::MigrationDefinitionError::DatabaseTooFarAhead,
        ) => "was written by a newer campanile; run that version, or restore a backup from before the upgrade".into(),
        other => format!("its schema cannot be brought up to date: {other}"),
    })
}
