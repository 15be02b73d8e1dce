//! How much the volume still takes. Whatever writes reserves first, and gives back what it doesn't keep.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// No space is left for what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoSpace {
    #[error("full: {used} bytes of the capacity of {capacity} are in use, and {wanted} more are needed")]
    Capacity { used: u64, capacity: u64, wanted: u64 },
    #[error("full: the volume has {free} bytes left, {floor} are kept free, and {wanted} more are needed")]
    Volume { free: u64, floor: u64, wanted: u64 },
    #[error("the volume doesn't say how much is free: {0}")]
    Unknown(String),
}

/// The account of one data folder.
#[derive(Debug)]
pub(super) struct Space {
    volume: PathBuf,
    /// The most that may be in use; unlimited when `None`.
    capacity: Option<u64>,
    /// What the volume keeps free, so that removing and bookkeeping always work.
    floor: u64,
    used: AtomicU64,
}

impl Space {
    pub(super) fn new(volume: &Path, capacity: Option<u64>, floor: u64, used: u64) -> Arc<Self> {
        Arc::new(Self { volume: volume.to_owned(), capacity, floor, used: AtomicU64::new(used) })
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// An account of nothing yet.
    pub(super) fn reservation(self: &Arc<Self>) -> Reservation {
        Reservation { space: Arc::clone(self), bytes: 0 }
    }

    /// Gives back what a removed file had.
    pub(super) fn release(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    fn take(&self, wanted: u64) -> Result<(), NoSpace> {
        let stat =
            nix::sys::statvfs::statvfs(&self.volume).map_err(|error| NoSpace::Unknown(error.to_string()))?;
        let free = stat.blocks_available().saturating_mul(stat.fragment_size());
        if free < self.floor.saturating_add(wanted) {
            return Err(NoSpace::Volume { free, floor: self.floor, wanted });
        }
        let capacity = self.capacity.unwrap_or(u64::MAX);
        let more = |used: u64| used.checked_add(wanted).filter(|sum| *sum <= capacity);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(()),
            Err(used) => Err(NoSpace::Capacity { used, capacity, wanted }),
        }
    }
}

/// Bytes that are about to be written. Given back when dropped, unless kept.
#[derive(Debug)]
pub(super) struct Reservation {
    space: Arc<Space>,
    bytes: u64,
}

impl Reservation {
    pub(super) fn grow(&mut self, bytes: u64) -> Result<(), NoSpace> {
        self.space.take(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// The file stays.
    pub(super) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.space.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_is_given_back() {
        let space = Space::new(Path::new("/"), Some(100), 0, 40);
        let mut kept = space.reservation();
        kept.grow(10).unwrap();
        let mut dropped = space.reservation();
        dropped.grow(20).unwrap();
        dropped.grow(30).unwrap();
        assert_eq!(
            space.reservation().grow(1),
            Err(NoSpace::Capacity { used: 100, capacity: 100, wanted: 1 })
        );
        drop(dropped);
        kept.keep();
        assert_eq!(space.used(), 50);
        space.release(10);
        assert_eq!(space.used(), 40);
    }

    #[test]
    fn the_volume_keeps_some_space_free() {
        let space = Space::new(Path::new("/"), None, u64::MAX, 0);
        assert!(matches!(space.reservation().grow(1), Err(NoSpace::Volume { .. })));
        assert_eq!(space.used(), 0);
    }
}
