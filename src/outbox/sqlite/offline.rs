//! A store's file, opened for reading alone: whether or not somebody serves it, nothing in it changes.

use std::cmp::Ordering;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::file::{AS_THE_OWNER, MIGRATIONS, mine, open, unreadable};
use super::statements;
use crate::delivery::{DeliveryId, EventId};
use crate::outbox::{DeliveryRow, EventRow, Filter, LinkFilter, LinkRow, OutboxError};

/// Pages that are copied between two reports: 4 MiB, a few milliseconds.
const STEP: std::ffi::c_int = 1_024;

pub struct SqliteFile {
    path: PathBuf,
    db: Connection,
}

/// What stands at a store's path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileState {
    Absent,
    /// `serve` brings it up to date.
    Older,
    Current,
}

impl SqliteFile {
    /// # Errors
    /// One plain sentence each for: not ours, of a newer version, cannot be read.
    pub fn state(path: &Path) -> Result<FileState, OutboxError> {
        Ok(Self::look(path)?.0)
    }

    /// # Errors
    /// One plain sentence each for: no such file, not ours, of another version, cannot be read.
    pub fn open(path: &Path) -> Result<Self, OutboxError> {
        let opening = |what: &str| OutboxError::Opening(format!("{}: {what}", path.display()));
        match Self::look(path)? {
            (FileState::Current, Some(file)) => Ok(file),
            (FileState::Older, _) => {
                Err(opening("was written by an older campanile; `campanile serve` brings it up to date"))
            }
            _ => Err(opening("there is no store yet; `campanile serve` makes it")),
        }
    }

    fn look(path: &Path) -> Result<(FileState, Option<Self>), OutboxError> {
        let opening = |what: &str| OutboxError::Opening(format!("{}: {what}", path.display()));
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => return Ok((FileState::Absent, None)),
            Err(error) => return Err(opening(&format!("cannot be looked at ({error}); {AS_THE_OWNER}"))),
        }
        let db = open(path, false).map_err(|error| opening(&unreadable(error)))?;
        mine(&db).map_err(|why| opening(&why))?;
        let version = db.query_row("pragma user_version", [], |row| row.get::<_, i64>(0));
        match version.map_err(|error| opening(&unreadable(error)))?.cmp(&(MIGRATIONS.len() as i64)) {
            Ordering::Equal => Ok((FileState::Current, Some(Self { path: path.to_owned(), db }))),
            Ordering::Greater => Err(opening("was written by a newer campanile; ask that one")),
            Ordering::Less => Ok((FileState::Older, None)),
        }
    }

    pub fn events(&self, filter: &Filter) -> Result<Vec<EventRow>, OutboxError> {
        statements::events(&self.db, filter, false).map_err(|error| self.failed(error))
    }

    pub fn event(&self, id: EventId) -> Result<Option<EventRow>, OutboxError> {
        statements::event(&self.db, id).map_err(|error| self.failed(error))
    }

    pub fn deliveries(&self, filter: &Filter) -> Result<Vec<DeliveryRow>, OutboxError> {
        statements::deliveries(&self.db, filter, None).map_err(|error| self.failed(error))
    }

    pub fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRow>, OutboxError> {
        statements::delivery(&self.db, id).map_err(|error| self.failed(error))
    }

    pub fn links(&self, filter: &LinkFilter) -> Result<Vec<LinkRow>, OutboxError> {
        statements::links(&self.db, filter).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: rusqlite::Error) -> OutboxError {
        OutboxError::Opening(format!("{}: {}", self.path.display(), unreadable(error)))
    }

    /// Copies the store as it is now into a new file (0600) that needs none beside it, checks the copy, and gives its
    /// bytes. `report` hears the bytes that are copied and all of them. Whoever serves the store goes on.
    ///
    /// # Errors
    /// One plain sentence each for: the file exists, cannot be written, did not pass its check. Nothing is left then.
    pub fn copy_to(&self, copy: &Path, report: &mut dyn FnMut(u64, u64)) -> Result<u64, OutboxError> {
        let failed = |what: String| OutboxError::Opening(format!("{}: {what}", copy.display()));
        if copy.symlink_metadata().is_ok() {
            return Err(failed(
                "exists already; a backup overwrites nothing: give another name, or remove it first".into(),
            ));
        }
        // Under another name until it is whole: half a copy must not pass for one.
        let part = PathBuf::from(format!("{}.part", copy.display()));
        let made = File::options().write(true).create_new(true).mode(0o600).open(&part).map_err(|error| {
            let hint = match error.kind() {
                ErrorKind::AlreadyExists => "; if a backup broke off there, remove it",
                ErrorKind::NotFound => "; make its folder first",
                _ => "",
            };
            failed(format!("{} cannot be made: {error}{hint}", part.display()))
        })?;
        let end = self.fill(&part, report).map_err(|error| failed(format!("the copy failed: {error}")));
        let end = end.and_then(|()| {
            let whole = made.sync_all().and_then(|()| std::fs::rename(&part, copy));
            let folder = copy.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let whole = whole.and_then(|()| File::open(folder)?.sync_all()).and_then(|()| made.metadata());
            whole.map(|file| file.len()).map_err(|error| failed(format!("cannot be written: {error}")))
        });
        if end.is_err() {
            let _ = std::fs::remove_file(&part);
        }
        end
    }

    fn fill(&self, part: &Path, report: &mut dyn FnMut(u64, u64)) -> rusqlite::Result<()> {
        let mut copy =
            Connection::open_with_flags(part, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        // Held open over all steps: otherwise every commit of the server would begin the copy anew.
        let moment = self.db.unchecked_transaction()?;
        let page: u64 = moment.query_row("pragma page_size", [], |row| row.get::<_, u32>(0).map(u64::from))?;
        moment.query_row("select count(*) from sqlite_schema", [], |_| Ok(()))?;
        let backup = Backup::new(&moment, &mut copy)?;
        while backup.step(STEP)? != StepResult::Done {
            let pages = backup.progress();
            let bytes = |pages: std::ffi::c_int| u64::try_from(pages).unwrap_or(0) * page;
            report(bytes(pages.pagecount - pages.remaining), bytes(pages.pagecount));
        }
        drop(backup);
        copy.query_row("pragma journal_mode = delete", [], |_| Ok(()))?; // one file, nothing beside it
        match copy.query_row("pragma integrity_check", [], |row| row.get::<_, String>(0))?.as_str() {
            "ok" => Ok(()),
            what => Err(rusqlite::Error::ToSqlConversionFailure(format!("its check says: {what}").into())),
        }
    }
}
