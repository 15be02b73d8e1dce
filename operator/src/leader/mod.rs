//! Which replica leads: a Lease, and the label by which the channel's Service finds the leader.
//!
//! Of its own, since the one maintained crate for it (kube-lease-manager) goes on believing that it leads
//! while the API server is away: see docs/adr/0002-own-lease.md.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use pitwall_crds::names::{LEADER_LABEL, LEASE};
use serde_json::json;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long a Lease is good for without a renewal.
const LEASE_SECONDS: i32 = 15;
/// A leader that couldn't renew for this long stops leading: well before another one may begin.
const GIVE_UP: SignedDuration = SignedDuration::from_secs(10);
/// Pause between renewals, and between a follower's looks.
const EVERY: Duration = Duration::from_secs(2);
/// How long one call to the API server may take.
const CALL: Duration = Duration::from_secs(5);

/// Who competes.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The pod's name, which is also the holder's identity.
    pub pod: String,
    /// Pitwall's namespace.
    pub namespace: String,
}

/// What a look at the Lease asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Ours: renew it.
    Renew,
    /// Free, expired or released: take it, for this term.
    Take {
        /// `leaseTransitions` as it will be.
        term: i32,
    },
    /// Another one's.
    Wait,
}

/// A follower's memory of the Lease: clocks differ, so expiry is counted from when a renewal was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    renewed: Option<Timestamp>,
    at: Timestamp,
}

impl Seen {
    /// What was seen, given what was seen before.
    pub fn next(previous: Option<Self>, spec: &LeaseSpec, now: Timestamp) -> Self {
        let renewed = spec.renew_time.as_ref().map(|time| time.0);
        match previous {
            Some(previous) if previous.renewed == renewed => previous,
            _ => Self { renewed, at: now },
        }
    }
}

/// Decides what to do with the Lease as it was read at `now`.
pub fn decide(spec: &LeaseSpec, me: &str, seen: &Seen, now: Timestamp) -> Step {
    let term = spec.lease_transitions.unwrap_or(0).saturating_add(1);
    let duration = SignedDuration::from_secs(i64::from(spec.lease_duration_seconds.unwrap_or(LEASE_SECONDS)));
    match spec.holder_identity.as_deref() {
        Some(holder) if holder == me => Step::Renew,
        None | Some("") => Step::Take { term },
        Some(_) if now.duration_since(seen.at) > duration => Step::Take { term },
        Some(_) => Step::Wait,
    }
}

/// Competes until `shutdown`, then releases the Lease. The channel says the term while this replica leads.
pub async fn run(
    client: Client,
    me: Candidate,
    term: watch::Sender<Option<u64>>,
    shutdown: CancellationToken,
) {
    let leases = Api::<Lease>::namespaced(client.clone(), &me.namespace);
    let mut seen = None;
    let mut renewed = None;
    loop {
        match tokio::time::timeout(CALL, round(&leases, &me, &mut seen)).await {
            Ok(Ok(Some(leading))) => {
                renewed = Some(crate::request::now());
                if *term.borrow() != Some(leading) {
                    tracing::info!(term = leading, "this replica leads");
                    label(&client, &me).await;
                    term.send_replace(Some(leading));
                }
            }
            Ok(Ok(None)) => step_down(&term, "another replica holds the Lease"),
            Ok(Err(error)) => tracing::warn!(%error, "could not read or renew the Lease {LEASE}"),
            Err(_) => tracing::warn!("the API server did not answer about the Lease {LEASE} within {CALL:?}"),
        }
        let stale = renewed.is_none_or(|at| crate::request::now().duration_since(at) > GIVE_UP);
        if stale {
            step_down(&term, "the Lease could not be renewed in time");
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shutdown.cancelled() => break,
        }
    }
    if term.borrow().is_some() {
        term.send_replace(None);
        let release = json!([
            { "op": "test", "path": "/spec/holderIdentity", "value": me.pod },
            { "op": "replace", "path": "/spec/holderIdentity", "value": "" },
        ]);
        if let Ok(patch) = serde_json::from_value(release) {
            let _ = tokio::time::timeout(
                CALL,
                leases.patch(LEASE, &PatchParams::default(), &Patch::Json::<()>(patch)),
            )
            .await;
        }
    }
}

fn step_down(term: &watch::Sender<Option<u64>>, why: &str) {
    if term.borrow().is_some() {
        tracing::warn!("this replica no longer leads: {why}");
        term.send_replace(None);
    }
}

