//! One recording: the same steps as the sidecar's, in a straight line, and the inspector closed at every end.

use super::choose::choose;
use crate::{
    args::{Include, LocalArgs, LocalType, OutputFormat, OverriddenCheck, Threads},
    artifact::receive::{Form, Receiver, Taken, prepare},
    commands::how_to_open,
    exit::{Exit, Failure},
    interrupt::Interrupts,
    read::Finding,
    view::{
        findings::{numbers, tables},
        load::sentence,
        printable::printable,
        screen::{Screen, print, stdout_paint, tell},
        stage::Line,
    },
};
use pitwall_crds::{
    EventLoopDelayStatus, LONGEST_IN_ONE_PIECE, LoadStatus, MainThreadStatus, ProfileType, comes_in_chunks,
    default_sampling_interval,
};
use pitwall_profile::{Report, analyse_artifact};
use pitwall_protocol::{
    Check, ContainerBounds, Failure as Unproved, FailureReason, Load, OPTIMIZATIONS, ProcessId, Recording,
};
use pitwall_sidecar::{
    attach::{
        close::{Closure, close, close_late, leave},
        eyes::Eyes,
        ladder::{self, Proved, failure},
        link::Link,
        open::{OpenError, Opened, open},
    },
    discover::procfs::ProcRoot,
    publish::{
        collect::Collected,
        spool::{Spool, Spooled},
    },
    session::{
        ATTACH_PATIENCE, BeginError, LATE_WATCH, TRACE_MARGIN, needs_preflight,
        preflight::{Allowed, preflight, refusal},
        recorder::{Heard, Site, Underway, Wish, begin, measure},
        switch_margin, unsupported,
    },
};
use std::{
    fmt::Write as _,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::Notify;

/// How long a process may take to become ready for the signal, and how often it is looked at.
const READY_PATIENCE: Duration = Duration::from_secs(30);
const READY_PAUSE: Duration = Duration::from_millis(200);
/// What the recording is called while it is taken over.
const FILE: &str = "recording.gz";
/// How many worker threads are recorded.
const WORKERS: u32 = 8;
/// The largest recording that is taken, compressed.
const LARGEST: u64 = 2 << 30;

/// Records, analyses, and says what was found.
pub(crate) async fn record(args: &LocalArgs) -> Result<Exit, Failure> {
    let failed = |message: String| Failure::new(Exit::Failed, message);
    prepare(&args.dir).map_err(|error| failed(error.to_string()))?;
    let proc = ProcRoot::default();
    let chosen = choose(&proc, args.pid, args.command.as_deref())?;
    let process = chosen.id;
    in_this_network(&proc, process)?;
    // All that can fail here fails before the inspector is open.
    let folder = tempfile::tempdir_in(&args.dir)
        .map_err(|error| failed(format!("making a folder in {}: {error}", args.dir.display())))?;
    let spool = Spool::open(folder.path(), LARGEST, &[])
        .map_err(|error| failed(format!("writing into {}: {error}", folder.path().display())))?;
    let recording = wanted(args)?;
    let window = if is_snapshot(&recording) { Duration::ZERO } else { args.duration.as_std() };

    let mut screen = Screen::on_stderr();
    let mut interrupts = Interrupts::listen();
    screen.show(&Line { stage: "attaching", bar: None, text: format!("pid {}", process.pid) });
    let proved = tokio::select! {
        proved = prove(&proc, process, &screen) => proved.map_err(|why| failed(why.message))?,
        () = interrupts.next() => return Err(failed("left before the process was signalled".to_owned())),
    };
    let disarm_after = window + switch_margin(&recording);
    let opened = tokio::select! {
        opened = open(&Eyes::Same, &proc, process, &proved, ATTACH_PATIENCE, disarm_after, |_| {}) => opened,
        () = interrupts.next() => Err(OpenError::Silent(failure(
            FailureReason::InspectorDidNotOpen,
            "left before the recording began",
        ))),
    };
    let Opened { mut link, node_version, .. } = match opened {
        Ok(opened) => opened,
        Err(OpenError::NotSignalled(why)) => return Err(failed(why.message)),
        Err(OpenError::Silent(why)) => {
            screen.show(&Line {
                stage: "waiting for an inspector that opens late",
                bar: None,
                text: String::new(),
            });
            tokio::select! {
                _ = close_late(&Eyes::Same, &proc, process, &proved.known, LATE_WATCH) => {}
                () = interrupts.next() => {}
            }
            return Err(failed(why.message));
        }
        Err(OpenError::Unusable(why, listener)) => {
            let closure = close(&Eyes::Same, &proc, process, None, &listener).await;
            return Err(failed(format!("{}{}", why.message, left_open(&closure))));
        }
    };
    let listener = link.listener.clone();
    let steps = Recorder { proc: &proc, process, recording: &recording, node_version: &node_version };
    let recorded = steps.run(&mut link, args, &spool, &mut screen, &mut interrupts).await;
    let closure = if proved.opened.is_some() {
        leave(&proc, process, Some(link)).await
    } else {
        close(&Eyes::Same, &proc, process, Some(link), &listener).await
    };
    let left = left_open(&closure);
    screen.clear();
    if !left.is_empty() {
        tell(&format!("warning{left}"));
    }
    let Collected { spooled, took, more, remark, cut, load, .. } = recorded.map_err(failed)?;
    if let Some(how) = cut {
        tell(&format!("the process, or its inspector, ended ({how}); what had come over by then is kept"));
    }
    if let Some(remark) = remark {
        tell(&remark);
    }
    let save = |spooled: &Spooled, thread: &str| -> Result<Saved, Failure> {
        let profile = spool.path(&spooled.file);
        let path = keep(spooled, &profile, args, process.pid, thread).map_err(failed)?;
        let report = if recording.is_cpu() && thread != OPTIMIZATIONS {
            let file =
                File::open(&profile).map_err(|error| failed(format!("reading the profile: {error}")))?;
            let unread =
                |error| failed(format!("{} is recorded, and can't be analysed: {error}", path.display()));
            Some(analyse_artifact(file).map_err(unread)?)
        } else {
            None
        };
        Ok(Saved { thread: thread.to_owned(), path, report })
    };
    let main = save(&spooled, "")?;
    let workers: Result<Vec<_>, _> = more.iter().map(|worker| save(&worker.spooled, &worker.name)).collect();
    let load = load.as_ref().map(load_status);
    show(args.output, process, &node_version, took, load.as_ref(), &main, &workers?);
    Ok(Exit::Done)
}

/// One thread's recording on the disk.
struct Saved {
    /// Empty: the main thread.
    thread: String,
    path: PathBuf,
    report: Option<Report>,
}

/// What is to be recorded.
fn wanted(args: &LocalArgs) -> Result<Recording, Failure> {
    let is_long = args.duration > LONGEST_IN_ONE_PIECE;
    if args.trace_optimizations && !matches!(args.r#type, LocalType::Cpu) {
        return Err(Failure::usage("--trace-optimizations is for the CPU"));
    }
    let collected = matches!(args.include, Include::All);
    if collected && !matches!(args.r#type, LocalType::HeapSampling) {
        return Err(Failure::usage("--include is for a heap sampling"));
    }
    let recording = match args.r#type {
        LocalType::Cpu => {
            let default = default_sampling_interval(args.duration);
            let interval = args.sampling_interval.unwrap_or(default);
            if is_long && interval < default {
                return Err(Failure::usage(format!(
                    "longer than {LONGEST_IN_ONE_PIECE} takes a --sampling-interval of at least {default}"
                )));
            }
            let in_chunks = args.threads == Threads::Main && comes_in_chunks(args.duration, interval);
            Recording::cpu(interval.as_std(), in_chunks)
        }
        LocalType::HeapSampling => Recording::HeapSampling { sampling_interval_bytes: 32 << 10, collected },
        LocalType::HeapSnapshot => Recording::HeapSnapshot { redact: args.redact },
    };
    Ok(match args.threads {
        Threads::Main => recording,
        Threads::All if is_long || is_snapshot(&recording) => {
            return Err(Failure::usage(format!(
                "--threads All is for the CPU and for samplings, for up to {LONGEST_IN_ONE_PIECE}"
            )));
        }
        Threads::All => Recording::AllThreads { recording: Box::new(recording), workers: WORKERS },
    })
}

