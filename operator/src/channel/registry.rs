//! Who is connected, and the sessions in flight: a synchronous index.
//!
//! The accept loop writes what sidecars say; the reconciler reads it and sends. Every change wakes the
//! reconciler of the request that it is about. Bounded: a pod has one connection, at most
//! [`MAX_SESSIONS`] sessions, and an outbox of [`OUTBOX`] messages.

use jiff::Timestamp;
use pitwall_protocol::{
    Hello, MAX_SESSIONS, OperatorMessage, PodRef, ProcessId, RequestUid, Seen, SessionPhase, SessionReport,
    SidecarMessage, Stall, is_artifact_name,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard},
};
use tokio::sync::mpsc;

/// Messages that wait for a connection's writer; more than that, and the connection is given up.
const OUTBOX: usize = 64;

/// The uid of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodUid(pub String);

/// One session: a request's recording of one process.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey {
    /// The request.
    pub request: RequestUid,
    /// The pod.
    pub pod: PodUid,
    /// The process.
    pub process: ProcessId,
}

/// The answer to a `Look`, and when it came.
#[derive(Clone, Debug)]
pub struct Sight {
    /// What the sidecar saw.
    pub seen: Seen,
    /// When the operator got it.
    pub at: Timestamp,
}

/// A request for more part URLs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartsWanted {
    /// The upload that goes on; `None` to begin a new one.
    pub upload: Option<String>,
    /// The first part without a URL.
    pub first_part: u32,
    /// Which of the session's artifacts; empty: the first.
    pub artifact: String,
}

struct Connection {
    generation: u64,
    pod: PodRef,
    outbox: mpsc::Sender<OperatorMessage>,
}

#[derive(Default)]
struct Index {
    generation: u64,
    connections: HashMap<PodUid, Connection>,
    sessions: BTreeMap<SessionKey, SessionReport>,
    sights: HashMap<(RequestUid, PodUid), Sight>,
    /// Names of the pods that have been connected, for sessions whose status isn't written yet.
    names: HashMap<PodUid, String>,
    wanted: HashMap<SessionKey, PartsWanted>,
    /// Why the sidecar of a pod was turned away, though it is who it says.
    refused: HashMap<PodUid, String>,
}

/// Whose reconciler should look again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The request with this uid.
    Request(RequestUid),
    /// Every request that waits: a sidecar came, or a process is free again.
    Waiting,
}

/// The index. Cheap to share behind an `Arc`.
pub struct Registry {
    index: Mutex<Index>,
    wake: mpsc::UnboundedSender<Wake>,
}

/// A connection's place in the registry.
#[derive(Debug)]
pub struct Registration {
    /// Whose connection.
    pub pod: PodUid,
    /// Tells this connection from a later one of the same pod.
    pub generation: u64,
    /// What to send. Closed when a newer connection of the pod took over, or when the pod is gone.
    pub outbox: mpsc::Receiver<OperatorMessage>,
}

