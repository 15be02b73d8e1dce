//! `pitwall-sidecar`: see the library.

use clap::Parser;
use pitwall_sidecar::settings::Arguments;
use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    // The one provider of the whole tree. A second call would fail, and there is none.
    rustls::crypto::ring::default_provider().install_default().ok();
    pitwall_sidecar::run(Arguments::parse())
}
