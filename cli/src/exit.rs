//! How the program ends.

use std::process::ExitCode;

/// What the program's exit code says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for was done.
    Done,
    /// The request failed: nothing was recorded.
    Failed,
    /// The command line asks for something that can't be.
    Usage,
    /// The cluster couldn't be reached, didn't answer, or refused.
    Cluster,
    /// Something was recorded, but some targets failed.
    Partial,
    /// A download failed, or its bytes weren't the recorded ones.
    Download,
    /// Left by Ctrl-C, while the request may go on.
    Interrupted,
}

/// For `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
    0  recorded, or done as asked
    1  the request failed; its reason is printed
    2  wrong usage; also a name that isn't there, or a request that the API refuses as invalid
    3  the cluster couldn't be reached, didn't answer, or refused
    4  recorded, but some of the targets failed
    5  a download failed, or its checksum doesn't agree
  130  left by Ctrl-C";

impl Exit {
    const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Cluster => 3,
            Self::Partial => 4,
            Self::Download => 5,
            Self::Interrupted => 130,
        }
    }

    /// Of a recording's end and its download's: the one that the caller must know of.
    pub(crate) const fn and_download(self, downloaded: bool) -> Self {
        match self {
            Self::Done | Self::Partial if !downloaded => Self::Download,
            other => other,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Why a command ended early, in words for the person who typed it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// What the exit code says.
    pub exit: Exit,
    /// What was tried, what was seen, and what to do.
    pub message: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn cluster(message: impl Into<String>) -> Self {
        Self::new(Exit::Cluster, message)
    }

    pub(crate) fn download(message: impl Into<String>) -> Self {
        Self::new(Exit::Download, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_exit_code() {
        let all = [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Cluster,
            Exit::Partial,
            Exit::Download,
            Exit::Interrupted,
        ];
        let documented: Vec<u8> = EXIT_CODES
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(documented, all.map(Exit::code));
    }

    #[test]
    fn a_failed_download_is_told_only_where_something_was_recorded() {
        for (end, downloaded, exit) in [
            (Exit::Done, true, Exit::Done),
            (Exit::Done, false, Exit::Download),
            (Exit::Partial, true, Exit::Partial),
            (Exit::Partial, false, Exit::Download),
            (Exit::Failed, false, Exit::Failed),
        ] {
            assert_eq!(end.and_download(downloaded), exit, "{end:?} {downloaded}");
        }
    }
}
