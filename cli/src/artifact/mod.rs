//! Fetching one artifact: a key of its own, a sealed URL, a checked file.

mod dial;
pub(crate) mod download;
mod fetch;
pub(crate) mod file_name;
mod key;
pub(crate) mod receive;
pub(crate) mod source;
