//! Every type of recording with every fault, on every version of Node.js: whatever happens, there is one terminal
//! report, no inspector stays open, the app lives if it was to live, and nothing is left in the pod.

mod pod;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pitwall_protocol::{EarlyEnd, FailureReason, Recording, SessionPhase, Start};
use pitwall_sidecar::attach::link::Link;
use pitwall_sidecar::discover::procfs::ProcRoot;
use pitwall_test_node::EVERY_NODE;
use pod::app::App;
use pod::{PATIENCE, Pod};
use std::fmt::Debug;
use std::time::Duration;

const NODE: &str = "22.23.3";
const NO_PORT: [u16; 0] = [];
const WINDOW: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Cpu,
    CpuInChunks,
    CpuOfAllThreads,
    HeapSampling,
    HeapSnapshot,
}

impl Kind {
    fn recording(self) -> Recording {
        let cpu = Recording::Cpu { sampling_interval_us: 1000 };
        match self {
            Self::Cpu => cpu,
            Self::CpuInChunks => Recording::CpuInChunks { sampling_interval_us: 10_000, chunk_ms: 200 },
            Self::CpuOfAllThreads => Recording::AllThreads { recording: Box::new(cpu), workers: 8 },
            Self::HeapSampling => {
                Recording::HeapSampling { sampling_interval_bytes: 32 << 10, collected: false }
            }
            Self::HeapSnapshot => Recording::HeapSnapshot { redact: false },
        }
    }

    fn window(self) -> Duration {
        if self == Self::HeapSnapshot { Duration::ZERO } else { WINDOW }
    }