impl Registry {
    /// An empty registry, and the stream of requests that something changed for.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Wake>) {
        // Unbounded, yet bounded: an entry is pushed per message of a sidecar, which are rate-limited, and
        // the controller drains it into its own deduplicating queue.
        let (wake, woken) = mpsc::unbounded_channel();
        (Self { index: Mutex::default(), wake }, woken)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().expect("no panic happens while the index is held")
    }

    fn wake(&self, request: &RequestUid) {
        // The receiver is gone only while the operator ends.
        let _ = self.wake.send(Wake::Request(request.clone()));
    }

    /// Takes a proved pod's connection, replacing an older one, and the sessions that it still holds.
    pub fn connect(&self, pod: PodRef, hello: Hello) -> Registration {
        let uid = PodUid(pod.uid.clone());
        let (sender, outbox) = mpsc::channel(OUTBOX);
        let mut index = self.index();
        index.generation += 1;
        let generation = index.generation;
        index.names.insert(uid.clone(), pod.name.clone());
        index.refused.remove(&uid);
        index.connections.insert(uid.clone(), Connection { generation, pod, outbox: sender });
        // What the sidecar no longer holds is over: it lost it, or the operator acknowledged it.
        let held: Vec<_> = hello.sessions.iter().map(|s| (s.request.clone(), s.process)).collect();
        let lost: Vec<SessionKey> = index
            .sessions
            .keys()
            .filter(|key| key.pod == uid && !held.contains(&(key.request.clone(), key.process)))
            .cloned()
            .collect();
        for key in lost {
            index.sessions.remove(&key);
            self.wake(&key.request);
        }
        for report in hello.sessions.into_iter().take(MAX_SESSIONS) {
            self.put(&mut index, &uid, report);
        }
        // Requests that wait for this sidecar don't know yet that they may go on.
        drop(index);
        let _ = self.wake.send(Wake::Waiting);
        Registration { pod: uid, generation, outbox }
    }

    /// Remembers that a proved pod's sidecar can't be talked to, until it connects or the pod goes.
    pub fn refuse(&self, pod: &PodRef, why: &str) {
        self.index().refused.insert(PodUid(pod.uid.clone()), why.to_owned());
        let _ = self.wake.send(Wake::Waiting);
    }

    /// Why a pod's sidecar can't be talked to.
    pub fn refusal(&self, pod: &PodUid) -> Option<String> {
        self.index().refused.get(pod).cloned()
    }

    /// Forgets a connection, unless a newer one of the same pod took its place.
    pub fn disconnect(&self, registration: &Registration) {
        let mut index = self.index();
        let current = index.connections.get(&registration.pod).map(|connection| connection.generation);
        if current == Some(registration.generation) {
            index.connections.remove(&registration.pod);
            for request in index.requests_of(&registration.pod) {
                self.wake(&request);
            }
        }
    }

    /// Forgets a pod that no longer exists, closing its connection.
    pub fn remove_pod(&self, pod: &PodUid) {
        let mut index = self.index();
        for request in index.requests_of(pod) {
            self.wake(&request);
        }
        index.connections.remove(pod);
        index.names.remove(pod);
        index.refused.remove(pod);
        index.sessions.retain(|key, _| key.pod != *pod);
        index.sights.retain(|(_, of), _| of != pod);
        index.wanted.retain(|key, _| key.pod != *pod);
    }

    /// Takes what a sidecar said after its hello.
    pub fn receive(&self, from: &PodUid, message: SidecarMessage, now: Timestamp) {
        let mut index = self.index();
        match message {
            SidecarMessage::Hello(_) => {}
            SidecarMessage::Seen(seen) => {
                let request = seen.request.clone();
                // An answer nobody asked for is not kept: a hostile pod can't grow the index.
                if let Some(slot) = index.sights.get_mut(&(request.clone(), from.clone())) {
                    *slot = Sight { seen, at: now };
                    self.wake(&request);
                }
            }
            SidecarMessage::Report(report) => self.put(&mut index, from, *report),
            SidecarMessage::NeedParts { artifact, .. }
                if !artifact.is_empty() && !is_artifact_name(&artifact) =>
            {
                tracing::warn!(pod = from.0, "a sidecar asks to store what has no name; ignored");
            }
            SidecarMessage::NeedParts { request, process, upload_id, first_part, artifact } => {
                let key = SessionKey { request: request.clone(), pod: from.clone(), process };
                if index.sessions.contains_key(&key) {
                    let upload = (!upload_id.is_empty()).then_some(upload_id);
                    index.wanted.insert(key, PartsWanted { upload, first_part, artifact });
                    self.wake(&request);
                }
            }
        }
    }

    fn put(&self, index: &mut Index, pod: &PodUid, report: SessionReport) {
        let key = SessionKey { request: report.request.clone(), pod: pod.clone(), process: report.process };
        let held = index.sessions.range(..).filter(|(other, _)| other.pod == *pod).count();
        if !index.sessions.contains_key(&key) && held >= MAX_SESSIONS {
            tracing::warn!(pod = pod.0, "a sidecar reports more sessions than it may hold; ignored");
            return;
        }
        self.wake(&key.request);
        index.sessions.insert(key, report);
    }

    /// Has the request's reconciler look again: background work has ended.
    pub fn nudge(&self, request: &RequestUid) {
        self.wake(request);
    }

    /// Whether the pod's sidecar is connected.
    pub fn is_connected(&self, pod: &PodUid) -> bool {
        self.index().connections.contains_key(pod)
    }

    /// The name of a pod that is or was connected.
    pub fn pod_name(&self, pod: &PodUid) -> Option<String> {
        self.index().names.get(pod).cloned()
    }

    /// How many sidecars are connected.
    pub fn connections(&self) -> usize {
        self.index().connections.len()
    }

    /// How many sessions are known and not over.
    pub fn active_sessions(&self) -> usize {
        self.index().sessions.values().filter(|report| !report.phase.is_end()).count()
    }

    /// The pods that are connected.
    pub fn connected_pods(&self) -> Vec<PodRef> {
        self.index().connections.values().map(|connection| connection.pod.clone()).collect()
    }

    /// Sends to a pod's sidecar. False when it isn't connected, or doesn't read what it is sent.
    pub fn send(&self, pod: &PodUid, message: OperatorMessage) -> bool {
        let mut index = self.index();
        if !index.connections.contains_key(pod) {
            if let OperatorMessage::Acknowledge { request, process } = &message {
                let key = SessionKey { request: request.clone(), pod: pod.clone(), process: *process };
                index.sessions.remove(&key);
            }
            return false;
        }
        match &message {
            OperatorMessage::Look(look) => {
                let nothing = Seen {
                    request: look.request.clone(),
                    processes: Vec::new(),
                    others: 0,
                    lookalikes: vec![],
                };
                index
                    .sights
                    .entry((look.request.clone(), pod.clone()))
                    .or_insert(Sight { seen: nothing, at: Timestamp::MIN });
            }
            OperatorMessage::Start(start) => {
                // From here on the process counts as being recorded: another request must not have to wait for
                // the sidecar's first report to see that.
                let key =
                    SessionKey { request: start.request.clone(), pod: pod.clone(), process: start.process };
                index.sessions.entry(key).or_insert_with(|| SessionReport {
                    request: start.request.clone(),
                    process: start.process,
                    container: start.container.name.clone(),
                    phase: SessionPhase::Attaching,
                    node_version: None,
                    attach: None,
                    stall: Stall::default(),
                    remark: None,
                    load: None,
                    preflight: None,
                });
            }
            OperatorMessage::Grant { request, process, .. } => {
                let key = SessionKey { request: request.clone(), pod: pod.clone(), process: *process };
                index.wanted.remove(&key);
            }
            OperatorMessage::Acknowledge { request, process } => {
                let key = SessionKey { request: request.clone(), pod: pod.clone(), process: *process };
                index.sessions.remove(&key);
                index.wanted.remove(&key);
                // Another request may wait for this process.
                let _ = self.wake.send(Wake::Waiting);
            }
            _ => {}
        }
        let Some(connection) = index.connections.get(pod) else { return false };
        let Err(unsent) = connection.outbox.try_send(message) else { return true };
        index.connections.remove(pod);
        if let OperatorMessage::Start(start) = unsent.into_inner() {
            index.sessions.remove(&SessionKey {
                request: start.request,
                pod: pod.clone(),
                process: start.process,
            });
        }
        false
    }

    /// What the pod's sidecar saw for the request, if it has answered.
    pub fn sight(&self, request: &RequestUid, pod: &PodUid) -> Option<Sight> {
        let index = self.index();
        index.sights.get(&(request.clone(), pod.clone())).filter(|sight| sight.at != Timestamp::MIN).cloned()
    }

    /// The request's sessions.
    pub fn sessions(&self, request: &RequestUid) -> Vec<(SessionKey, SessionReport)> {
        let index = self.index();
        let of_request = index.sessions.iter().filter(|(key, _)| key.request == *request);
        of_request.map(|(key, report)| (key.clone(), report.clone())).collect()
    }

    /// The request that records a process of the pod now, other than `but`.
    pub fn recorded_by(&self, pod: &PodUid, but: &RequestUid) -> Option<RequestUid> {
        let index = self.index();
        let mut active =
            index.sessions.iter().filter(|(key, report)| key.pod == *pod && !report.phase.is_end());
        active.find(|(key, _)| key.request != *but).map(|(key, _)| key.request.clone())
    }

    /// The part URLs that the request's sessions wait for.
    pub fn parts_wanted(&self, request: &RequestUid) -> Vec<(SessionKey, PartsWanted)> {
        let index = self.index();
        let of_request = index.wanted.iter().filter(|(key, _)| key.request == *request);
        of_request.map(|(key, wanted)| (key.clone(), wanted.clone())).collect()
    }

    /// Every request that some session belongs to.
    pub fn requests(&self) -> Vec<RequestUid> {
        let mut requests: Vec<_> = self.index().sessions.keys().map(|key| key.request.clone()).collect();
        requests.dedup();
        requests
    }

    /// Drops what is known for a request that has ended.
    pub fn forget(&self, request: &RequestUid) {
        let mut index = self.index();
        index.sights.retain(|(of, _), _| of != request);
        index.wanted.retain(|key, _| key.request != *request);
    }
}

impl Index {
    fn requests_of(&self, pod: &PodUid) -> Vec<RequestUid> {
        let sessions = self.sessions.keys().filter(|key| key.pod == *pod).map(|key| key.request.clone());
        let sights = self.sights.keys().filter(|(_, of)| of == pod).map(|(request, _)| request.clone());
        sessions.chain(sights).collect()
    }
}

#[cfg(test)]
mod tests;
