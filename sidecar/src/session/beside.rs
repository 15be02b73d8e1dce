//! What is recorded beside a CPU profile: under which load, and what V8 optimized and deoptimized meanwhile.
//!
//! Nothing here costs a profile: what can't be had is left out, or said in the remark.

use super::recorder::Site;
use crate::attach::ladder::failure;
use crate::attach::link::{self, CallError, Link};
use crate::attach::trace;
use crate::clock;
use crate::discover::parse;
use crate::publish::collect::Another;
use crate::publish::spool::{Compression, Spool, SpoolError, Spooled};
use pitwall_inspector::expression::{self, LoadSeen, TraceBegun, TraceRead};
use pitwall_inspector::{CommandId, Incoming};
use pitwall_profile::optimizations::Reader;
use pitwall_protocol::{EventLoopDelay, Failure, FailureReason, Load, MainThread, OPTIMIZATIONS, Throttling};
use serde_json::value::RawValue;
use std::time::{Duration, Instant};

/// How often the trace is read, so that its file stays small.
const READ_PAUSE: Duration = Duration::from_millis(500);
/// A trace that grows to this many bytes faster than it is read is ended.
const MOST_UNREAD: u64 = 4 << 20;
/// How long the app may take for what is left at the end.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// What goes on beside a recording.
#[derive(Debug, Default)]
pub struct Beside {
    begun: Option<Begun>,
    trace: Option<Trace>,
}

#[derive(Debug)]
struct Begun {
    at: Instant,
    cpu_stat: String,
    main_thread: Option<parse::Schedstat>,
}

#[derive(Debug)]
struct Trace {
    path: String,
    offset: u64,
    due: Instant,
    asked: Option<CommandId>,
    reader: Reader,
    /// Why it is over before its time.
    over: Option<String>,
}

/// What there was.
#[derive(Debug, Default)]
pub struct Ended {
    /// Under which load.
    pub load: Option<Load>,
    /// The artifact with the optimizations.
    pub optimizations: Option<Another>,
    /// What isn't as it was asked for.
    pub remark: Option<String>,
}

impl Beside {
    /// Begins the trace, where one is asked for; it ends by itself after `trace`.
    pub async fn begin(link: &mut Link, trace: Option<Duration>) -> Result<Result<Self, Failure>, CallError> {
        let trace = match trace {
            Some(longest) => match begin_trace(link, longest).await? {
                Ok(trace) => Some(trace),
                Err(why) => return Ok(Err(why)),
            },
            None => None,
        };
        Ok(Ok(Self { begun: None, trace }))
    }

    /// What was answered to [`expression::begin_load`], which travels with other commands: each round trip of its own
    /// would cost a busy app's next interrupt.
    pub fn load_begun(&mut self, answer: Result<Box<RawValue>, CallError>, site: Site<'_>) {
        let seen = answer.and_then(|result| Ok(LoadSeen::from_value(&link::value(&result)?)?));
        match seen {
            Ok(LoadSeen { cpu_stat, .. }) => {
                let main_thread = site.proc.schedstat(site.process.pid);
                self.begun = Some(Begun { at: clock::now(), cpu_stat, main_thread });
            }
            Err(error) => {
                tracing::warn!(pid = site.process.pid, %error, "the event loop's delay isn't measured");
            }
        }
    }

    /// The file that V8 writes its trace into, in the process's view.
    pub fn trace_file(&self) -> Option<&str> {
        self.trace.as_ref().map(|trace| trace.path.as_str())
    }

    /// Waits until [`Self::ask`] is due.
    pub async fn due(&self) {
        match self.trace.as_ref().filter(|trace| trace.asked.is_none() && trace.over.is_none()) {
            Some(trace) => tokio::time::sleep_until(trace.due.into()).await,
            None => std::future::pending().await,
        }
    }

    /// Asks for what the trace says further.
    pub fn ask(&mut self, link: &mut Link) -> Result<(), pitwall_inspector::Error> {
        if let Some(trace) = &mut self.trace {
            let text = expression::read_trace(trace.offset);
            trace.asked = Some(link.connection.send(&link::evaluate(&text))?);
        }
        Ok(())
    }

    /// Hears whether something is the answer.
    pub fn hear(&mut self, incoming: &Incoming<&[u8]>, now: Instant) {
        let (id, answer) = match incoming {
            Incoming::Reply { id, result } => (*id, link::value(result).map_err(|error| error.to_string())),
            Incoming::Refused { id, message, .. } => (*id, Err(message.clone())),
            _ => return,
        };
        let Some(trace) = self.trace.as_mut().filter(|trace| trace.asked == Some(id)) else { return };
        trace.asked = None;
        let read = answer.and_then(|value| TraceRead::from_value(&value).map_err(|error| error.to_string()));
        match read {
            Ok(read) => trace.take(&read, now),
            Err(error) => trace.over = Some(error),
        }
    }

