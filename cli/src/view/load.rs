//! Under which load a CPU recording was made, in a line.

use pitwall_crds::LoadStatus;
use std::time::Duration;

/// The line, if there is anything to say. Waiting for the CPU is said from 1 % of the time that the main thread could run.
pub(crate) fn sentence(load: &LoadStatus) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(delay) = &load.event_loop_delay {
        parts.push(format!(
            "event loop late by up to {} in 99% of the time, {} at most",
            spoken(delay.p99.as_std()),
            spoken(delay.max.as_std())
        ));
    }
    if let Some(thread) = &load.main_thread {
        let (running, waiting) = (thread.running.as_std(), thread.waiting.as_std());
        let ready = (running + waiting).as_secs_f64();
        let share = if ready > 0.0 { 100.0 * waiting.as_secs_f64() / ready } else { 0.0 };
        if share >= 1.0 {
            let waited = spoken(waiting);
            parts.push(format!(
                "main thread waited for a CPU for {waited}, {share:.0}% of the time it could run"
            ));
        }
    }
    if let Some(throttling) = load.throttling.as_ref().filter(|throttling| throttling.throttled_periods > 0) {
        parts.push(format!(
            "throttled by the container's CPU limit in {} of {} periods",
            throttling.throttled_periods, throttling.periods
        ));
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        1.0.. => format!("{seconds:.1} s"),
        0.01.. => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{:.1} ms", seconds * 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_out_of_the_ordinary_is_said_beside_the_delay() {
        let calm = json!({ "eventLoopDelay": { "p50": "50us", "p99": "1200us", "max": "35ms" },
                           "mainThread": { "running": "10s", "waiting": "50ms" },
                           "throttling": { "periods": 300, "throttledPeriods": 0, "throttled": "0s" } });
        let starved = json!({ "mainThread": { "running": "6s", "waiting": "4s" },
                              "throttling": { "periods": 300, "throttledPeriods": 90, "throttled": "4s" } });
        for (load, said) in [
            (calm, Some("event loop late by up to 1.2 ms in 99% of the time, 35 ms at most")),
            (
                starved,
                Some(
                    "main thread waited for a CPU for 4.0 s, 40% of the time it could run; throttled by the container's CPU \
                     limit in 90 of 300 periods",
                ),
            ),
            (json!({}), None),
        ] {
            let load: LoadStatus = serde_json::from_value(load).unwrap();
            assert_eq!(sentence(&load).as_deref(), said);
        }
    }
}
