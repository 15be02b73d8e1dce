//! What the inspector is asked.

use std::fmt;
use std::time::Duration;

use serde_json::json;

/// A command to the inspector, with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `Profiler.enable`: needed before the profiler's other commands.
    ProfilerEnable,
    /// `Profiler.disable`: ends what it records, and its events.
    ProfilerDisable,
    /// `Profiler.setSamplingInterval`: before [`Self::ProfilerStart`], in steps of a microsecond.
    ProfilerSetSamplingInterval(Duration),
    /// `Profiler.start`: stalls the app in proportion to its heap's objects.
    ProfilerStart,
    /// `Profiler.stop`: its profile arrives as [`StreamChunk`](crate::Incoming::StreamChunk)s, the bytes of a
    /// `.cpuprofile`.
    ProfilerStop,
    /// `HeapProfiler.enable`: needed before the heap profiler's other commands.
    HeapProfilerEnable,
    /// `HeapProfiler.disable`: ends what it records, and its events.
    HeapProfilerDisable,
    /// `HeapProfiler.startSampling`: samples allocations; costs the app next to nothing to start.
    HeapProfilerStartSampling {
        /// Bytes that are allocated between two samples, on average.
        interval: u32,
        /// Whether objects that a garbage collection has freed stay in the profile. Node 18 ignores it silently.
        collected: bool,
    },
    /// `HeapProfiler.stopSampling`: forces a garbage collection. Its profile is streamed, the bytes of a
    /// `.heapprofile`.
    HeapProfilerStopSampling,
    /// `HeapProfiler.takeHeapSnapshot` with progress: stops the app until it is done, and can't be cancelled. The
    /// snapshot arrives as [`EventStream::SnapshotChunk`](crate::EventStream::SnapshotChunk)s, before the reply.
    TakeHeapSnapshot,
    /// `Debugger.enable`: half a millisecond a megabyte of heap.
    DebuggerEnable,
    /// `Debugger.disable`.
    DebuggerDisable,
    /// `Runtime.evaluate` in the global scope, by value, silent. The reply is read by
    /// [`Evaluated`](crate::Evaluated).
    Evaluate {
        /// JavaScript: see [`expression`](crate::expression).
        expression: &'a str,
        /// V8 ends it after this long, in steps of a millisecond; the command is then refused ("Execution was
        /// terminated").
        timeout: Duration,
        /// Whether with the command-line API, so that `require` is there. Node reads its options for that: not
        /// while it is [`starting`](crate::expression::starting).
        command_line_api: bool,
    },
    /// `NodeWorker.enable`: a session with each worker thread, told by
    /// [`Event::WorkerAttached`](crate::Event::WorkerAttached) before the reply for those that run.
    NodeWorkerEnable,
    /// `NodeWorker.disable`: ends these sessions.
    NodeWorkerDisable,
    /// `NodeWorker.sendMessageToWorker`: what a worker thread is asked. Its answer is read by
    /// [`WorkerMessage`](crate::WorkerMessage).
    ToWorker {
        /// The worker's session.
        session: u32,
        /// Names the command within the worker's session.
        id: i32,
        /// What it is asked.
        command: &'a Command<'a>,
    },
    /// `NodeRuntime.enable`: belongs before [`Self::NotifyWhenWaitingForDisconnect`]. Node 18 refuses it
    /// (-32601, not found) and needs none.
    NodeRuntimeEnable,
    /// `NodeRuntime.notifyWhenWaitingForDisconnect`: an app that wants to exit says so by
    /// [`Event::WaitingForDisconnect`](crate::Event::WaitingForDisconnect) instead of hanging in silence.
    NotifyWhenWaitingForDisconnect {
        /// Whether it shall.
        enabled: bool,
    },
}

