//! Records a process of this machine into a file, without a cluster: by the sidecar's own code, so Linux only.

#[cfg(target_os = "linux")]
mod choose;
#[cfg(target_os = "linux")]
mod record;

#[cfg(target_os = "linux")]
pub(crate) use record::record as run;

/// Elsewhere there is no `/proc` to prove anything by.
#[cfg(not(target_os = "linux"))]
pub(crate) async fn run(_: &crate::args::LocalArgs) -> Result<crate::exit::Exit, crate::exit::Failure> {
    let system = std::env::consts::OS;
    let message = format!("`local` records on Linux, and this is {system}: run it where the process runs");
    Err(crate::exit::Failure::usage(message))
}
