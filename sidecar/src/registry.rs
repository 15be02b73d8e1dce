//! Which sessions there are, and what a message of the operator means for them. Pure.

use crate::attach::ladder::failure;
use crate::session::Event;
use crate::session::driver::Key;
use pitwall_protocol::{
    Failure, FailureReason, MAX_SESSIONS, OperatorMessage, ProcessId, RequestUid, SessionPhase,
    SessionReport, SidecarMessage, Start,
};
use std::collections::BTreeMap;

/// One session, as the worker knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    request_name: String,
    report: SessionReport,
    /// Whether no other session may record the process yet.
    occupies: bool,
}

/// Every session that runs or whose end isn't acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    sessions: BTreeMap<Key, Entry>,
}

/// What is to be done about a message.
#[derive(Debug)]
pub enum Order {
    /// Tell the operator.
    Send(SidecarMessage),
    /// Begin a session.
    Begin(Box<Start>),
    /// Make a session that is over already, for this reason.
    Refuse(Box<Start>, Failure),
    /// Tell a session.
    Tell(Key, Event),
    /// Look for processes.
    Look(pitwall_protocol::Look),
}

impl Registry {
    /// Takes a session in.
    pub fn add(&mut self, key: Key, request_name: String, report: SessionReport, occupies: bool) {
        self.sessions.insert(key, Entry { request_name, report, occupies });
    }

    /// Takes in where a session stands.
    pub fn reported(&mut self, report: SessionReport) {
        if let Some(entry) = self.sessions.get_mut(&(report.request.clone(), report.process)) {
            entry.report = report;
        }
    }

    /// The request's namespace and name, for people, and where its session stood last.
    pub fn last(&self, key: &Key) -> Option<(&str, &SessionPhase)> {
        self.sessions.get(key).map(|entry| (entry.request_name.as_str(), &entry.report.phase))
    }

    /// A session's process may be recorded by another one.
    pub fn free(&mut self, key: &Key) {
        if let Some(entry) = self.sessions.get_mut(key) {
            entry.occupies = false;
        }
    }

