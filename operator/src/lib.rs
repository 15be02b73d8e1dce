//! Pitwall's operator: the controller, the control channel, the webhook, the built-in store and the analyser.
//!
//! A reader's way in: [`request`] is a `ProfileRequest`'s life in five steps, [`channel`] is how sidecars are
//! accepted, [`store`] where artifacts go, [`inject`] how pods get their sidecar.

pub mod analysis;
pub mod channel;
pub mod download;
pub mod inject;
pub mod leader;
pub mod metrics;
pub mod request;
mod run;
pub mod settings;
pub mod store;
pub mod tls;
mod uninstall;

use settings::{Arguments, Role};
use std::io::IsTerminal;

/// Takes the role that the command line asks for, until it is told to end.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    if let Role::Analyse(settings) = &arguments.role {
        // Alone in its process, with nothing around that it doesn't need.
        return analysis::run_child(settings);
    }
    let filter = tracing_subscriber::EnvFilter::try_new(&arguments.log)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().init();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let shutdown = run::on_signal()?;
        match arguments.role {
            Role::Run(settings) => Box::pin(run::run(*settings, shutdown)).await,
            Role::Store(settings) => Ok(store::builtin::run(settings, shutdown).await?),
            Role::PrepareUninstall => uninstall::prepare().await,
            Role::Analyse(_) => Ok(()),
        }
    })
}
