//! `make bench`: what Pitwall takes, measured on the real cluster, as a table. docs/benchmarks.md has a run of it.

mod footprint;
mod latency;
mod node_sidecar;
mod snapshot;
mod table;
mod throughput;

use table::Table;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    rustls::crypto::ring::default_provider().install_default().ok();
    // One part by its name, or all.
    let only = std::env::args().nth(1);
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    let mut table = Table::default();
    if wanted("footprint") {
        footprint::images(&mut table)?;
        footprint::idle(&mut table)?;
    }
    if wanted("latency") {
        latency::warm_pod(&mut table).await?;
        latency::big_app(&mut table).await?;
    }
    if wanted("throughput") {
        throughput::while_recorded(&mut table).await?;
    }
    if wanted("snapshot") {
        snapshot::side_by_side(&mut table)?;
    }
    if wanted("sidecar") {
        node_sidecar::side_by_side(&mut table)?;
    }
    table.print();
    Ok(())
}