fn checked(check: OverriddenCheck) -> Check {
    match check {
        OverriddenCheck::MemoryLimit => Check::MemoryLimit,
        OverriddenCheck::NodeMemory => Check::NodeMemory,
        OverriddenCheck::LivenessProbe => Check::LivenessProbe,
        OverriddenCheck::ReadinessProbe => Check::ReadinessProbe,
        OverriddenCheck::Deadline => Check::Deadline,
    }
}

fn is_snapshot(recording: &Recording) -> bool {
    matches!(recording, Recording::HeapSnapshot { .. })
}

/// All that must hold before the signal; a process that has only just started is waited for.
async fn prove(proc: &ProcRoot, process: ProcessId, screen: &Screen) -> Result<Proved, Unproved> {
    let begun = screen.now();
    loop {
        let proved = ladder::climb(&Eyes::Same.look_at(proc, process).await?);
        match proved {
            Err(why) if why.reason == FailureReason::NotReady && screen.now() < begun + READY_PATIENCE => {
                tokio::time::sleep(READY_PAUSE).await;
            }
            settled => return settled,
        }
    }
}

/// The inspector opens on the loopback of the process' own network.
fn in_this_network(proc: &ProcRoot, process: ProcessId) -> Result<(), Failure> {
    let namespace = |of: &str| std::fs::read_link(proc.as_path().join(of).join("ns/net"));
    let its = namespace(&process.pid.to_string());
    if its.is_ok_and(|its| namespace("self").is_ok_and(|own| own != its)) {
        let pid = process.pid;
        return Err(Failure::usage(format!(
            "pid {pid} runs in another network (a container's): sudo nsenter --target {pid} --net kubectl-pitwall local {pid}"
        )));
    }
    Ok(())
}

