//! Errors of the Kubernetes API, in words that say what to do.

use crate::exit::{Exit, Failure};
use kube::Error;
use kube::core::Status;
use pitwall_crds::names::GROUP;
use std::error::Error as _;

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
        other => {
            Failure::cluster(format!("can't reach the API server {}: {}", attempt.server, causes(other)))
        }
    }
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
    let Attempt { verb, resource, name, namespace, server: _ } = attempt;
    let said = &status.message;
    let (object, place) = (attempt.object(), attempt.place());
    match status.code {
        401 => Failure::cluster(format!("the API server doesn't accept your credentials: {said}")),
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
        400 | 422 => Failure::usage(said.clone()),
        code => Failure::new(Exit::Cluster, format!("can't {verb} {object} {place}: {said} ({code})")),
    }
}

/// The error with its causes, each said once.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
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
                "spec.duration",
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
    fn a_watch_goes_on_unless_that_is_pointless() {
        for (code, permanent) in
            [(401, true), (403, true), (404, true), (410, false), (429, false), (500, false)]
        {
            assert_eq!(is_permanent(&api(code, "", "", None)), permanent, "{code}");
        }
    }
}
