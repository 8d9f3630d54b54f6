//! Moves the write-ahead log into the file, beside the writer.
//!
//! 64 MB of log are moved in 50 ms and more, and every caller would wait so long. Most of it is moved here, by a
//! connection of its own, while the writer goes on; the rest, a few pages, by the writer, for only a log that is moved
//! whole is begun anew.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::file::open;
use super::statements;

/// Pages of 4 KiB in the log before they are moved: fewer, longer moves.
const MOVED_AT: u32 = 16_000;
/// A log this long is moved by the writer whole: whoever writes faster than the disk can move has to wait.
const LONGEST: u32 = 4 * MOVED_AT;
/// So few are left to the writer.
const REST: u32 = 500;
/// While the writer goes on, each move leaves what came during it.
const MOST_MOVES: usize = 5;

thread_local! {
    /// Pages in the log after this thread's last commit.
    static LOG: Cell<u32> = const { Cell::new(0) };
}

/// Lets the writer's connection count the pages of its log instead of moving them.
pub fn count_pages(db: &Connection) {
    db.wal_hook(Some(|_, pages| {
        LOG.set(pages.try_into().unwrap_or(0));
        Ok(())
    }));
}

pub struct Checkpoints {
    work: Option<SyncSender<()>>,
    /// The log was moved but for its end.
    moved: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    pub fn start(path: &Path) -> std::io::Result<Self> {
        let (work, waiting) = mpsc::sync_channel::<()>(0);
        let moved = Arc::new(AtomicBool::new(false));
        let (path, told) = (path.to_owned(), moved.clone());
        let thread = std::thread::Builder::new().name("outbox-log".into()).spawn(move || {
            for () in waiting {
                match move_log(&path) {
                    Ok(()) => told.store(true, Ordering::Release),
                    Err(error) => tracing::debug!(%error, "the write-ahead log could not be moved"),
                }
            }
        })?;
        Ok(Self { work: Some(work), moved, thread: Some(thread) })
    }

    /// After a commit of the writer.
    pub fn committed(&self, db: &Connection) {
        let pages = LOG.get();
        if self.moved.swap(false, Ordering::Acquire) || pages >= LONGEST {
            if let Err(error) = statements::checkpoint(db) {
                tracing::debug!(%error, "the end of the write-ahead log could not be moved");
            }
        } else if pages >= MOVED_AT
            && let Some(work) = &self.work
        {
            let _ = work.try_send(()); // full: it is being moved
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn move_log(path: &Path) -> rusqlite::Result<()> {
    let db = open(path, true)?;
    for _ in 0..MOST_MOVES {
        if statements::checkpoint(&db)? <= REST {
            break;
        }
    }
    Ok(())
}