    /// Ends it all, when the profile is here. Without a `link` there is what had come before.
    pub async fn end(self, link: Option<&mut Link>, site: Site<'_>) -> Ended {
        let Self { begun, mut trace } = self;
        let mut load = None;
        if let Some(link) = link {
            let ending = async {
                if let Some(trace) = &mut trace {
                    trace.end(link).await?;
                }
                if let Some(begun) = &begun {
                    let seen = load_seen(link, &expression::end_load()).await?;
                    let main_thread = site.proc.schedstat(site.process.pid);
                    load = Some(compared(begun, &seen, main_thread));
                }
                Ok::<_, CallError>(())
            };
            let error = match tokio::time::timeout(END_PATIENCE, ending).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("the app didn't answer within {END_PATIENCE:?}")),
            };
            if let (Some(error), Some(trace)) = (error, &mut trace) {
                trace.over.get_or_insert(error);
            }
        }
        let Some(Trace { reader, over, .. }) = trace else { return Ended { load, ..Ended::default() } };
        let read = reader.finish();
        let mut remark = over.map(|why| format!("the trace of optimizations ended early: {why}"));
        let json = serde_json::to_vec_pretty(&read).expect("it has string keys and no failing serializer");
        let optimizations = match spooled(site.spool, site.file, &json) {
            Ok(spooled) => Some(Another { name: OPTIMIZATIONS.to_owned(), spooled }),
            Err(error) => {
                remark = Some(format!("the trace of optimizations isn't kept: {error}"));
                None
            }
        };
        Ended { load, optimizations, remark }
    }
}

fn spooled(spool: &Spool, file: &str, json: &[u8]) -> Result<Spooled, SpoolError> {
    let mut writer = spool.create(&format!("{OPTIMIZATIONS}.{file}"), Compression::default())?;
    writer.write(json)?;
    writer.finish()
}

impl Trace {
    fn take(&mut self, read: &TraceRead, now: Instant) {
        if read.offset < self.offset {
            // Emptied: by us when all of it was read, or by a thread that opened it for the first time.
            self.reader.gap();
        }
        self.reader.push(&read.bytes);
        self.offset = read.offset;
        self.due = if read.left > 0 { now } else { now + READ_PAUSE };
        if read.left > MOST_UNREAD {
            self.over = Some(format!("V8 wrote {} MiB faster than they were read", read.left >> 20));
        }
    }

    async fn end(&mut self, link: &mut Link) -> Result<(), CallError> {
        link.evaluate(&expression::stop_trace()).await?;
        // As much as may be left, and what is on its way to be asked for again.
        for _ in 0..32 {
            let value = link.evaluate(&expression::read_trace(self.offset)).await?;
            let read = TraceRead::from_value(&value)?;
            let done = read.bytes.is_empty() && read.left == 0;
            self.take(&read, clock::now());
            if done {
                break;
            }
        }
        link.evaluate(&expression::forget_trace()).await?;
        Ok(())
    }
}

async fn begin_trace(link: &mut Link, longest: Duration) -> Result<Result<Trace, Failure>, CallError> {
    let name: String =
        std::iter::repeat_with(|| fastrand::alphanumeric().to_ascii_lowercase()).take(20).collect();
    let value = link.evaluate(&expression::begin_trace(&format!("{}{name}", trace::PREFIX), longest)).await?;
    Ok(match TraceBegun::from_value(&value)? {
        TraceBegun::Begun(path) => {
            let due = clock::now() + READ_PAUSE;
            Ok(Trace { path, offset: 0, due, asked: None, reader: Reader::default(), over: None })
        }
        why => Err(refused(&why)),
    })
}

/// Why V8 isn't told to trace.
pub(super) fn refused(why: &TraceBegun) -> Failure {
    let why = match why {
        TraceBegun::Begun(_) => String::new(),
        TraceBegun::Flag(flag) => format!(
            "the process was started with {flag}, which would end it, or mix two traces, when V8 is told to trace \
             optimizations: start it without, or record without cpu.traceOptimizations"
        ),
        TraceBegun::Files(room) => format!(
            "the process can open only {room} more files, and V8 ends it when it can't open the file of its trace: raise \
             its limit of open files, or record without cpu.traceOptimizations"
        ),
        TraceBegun::NoPlace => {
            "the process can write neither to /dev/shm, nor to its folder for temporary files, nor to \
             its working directory: V8 needs a file for its trace. Mount an emptyDir, or record without \
             cpu.traceOptimizations"
                .to_owned()
        }
    };
    failure(FailureReason::TraceRefused, why)
}

async fn load_seen(link: &mut Link, expression: &str) -> Result<LoadSeen, CallError> {
    Ok(LoadSeen::from_value(&link.evaluate(expression).await?)?)
}

/// What happened between two looks.
fn compared(begun: &Begun, seen: &LoadSeen, main_thread: Option<parse::Schedstat>) -> Load {
    let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let throttled = |text: &str| parse::throttling(text);
    Load {
        measured_us: micros(clock::now().saturating_duration_since(begun.at)),
        event_loop_delay: seen.delay.map(|delay| EventLoopDelay {
            p50_us: micros(delay.p50),
            p99_us: micros(delay.p99),
            max_us: micros(delay.max),
        }),
        main_thread: begun.main_thread.zip(main_thread).map(|(before, after)| MainThread {
            running_us: after.running_ns.saturating_sub(before.running_ns) / 1000,
            waiting_us: after.waiting_ns.saturating_sub(before.waiting_ns) / 1000,
        }),
        throttling: throttled(&begun.cpu_stat).zip(throttled(&seen.cpu_stat)).map(|(before, after)| {
            Throttling {
                periods: after.periods.saturating_sub(before.periods),
                throttled_periods: after.throttled_periods.saturating_sub(before.throttled_periods),
                throttled_us: after.throttled_us.saturating_sub(before.throttled_us),
            }
        }),
    }
}
