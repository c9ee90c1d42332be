//! Opening a folder.

use std::fs;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rekindle_core::{Error, Result};

use crate::config::SledConfig;
use crate::disk::sync_path;
use crate::error;
use crate::keys;
use crate::rows::fixed;

/// The version of the key layout and of the rows.
const FORMAT: u32 = 1;
/// A file that tells that the folder holds a whole database. sled takes a damaged one for an empty one, and this tells them
/// apart.
const MARKER: &str = "rekindle";
/// sled frees its lock a little after the last handle was dropped.
const PATIENCE: Duration = Duration::from_millis(500);

/// Opens or makes the database in this folder.
pub(crate) fn open(folder: &Path, config: &SledConfig) -> Result<sled::Db> {
    fs::create_dir_all(folder).map_err(|e| error::file(folder, e))?;
    let marker = folder.join(MARKER);
    let has_marker = marker.exists();
    if !folder.join("db").exists()
        && (has_marker || holds_something_else(folder).map_err(|e| error::file(folder, e))?)
    {
        return Err(Error::corrupt(format!(
            "the folder {} is not empty, and holds no sled database",
            folder.display()
        )));
    }
    let db = open_sled(folder, config)?;
    check_format(&db, has_marker).map_err(|e| e.at(format!("the database in {}", folder.display())))?;
    if !has_marker {
        write_marker(&marker).map_err(|e| error::file(&marker, e))?;
        sync_path(folder)?;
    }
    Ok(db)
}

fn holds_something_else(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        // What sled makes before the file `db`: a process that was killed then leaves these.
        if name != "conf" && name != "blobs" {
            return Ok(true);
        }
    }
    Ok(false)
}

fn open_sled(folder: &Path, config: &SledConfig) -> Result<sled::Db> {
    let sled = sled::Config::new().path(folder).cache_capacity(config.cache_bytes).flush_every_ms(None);
    let begun = Instant::now();
    loop {
        match catch_unwind(AssertUnwindSafe(|| sled.open())) {
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(e)) if !error::is_locked(&e) => return Err(error::classify(e).at(folder.display())),
            Ok(Err(_)) if begun.elapsed() > PATIENCE => return Err(error::locked(folder)),
            Ok(Err(_)) => thread::sleep(Duration::from_millis(10)),
            Err(_) => {
                let message =
                    format!("the database in {} is damaged: sled panicked when it was opened", folder.display());
                return Err(Error::corrupt(message));
            }
        }
    }
}

fn check_format(db: &sled::Db, has_marker: bool) -> Result<()> {
    match db.get(keys::FORMAT).map_err(error::classify)? {
        Some(row) => match u32::from_be_bytes(fixed(&row, "the version of the format")?) {
            FORMAT => Ok(()),
            other => Err(Error::invalid(format!(
                "it has the format version {other}; this version of Rekindle knows {FORMAT}"
            ))),
        },
        None if has_marker => Err(Error::corrupt("it has lost its content")),
        None if !db.is_empty() => Err(Error::corrupt("it holds something that is not Rekindle's")),
        None => {
            db.insert(keys::FORMAT, &FORMAT.to_be_bytes()).map_err(error::classify)?;
            db.flush().map_err(error::classify)?;
            Ok(())
        }
    }
}

fn write_marker(path: &Path) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(b"This folder holds a database of Rekindle, in the format of sled 0.34.\n")?;
    file.sync_all()
}