/// One look: the term that this replica leads in, or `None`.
async fn round(
    leases: &Api<Lease>,
    me: &Candidate,
    seen: &mut Option<Seen>,
) -> Result<Option<u64>, kube::Error> {
    let now = crate::request::now();
    let Some(mut lease) = leases.get_opt(LEASE).await? else {
        let lease = Lease {
            metadata: ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() },
            spec: Some(held(me, 1, now)),
        };
        return conflict_is_none(leases.create(&PostParams::default(), &lease).await, 1);
    };
    let spec = lease.spec.clone().unwrap_or_default();
    let current = Seen::next(seen.take(), &spec, now);
    *seen = Some(current.clone());
    let term = match decide(&spec, &me.pod, &current, now) {
        Step::Wait => return Ok(None),
        Step::Take { term } => term,
        Step::Renew => spec.lease_transitions.unwrap_or(1),
    };
    lease.spec = Some(LeaseSpec {
        acquire_time: if spec.holder_identity.as_deref() == Some(&me.pod) {
            spec.acquire_time
        } else {
            Some(MicroTime(now))
        },
        ..held(me, term, now)
    });
    // The resource version in it makes two candidates' writes exclude each other.
    conflict_is_none(leases.replace(LEASE, &PostParams::default(), &lease).await, term)
}

fn held(me: &Candidate, term: i32, now: Timestamp) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(me.pod.clone()),
        lease_duration_seconds: Some(LEASE_SECONDS),
        lease_transitions: Some(term),
        acquire_time: Some(MicroTime(now)),
        renew_time: Some(MicroTime(now)),
        ..LeaseSpec::default()
    }
}

fn conflict_is_none(written: Result<Lease, kube::Error>, term: i32) -> Result<Option<u64>, kube::Error> {
    match written {
        Ok(_) => Ok(u64::try_from(term).ok()),
        Err(kube::Error::Api(response)) if response.code == 409 => Ok(None),
        Err(error) => Err(error),
    }
}

/// Labels the leader's pod and unlabels the others. The label may be stale for a moment; the epoch isn't.
async fn label(client: &Client, me: &Candidate) {
    let pods = Api::<Pod>::namespaced(client.clone(), &me.namespace);
    let set = |value: serde_json::Value| json!({ "metadata": { "labels": { LEADER_LABEL: value } } });
    let params = PatchParams::default();
    if let Err(error) = pods.patch_metadata(&me.pod, &params, &Patch::Merge(&set(json!("true")))).await {
        tracing::warn!(%error, pod = me.pod, "could not label the leader: sidecars won't find it");
    }
    let others = pods.list_metadata(&ListParams::default().labels(&format!("{LEADER_LABEL}=true"))).await;
    for pod in others.map(|list| list.items).unwrap_or_default() {
        let name = pod.metadata.name.unwrap_or_default();
        if name != me.pod
            && let Err(error) = pods.patch_metadata(&name, &params, &Patch::Merge(&set(json!(null)))).await
        {
            tracing::warn!(%error, pod = name, "could not unlabel a former leader");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn lease(holder: &str, renewed: i64) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.into()),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(4),
            renew_time: Some(MicroTime(at(renewed))),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_taken_only_when_it_is_free_or_was_not_renewed_in_our_own_time() {
        for (spec, first_seen, now, step) in [
            (lease("me", 0), 0, 100, Step::Renew),
            (lease("other", 0), 0, 15, Step::Wait),
            (lease("other", 0), 0, 16, Step::Take { term: 5 }),
            // The holder's clock is an hour behind: its renewals still count from when they are seen.
            (lease("other", -3600), 10, 20, Step::Wait),
            (lease("", 0), 0, 1, Step::Take { term: 5 }),
            (LeaseSpec::default(), 0, 0, Step::Take { term: 1 }),
        ] {
            let seen = Seen::next(None, &spec, at(first_seen));
            assert_eq!(decide(&spec, "me", &seen, at(now)), step, "{spec:?}");
        }
    }

    #[test]
    fn a_renewal_that_is_seen_starts_the_count_anew() {
        let first = Seen::next(None, &lease("other", 0), at(0));
        let unchanged = Seen::next(Some(first.clone()), &lease("other", 0), at(10));
        assert_eq!(unchanged, first);
        let renewed = Seen::next(Some(first), &lease("other", 10), at(10));
        assert_eq!(decide(&lease("other", 10), "me", &renewed, at(20)), Step::Wait);
    }
}
