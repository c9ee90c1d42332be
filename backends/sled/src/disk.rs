//! Making what was applied durable: one flush for all who wait for one.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rekindle_core::{Error, Result};

use crate::config::SyncMode;
use crate::error;

/// The database on disk.
#[derive(Debug)]
pub(crate) struct Disk {
    db: sled::Db,
    /// The file and the folders to sync; `None` if the operating system is trusted to.
    files: Option<Files>,
    /// How many batches were applied.
    applied: AtomicU64,
    state: Mutex<State>,
    flushed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    /// How many of the applied batches are durable.
    durable: u64,
    /// Why nothing can be written any more. After a sync that failed, what is on the disk is not known, and a later sync
    /// that succeeds does not tell: the kernel has dropped the pages. So the store must be opened again.
    broken: Option<Error>,
}

impl Disk {
    /// Opens the files of an open database, and makes durable what it holds: the process before may have been killed
    /// between writing and syncing.
    pub(crate) fn open(db: sled::Db, folder: &Path, sync: SyncMode) -> Result<Self> {
        let files = match sync {
            SyncMode::Fsync => Some(Files::open(folder)?),
            SyncMode::ProcessCrash => None,
        };
        let disk = Self { db, files, applied: AtomicU64::new(0), state: Mutex::default(), flushed: Condvar::new() };
        disk.write_out()?;
        Ok(disk)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses everything once a write has failed.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.state().broken {
            None => Ok(()),
            Some(error) => Err(error.clone().at("a write has failed, and the store must be opened again")),
        }
    }

    /// Tells that a write has failed, so that what is in memory may not be what is on the disk.
    pub(crate) fn set_broken(&self, error: &Error) {
        self.state().broken.get_or_insert_with(|| error.clone());
        self.flushed.notify_all();
    }

    /// Tells that a batch was applied, which the next flush makes durable.
    pub(crate) fn applied(&self) {
        self.applied.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns once everything that was applied before the call is durable. A flush that began after the last of it is
    /// shared.
    pub(crate) fn flush(&self) -> Result<()> {
        let wanted = self.applied.load(Ordering::SeqCst);
        let mut state = self.state();
        loop {
            if let Some(error) = &state.broken {
                return Err(error.clone());
            }
            if state.durable >= wanted {
                return Ok(());
            }
            if state.running {
                state = self.flushed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.running = true;
            drop(state);
            let target = self.applied.load(Ordering::SeqCst);
            let written = catch_unwind(AssertUnwindSafe(|| self.write_out()))
                .unwrap_or_else(|_| Err(Error::corrupt("sled panicked in a flush")));
            state = self.state();
            state.running = false;
            match written {
                Ok(()) => state.durable = target,
                Err(error) => state.broken = Some(error),
            }
            self.flushed.notify_all();
        }
    }

    fn write_out(&self) -> Result<()> {
        self.db.flush().map_err(error::classify)?;
        self.files.as_ref().map_or(Ok(()), Files::sync)
    }
}

/// The files of a database that must be synced.
///
/// sled writes its log to the file `db`. A value or a page of more than 128 KiB goes to a file of its own in the folder
/// `blobs`, which sled writes once and does not sync.
#[derive(Debug)]
struct Files {
    path: PathBuf,
    log: File,
    blobs: PathBuf,
    seen: Mutex<Blobs>,
}

#[derive(Debug, Default)]
struct Blobs {
    /// Those that were whole when they were synced.
    settled: HashSet<OsString>,
    /// Those that were there at the last sync. sled may have been writing one for a batch that comes after that sync, so
    /// each is synced once more; by then a whole flush has passed, so it is whole.
    fresh: HashSet<OsString>,
}

impl Files {
    fn open(folder: &Path) -> Result<Self> {
        let (path, blobs) = (folder.join("db"), folder.join("blobs"));
        let log = File::options().read(true).write(true).open(&path).map_err(|e| error::file(&path, e))?;
        sync_path(&folder.join("conf"))?;
        sync_path(&blobs)?;
        sync_path(folder)?;
        if let Some(parent) = folder.canonicalize().ok().as_deref().and_then(Path::parent) {
            // A folder that may be used and not be read cannot be synced; that is no reason to refuse the database.
            let _ = sync_path(parent);
        }
        Ok(Self { path, log, blobs, seen: Mutex::default() })
    }

    /// Syncs the new blobs, then the log that points to them.
    fn sync(&self) -> Result<()> {
        self.sync_blobs().map_err(|e| error::file(&self.blobs, e))?;
        self.log.sync_data().map_err(|e| error::file(&self.path, e))
    }

    fn sync_blobs(&self) -> io::Result<()> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut now = Blobs::default();
        for entry in fs::read_dir(&self.blobs)? {
            let name = entry?.file_name();
            if seen.settled.contains(&name) {
                now.settled.insert(name);
                continue;
            }
            match File::open(self.blobs.join(&name)) {
                Ok(blob) => blob.sync_all()?,
                // sled has removed it: nothing points to it any more.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            }
            if seen.fresh.contains(&name) {
                now.settled.insert(name)
            } else {
                now.fresh.insert(name)
            };
        }
        if !now.fresh.is_empty() {
            File::open(&self.blobs)?.sync_all()?;
        }
        *seen = now;
        Ok(())
    }
}

/// Syncs a file or a folder.
pub(crate) fn sync_path(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|e| error::file(path, e))
}
