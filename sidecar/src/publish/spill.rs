//! A queue of bytes between the socket and the compressor: short in memory, and on the spool when the compressor
//! lags. Node has no backpressure, so the side that reads the socket never waits for the side that compresses.

use super::spool::{Room, Spool, SpoolError};
use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What is kept in memory before the spool is used.
const IN_MEMORY: usize = 1 << 20;
/// How much is read back at once.
const SLICE: usize = 64 << 10;

/// A queue whose overflow lies in a file of the spool called `name`, gone when both ends are.
pub fn queue(spool: &Spool, name: &str) -> Result<(Intake, Outlet), SpoolError> {
    let (file, room) = spool.scratch(name)?;
    let state =
        State { memory: VecDeque::new(), held: 0, room, written: 0, read: 0, ended: None, gone: false };
    let shared = Arc::new(Shared { file, state: Mutex::new(state), changed: Condvar::new() });
    Ok((Intake(shared.clone()), Outlet(shared)))
}

struct Shared {
    file: File,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    memory: VecDeque<Vec<u8>>,
    /// The bytes in `memory`.
    held: usize,
    /// The overflow's share of the spool.
    room: Room,
    /// How far the overflow was written and read.
    written: u64,
    read: u64,
    /// Set when nothing more comes: whether it was complete.
    ended: Option<bool>,
    /// Nobody takes anything out any more.
    gone: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change leaves the state whole, also where it ends in an error.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end that bytes go in at.
pub struct Intake(Arc<Shared>);

/// Why a byte didn't go in.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The other end has failed, and says why.
    #[error("the compressor has ended")]
    Gone,
    /// The spool refused.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

impl Intake {
    /// Puts bytes in. Never waits for the other end.
    pub fn push(&self, bytes: Vec<u8>) -> Result<(), IntakeError> {
        let mut state = self.0.state();
        if state.gone {
            return Err(IntakeError::Gone);
        }
        // In order: while the overflow isn't read to its end, all that comes goes there.
        if state.written == state.read && (state.held == 0 || state.held + bytes.len() <= IN_MEMORY) {
            state.held += bytes.len();
            state.memory.push_back(bytes);
        } else {
            let at = state.written;
            state.room.take(bytes.len() as u64)?;
            self.0.file.write_all_at(&bytes, at).map_err(|source| state.room.io(source))?;
            state.written = at + bytes.len() as u64;
        }
        drop(state);
        self.0.changed.notify_one();
        Ok(())
    }

    /// All is in.
    pub fn complete(self) {
        self.0.state().ended = Some(true);
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.0.state().ended.get_or_insert(false);
        self.0.changed.notify_one();
    }
}

/// What came out.
#[derive(Debug, PartialEq, Eq)]
pub enum Out {
    /// The next bytes.
    Bytes(Vec<u8>),
    /// All that went in has come out; `complete` says whether that is all there was to come.
    End {
        /// Whether [`Intake::complete`] was called.
        complete: bool,
    },
}

/// The end that bytes come out of, in the order in which they went in.
pub struct Outlet(Arc<Shared>);

impl Outlet {
    /// Waits for the next bytes. Blocks the thread.
    pub fn next(&self) -> Result<Out, SpoolError> {
        let mut state = self.0.state();
        loop {
            if let Some(bytes) = state.memory.pop_front() {
                state.held -= bytes.len();
                return Ok(Out::Bytes(bytes));
            }
            if state.read < state.written {
                let left = usize::try_from(state.written - state.read).unwrap_or(SLICE);
                let mut slice = vec![0; left.min(SLICE)];
                self.0.file.read_exact_at(&mut slice, state.read).map_err(|source| state.room.io(source))?;
                state.read += slice.len() as u64;
                if state.read == state.written {
                    self.0.file.set_len(0).map_err(|source| state.room.io(source))?;
                    (state.read, state.written) = (0, 0);
                    state.room.give_back();
                }
                return Ok(Out::Bytes(slice));
            }
            if let Some(complete) = state.ended {
                return Ok(Out::End { complete });
            }
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.0.state().gone = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order_however_far_the_outlet_lags() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), 1 << 30, &[]).unwrap();
        let (intake, outlet) = queue(&spool, "q").unwrap();
        let mut random = fastrand::Rng::with_seed(3);
        let (mut sent, mut received, mut most) = (Vec::<u8>::new(), vec![], 0);
        for round in 0..4000 {
            let bytes: Vec<u8> = (0..random.usize(1..4000)).map(|_| random.u8(..)).collect();
            sent.extend(&bytes);
            intake.push(bytes).unwrap();
            most = most.max(spool.used());
            // Now the outlet is slower, now faster.
            for _ in 0..if round / 500 % 2 == 0 { random.usize(0..2) } else { random.usize(0..3) } {
                if sent.len() > received.len() {
                    let Out::Bytes(bytes) = outlet.next().unwrap() else { panic!("more is there") };
                    received.extend(bytes);
                }
            }
        }
        intake.complete();
        while let Out::Bytes(bytes) = outlet.next().unwrap() {
            received.extend(bytes);
        }
        assert!(sent == received);
        assert!(most > 0, "the overflow was used");
        assert_eq!(outlet.next().unwrap(), Out::End { complete: true });
        drop(outlet);
        assert_eq!((spool.used(), spool.path("q").exists()), (0, false));
    }

    #[test]
    fn each_end_hears_of_the_others_end() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), 4 << 20, &[]).unwrap();
        let (intake, outlet) = queue(&spool, "q").unwrap();
        drop(intake);
        assert_eq!(outlet.next().unwrap(), Out::End { complete: false });
        let (intake, outlet) = queue(&spool, "r").unwrap();
        drop(outlet);
        assert!(matches!(intake.push(vec![1]), Err(IntakeError::Gone)));
        let (intake, _outlet) = queue(&spool, "s").unwrap();
        let full = (0..10).find_map(|_| intake.push(vec![0; 1 << 20]).err()).unwrap();
        assert!(matches!(full, IntakeError::Spool(SpoolError::Full { .. })), "{full}");
        assert!(spool.used() <= 4 << 20);
    }
}