/// What is recorded, of whom.
struct Recorder<'a> {
    proc: &'a ProcRoot,
    process: ProcessId,
    recording: &'a Recording,
    node_version: &'a str,
}

impl Recorder<'_> {
    /// A second Ctrl-C, or one before there is anything to keep, leaves: with the inspector closed.
    async fn run(
        &self,
        link: &mut Link,
        args: &LocalArgs,
        spool: &Spool,
        screen: &mut Screen,
        interrupts: &mut Interrupts,
    ) -> Result<Collected, String> {
        let mut underway = tokio::select! {
            begun = self.begin(link, args, spool) => begun?,
            () = interrupts.next() => return Err("left before the recording began".to_owned()),
        };
        if !is_snapshot(self.recording)
            && let Err(how) = wait(link, &mut underway, args, screen, interrupts).await
        {
            return underway.salvage(how, self.site(spool)).await.map_err(|error| {
                format!("the process, or its inspector, ended while it was recorded ({})", error.ending())
            });
        }
        let stage =
            if is_snapshot(self.recording) { "taking the snapshot" } else { "taking the profile over" };
        screen.show(&Line { stage, bar: None, text: String::new() });
        let progress = |percent: u8| {
            let bar = Some((percent.into(), 100));
            screen.show(&Line { stage, bar, text: format!("{percent}% of the heap") });
        };
        let enough = Notify::new();
        tokio::select! {
            collected = underway.take_over(link, self.site(spool), self.recording, progress, &enough) => {
                collected.map_err(|error| error.to_string())
            }
            () = interrupts.next() => Err("left before all of it was here".to_owned()),
        }
    }

    async fn begin(&self, link: &mut Link, args: &LocalArgs, spool: &Spool) -> Result<Underway, String> {
        let said = |error| match error {
            BeginError::Lost(how) => format!("the process, or its inspector, ended ({how})"),
            BeginError::Exiting => "the process was about to exit".to_owned(),
            BeginError::Failed(failure) => failure.message,
        };
        if needs_preflight(self.recording) {
            let measured =
                measure(link, self.proc, self.process, spool.left(), self.recording).await.map_err(said)?;
            let facts = preflight(self.recording, &measured, &ContainerBounds::default(), Allowed::default());
            let overridden: Vec<_> = args.overridden.iter().map(|check| checked(*check)).collect();
            if let Some(why) = refusal(&facts, &overridden) {
                return Err(why.replace("put into safety.override:", "give --override"));
            }
        }
        if let Some(why) = unsupported(self.recording, self.node_version) {
            return Err(why.replace("set heapSampling.include to Live", "give --include Live"));
        }
        let trace = args.trace_optimizations.then(|| args.duration.as_std() + TRACE_MARGIN);
        let wish = Wish { recording: self.recording, node_version: self.node_version, trace };
        begin(link, self.site(spool), wish).await.map_err(said)
    }

    fn site<'a>(&'a self, spool: &'a Spool) -> Site<'a> {
        Site { proc: self.proc, process: self.process, spool, file: FILE }
    }
}

