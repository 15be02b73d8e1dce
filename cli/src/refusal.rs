//! Errors of the Kubernetes API, in words that say what to do.

use crate::exit::{Exit, Failure};
use hyper_util::client::legacy;
use kube::Error;
use kube::core::Status;
use pitwall_crds::names::GROUP;
use std::{error::Error as _, time::Duration};

/// What was tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt<'a> {
    pub verb: &'static str,
    /// The plural.
    pub resource: &'static str,
    pub name: Option<&'a str>,
    /// None: in all of them.
    pub namespace: Option<&'a str>,
    /// The API server's address.
    pub server: &'a str,
}

impl Attempt<'_> {
    fn place(&self) -> String {
        self.namespace.map_or_else(|| "in all namespaces".to_owned(), |name| format!("in namespace {name}"))
    }

    fn object(&self) -> String {
        match self.name {
            Some(name) => format!("{} {name}", self.resource.trim_end_matches('s')),
            None => self.resource.to_owned(),
        }
    }
}

const INSTALL: &str = "Pitwall isn't installed in this cluster (its custom resources aren't there). \
     Install it: helm install pitwall charts/pitwall --namespace pitwall-system --create-namespace";

/// What the error means for the attempt.
pub(crate) fn refusal(error: &Error, attempt: Attempt<'_>) -> Failure {
    match error {
        Error::Api(status) => refused(status, attempt),
        Error::SerdeError(error) => Failure::cluster(format!(
            "can't read what the API server says of {}: {error}. Is kubectl-pitwall older than the cluster's Pitwall?",
            attempt.object(),
        )),
        Error::Auth(error) => Failure::cluster(format!(
            "can't get credentials for the API server {}: {}. Check the kubeconfig's user: kubectl auth whoami",
            attempt.server,
            causes(error),
        )),
        other => Failure::cluster(format!(
            "can't reach the API server {}: {}. See whether kubectl reaches it: kubectl cluster-info",
            attempt.server,
            of_the_connection(other),
        )),
    }
}

/// What the end of an attempt without an answer means.
pub(crate) fn silence(after: Duration, attempt: Attempt<'_>) -> Failure {
    let Attempt { verb, server, .. } = attempt;
    Failure::cluster(format!(
        "the API server {server} took the request to {verb} {} {} and gave no answer within {} s. \
         See whether it answers kubectl: kubectl cluster-info",
        attempt.object(),
        attempt.place(),
        after.as_secs(),
    ))
}

/// The causes, from the one on that the connection failed for.
fn of_the_connection(error: &Error) -> String {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(at) = next {
        next = at.source();
        let connecting = at.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect);
        if let (true, Some(cause)) = (connecting, next) {
            return causes(cause);
        }
    }
    causes(error)
}

/// Whether trying again can't help.
pub(crate) fn is_permanent(error: &Error) -> bool {
    match error {
        Error::Api(status) => matches!(status.code, 401 | 403 | 404 | 405),
        Error::SerdeError(_) | Error::Auth(_) => true,
        _ => false,
    }
}

fn refused(status: &Status, attempt: Attempt<'_>) -> Failure {
    let Attempt { verb, resource, name, namespace, server } = attempt;
    let said = &status.message;
    let (object, place) = (attempt.object(), attempt.place());
    match status.code {
        401 => Failure::cluster(format!(
            "the API server {server} doesn't accept your credentials: {said}. \
             Log in as for kubectl; kubectl auth whoami says who you are"
        )),
        // The API server has two kinds of 403: its authorizer's, and an admission plugin's.
        403 if said.contains(" cannot ") => Failure::cluster(format!(
            "you may not {verb} {object} {place}: ask for the verb \"{verb}\" on \"{resource}\" of the API group {GROUP:?} \
             (a Role or ClusterRole). The API server says: {said}"
        )),
        403 => Failure::cluster(format!("the API server refuses to {verb} {object} {place}: {said}")),
        404 => match (status.details.as_ref().map(|details| details.kind.as_str()), name) {
            (Some("namespaces"), _) => {
                Failure::usage(format!("there is no namespace {}", namespace.unwrap_or_default()))
            }
            (Some(kind), Some(name)) if kind == resource => Failure::usage(format!(
                "there is no {} {name} {place}; kubectl pitwall list shows those that are",
                resource.trim_end_matches('s'),
            )),
            _ => Failure::cluster(INSTALL),
        },
        409 if status.reason == "AlreadyExists" => Failure::usage(format!(
            "there is a {object} {place} already: choose another --name, or leave it out to get a new one"
        )),
        400 | 422 => {
            let flag = flag(said).map(|flag| format!(". Change {flag} (see kubectl pitwall cpu --help)"));
            Failure::usage(format!(
                "the API server refuses to {verb} {resource} {place}: {said}{}",
                flag.unwrap_or_default()
            ))
        }
        code => Failure::new(Exit::Cluster, format!("can't {verb} {object} {place}: {said} ({code})")),
    }
}

