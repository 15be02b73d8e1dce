//! `pitwall-operator`: the controller, the built-in store, and the analyser, each a subcommand.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    rustls::crypto::ring::default_provider().install_default().expect("nothing installed a provider before");
    match pitwall_operator::run(pitwall_operator::settings::Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pitwall-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}
