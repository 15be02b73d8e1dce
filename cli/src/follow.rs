//! Following a request to its end.

use crate::{
    cluster::{Cluster, REQUESTS},
    exit::{Exit, Failure},
    interrupt::Interrupts,
    outcome::{End, end},
    read::Request,
    refusal::{is_permanent_for_watch, watch_refusal},
    view::{
        meter::Meter,
        screen::Screen,
        stage::{Stage, line, sight, stage},
    },
};
use futures_util::StreamExt as _;
use kube::runtime::{WatchStreamExt as _, watcher::watch_object};
use std::{pin::pin, time::Duration};
use tokio::{task::JoinSet, time::MissedTickBehavior};

/// How following ended.
pub(crate) enum Followed {
    /// The request ended.
    Ended(Box<Request>, End),
    /// The user left; the request goes on.
    Left(Box<Request>),
}

/// Without a word from the API server for this long, following ends.
const UNREACHABLE: Duration = Duration::from_mins(2);

/// The operator ends every request at its deadline; after this much longer it must be gone itself.
const GRACE: Duration = Duration::from_mins(1);

/// Shows the request's progress until it ends. The first Ctrl-C stops it, the second leaves it.
pub(crate) async fn follow(
    cluster: &Cluster,
    mut request: Request,
    screen: &mut Screen,
    interrupts: &mut Interrupts,
) -> Result<Followed, Failure> {
    let name = request.metadata.name.clone().unwrap_or_default();
    let later = later(&name, &cluster.namespace);
    let give_up = screen.now() + request.spec.deadline().as_std() + GRACE;
    let mut sights = Sights::default();
    sights.look(&request, screen, false);
    let mut stops: JoinSet<Result<Request, Failure>> = JoinSet::new();
    let mut stopping = false;
    let mut lost_since: Option<Duration> = None;
    let mut watch = pin!(watch_object(cluster.requests(), &name).default_backoff());
    let mut ticks = tokio::time::interval(screen.interval());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if let Some(end) = end(&request) {
            screen.clear();
            return Ok(Followed::Ended(Box::new(request), end));
        }
        tokio::select! {
            event = watch.next() => match event {
                Some(Ok(Some(newer))) => {
                    lost_since = None;
                    request = newer;
                    sights.look(&request, screen, stopping);
                }
                Some(Ok(None)) => {
                    screen.clear();
                    let message = format!("{name} was deleted, and what it recorded is discarded");
                    return Err(Failure::new(Exit::Failed, message));
                }
                Some(Err(error)) => {
                    let failure = watch_refusal(&error, cluster.attempt("watch", REQUESTS, Some(&name)));
                    if is_permanent_for_watch(&error) {
                        screen.clear();
                        return Err(Failure { message: format!("{}. {later}", failure.message), ..failure });
                    }
                    if lost_since.is_none() {
                        screen.note(&format!("{}; trying again", failure.message));
                        lost_since = Some(screen.now());
                    }
                }
                None => return Err(Failure::cluster(format!("the watch of {name} ended. {later}"))),
            },
            _ = ticks.tick() => {
                let now = screen.now();
                screen.show(&line(&request, &sights.meter, now, stopping));
                if lost_since.is_some_and(|since| now > since + UNREACHABLE) {
                    screen.clear();
                    return Err(Failure::cluster(format!("the API server stayed out of reach. {later}")));
                }
                if now > give_up {
                    screen.clear();
                    return Err(Failure::cluster(format!(
                        "{name} is past its deadline of {} and hasn't ended: is Pitwall's operator running? {later}",
                        request.spec.deadline(),
                    )));
                }
            }
            () = interrupts.next() => {
                if stopping {
                    screen.clear();
                    return Ok(Followed::Left(Box::new(request)));
                }
                stopping = true;
                screen.note("stopping and keeping what was recorded; press again to leave it to itself");
                let (cluster, name) = (cluster.clone(), name.clone());
                stops.spawn(async move { cluster.stop_request(&name).await });
            }
            Some(stopped) = stops.join_next() => {
                if let Ok(Err(failure)) = stopped {
                    screen.note(&format!("it can't be stopped: {failure}; press again to leave it to itself"));
                }
            }
        }
    }
}

/// What to type to take a request up again.
pub(crate) fn later(name: &str, namespace: &str) -> String {
    format!(
        "To follow it: kubectl pitwall follow {name} -n {namespace}. \
         To fetch its artifacts when it has ended: kubectl pitwall download {name} -n {namespace}"
    )
}

/// What was seen of a request so far.
#[derive(Default)]
struct Sights {
    meter: Meter,
    saw_it_before: bool,
    advised: Option<&'static str>,
}

impl Sights {
    #[expect(clippy::disallowed_methods, reason = "the cluster's times are compared with this machine's")]
    fn look(&mut self, request: &Request, screen: &mut Screen, stopping: bool) {
        let stage = stage(request);
        if stage == Stage::Recording {
            let sight = sight(request, jiff::Timestamp::now(), self.saw_it_before);
            self.meter.observe(sight, screen.now());
        }
        self.saw_it_before = true;
        if stage != Stage::Finished {
            screen.show(&line(request, &self.meter, screen.now(), stopping));
        }
        let advice = stage.advice();
        if let Some(advice) = advice.filter(|_| advice != self.advised) {
            screen.note(advice);
        }
        self.advised = advice.or(self.advised);
    }
}
