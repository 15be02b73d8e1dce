//! What is evaluated inside the app.
//!
//! An app may have replaced what these need: fake timers, a `process` shim, a patched `require`. So each takes
//! Node's own `process` and `timers` modules, by `process.getBuiltinModule` where it exists (Node 20.16, 22.3),
//! else by the command-line API's `require`, and only then the globals.
//!
//! An inspector can be open before the app's first line runs, or while Node loads a module of its own. Loading another
//! one in the middle of that fails, and may break what it interrupts; and for the command-line API Node reads its
//! options: interrupted in the middle of reading them, Node 18 waits for itself forever, and where they were read
//! before it waits for a debugger (`--inspect-brk-node`), Node up to 20 aborts. So [`starting`] is the first word of
//! every connection, and needs nothing of Node's. [`identity`], which loads what the others need, looks again at what it
//! interrupts, and so does [`close_now`], which may come alone.
//!
//! Closing has a trap. SIGUSR1 asks for the inspector twice: by an interrupt of JavaScript that runs, and by
//! waking the event loop. Where JavaScript blocked the loop since the signal, the inspector was opened by the
//! interrupt, and the second request still waits: closed meanwhile, the inspector opens again, on the same port,
//! when the loop turns. So each of these closes it (again) at the end of a turn of the loop: in a `setImmediate`,
//! which comes after the turn's IO and so after that request.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::Error;
use crate::text::LossyText;

mod beside;

pub use beside::{
    DelayHistogram, LoadSeen, TraceBegun, TraceRead, begin_load, begin_trace, end_load, forget_trace,
    read_trace, stop_trace,
};

/// `p` is Node's process, `t` its timers, `end` closes the inspector, `endAfter` does so in a later turn of the
/// event loop and keeps no app alive. `k` is the key of the dead-man's switch in `g`, `clear` disarms it. What goes on
/// beside a recording is in `g` by the key `u`, by name: functions that undo it, which closing calls.
const PRELUDE: &str = "\
const builtin=n=>{try{return process.getBuiltinModule(n)}catch{}try{return require(n)}catch{}};\
const p=builtin('process')??process,t=builtin('timers')??globalThis,g=globalThis;\
const u=Symbol.for('pitwall.undo');\
const undo=n=>{const s=g[u]??{};for(const m of n?[n]:Object.keys(s)){const f=s[m];delete s[m];try{f?.()}catch{}}\
if(Object.keys(s).length===0)delete g[u]};\
const put=(k,value)=>Object.defineProperty(g,k,{value,configurable:true,enumerable:false,writable:true});\
const keep=(n,f)=>{undo(n);(g[u]??put(u,{__proto__:null})[u])[n]=f};\
const end=()=>{undo();p._debugEnd()};\
const endAfter=ms=>t.setTimeout(()=>{clear();t.setImmediate(end)},ms).unref();\
const k=Symbol.for('pitwall.deadMansSwitch');\
const clear=()=>{const s=g[k];if(s!==undefined){t.clearTimeout(s);delete g[k]}};";

/// What [`starting`] calls. Before Node's JavaScript runs, its own `process` has no pid yet, or no global is there at
/// all; an app's shim for `process`, or none, is of an app that runs. A stack holds ten frames unless told.
const STARTING: &str = "\
const starting=()=>{if(typeof process==='object'&&Object.prototype.toString.call(process)==='[object process]'\
?typeof process.pid!=='number':typeof setTimeout!=='function')return true;\
const most=Error.stackTraceLimit;try{Error.stackTraceLimit=100;const {stack}=new Error();\
return typeof stack==='string'&&/node:internal\\/(bootstrap\\/|process\\/pre_execution)/.test(stack)}\
catch{return false}finally{try{Error.stackTraceLimit=most}catch{}}};";

fn within_prelude(body: &str) -> String {
    format!("(()=>{{{PRELUDE}{body}}})()")
}

/// Whether Node is still starting (modules of `--require` included), or loads a module of its own, `true` or `false`:
/// the first word of a connection, evaluated without the command-line API. All others come after a `false`.
pub fn starting() -> String {
    format!("(()=>{{{STARTING}return starting()}})()")
}

/// Who answers: read its value by [`Identity::from_value`].
pub fn identity() -> String {
    format!(
        "(()=>{{{STARTING}if(starting())return null;\
         {PRELUDE}['perf_hooks','v8','inspector'].map(builtin);return{{pid:p.pid,version:p.version}}}})()"
    )
}

/// Who answered to [`identity`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `process.pid`, in the app's PID namespace.
    pub pid: i32,
    /// `process.version`, such as `v22.23.3`.
    pub version: String,
}