/// Lets the window pass. An error says how the connection ended.
async fn wait(
    link: &mut Link,
    underway: &mut Underway,
    args: &LocalArgs,
    screen: &mut Screen,
    interrupts: &mut Interrupts,
) -> Result<(), String> {
    let begun = screen.now();
    let window = args.duration.as_std();
    loop {
        let done = screen.now().saturating_sub(begun);
        if done >= window || link.exiting {
            return Ok(());
        }
        let text = format!("{}s of {}", done.as_secs(), args.duration);
        let bar = Some((millis(done), millis(window)));
        screen.show(&Line { stage: "recording", bar, text });
        tokio::select! {
            () = tokio::time::sleep(screen.interval().min(window.saturating_sub(done))) => {}
            () = interrupts.next() => return Ok(()),
            heard = underway.record(link) => match heard.map_err(|error| error.ending())? {
                Heard::Exiting => {}
                Heard::OverBudget(numbers) => {
                    tell(&format!("ended early: {numbers}"));
                    return Ok(());
                }
            },
        }
    }
}

/// For JSON.
fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

fn load_status(load: &Load) -> LoadStatus {
    let micros = pitwall_crds::Duration::from_micros;
    LoadStatus {
        event_loop_delay: load.event_loop_delay.map(|delay| EventLoopDelayStatus {
            p50: micros(delay.p50_us),
            p99: micros(delay.p99_us),
            max: micros(delay.max_us),
        }),
        main_thread: load.main_thread.map(|thread| MainThreadStatus {
            running: micros(thread.running_us),
            waiting: micros(thread.waiting_us),
        }),
        // It is of the whole machine's session, or of nothing, where no container is.
        throttling: None,
    }
}

fn left_open(closure: &Closure) -> String {
    match closure {
        Closure::StillOpen(why) => {
            format!(": its inspector is still open ({why}); it closes by itself in a minute or two")
        }
        Closure::Closed | Closure::ProcessGone | Closure::NeverOpened | Closure::Left => String::new(),
    }
}

/// Decompresses the profile under a name of its own, which only this user may read.
fn keep(
    spooled: &Spooled,
    recorded: &Path,
    args: &LocalArgs,
    pid: u32,
    thread: &str,
) -> Result<PathBuf, String> {
    let dash = if thread.is_empty() { "" } else { "-" };
    let kind = match args.r#type {
        LocalType::Cpu => ProfileType::Cpu,
        LocalType::HeapSampling => ProfileType::HeapSampling,
        LocalType::HeapSnapshot => ProfileType::HeapSnapshot,
    };
    let extension = if thread == OPTIMIZATIONS { "json" } else { kind.extension() };
    // As if it came from a status, so that one piece of code writes artifacts to a disk.
    let artifact = serde_json::from_value(serde_json::json!({
        "name": format!("node-{pid}{dash}{thread}.{extension}"), "key": "", "type": kind, "encoding": "gzip",
        "mediaType": "application/json", "bytes": spooled.bytes, "uncompressedBytes": spooled.uncompressed_bytes,
        "sha256": spooled.sha256,
    }));
    let artifact = artifact.map_err(|error| format!("describing the profile: {error}"))?;
    let mut receiver = Receiver::begin(&args.dir, &artifact, Form::Opened, Taken::Number)
        .map_err(|error| error.to_string())?;
    let mut file = File::open(recorded).map_err(|error| format!("reading what was recorded: {error}"))?;
    let mut slice = vec![0; 64 << 10];
    loop {
        let read = file.read(&mut slice).map_err(|error| format!("reading the profile: {error}"))?;
        if read == 0 {
            return receiver.finish().map_err(|error| error.to_string());
        }
        receiver.take(&slice[..read]).map_err(|error| error.to_string())?;
    }
}