/// The flag of `kubectl pitwall cpu` that a refusal is about.
fn flag(said: &str) -> Option<&'static str> {
    let flags = [
        ("spec.duration:", "--duration"),
        ("spec.cpu.samplingInterval:", "--sampling-interval"),
        ("spec.activeDeadline:", "--deadline or --duration"),
        ("spec.ttlAfterFinished:", "--ttl"),
        ("spec.target.container:", "--container"),
        ("metadata.name:", "--name"),
    ];
    flags.into_iter().find(|(field, _)| said.contains(field)).map(|(_, flag)| flag)
}

/// The error with its causes, each said once and by its first line.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let first_line = |said: String| said.lines().next().unwrap_or_default().to_owned();
    let mut text = first_line(error.to_string());
    let mut next = error.source();
    while let Some(cause) = next {
        let said = first_line(cause.to_string());
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

/// As [`refusal`], for a watch.
pub(crate) fn watch_refusal(error: &kube::runtime::watcher::Error, attempt: Attempt<'_>) -> Failure {
    use kube::runtime::watcher::Error::{
        InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed,
    };
    match error {
        InitialListFailed(error) => refusal(error, Attempt { verb: "list", ..attempt }),
        WatchStartFailed(error) | WatchFailed(error) => refusal(error, attempt),
        WatchError(status) => refused(status, attempt),
        NoResourceVersion => Failure::cluster(error.to_string()),
    }
}

/// Whether watching again can't help.
pub(crate) fn is_permanent_for_watch(error: &kube::runtime::watcher::Error) -> bool {
    match error.source().and_then(|source| source.downcast_ref::<Error>()) {
        Some(error) => is_permanent(error),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::response::StatusDetails;
    use serde_json::json;

    fn api(code: u16, reason: &str, message: &str, kind: Option<&str>) -> Error {
        let mut status = Status::failure(message, reason).with_code(code);
        status.details =
            kind.map(|kind| serde_json::from_value::<StatusDetails>(json!({ "kind": kind })).unwrap());
        Error::Api(status.boxed())
    }

    #[test]
    fn errors_say_what_to_do() {
        let forbidden = "profilerequests.pitwall.dev is forbidden: User \"ann\" cannot create resource \"profilerequests\"";
        let exists = "profilerequests.pitwall.dev \"x\" already exists";
        let table = [
            (
                api(403, "Forbidden", forbidden, Some("profilerequests")),
                Exit::Cluster,
                "the verb \"create\" on \"profilerequests\"",
            ),
            (api(403, "Forbidden", "admission webhook denied", None), Exit::Cluster, "refuses to create"),
            (api(401, "Unauthorized", "Unauthorized", None), Exit::Cluster, "credentials"),
            (
                api(404, "Failed to parse error data", "404 page not found", None),
                Exit::Cluster,
                "helm install pitwall",
            ),
            (
                api(404, "NotFound", "namespaces \"shop\" not found", Some("namespaces")),
                Exit::Usage,
                "no namespace shop",
            ),
            (
                api(404, "NotFound", "\"x\" not found", Some("profilerequests")),
                Exit::Usage,
                "no profilerequest x in namespace shop",
            ),
            (api(409, "AlreadyExists", exists, Some("profilerequests")), Exit::Usage, "--name"),
            (
                api(422, "Invalid", "spec.duration: too long", Some("ProfileRequest")),
                Exit::Usage,
                "Change --duration",
            ),
            (api(500, "InternalError", "etcd is away", None), Exit::Cluster, "etcd is away (500)"),
        ];
        for (error, exit, said) in table {
            let attempt = Attempt {
                verb: "create",
                resource: "profilerequests",
                name: Some("x"),
                namespace: Some("shop"),
                server: "https://k8s",
            };
            let failure = refusal(&error, attempt);
            assert_eq!(failure.exit, exit, "{error}");
            assert!(failure.message.contains(said), "{}", failure.message);
        }
    }

    #[test]
    fn silence_is_told_with_what_was_asked() {
        let attempt = Attempt {
            verb: "list",
            resource: "profilerequests",
            name: None,
            namespace: None,
            server: "https://k8s",
        };
        let failure = silence(Duration::from_secs(60), attempt);
        assert_eq!(failure.exit, Exit::Cluster);
        let said = "https://k8s took the request to list profilerequests in all namespaces and gave no answer within 60 s";
        assert!(failure.message.contains(said), "{failure}");
    }

    #[test]
    fn a_watch_goes_on_unless_that_is_pointless() {
        for (code, permanent) in
            [(401, true), (403, true), (404, true), (410, false), (429, false), (500, false)]
        {
            assert_eq!(is_permanent(&api(code, "", "", None)), permanent, "{code}");
        }
    }
}
