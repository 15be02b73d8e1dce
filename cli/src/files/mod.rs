//! Profiles in files, from Pitwall or from anywhere: no cluster is asked.

mod analyze;
mod export;

pub(crate) use analyze::analyze;
pub(crate) use export::export;

use crate::{
    exit::{Exit, Failure},
    view::{screen::Screen, stage::Line},
};
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// The file that stands for standard input or output.
const STANDARD: &str = "-";

/// From this size on, in bytes, reading a file may take so long that it is told.
const LONG: u64 = 32 << 20;

/// Opens a file to read, and says so where it takes time.
fn open(path: &Path, screen: &mut Screen) -> Result<Box<dyn Read>, Failure> {
    if path.as_os_str() == STANDARD {
        return Ok(Box::new(io::stdin().lock()));
    }
    let failed = |error: io::Error| Failure::usage(format!("can't read {}: {error}", path.display()));
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(Failure::usage(format!("{} is a folder, and a file is expected", path.display())));
    }
    if metadata.len() >= LONG {
        screen.show(&Line { stage: "reading", bar: None, text: path.display().to_string() });
    }
    Ok(Box::new(file))
}

/// Why a file is of no use.
fn unusable(path: &Path, error: &pitwall_profile::ReadError) -> Failure {
    Failure::new(Exit::Failed, format!("{}: {error}", path.display()))
}