fn show(
    format: OutputFormat,
    process: ProcessId,
    node_version: &str,
    took: Duration,
    load: Option<&LoadStatus>,
    main: &Saved,
    workers: &[Saved],
) {
    let Saved { path, report, .. } = main;
    if format == OutputFormat::Json {
        let mut document = serde_json::json!({
            "pid": process.pid, "nodeVersion": node_version, "path": path, "stallMilliseconds": millis(took),
        });
        if let Some(report) = report {
            document["summary"] = serde_json::json!(report.summary);
            document["findings"] = serde_json::json!(report.findings);
        }
        if let Some(load) = load {
            document["load"] = serde_json::json!(load);
        }
        if !workers.is_empty() {
            let worker = |saved: &Saved| {
                let report = saved.report.as_ref();
                serde_json::json!({
                    "thread": saved.thread, "path": saved.path, "summary": report.map(|report| &report.summary),
                    "findings": report.map(|report| &report.findings),
                })
            };
            let threads = workers.iter().filter(|saved| saved.thread != OPTIMIZATIONS);
            document["workers"] = threads.map(worker).collect();
            if let Some(saved) = workers.iter().find(|saved| saved.thread == OPTIMIZATIONS) {
                document["optimizations"] = serde_json::json!(saved.path);
            }
        }
        print(&format!("{document:#}\n"));
        return;
    }
    let mut text = format!("pid {}", process.pid);
    if let Some(Report { summary, .. }) = report {
        let seconds = Duration::from_millis(summary.duration_milliseconds).as_secs_f64();
        let _ = write!(text, ": {seconds:.1} s, Node.js {node_version}\n{}", numbers(summary));
    } else {
        let seconds = took.as_secs_f64();
        let _ =
            write!(text, ": Node.js {node_version}; its main thread stood still for up to {seconds:.2} s");
    }
    if let Some(load) = load.and_then(sentence) {
        let _ = write!(text, "\n{load}");
    }
    let mut text = text.lines().map(|line| format!("{}\n", printable(line))).collect::<String>();
    // Of the busiest thread: an idle main thread says nothing about the others.
    let busy = |saved: &&Saved| saved.report.as_ref().map_or(-1.0, |report| report.summary.busy_percent);
    let busiest = workers.iter().chain([main]).max_by(|a, b| busy(a).total_cmp(&busy(b)));
    if let Some(Saved { thread, report: Some(report), .. }) = busiest {
        if !thread.is_empty() {
            let _ = writeln!(text, "findings in {}:", printable(thread));
        }
        let findings: Result<Vec<Finding>, _> =
            serde_json::to_value(&report.findings).and_then(serde_json::from_value);
        tables(&mut text, &findings.unwrap_or_default(), stdout_paint());
    }
    let mut saved = format!("saved {}\n", printable(&path.to_string_lossy()));
    for Saved { thread, path, report } in workers {
        let busy = report.as_ref().map_or_else(String::new, |Report { summary, .. }| {
            let hottest = summary.hottest.as_ref().map_or_else(String::new, |one| format!(", hottest {one}"));
            let busy = summary.busy_percent;
            printable(&format!(" ({thread} busy {busy:.0}% of the time{hottest})")).into_owned()
        });
        let _ = writeln!(saved, "saved {}{busy}", printable(&path.to_string_lossy()));
    }
    let hint = how_to_open(path).unwrap_or_default();
    print(&format!("{text}\n{saved}{hint}"));
}