impl Identity {
    /// Reads the value of [`identity`]. `None`: the app is still starting.
    pub fn from_value(value: &RawValue) -> Result<Option<Self>, Error> {
        #[derive(Deserialize)]
        struct Answer {
            pid: i32,
            version: LossyText,
        }
        let answer: Option<Answer> =
            serde_json::from_str(value.get()).map_err(|source| Error::Result { source })?;
        Ok(answer.map(|Answer { pid, version }| Self { pid, version: version.cut(32) }))
    }
}

/// How large the app's heap is: read its value by [`Heap::from_value`].
pub fn heap() -> String {
    within_prelude(
        "const v=builtin('v8'),large=v.getHeapSpaceStatistics().filter(s=>s.space_name.includes('large'));\
         return{used:v.getHeapStatistics().used_heap_size,\
         largeObjects:large.reduce((sum,s)=>sum+s.space_used_size,0)}",
    )
}

/// What was answered to [`heap`]. Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heap {
    /// The JavaScript heap in use.
    pub used: u64,
    /// Of that, the spaces for large objects.
    pub large_objects: u64,
}

impl Heap {
    /// Reads the value of [`heap`].
    pub fn from_value(value: &RawValue) -> Result<Self, Error> {
        serde_json::from_str(value.get()).map_err(|source| Error::Result { source })
    }
}

/// The memory of the process outside of its JavaScript heap, in bytes: read its value by [`bytes`].
pub fn memory_outside_of_heap() -> String {
    within_prelude("const m=p.memoryUsage();return m.rss-m.heapTotal-m.external")
}

/// Reads a whole number of bytes, which may be negative.
pub fn bytes(value: &RawValue) -> Result<i64, Error> {
    serde_json::from_str(value.get()).map_err(|source| Error::Result { source })
}

/// Begins the first chunk of a recording, or one after a chunk that the app has ended. Evaluates to `true`.
///
/// Titles are letters and digits of ASCII. V8's own console takes it: an app may have replaced the global one,
/// and globals of its own hide `profile` of the command-line API.
pub fn begin_chunk(title: &str) -> String {
    within_console(&format!("c.profile('{title}')"))
}

/// Begins a chunk and then ends the one before, so that V8's sampler goes on. Evaluates to `true`.
pub fn next_chunk(title: &str, before: &str) -> String {
    within_console(&format!("c.profile('{title}');c.profileEnd('{before}')"))
}

/// Ends the last chunk. Evaluates to `true`.
pub fn end_chunk(title: &str) -> String {
    within_console(&format!("c.profileEnd('{title}')"))
}

fn within_console(body: &str) -> String {
    within_prelude(&format!("const c=builtin('inspector').console;{body};return true"))
}

/// Arms the dead-man's switch: the inspector closes itself `after` so long unless this is evaluated again
/// (which replaces the switch) or one of the others below. The timer keeps no app alive.
///
/// Evaluates to `true`; throws where the app has no `process._debugEnd`.
pub fn arm(after: Duration) -> String {
    let after = timeout(after);
    within_prelude(&format!(
        "if(typeof p._debugEnd!=='function')throw new Error('process._debugEnd is not a function');\
         clear();put(k,endAfter({after}));return true"
    ))
}

/// Milliseconds for `setTimeout`, which takes what is beyond 31 bits for 1 ms.
fn timeout(after: Duration) -> i32 {
    i32::try_from(after.as_millis()).unwrap_or(i32::MAX).max(1)
}

/// Disarms the dead-man's switch. Evaluates to `true`.
pub fn disarm() -> String {
    within_prelude("clear();return true")
}

/// Disarms the dead-man's switch and closes the inspector in 20 ms, which leaves time to drop the connection
/// first: closing blocks the app's event loop until every connection is dropped. Needs a turn of the event loop,
/// so a loop that JavaScript blocks doesn't get there: see [`close_now`]. Evaluates to `true`.
pub fn close_soon() -> String {
    within_prelude("clear();endAfter(20);return true")
}

/// Disarms the dead-man's switch and closes the inspector at once, also while JavaScript blocks the event loop,
/// and once more when that turns. Instead of a reply comes [`Closed`](crate::Incoming::Closed); the app stands
/// still until the connection is then dropped. Evaluates to `false` where the app is still starting.
///
/// The port may be seen open for an instant after it was closed: see this module's page.
pub fn close_now() -> String {
    format!(
        "(()=>{{{STARTING}if(starting())return false;\
         {PRELUDE}clear();endAfter(1);end()}})()"
    )
}
