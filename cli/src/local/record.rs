//! One recording: the same steps as the sidecar's, in a straight line, and the inspector closed at every end.

use super::choose::choose;
use crate::{
    args::{LocalArgs, OutputFormat},
    artifact::receive::{Form, Receiver, Taken, prepare},
    exit::{Exit, Failure},
    interrupt::Interrupts,
    read::Finding,
    view::{
        findings::tables,
        printable::printable,
        screen::{Screen, print, stdout_paint, tell},
        stage::Line,
    },
};
use pitwall_inspector::{Command, Event, Incoming};
use pitwall_profile::{Report, analyse_artifact};
use pitwall_protocol::{Failure as Unproved, FailureReason, ProcessId};
use pitwall_sidecar::{
    attach::{
        close::{Closure, close, close_late},
        eyes::Eyes,
        ladder::{self, Proved},
        link::{CallError, Link, ending},
        open::{OpenError, Opened, open},
    },
    discover::{parse::Listener, procfs::ProcRoot},
    publish::{
        collect::collect,
        spool::{Spool, Spooled},
    },
};
use std::{
    fmt::Write as _,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// How long a process may take to become ready for the signal, and how often it is looked at.
const READY_PATIENCE: Duration = Duration::from_secs(30);
const READY_PAUSE: Duration = Duration::from_millis(200);
/// How long the port may take to open after the signal.
const ATTACH_PATIENCE: Duration = Duration::from_secs(10);
/// How long a port that didn't open is watched for further, to be closed.
const LATE_WATCH: Duration = Duration::from_secs(20);
/// How long after the window the app closes its inspector by itself, if this program is gone by then.
const SWITCH_MARGIN: Duration = Duration::from_secs(60);
/// The largest profile that is taken, compressed.
const LARGEST: u64 = 2 << 30;

/// Records, analyses, and says what was found.
pub(crate) async fn record(args: &LocalArgs) -> Result<Exit, Failure> {
    let failed = |message: String| Failure::new(Exit::Failed, message);
    prepare(&args.dir).map_err(|error| failed(error.to_string()))?;
    let proc = ProcRoot::default();
    let chosen = choose(&proc, args.pid, args.command.as_deref())?;
    let process = chosen.id;
    in_this_network(&proc, process)?;

    let mut screen = Screen::on_stderr();
    let mut interrupts = Interrupts::listen();
    screen.show(&Line { stage: "attaching", bar: None, text: format!("pid {}", process.pid) });
    let proved = prove(&proc, process, &screen).await.map_err(|why| failed(why.message))?;
    let window = args.duration.as_std();
    let opened =
        open(&Eyes::Same, &proc, process, &proved, ATTACH_PATIENCE, window + SWITCH_MARGIN, |_| {}).await;
    let Opened { mut link, node_version, .. } = match opened {
        Ok(opened) => opened,
        Err(OpenError::NotSignalled(why)) => return Err(failed(why.message)),
        Err(OpenError::Silent(why)) => {
            close_late(&Eyes::Same, &proc, process, &proved.known, LATE_WATCH).await;
            return Err(failed(why.message));
        }
        Err(OpenError::Unusable(why, listener)) => {
            let closure = close(&Eyes::Same, &proc, process, None, &listener).await;
            return Err(failed(format!("{}{}", why.message, left_open(&closure))));
        }
    };
    let listener = link.listener.clone();
    let spool = tempfile::tempdir_in(&args.dir)
        .map_err(|error| failed(format!("making a folder in {}: {error}", args.dir.display())))?;
    let recorded = run(&mut link, args, spool.path(), &mut screen, &mut interrupts).await;
    let closure = end(&proc, process, link, &listener).await;
    screen.clear();
    if !left_open(&closure).is_empty() {
        tell(&format!("warning{}", left_open(&closure)));
    }
    let spooled = recorded.map_err(failed)?;
    let path = keep(&spooled, spool.path(), &args.dir, process.pid).map_err(failed)?;
    let profile = File::open(spool.path().join(&spooled.file))
        .map_err(|error| failed(format!("reading the profile: {error}")))?;
    let report = analyse_artifact(profile)
        .map_err(|error| failed(format!("{} is recorded, and can't be analysed: {error}", path.display())))?;
    show(args.output, process, &node_version, &report, &path);
    Ok(Exit::Done)
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

async fn run(
    link: &mut Link,
    args: &LocalArgs,
    spool: &Path,
    screen: &mut Screen,
    interrupts: &mut Interrupts,
) -> Result<Spooled, String> {
    let start = async {
        let interval = Command::ProfilerSetSamplingInterval(args.sampling_interval.as_std());
        for answer in link.call_all([&Command::ProfilerEnable, &interval]).await? {
            answer?;
        }
        link.call(&Command::ProfilerStart).await
    };
    // A second Ctrl-C, or one before there is anything to keep, leaves: with the inspector closed.
    tokio::select! {
        started = start => drop(started.map_err(|error: CallError| error.to_string())?),
        () = interrupts.next() => return Err("left before the recording began".to_owned()),
    }
    let begun = screen.now();
    let window = args.duration.as_std();
    loop {
        let done = screen.now().saturating_sub(begun);
        if done >= window || link.exiting {
            break;
        }
        let text = format!("{}s of {}", done.as_secs(), args.duration);
        let bar = Some((
            done.as_millis().try_into().unwrap_or(u64::MAX),
            window.as_millis().try_into().unwrap_or(u64::MAX),
        ));
        screen.show(&Line { stage: "recording", bar, text });
        tokio::select! {
            () = tokio::time::sleep(screen.interval().min(window.saturating_sub(done))) => {}
            () = interrupts.next() => break,
            incoming = link.connection.next() => match incoming {
                Ok(Incoming::Event(Event::WaitingForDisconnect)) => link.exiting = true,
                Ok(Incoming::Closed(closed)) => return Err(format!("the process, or its inspector, ended while it was recorded ({})", ending(closed))),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            },
        }
    }
    screen.show(&Line { stage: "taking the profile over", bar: None, text: String::new() });
    let spool = Spool::open(spool, LARGEST, &[])
        .map_err(|error| format!("writing into {}: {error}", spool.display()))?;
    tokio::select! {
        collected = collect(link, &spool, "profile.gz") => Ok(collected.map_err(|error| error.to_string())?.spooled),
        () = interrupts.next() => Err("left before the profile was here".to_owned()),
    }
}

async fn end(proc: &ProcRoot, process: ProcessId, link: Link, listener: &Listener) -> Closure {
    close(&Eyes::Same, proc, process, Some(link), listener).await
}

fn left_open(closure: &Closure) -> String {
    match closure {
        Closure::StillOpen(why) => {
            format!(": its inspector is still open ({why}); it closes by itself in a minute or two")
        }
        Closure::Closed | Closure::ProcessGone | Closure::NeverOpened => String::new(),
    }
}

/// Decompresses the profile under a name of its own, which only this user may read.
fn keep(spooled: &Spooled, spool: &Path, folder: &Path, pid: u32) -> Result<PathBuf, String> {
    // As if it came from a status, so that one piece of code writes artifacts to a disk.
    let artifact = serde_json::from_value(serde_json::json!({
        "name": format!("node-{pid}.cpuprofile"), "key": "", "type": "CPU", "encoding": "gzip",
        "mediaType": "application/json", "bytes": spooled.bytes, "uncompressedBytes": spooled.uncompressed_bytes,
        "sha256": spooled.sha256,
    }));
    let artifact = artifact.map_err(|error| format!("describing the profile: {error}"))?;
    let mut receiver =
        Receiver::begin(folder, &artifact, Form::Opened, Taken::Number).map_err(|error| error.to_string())?;
    let mut file =
        File::open(spool.join(&spooled.file)).map_err(|error| format!("reading the profile: {error}"))?;
    let mut slice = vec![0; 64 << 10];
    loop {
        let read = file.read(&mut slice).map_err(|error| format!("reading the profile: {error}"))?;
        if read == 0 {
            return receiver.finish().map_err(|error| error.to_string());
        }
        receiver.take(&slice[..read]).map_err(|error| error.to_string())?;
    }
}

fn show(format: OutputFormat, process: ProcessId, node_version: &str, report: &Report, path: &Path) {
    if format == OutputFormat::Json {
        let document = serde_json::json!({
            "pid": process.pid, "nodeVersion": node_version, "path": path,
            "summary": report.summary, "findings": report.findings,
        });
        print(&format!("{document:#}\n"));
        return;
    }
    let summary = &report.summary;
    let mut text = format!(
        "pid {}: {:.1} s, Node.js {node_version}\nmain thread busy {:.0}% of the time; {} samples",
        process.pid,
        Duration::from_millis(summary.duration_milliseconds).as_secs_f64(),
        summary.busy_percent,
        summary.samples
    );
    if let Some(hottest) = &summary.hottest {
        let _ = write!(text, "; hottest {hottest}");
    }
    let mut text = text.lines().map(|line| format!("{}\n", printable(line))).collect::<String>();
    let findings: Result<Vec<Finding>, _> =
        serde_json::to_value(&report.findings).and_then(serde_json::from_value);
    tables(&mut text, &findings.unwrap_or_default(), stdout_paint());
    print(&text);
    print(&format!(
        "\nsaved {}\nTo open it: Chrome DevTools, panel Performance, \"Load profile\"\n",
        path.display()
    ));
}
