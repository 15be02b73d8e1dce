//! The CA that the operator has announced: its next certificate may descend from that one. Kept in a file, since
//! the pod's own text has the CA of the day on which the pod was made, and the next worker begins with that.

use std::path::{Path, PathBuf};

const FILE: &str = "operator-ca.pem";
/// The longest bundle that is kept, in bytes: a few certificates.
const LONGEST: u64 = 64 << 10;

#[derive(Debug)]
pub(super) struct Announced {
    path: PathBuf,
    pem: Option<String>,
}

impl Announced {
    /// What an earlier worker was told.
    pub(super) fn load(folder: &Path) -> Self {
        let path = folder.join(FILE);
        let fits = std::fs::metadata(&path).is_ok_and(|file| file.len() <= LONGEST);
        let pem = fits.then(|| std::fs::read_to_string(&path).ok()).flatten();
        Self { path, pem }
    }

    pub(super) fn pem(&self) -> Option<&str> {
        self.pem.as_deref()
    }

    /// Takes in what the operator says; nothing, or the same again, changes nothing.
    pub(super) fn hear(&mut self, pem: Option<&str>) {
        let Some(pem) = pem.filter(|pem| self.pem() != Some(pem)) else { return };
        self.pem = Some(pem.to_owned());
        let draft = self.path.with_extension("new");
        let written = std::fs::write(&draft, pem).and_then(|()| std::fs::rename(&draft, &self.path));
        if let Err(error) = written {
            tracing::warn!(path = %self.path.display(), %error, "the announced CA is known to this worker only");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_announced_outlives_the_worker() {
        let folder = tempfile::tempdir().unwrap();
        let mut announced = Announced::load(folder.path());
        assert_eq!(announced.pem(), None);
        announced.hear(Some("one"));
        announced.hear(Some("two"));
        announced.hear(None);
        assert_eq!(announced.pem(), Some("two"));
        assert_eq!(Announced::load(folder.path()).pem(), Some("two"));
        std::fs::write(folder.path().join(FILE), vec![b'x'; 70_000]).unwrap();
        assert_eq!(Announced::load(folder.path()).pem(), None);
    }
}