    /// Whether it is in the middle of what the fault is to meet.
    fn is_underway(self, phase: &SessionPhase) -> bool {
        match phase {
            SessionPhase::Recording { .. } => self != Self::HeapSnapshot,
            SessionPhase::Collecting { .. } => true,
            _ => false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    AppKilled,
    AppStandsStill,
    AppExits,
    WorkerKilled,
    InspectorClosedByOther,
    BusyInNativeCode,
    SecondDebugger,
    DeafDebugger,
    Discarded,
}

impl Fault {
    const ALL: [Self; 9] = [
        Self::AppKilled,
        Self::AppStandsStill,
        Self::AppExits,
        Self::WorkerKilled,
        Self::InspectorClosedByOther,
        Self::BusyInNativeCode,
        Self::SecondDebugger,
        Self::DeafDebugger,
        Self::Discarded,
    ];

    fn app_lives(self) -> bool {
        !matches!(self, Self::AppKilled | Self::AppExits)
    }
}

/// Connects to the app's open inspector, beside the sidecar.
async fn attach(app: &App) -> Link {
    let open = app.other_ports();
    let listeners = ProcRoot::default().listeners(app.id().pid).expect("it runs");
    let inspector = listeners.iter().find(|one| open.contains(&one.port)).expect("its inspector is open");
    Link::connect(inspector).await.expect("it takes a second client")
}

/// Is a debugger until the inspector closes.
async fn debug(mut link: Link) {
    while link.evaluate("1 + 1").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn cell(version: &str, kind: Kind, fault: Fault) {
    let (mut pod, mut channel) = Pod::connected().await;
    let mut app = App::node(&pod.container, version, &["--inspect-port=0"], "matrix.js").await;
    let grant = pod.store.grant("r", 1 << 20, 1, 100);
    let start = Start { recording: kind.recording(), grant, ..pod.start("r", app.id(), kind.window()) };
    pod.begin(&mut channel, &start).await;
    channel.report(|report| kind.is_underway(&report.phase)).await;
    // Into the middle of it.
    tokio::time::sleep(Duration::from_millis(if kind == Kind::HeapSnapshot { 50 } else { 700 })).await;
    let pid = Pid::from_raw(i32::try_from(app.id().pid).expect("a pid"));
    let mut told = None;
    match fault {
        Fault::AppKilled => app.child.kill().await.expect("it is killed"),
        Fault::AppStandsStill => {
            kill(pid, Signal::SIGSTOP).expect("it runs");
            tokio::time::sleep(Duration::from_secs(2)).await;
            kill(pid, Signal::SIGCONT).expect("it is there");
        }
        Fault::AppExits => app.hears("exit").await,
        Fault::WorkerKilled => {
            pod.kill_worker().await;
            pod.start_worker();
            let (next, hello) = pod.operator.welcome().await;
            channel = next;
            told = hello.sessions.into_iter().find(|session| session.phase.is_end());
        }
        Fault::InspectorClosedByOther => app.hears("close").await,
        Fault::BusyInNativeCode => app.hears("block").await,
        Fault::SecondDebugger => drop(tokio::spawn(debug(attach(&app).await))),
        Fault::DeafDebugger => {
            let link = attach(&app).await;
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(6)).await;
                drop(link);
            });
        }
        Fault::Discarded => pod.stop(&mut channel, "r", false).await,
    }
    let end = match told {
        Some(end) => end,
        None => pod.end(&mut channel).await,
    };
    expect(kind, fault, &end.phase);
    if matches!(end.phase, SessionPhase::Published { .. }) {
        pod.published(&end);
    }
    if fault.app_lives() {
        let closing = async {
            while app.other_ports() != NO_PORT {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, closing).await.expect("the inspector is closed");
        app.serves().await;
    } else if fault == Fault::AppExits {
        assert_eq!(app.child.wait().await.expect("it ends").code(), Some(7));
    }
    pod.acknowledge(&mut channel, &end).await;
}

/// What may come of it.
fn expect(kind: Kind, fault: Fault, phase: &SessionPhase) {
    let seen = match phase {
        SessionPhase::Published { ended_early, .. } => Ok(*ended_early),
        SessionPhase::Failed(failure) => Err(Some(failure.reason)),
        SessionPhase::Discarded => Err(None),
        other => panic!("{kind:?} with {fault:?}: {other:?}"),
    };
    let (chunks, snapshot) = (kind == Kind::CpuInChunks, kind == Kind::HeapSnapshot);
    let fits = match (fault, seen) {
        (Fault::AppKilled, Ok(early)) => chunks && early == Some(EarlyEnd::Cut),
        (Fault::AppKilled, Err(reason)) => !chunks && reason == Some(FailureReason::ProcessExited),
        (
            Fault::AppStandsStill | Fault::BusyInNativeCode | Fault::SecondDebugger | Fault::DeafDebugger,
            Ok(early),
        ) => early.is_none(),
        // The snapshot is walked before the app gets to its exit; it may then be gone before all of it was sent.
        (Fault::AppExits, Ok(early)) => snapshot || early == Some(EarlyEnd::ProcessExiting),
        (Fault::AppExits, Err(reason)) => snapshot && reason == Some(FailureReason::ProcessExited),
        (Fault::WorkerKilled, Err(reason)) => reason == Some(FailureReason::SidecarRestarted),
        // The app hears of it when the snapshot is done.
        (Fault::InspectorClosedByOther, Ok(early)) => snapshot || (chunks && early == Some(EarlyEnd::Cut)),
        (Fault::InspectorClosedByOther, Err(reason)) => {
            !chunks && reason == Some(FailureReason::InspectorFailed)
        }
        (Fault::Discarded, Err(reason)) => reason.is_none(),
        _ => false,
    };
    assert!(fits, "{kind:?} with {fault:?}: {phase:?}");
}

async fn row(kind: Kind) {
    for (at, fault) in Fault::ALL.into_iter().enumerate() {
        // A few versions at once: two cores are soon busy.
        for versions in EVERY_NODE.chunks(3) {
            let cells = versions.iter().map(|version| tokio::spawn(cell(version, kind, fault)));
            for (version, cell) in versions.iter().zip(cells.collect::<Vec<_>>()) {
                if let Err(error) = cell.await {
                    panic!("{kind:?} with {fault:?} ({at}) on Node {version}: {error}");
                }
            }
        }
    }
}

macro_rules! rows {
    ($($name:ident: $kind:expr,)+) => { $(
        #[tokio::test]
        async fn $name() {
            row($kind).await;
        }
    )+ };
}

rows! {
    a_cpu_recording_survives_every_fault: Kind::Cpu,
    a_cpu_recording_in_chunks_survives_every_fault: Kind::CpuInChunks,
    a_cpu_recording_of_all_threads_survives_every_fault: Kind::CpuOfAllThreads,
    a_heap_sampling_survives_every_fault: Kind::HeapSampling,
    a_heap_snapshot_survives_every_fault: Kind::HeapSnapshot,
}

/// The app ends so long after a recording of a tenth of a second was asked for: whatever it finds under way.
async fn moment(fault: Fault, after: Duration) {
    let (pod, mut channel) = Pod::connected().await;
    let mut app = App::node(&pod.container, NODE, &["--inspect-port=0"], "matrix.js").await;
    let recording = Kind::Cpu.recording();
    let start = Start { recording, ..pod.start("r", app.id(), Duration::from_millis(100)) };
    pod.begin(&mut channel, &start).await;
    tokio::time::sleep(after).await;
    match fault {
        Fault::AppKilled => app.child.kill().await.expect("it is killed"),
        _ => app.hears("exit").await,
    }
    let end = pod.end(&mut channel).await;
    match &end.phase {
        SessionPhase::Published { .. } => drop(pod.published(&end)),
        SessionPhase::Failed(failure) => {
            let gone = [FailureReason::ProcessGone, FailureReason::ProcessExited].contains(&failure.reason);
            assert!(gone, "{fault:?} after {after:?}: {failure:?}");
        }
        other => panic!("{fault:?} after {after:?}: {other:?}"),
    }
    if fault == Fault::AppExits {
        let status = app.child.wait().await.expect("it ends");
        assert_eq!(status.code(), Some(7), "{after:?}: {status}");
    }
    pod.acknowledge(&mut channel, &end).await;
}

#[tokio::test]
async fn an_app_that_ends_at_any_moment_is_told_of_once() {
    for fault in [Fault::AppExits, Fault::AppKilled] {
        let moments: Vec<_> = (0..36).map(|step| Duration::from_millis(10 * step)).collect();
        for moments in moments.chunks(3) {
            let cells = moments.iter().map(|&after| tokio::spawn(moment(fault, after)));
            for cell in cells.collect::<Vec<_>>() {
                cell.await.expect("as it should");
            }
        }
    }
}
