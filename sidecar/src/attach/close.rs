//! Closing an inspector that a session opened, without freezing the app, and proving that it is closed.

use super::eyes::Eyes;
use super::link::{Link, ending, evaluate};
use super::open::{Unseen, await_inspector};
use crate::clock;
use crate::discover::parse::Listener;
use crate::discover::procfs::ProcRoot;
use pitwall_inspector::{Command, Event, Incoming, expression};
use pitwall_protocol::ProcessId;
use std::time::{Duration, Instant};

/// How long the app may say nothing while it is told to be quiet: it owes answers, and is gone if it gives one in the
/// moment in which it is hung up on.
const HEARING: Duration = Duration::from_secs(3);
/// How long what the app still sends is heard: the rest of a snapshot can't be cancelled.
const STREAMING: Duration = Duration::from_secs(30);
/// How long the port may take to be gone afterwards.
const GOING: Duration = Duration::from_millis(500);
/// How long an app that is exiting may take to be gone: it isn't to be held up by another connection.
const EXITING: Duration = Duration::from_secs(5);
/// How often a port that stays is closed directly, and the pause before the second time; it doubles.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// How long a process that was hung up on is looked at, to see whether it ended.
const LEAVING: Duration = Duration::from_millis(100);
const POLL: Duration = Duration::from_millis(5);

/// What became of an inspector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closure {
    /// Its port was seen gone, and the process runs on.
    Closed,
    /// The process has ended, and its port with it.
    ProcessGone,
    /// Nothing opened in the time that was given.
    NeverOpened,
    /// The process had opened it itself, and it was left as it was.
    Left,
    /// It is still open after every try.
    StillOpen(String),
}

