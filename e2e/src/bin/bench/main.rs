//! `make bench`: what Pitwall takes, measured on the real cluster, as a table. docs/benchmarks.md has a run of it.

mod footprint;
mod latency;
mod table;
mod throughput;

use table::Table;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    rustls::crypto::ring::default_provider().install_default().ok();
    let mut table = Table::default();
    footprint::images(&mut table)?;
    footprint::idle(&mut table)?;
    latency::warm_pod(&mut table).await?;
    latency::big_app(&mut table).await?;
    throughput::while_recorded(&mut table).await?;
    table.print();
    Ok(())
}
