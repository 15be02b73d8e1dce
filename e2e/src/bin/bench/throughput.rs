//! What an app still does while it is recorded.

use crate::{
    latency::record,
    table::{Table, percentile},
};
use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use pitwall_e2e::{App, Story};
use serde_json::{Value, json};
use std::time::Duration;

const TIMES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(8);

/// The shop under more load than it can serve, recorded at 1 ms for 8 s of each 16.
pub(crate) async fn while_recorded(table: &mut Table) -> anyhow::Result<()> {
    let story = Story::new("bench-throughput");
    let pod = App::shop().deploy(&story).remove(0);
    let load = App::load_with(&story, &pod, 8);
    tokio::time::sleep(WINDOW).await;
    let spec = json!({ "duration": "8s", "cpu": { "samplingInterval": "1ms" } });
    let all = record(&story, "checkout", TIMES, &spec, WINDOW).await?;
    let log = story.kubectl(&["logs", &load, "--timestamps"]);
    let counts: Vec<(Timestamp, f64)> = log.lines().map(counted).collect::<anyhow::Result<_>>()?;
    // The load prints each second: a second at either edge belongs to neither side.
    let edge = SignedDuration::from_millis(500);
    let window = SignedDuration::try_from(WINDOW)?;
    let mut ratios = Vec::new();
    let mut unrecorded = Vec::new();
    for recording in &all {
        let before = rate(&counts, recording.began - window + edge, recording.began - edge)?;
        let during = rate(&counts, recording.began + edge, recording.ended - edge)?;
        ratios.push(during / before);
        unrecorded.push(before);
    }
    let of = format!("{TIMES} recordings of 8 s, each against the 8 s before it");
    let median = percentile(&ratios, 50);
    table.line("the app's throughput at 1 ms, recorded / not", "at least 0.97", format!("{median:.3}"), &of);
    let (least, most) = (percentile(&ratios, 1), percentile(&ratios, 100));
    table.line("the same, least and most", "", format!("{least:.3} to {most:.3}"), &of);
    table.line("answers a second, not recorded", "", format!("{:.0}", percentile(&unrecorded, 50)), &of);
    Ok(())
}

fn counted(line: &str) -> anyhow::Result<(Timestamp, f64)> {
    let (at, counts) = line.split_once(' ').context("a line of the load without a timestamp")?;
    let counts: Value = serde_json::from_str(counts)?;
    anyhow::ensure!(counts["failed"] == 0, "requests failed: {counts}");
    Ok((at.parse()?, counts["answered"].as_f64().context("no count")?))
}

/// Answers a second between the first and the last line within a time.
fn rate(counts: &[(Timestamp, f64)], from: Timestamp, to: Timestamp) -> anyhow::Result<f64> {
    let within: Vec<_> = counts.iter().filter(|(at, _)| (from..=to).contains(at)).collect();
    let (Some((begun, first)), Some((ended, last))) = (within.first(), within.last()) else {
        anyhow::bail!("the load printed nothing from {from} to {to}");
    };
    anyhow::ensure!(within.len() >= 4, "the load printed {} lines from {from} to {to}", within.len());
    Ok((last - first) / ended.duration_since(*begun).as_secs_f64())
}