/// Closes the inspector behind `listener`, through `link` first if there is one.
///
/// `process._debugEnd()` blocks the app's loop until every client drops. So a timer in the app calls it when
/// we are gone already; where the loop doesn't turn, it is called directly, and the connection dropped at the
/// close frame.
pub async fn close(
    eyes: &Eyes,
    proc: &ProcRoot,
    process: ProcessId,
    link: Option<Link>,
    listener: &Listener,
) -> Closure {
    let mut listener = listener.clone();
    let listener = &mut listener;
    let going = match link {
        Some(link) => {
            // Hung up before the timer in the app fires. It may have begun to exit meanwhile.
            if hang_up(process, link, &evaluate(&expression::close_soon())).await { EXITING } else { GOING }
        }
        None => Duration::ZERO,
    };
    let mut last = match gone_within(eyes, proc, process, listener, going).await {
        Some(closure) => return closure,
        None => "the port stayed open after the app was told to close it".to_owned(),
    };
    let mut pause = FIRST_PAUSE;
    for _ in 0..TRIES {
        if let Err(error) = close_directly(listener).await {
            last = error;
        }
        if let Some(closure) = gone_within(eyes, proc, process, listener, GOING).await {
            return closure;
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    gone_within(eyes, proc, process, listener, Duration::ZERO).await.unwrap_or_else(|| {
        Closure::StillOpen(format!(
            "port {} of pid {} is still open after {TRIES} tries ({last}); its own timer closes it as soon as the \
             app's event loop turns",
            listener.port, process.pid
        ))
    })
}

/// Ends a connection, after a last word, in a quiet moment. Says whether the app is exiting.
///
/// Node up to 26 writes to a connection whose end it has just heard of, through a null pointer: an app that sends
/// anything in that moment is gone. So what makes it send something unasked is turned off first (its own
/// `console.profile`, worker threads that end, its exit), and what is on its way is heard out.
async fn hang_up(process: ProcessId, mut link: Link, last_word: &Command<'_>) -> bool {
    if link.exiting {
        return true;
    }
    let until = clock::now() + STREAMING;
    let heard = quieten(&mut link, last_word, until).await;
    tracing::debug!(pid = process.pid, ?heard, "hanging up");
    link.exiting
}

async fn quieten(link: &mut Link, last_word: &Command<'_>, until: Instant) -> Result<(), String> {
    let text = |error: pitwall_inspector::Error| error.to_string();
    for command in [
        Command::ProfilerDisable,
        Command::HeapProfilerDisable,
        Command::NodeWorkerDisable,
        Command::NotifyWhenWaitingForDisconnect { enabled: false },
    ] {
        link.connection.send(&command).map_err(text)?;
    }
    let last = link.connection.send(last_word).map_err(text)?;
    while clock::now() < until {
        let next = tokio::time::timeout(HEARING, link.connection.next()).await;
        match next.map_err(|_| format!("it said nothing for {HEARING:?}"))?.map_err(text)? {
            Incoming::Reply { id, .. } if id == last => return Ok(()),
            Incoming::Refused { id, message, .. } if id == last => return Err(message),
            Incoming::Event(Event::WaitingForDisconnect) => link.exiting = true,
            Incoming::Closed(closed) => return Err(ending(closed)),
            _ => {}
        }
    }
    Err(format!("it was still sending after {STREAMING:?}"))
}

/// Hangs up and leaves the inspector open. Says what became of the process: one that is exiting goes when it notices.
pub async fn leave(proc: &ProcRoot, process: ProcessId, link: Option<Link>) -> Closure {
    if let Some(link) = link {
        hang_up(process, link, &Command::ProfilerDisable).await;
    }
    let until = clock::now() + LEAVING;
    while proc.lives(process) {
        if clock::now() >= until {
            return Closure::Left;
        }
        tokio::time::sleep(POLL).await;
    }
    Closure::ProcessGone
}

/// Waits for an inspector to open after all, and closes it.
pub async fn close_late(
    eyes: &Eyes,
    proc: &ProcRoot,
    process: ProcessId,
    known: &[u64],
    watch_for: Duration,
) -> Closure {
    match await_inspector(eyes, proc, process, known, clock::now() + watch_for).await {
        Ok(inspector) => close(eyes, proc, process, None, &inspector.listener).await,
        Err(Unseen::Gone) => Closure::ProcessGone,
        Err(Unseen::TimedOut { .. }) => Closure::NeverOpened,
    }
}

/// What can be proved of an inspector now: `None` while it is open.
///
/// SIGUSR1 asks Node for its inspector twice, so one that was closed while JavaScript blocked the event loop
/// can open once more, with another socket on the same address: `listener` is then that one.
async fn gone(eyes: &Eyes, proc: &ProcRoot, process: ProcessId, listener: &mut Listener) -> Option<Closure> {
    if !proc.runs(process) {
        return Some(Closure::ProcessGone);
    }
    // When it can't be read, the process ended between the two looks: look again.
    let open = proc.listeners(process.pid).ok()?;
    let there = |one: &&Listener| (one.address, one.port) == (listener.address, listener.port);
    let Some(present) = open.iter().find(there) else {
        // A process that is killed loses its sockets some time before it is gone.
        return Some(if proc.lives(process) { Closure::Closed } else { Closure::ProcessGone });
    };
    if present.inode == listener.inode {
        return None;
    }
    let held = eyes.held(proc, process, &[present.inode]).await.ok()?;
    if held.is_empty() {
        // Another process has the address by now.
        return Some(Closure::Closed);
    }
    *listener = present.clone();
    None
}

async fn gone_within(
    eyes: &Eyes,
    proc: &ProcRoot,
    process: ProcessId,
    listener: &mut Listener,
    within: Duration,
) -> Option<Closure> {
    let until = clock::now() + within;
    loop {
        if let Some(closure) = gone(eyes, proc, process, listener).await {
            return Some(closure);
        }
        if clock::now() >= until {
            return None;
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Calls `process._debugEnd()` through an interrupt and drops at the close frame that follows.
async fn close_directly(listener: &Listener) -> Result<(), String> {
    let closing = async {
        let mut link = Link::connect(listener).await.map_err(|error| error.to_string())?;
        if link.starting().await.map_err(|error| error.to_string())? {
            return Err("the app is still starting".to_owned());
        }
        let expression = expression::close_now();
        let sent = link.connection.send(&evaluate(&expression)).map_err(|error| error.to_string())?;
        loop {
            match link.connection.next().await.map_err(|error| error.to_string())? {
                Incoming::Closed(_) => return Ok(()),
                Incoming::Reply { id, .. } if id == sent => return Ok(()),
                Incoming::Refused { id, message, .. } if id == sent => return Err(message),
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(2), closing)
        .await
        .unwrap_or_else(|_| Err("the inspector didn't answer within 2 s".to_owned()))
}
