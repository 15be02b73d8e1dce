//! `kubectl pitwall`: profiles Node.js in a cluster from the command line.
//!
//! Decisions and renderings are pure ([`outcome`], [`refusal`], [`view`], [`artifact::source`]); IO is in
//! [`cluster`], [`follow`], [`artifact`] and [`commands`]. Text that comes from the cluster passes
//! [`view::printable`] on its way to a terminal, and names from the cluster pass
//! [`artifact::file_name`] on their way to a disk.

mod args;
mod artifact;
mod cluster;
mod commands;
mod exit;
mod files;
mod follow;
mod interrupt;
mod kubeconfig;
mod local;
mod outcome;
mod proxy;
mod read;
mod refusal;
mod report;
mod request;
mod selector;
mod target;
mod view;

pub use commands::run;
