//! What is evaluated beside a CPU recording: the event loop's delay, what the container's CPU limit took, and V8's trace
//! of optimizations.
//!
//! V8 writes that trace into a file that it opens and closes around each entry, by a name that it never forgets: the
//! first one that a process was given stays. It ends the process where that file can't be opened. So the file is made
//! before the trace is turned on, and there must be room for more open files all along.

use super::{timeout, within_prelude};
use crate::error::Error;
use crate::text::LossyText;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Duration;

/// How often the event loop's delay is taken.
const RESOLUTION: Duration = Duration::from_millis(10);
/// How many more files a process must be able to open for the trace to begin, and to go on.
const ROOM_TO_BEGIN: u32 = 256;
const ROOM_TO_GO_ON: u32 = 64;
/// The most bytes of a trace that one answer brings.
const READ_AT_ONCE: u32 = 256 << 10;

/// Begins to measure the event loop's delay. Read its value by [`LoadSeen::from_value`].
pub fn begin_load() -> String {
    within_load(&format!(
        "const h=builtin('perf_hooks').monitorEventLoopDelay({{resolution:{}}});h.enable();\
         keep('load',Object.assign(()=>h.disable(),{{h}}));return{{cpuStat}}",
        RESOLUTION.as_millis()
    ))
}

/// Ends what [`begin_load`] began. Read its value by [`LoadSeen::from_value`].
pub fn end_load() -> String {
    within_load(
        "const h=g[u]?.load?.h;undo('load');return{cpuStat,delay:h&&h.count>0?\
         {p50:h.percentile(50),p99:h.percentile(99),max:h.max}:undefined}",
    )
}

fn within_load(body: &str) -> String {
    within_prelude(&format!(
        "let cpuStat='';for(const n of['/sys/fs/cgroup/cpu.stat','/sys/fs/cgroup/cpu/cpu.stat'])\
         try{{cpuStat=builtin('fs').readFileSync(n,'latin1').slice(0,4096);break}}catch{{}}{body}"
    ))
}

/// What was answered to [`begin_load`] and [`end_load`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadSeen {
    /// The `cpu.stat` of the process's cgroup; empty where it can't be read.
    pub cpu_stat: String,
    /// The event loop's delay meanwhile; nothing while it was blocked all along.
    pub delay: Option<DelayHistogram>,
}

/// By how much the event loop was late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DelayHistogram {
    /// In half of the looks at most by this.
    pub p50: Duration,
    /// In 99 of 100 at most by this.
    pub p99: Duration,
    /// In none by more than this.
    pub max: Duration,
}

impl LoadSeen {
    /// Reads the value.
    pub fn from_value(value: &RawValue) -> Result<Self, Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            cpu_stat: LossyText,
            delay: Option<Nanoseconds>,
        }
        #[derive(Deserialize)]
        struct Nanoseconds {
            p50: f64,
            p99: f64,
            max: f64,
        }
        let Answer { cpu_stat, delay } =
            serde_json::from_str(value.get()).map_err(|source| Error::Result { source })?;
        // Node gives the time from one look to the next.
        let late = |nanoseconds: f64| {
            let between = Duration::try_from_secs_f64(nanoseconds / 1e9).unwrap_or_default();
            between.saturating_sub(RESOLUTION)
        };
        let delay =
            delay.map(|of| DelayHistogram { p50: late(of.p50), p99: late(of.p99), max: late(of.max) });
        Ok(Self { cpu_stat: cpu_stat.cut(4096), delay })
    }
}

/// `limit` is how many files may be open, `room` how many more.
const ROOM: &str = "\
const f=builtin('fs'),c=Symbol.for('pitwall.codeTrace');\
const room=()=>{try{const[,n]=/^Max open files +(\\d+)/m.exec(f.readFileSync('/proc/self/limits','latin1'))??[,1e9];\
const d=f.openSync('/dev/null','r');f.closeSync(d);return n-d}catch{return 0}};";

fn within_trace(body: &str) -> String {
    within_prelude(&format!("{ROOM}{body}"))
}

/// Begins V8's trace of optimizations and deoptimizations, unless something speaks against it. Ends by itself after
/// `longest`. `name` is that of its file, in letters and digits of ASCII. Read its value by [`TraceBegun::from_value`].
///
/// Flags that can't be changed any more end the process, and so does a trace that already goes elsewhere.
pub fn begin_trace(name: &str, longest: Duration) -> String {
    let longest = timeout(longest);
    within_trace(&format!(
        "const v=builtin('v8'),set=(...a)=>a.forEach(x=>v.setFlagsFromString(x));\
         const flag=[...p.execArgv,...String(p.env.NODE_OPTIONS??'').split(/\\s+/)].find(a=>/^--(freeze.flags|redirect.code|\
         print.|trace.(?!warn|uncaught|deprecation|exit|sigint|sync|tls|event|env|require.module|promises))/.test(a));\
         if(flag)return{{flag:flag.slice(0,64)}};\
         const files=room();if(files<{ROOM_TO_BEGIN})return{{files}};\
         let path;for(const n of g[c]?[g[c]]:['/dev/shm',builtin('os').tmpdir(),p.cwd()].map(d=>d+'/{name}')){{\
         if(!/^\\/[!-~]{{1,100}}$/.test(n))continue;\
         if(g[c])try{{f.unlinkSync(n)}}catch{{}}\
         try{{f.closeSync(f.openSync(n,'wx',0o600));path=n;break}}catch{{}}}}\
         if(!path)return{{}};put(c,path);\
         const off=()=>set('--no-trace-deopt','--no-trace-opt','--no-trace-file-names');\
         let w;const stop=()=>{{t.clearTimeout(w);off();f.unlinkSync(path)}};\
         keep('trace',Object.assign(stop,{{off}}));w=t.setTimeout(()=>undo('trace'),{longest});w.unref();\
         set('--redirect-code-traces','--redirect-code-traces-to='+path,'--trace-file-names','--trace-deopt','--trace-opt');\
         return{{path}}"
    ))
}

