//! The command line. The chart writes it; nobody types it.

use crate::{inject, store};
use clap::{Args, Parser, Subcommand};
use std::{net::SocketAddr, path::PathBuf};

/// Turns a `ProfileRequest` into recordings, artifacts and findings.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Arguments {
    /// What to log, such as info or `pitwall_operator=debug`.
    #[arg(long, global = true, env = "PITWALL_LOG", default_value = "info,kube=warn,hyper=warn,aws=warn")]
    pub log: String,
    /// Which role to take.
    #[command(subcommand)]
    pub role: Role,
}

/// The roles of the binary.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// The controller, the control channel and the webhook.
    Run(Box<Run>),
    /// The built-in store.
    Store(store::builtin::ServeSettings),
    /// Analyse one file and print the report; run by the controller, within limits.
    Analyse(Analyse),
    /// Take the finalizers off every request; run by the chart before it is uninstalled.
    PrepareUninstall,
}

/// Settings of the controller.
#[derive(Debug, Args)]
pub struct Run {
    /// Pitwall's own namespace.
    #[arg(long, env = "POD_NAMESPACE")]
    pub namespace: String,
    /// This replica's pod.
    #[arg(long, env = "POD_NAME")]
    pub pod_name: String,
    /// Where sidecars dial.
    #[arg(long, default_value = "0.0.0.0:8443")]
    pub channel_address: SocketAddr,
    /// Where the API server calls the webhook.
    #[arg(long, default_value = "0.0.0.0:9443")]
    pub webhook_address: SocketAddr,
    /// Where figures and probes are read.
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub metrics_address: SocketAddr,
    /// A folder for artifacts that are checked and analysed.
    #[arg(long)]
    pub scratch_dir: PathBuf,
    /// How many artifacts are analysed at once.
    #[arg(long, default_value_t = 2)]
    pub analysers: usize,
    /// The store.
    #[command(flatten)]
    pub store: store::Settings,
    /// The webhook.
    #[command(flatten)]
    pub inject: inject::Settings,
}

/// Settings of the analyser.
#[derive(Debug, Args)]
pub struct Analyse {
    /// The file.
    pub file: PathBuf,
    /// The most memory to use, in bytes.
    #[arg(long)]
    pub memory: u64,
    /// The most CPU time to use, in seconds.
    #[arg(long)]
    pub seconds: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