    /// A session is over in every respect.
    pub fn remove(&mut self, key: &Key) {
        self.sessions.remove(key);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// What a hello says.
    pub fn reports(&self) -> Vec<SessionReport> {
        self.sessions.values().map(|entry| entry.report.clone()).collect()
    }

    /// The reports that differ from what a hello said.
    pub fn changed_since(&self, told: &[SessionReport]) -> Vec<SessionReport> {
        self.reports().into_iter().filter(|report| !told.contains(report)).collect()
    }

    /// Every session.
    pub fn keys(&self) -> Vec<Key> {
        self.sessions.keys().cloned().collect()
    }

    /// What a message asks for.
    pub fn handle(&self, message: OperatorMessage) -> Vec<Order> {
        match message {
            OperatorMessage::Welcome(_) => vec![],
            OperatorMessage::Look(look) => vec![Order::Look(look)],
            OperatorMessage::Start(start) => vec![self.start(start)],
            OperatorMessage::Stop(stop) => self
                .of_request(&stop.request)
                .map(|key| Order::Tell(key, Event::Stop { keep: stop.keep, why: stop.why }))
                .collect(),
            OperatorMessage::Grant { request, process, grant } => {
                self.tell(request, process, Event::Grant(grant))
            }
            OperatorMessage::Acknowledge { request, process } => {
                self.tell(request, process, Event::Acknowledged)
            }
        }
    }

    fn of_request(&self, request: &RequestUid) -> impl Iterator<Item = Key> {
        self.sessions.keys().filter(move |(one, _)| one == request).cloned()
    }

    fn tell(&self, request: RequestUid, process: ProcessId, event: Event) -> Vec<Order> {
        let key = (request, process);
        if self.sessions.contains_key(&key) { vec![Order::Tell(key, event)] } else { vec![] }
    }

    fn start(&self, start: Box<Start>) -> Order {
        let key = (start.request.clone(), start.process);
        if let Some(entry) = self.sessions.get(&key) {
            return Order::Send(SidecarMessage::Report(Box::new(entry.report.clone())));
        }
        let busy =
            self.sessions.iter().find(|((_, process), entry)| *process == start.process && entry.occupies);
        if let Some((_, entry)) = busy {
            let why = failure(
                FailureReason::Busy,
                format!(
                    "pid {} is being recorded for {}; two recordings at once aren't made. Wait for that one, or stop it",
                    start.process.pid, entry.request_name
                ),
            );
            return Order::Refuse(start, why);
        }
        if self.sessions.len() >= MAX_SESSIONS {
            let why = failure(
                FailureReason::Busy,
                format!("this sidecar already holds {MAX_SESSIONS} sessions; wait until one of them is over"),
            );
            return Order::Refuse(start, why);
        }
        Order::Begin(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pitwall_protocol::{
        ContainerBounds, ContainerRef, Guard, Recording, SessionPhase, Stall, Stop, UploadGrant,
    };

    const PROCESS: ProcessId = ProcessId { pid: 17, start_ticks: 4 };

    fn grant() -> UploadGrant {
        UploadGrant {
            upload_id: "u".into(),
            part_size: 1,
            first_part: 1,
            urls: vec![],
            expires_in_ms: 1,
            artifact: String::new(),
        }
    }

    fn start(request: &str, process: ProcessId) -> Box<Start> {
        Box::new(Start {
            request: RequestUid(request.into()),
            request_name: format!("shop/{request}"),
            process,
            container: ContainerRef { name: "app".into(), id: "c".into() },
            recording: Recording::Cpu { sampling_interval_us: 1000 },
            trace_optimizations: false,
            duration_ms: 1000,
            deadline_ms: 60_000,
            bounds: ContainerBounds::default(),
            guard: Guard::default(),
            largest_bytes: None,
            overridden: vec![],
            grant: grant(),
        })
    }

    fn report(request: &str, process: ProcessId) -> SessionReport {
        SessionReport {
            request: RequestUid(request.into()),
            process,
            container: "app".into(),
            phase: SessionPhase::Attaching,
            node_version: None,
            attach: None,
            stall: Stall::default(),
            remark: None,
            load: None,
            preflight: None,
        }
    }

    fn with(sessions: &[(&str, ProcessId, bool)]) -> Registry {
        let mut registry = Registry::default();
        for (request, process, occupies) in sessions {
            let key = (RequestUid((*request).into()), *process);
            registry.add(key, format!("shop/{request}"), report(request, *process), *occupies);
        }
        registry
    }

    fn only(mut orders: Vec<Order>) -> Order {
        assert_eq!(orders.len(), 1, "{orders:?}");
        orders.remove(0)
    }

    #[test]
    fn a_second_request_for_a_process_is_refused_by_the_name_of_the_first() {
        let registry = with(&[("a", PROCESS, true)]);
        let order = only(registry.handle(OperatorMessage::Start(start("b", PROCESS))));
        assert!(
            matches!(&order, Order::Refuse(_, why) if why.reason == FailureReason::Busy && why.message.contains("shop/a")),
            "{order:?}"
        );
    }

    #[test]
    fn another_process_or_one_that_is_free_again_is_recorded() {
        let later = ProcessId { start_ticks: 5, ..PROCESS };
        let registry = with(&[("a", PROCESS, true)]);
        assert!(matches!(only(registry.handle(OperatorMessage::Start(start("b", later)))), Order::Begin(_)));
        let registry = with(&[("a", PROCESS, false)]);
        assert!(matches!(
            only(registry.handle(OperatorMessage::Start(start("b", PROCESS)))),
            Order::Begin(_)
        ));
    }

    #[test]
    fn a_repeated_start_is_answered_with_where_the_session_stands() {
        let registry = with(&[("a", PROCESS, true)]);
        let order = only(registry.handle(OperatorMessage::Start(start("a", PROCESS))));
        assert!(matches!(order, Order::Send(SidecarMessage::Report(one)) if *one == report("a", PROCESS)));
    }

    #[test]
    fn sessions_are_bounded() {
        let names: Vec<String> = (0..MAX_SESSIONS).map(|at| format!("r{at}")).collect();
        let processes = (1..).map(|pid| ProcessId { pid, start_ticks: 1 });
        let sessions: Vec<_> =
            names.iter().zip(processes).map(|(name, id)| (name.as_str(), id, false)).collect();
        let order = only(with(&sessions).handle(OperatorMessage::Start(start("more", PROCESS))));
        assert!(matches!(order, Order::Refuse(_, why) if why.reason == FailureReason::Busy));
    }

    #[test]
    fn a_stop_reaches_every_session_of_its_request_and_no_other() {
        let other = ProcessId { pid: 18, start_ticks: 4 };
        let registry = with(&[
            ("a", PROCESS, true),
            ("a", other, true),
            ("b", ProcessId { pid: 19, start_ticks: 1 }, true),
        ]);
        let stop = OperatorMessage::Stop(Stop { request: RequestUid("a".into()), keep: true, why: None });
        let orders = registry.handle(stop);
        assert_eq!(orders.len(), 2);
        assert!(orders.iter().all(|order| {
            matches!(order, Order::Tell((request, _), Event::Stop { keep: true, .. }) if request.0 == "a")
        }));
    }

    #[test]
    fn messages_for_sessions_that_are_gone_are_ignored() {
        let registry = with(&[]);
        let request = RequestUid("a".into());
        for message in [
            OperatorMessage::Acknowledge { request: request.clone(), process: PROCESS },
            OperatorMessage::Grant { request: request.clone(), process: PROCESS, grant: grant() },
            OperatorMessage::Stop(Stop { request, keep: false, why: None }),
        ] {
            assert!(registry.handle(message).is_empty());
        }
    }

    #[test]
    fn what_changed_between_hello_and_welcome_is_told_again() {
        let mut registry = with(&[("a", PROCESS, true), ("b", ProcessId { pid: 18, start_ticks: 1 }, true)]);
        let told = registry.reports();
        assert!(registry.changed_since(&told).is_empty());
        let changed =
            SessionReport { phase: SessionPhase::Collecting { percent: None }, ..report("a", PROCESS) };
        registry.reported(changed.clone());
        assert_eq!(registry.changed_since(&told), [changed]);
    }
}