/// What was answered to [`begin_trace`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceBegun {
    /// It goes into this file, in the process's own view of the file system.
    Begun(String),
    /// This option of the process's speaks against it.
    Flag(String),
    /// The process can open only so many more files.
    Files(u32),
    /// None of the folders takes a file: `/dev/shm`, `os.tmpdir()` and the working directory.
    NoPlace,
}

impl TraceBegun {
    /// Reads the value of [`begin_trace`].
    pub fn from_value(value: &RawValue) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Answer {
            path: Option<LossyText>,
            flag: Option<LossyText>,
            files: Option<u32>,
        }
        let Answer { path, flag, files } =
            serde_json::from_str(value.get()).map_err(|source| Error::Result { source })?;
        Ok(match (path, flag, files) {
            (Some(path), ..) => Self::Begun(path.cut(128)),
            (None, Some(flag), _) => Self::Flag(flag.cut(64)),
            (None, None, Some(files)) => Self::Files(files),
            (None, None, None) => Self::NoPlace,
        })
    }
}

/// Reads on in the trace. Read its value by [`TraceRead::from_value`].
///
/// What lies before `offset` was read: the same one may be asked for again, when an answer was lost. A file that was read
/// to its end is emptied, and `offset` is 0 again. The trace ends when there is little room for more open files.
pub fn read_trace(offset: u64) -> String {
    within_trace(&format!(
        "const n=g[c];let size=0;try{{size=f.statSync(n).size}}catch{{}}\
         if(room()<{ROOM_TO_GO_ON})g[u]?.trace?.off();\
         let o={offset}>size?0:{offset};\
         if(o===size){{if(size>0)f.truncateSync(n,0);return{{text:'',offset:0,left:0}}}}\
         const b=builtin('buffer').Buffer.alloc(Math.min(size-o,{READ_AT_ONCE})),d=f.openSync(n,'r');let r=0;\
         try{{r=f.readSync(d,b,0,b.length,o)}}finally{{f.closeSync(d)}}\
         return{{text:b.toString('latin1',0,r),offset:o+r,left:size-o-r}}"
    ))
}

/// What was answered to [`read_trace`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceRead {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Where to read on.
    pub offset: u64,
    /// How many bytes there are from there.
    pub left: u64,
}

impl TraceRead {
    /// Reads the value of [`read_trace`].
    pub fn from_value(value: &RawValue) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Answer {
            text: String,
            offset: u64,
            left: u64,
        }
        let Answer { text, offset, left } =
            serde_json::from_str(value.get()).map_err(|source| Error::Result { source })?;
        // Latin-1: a character is a byte.
        let bytes = text.chars().map(|character| u8::try_from(character).unwrap_or(b'?')).collect();
        Ok(Self { bytes, offset, left })
    }
}

/// Turns the trace off; its file stays. Evaluates to `true`.
pub fn stop_trace() -> String {
    within_prelude("g[u]?.trace?.off();return true")
}

/// Turns the trace off and removes its file. Evaluates to `true`.
pub fn forget_trace() -> String {
    within_prelude("undo('trace');return true")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn the_time_between_two_looks_is_not_delay() {
        let text = r#"{"cpuStat":"nr_periods 1\n","delay":{"p50":10100000,"p99":12000000.5,"max":5e8}}"#;
        let seen = LoadSeen::from_value(&value(text)).unwrap();
        let delay = DelayHistogram {
            p50: Duration::from_micros(100),
            p99: Duration::from_millis(2),
            max: Duration::from_millis(490),
        };
        assert_eq!(seen, LoadSeen { cpu_stat: "nr_periods 1\n".into(), delay: Some(delay) });
        let seen = LoadSeen::from_value(&value(r#"{"cpuStat":"","delay":{"p50":9e6,"p99":-1,"max":null}}"#));
        assert!(seen.is_err(), "an app that lies gets an error, not a panic");
    }

    #[test]
    fn each_answer_to_a_trace_that_is_to_begin_is_told_apart() {
        for (text, begun) in [
            (r#"{"path":"/dev/shm/x"}"#, TraceBegun::Begun("/dev/shm/x".into())),
            (r#"{"flag":"--trace-opt"}"#, TraceBegun::Flag("--trace-opt".into())),
            (r#"{"files":3}"#, TraceBegun::Files(3)),
            ("{}", TraceBegun::NoPlace),
        ] {
            assert_eq!(TraceBegun::from_value(&value(text)).unwrap(), begun, "{text}");
        }
    }

    #[test]
    fn bytes_come_as_latin_1() {
        let read = TraceRead::from_value(&value(r#"{"text":"a\u00e9\n","offset":3,"left":0}"#)).unwrap();
        assert_eq!(read, TraceRead { bytes: vec![b'a', 0xe9, b'\n'], offset: 3, left: 0 });
    }
}
