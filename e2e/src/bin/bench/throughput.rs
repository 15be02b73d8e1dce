//! What an app still does while it is recorded.

use crate::{
    latency::{Recorded, record},
    table::{Table, percentile},
};
use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use pitwall_e2e::{App, Story};
use serde_json::{Value, json};
use std::time::Duration;

const TIMES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(8);

/// A line of the load.
struct Second {
    at: Timestamp,
    /// Answers since its start.
    answered: f64,
    /// Of the second before, in milliseconds; none where nothing was answered.
    p99: Option<f64>,
}

/// The shop under more load than it can serve, recorded for 8 s of each 16: at 1 ms, and at 10 ms.
pub(crate) async fn while_recorded(table: &mut Table) -> anyhow::Result<()> {
    for (interval, at_least) in [("1ms", "at least 0.97"), ("10ms", "at least 0.99")] {
        at_interval(table, interval, at_least).await?;
    }
    Ok(())
}

async fn at_interval(table: &mut Table, interval: &str, at_least: &str) -> anyhow::Result<()> {
    let story = Story::new(&format!("bench-{interval}"));
    let pod = App::shop().deploy(&story).remove(0);
    let load = App::load_with(&story, &pod, 8);
    tokio::time::sleep(WINDOW).await;
    let spec = json!({ "duration": "8s", "cpu": { "samplingInterval": interval } });
    let all = record(&story, "checkout", TIMES, &spec, WINDOW).await?;
    let log = story.kubectl(&["logs", &load, "--timestamps"]);
    let seconds: Vec<_> = log.lines().map(second).collect::<anyhow::Result<_>>()?;
    // The load prints each second: a second at either edge belongs to neither side.
    let edge = SignedDuration::from_millis(500);
    // What the profiler's start held up is answered in the first one.
    let steady = SignedDuration::from_millis(2500);
    let window = SignedDuration::try_from(WINDOW)?;
    let (mut ratios, mut unrecorded, mut late) = (Vec::new(), Vec::new(), Vec::new());
    for recording in &all {
        let before = within(&seconds, recording.began - window + edge, recording.began - edge)?;
        let during = within(&seconds, recording.began + edge, recording.ended - edge)?;
        let rest = within(&seconds, recording.began + steady, recording.ended - edge)?;
        ratios.push(rate(&during) / rate(&before));
        unrecorded.push(rate(&before));
        late.push(p99(&rest) / p99(&before));
    }
    let of = format!("{TIMES} recordings of 8 s, each against the 8 s before it");
    let what = format!("the app's throughput at {interval}, recorded / not");
    table.line(&what, at_least, format!("{:.3}", percentile(&ratios, 50)), &of);
    let (least, most) = (percentile(&ratios, 1), percentile(&ratios, 100));
    table.line("the same, least and most", "", format!("{least:.3} to {most:.3}"), &of);
    let what = format!("its p99 latency at {interval} in the steady state, recorded / not");
    table.line(&what, "1.1", format!("{:.3}", percentile(&late, 50)), &of);
    table.line("answers a second, not recorded", "", format!("{:.0}", percentile(&unrecorded, 50)), &of);
    stalls(table, interval, &all);
    Ok(())
}

fn second(line: &str) -> anyhow::Result<Second> {
    let (at, counts) = line.split_once(' ').context("a line of the load without a timestamp")?;
    let counts: Value = serde_json::from_str(counts)?;
    anyhow::ensure!(counts["failed"] == 0, "requests failed: {counts}");
    let answered = counts["answered"].as_f64().context("no count")?;
    Ok(Second { at: at.parse()?, answered, p99: counts["p99"].as_f64() })
}

/// The lines within a time.
fn within(seconds: &[Second], from: Timestamp, to: Timestamp) -> anyhow::Result<Vec<&Second>> {
    let within: Vec<_> = seconds.iter().filter(|one| (from..=to).contains(&one.at)).collect();
    anyhow::ensure!(within.len() >= 4, "the load printed {} lines from {from} to {to}", within.len());
    Ok(within)
}

/// Answers a second.
fn rate(seconds: &[&Second]) -> f64 {
    let (first, last) = (seconds[0], seconds[seconds.len() - 1]);
    (last.answered - first.answered) / last.at.duration_since(first.at).as_secs_f64()
}

/// The median second's p99.
fn p99(seconds: &[&Second]) -> f64 {
    let of_each: Vec<_> = seconds.iter().filter_map(|second| second.p99).collect();
    percentile(&of_each, 50)
}

/// What each end of a recording holds up.
fn stalls(table: &mut Table, interval: &str, all: &[Recorded]) {
    let starts: Vec<_> = all.iter().map(|one| one.start_us / 1e3).collect();
    let stops: Vec<_> = all.iter().map(|one| one.stop_us / 1e3).collect();
    table.percentile(&format!("the shop at {interval}: `Profiler.start` itself"), 50, "", &starts);
    table.percentile(&format!("the shop at {interval}: `Profiler.stop` itself"), 50, "", &stops);
}
