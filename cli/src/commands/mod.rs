//! What each subcommand does.

mod completion;
mod download;
mod record;
mod show;

pub(crate) use download::how_to_open;

use crate::{
    args::{Cli, Command},
    exit::{Exit, Failure},
    view::screen::{self, stderr_paint},
};
use clap::Parser as _;
use std::{ffi::OsString, process::ExitCode};

/// Runs a command line, program name first.
pub async fn run(words: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    let exit = dispatch(cli).await.unwrap_or_else(|failure| {
        screen::tell_error(&failure.message, stderr_paint());
        failure.exit
    });
    exit.into()
}

async fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    let Cli { cluster, command } = cli;
    match command {
        Command::Cpu(args) => record::record(&cluster, &args.record, (&args).into()).await,
        Command::HeapSampling(args) => record::record(&cluster, &args.record, (&args).into()).await,
        Command::HeapSnapshot(args) => record::record(&cluster, &args.record, (&args).into()).await,
        Command::Local(args) => crate::local::run(&args).await,
        Command::Analyze(args) => crate::files::analyze(&args),
        Command::Export(args) => crate::files::export(&args),
        Command::Follow(args) => record::follow_request(&cluster, &args).await,
        Command::Download(args) => download::download(&cluster, &args).await,
        Command::Findings(args) => show::findings(&cluster, &args).await,
        Command::Stop(args) => show::stop(&cluster, &args).await,
        Command::List(args) => show::list(&cluster, &args).await,
        Command::Completion(args) => Ok(completion::script(args.shell)),
        Command::Complete(args) => Ok(completion::complete(&args.words)),
    }
}