impl Command<'_> {
    /// The method's name in the protocol.
    pub fn method(&self) -> &'static str {
        match self {
            Self::ProfilerEnable => "Profiler.enable",
            Self::ProfilerSetSamplingInterval(_) => "Profiler.setSamplingInterval",
            Self::ProfilerStart => "Profiler.start",
            Self::ProfilerStop => "Profiler.stop",
            Self::HeapProfilerEnable => "HeapProfiler.enable",
            Self::HeapProfilerStartSampling { .. } => "HeapProfiler.startSampling",
            Self::HeapProfilerStopSampling => "HeapProfiler.stopSampling",
            Self::ProfilerDisable => "Profiler.disable",
            Self::HeapProfilerDisable => "HeapProfiler.disable",
            Self::TakeHeapSnapshot => "HeapProfiler.takeHeapSnapshot",
            Self::DebuggerEnable => "Debugger.enable",
            Self::DebuggerDisable => "Debugger.disable",
            Self::Evaluate { .. } => "Runtime.evaluate",
            Self::NodeWorkerEnable => "NodeWorker.enable",
            Self::NodeWorkerDisable => "NodeWorker.disable",
            Self::ToWorker { .. } => "NodeWorker.sendMessageToWorker",
            Self::NodeRuntimeEnable => "NodeRuntime.enable",
            Self::NotifyWhenWaitingForDisconnect { .. } => "NodeRuntime.notifyWhenWaitingForDisconnect",
        }
    }

    /// The only member of the result, when that is streamed instead of kept.
    pub(crate) fn streamed_member(&self) -> Option<&'static str> {
        match self {
            Self::ProfilerStop | Self::HeapProfilerStopSampling => Some("profile"),
            _ => None,
        }
    }

    /// The message that asks for it.
    pub(crate) fn to_json(self, id: CommandId) -> String {
        let params = match self {
            Self::ProfilerEnable
            | Self::ProfilerStart
            | Self::ProfilerStop
            | Self::HeapProfilerEnable
            | Self::HeapProfilerStopSampling
            | Self::ProfilerDisable
            | Self::HeapProfilerDisable
            | Self::DebuggerEnable
            | Self::DebuggerDisable
            | Self::NodeWorkerDisable
            | Self::NodeRuntimeEnable => json!({}),
            Self::HeapProfilerStartSampling { interval, collected } => json!({
                "samplingInterval": at_most_i32(interval.into()),
                "includeObjectsCollectedByMajorGC": collected,
                "includeObjectsCollectedByMinorGC": collected,
            }),
            Self::NodeWorkerEnable => json!({ "waitForDebuggerOnStart": false }),
            Self::ToWorker { session, id, command } => json!({
                "sessionId": session.to_string(),
                "message": command.to_json(CommandId(id)),
            }),
            Self::TakeHeapSnapshot => json!({ "reportProgress": true }),
            Self::ProfilerSetSamplingInterval(interval) => {
                json!({ "interval": at_most_i32(interval.as_micros()) })
            }
            Self::Evaluate { expression, timeout, command_line_api } => json!({
                "expression": expression,
                "returnByValue": true,
                "silent": true,
                "includeCommandLineAPI": command_line_api,
                "timeout": at_most_i32(timeout.as_millis()),
            }),
            Self::NotifyWhenWaitingForDisconnect { enabled } => json!({ "enabled": enabled }),
        };
        json!({ "id": id.0, "method": self.method(), "params": params }).to_string()
    }
}

/// The protocol's integers are of 32 bits, and 0 would mean another thing (no timeout, the default interval).
fn at_most_i32(number: u128) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX).max(1)
}

/// Names a command that was sent, within one connection. From 1 up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandId(pub(crate) i32);

impl fmt::Display for CommandId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_complete_json_object() {
        let command = Command::Evaluate {
            expression: "\"a\"\n+ 'b'",
            timeout: Duration::from_millis(250),
            command_line_api: true,
        };
        let value: serde_json::Value = serde_json::from_str(&command.to_json(CommandId(7))).unwrap();
        assert_eq!(
            value,
            json!({ "id": 7, "method": "Runtime.evaluate", "params": {
                "expression": "\"a\"\n+ 'b'", "returnByValue": true, "silent": true,
                "includeCommandLineAPI": true, "timeout": 250,
            }})
        );
    }

    #[test]
    fn durations_stay_within_the_protocols_integers() {
        for (micros, expected) in [(0, 1), (100, 100), (1_000, 1_000), (u64::MAX, i32::MAX)] {
            let command = Command::ProfilerSetSamplingInterval(Duration::from_micros(micros));
            let value: serde_json::Value = serde_json::from_str(&command.to_json(CommandId(1))).unwrap();
            assert_eq!(value["params"]["interval"], expected, "{micros}");
        }
    }
}
