//! Under which load a CPU recording was made: what tells a busy app from one that waits for the CPU.

use serde::{Deserialize, Serialize};

/// What was measured beside a CPU recording. Absent: it can't be had there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    /// Over how long, in microseconds.
    pub measured_us: u64,
    /// By how much the event loop was late (`perf_hooks.monitorEventLoopDelay`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_loop_delay: Option<EventLoopDelay>,
    /// What the scheduler gave the main thread (`/proc/PID/schedstat`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub main_thread: Option<MainThread>,
    /// What the container's CPU limit took (`cpu.stat` of its cgroup).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttling: Option<Throttling>,
}

/// By how much the event loop was late, in microseconds, of a look every 10 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventLoopDelay {
    /// In half of the looks at most by this.
    pub p50_us: u64,
    /// In 99 of 100 at most by this.
    pub p99_us: u64,
    /// Never by more.
    pub max_us: u64,
}

/// What the scheduler gave a thread, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MainThread {
    /// On a CPU.
    pub running_us: u64,
    /// Ready to run, and without a CPU.
    pub waiting_us: u64,
}

/// What a container's CPU limit took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    /// The periods in which it ran.
    pub periods: u64,
    /// Those of them in which it was stopped.
    pub throttled_periods: u64,
    /// For how long all of its threads were, in microseconds.
    pub throttled_us: u64,
}
