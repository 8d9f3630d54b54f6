//! Reading beside the writer.

use std::path::Path;
use std::sync::{Arc, mpsc};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::file::open;
use crate::outbox::OutboxError;

/// A thread with a connection of its own that only reads.
pub struct Reader {
    jobs: mpsc::Sender<Job>,
}

type Job = Box<dyn FnOnce(&mut Option<Connection>) + Send>;

impl Reader {
    pub fn start(name: &str, path: &Path) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        let path = path.to_owned();
        std::thread::Builder::new().name(name.into()).spawn(move || {
            let mut db = None;
            for job in waiting {
                if db.is_none() {
                    db = open(&path, false).ok();
                }
                job(&mut db);
            }
        })?;
        Ok(Self { jobs })
    }

    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, OutboxError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |db| {
            let end = match db.as_ref() {
                Some(open) => work(open),
                None => Err(rusqlite::Error::InvalidPath("the store cannot be opened for reading".into())),
            };
            if matches!(&end, Err(rusqlite::Error::SqliteFailure(..))) {
                *db = None; // a connection that failed is opened anew
            }
            let _ = answer.send(end);
        });
        self.jobs.send(job).map_err(|_| OutboxError::Closed)?;
        answered.await.map_err(|_| OutboxError::Closed)?.map_err(|error| OutboxError::Unavailable(Arc::new(error)))
    }
}
