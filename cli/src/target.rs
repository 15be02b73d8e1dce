//! The target, as kubectl writes it.

use pitwall_crds::{WorkloadKind, WorkloadRef};

/// What a target names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// `deploy/checkout`
    Workload(WorkloadRef),
    /// `pod/x`
    Pod(String),
    /// `x`, which is taken for a pod's name.
    Bare(String),
}

impl Named {
    /// The object's name.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Workload(workload) => &workload.name,
            Self::Pod(name) | Self::Bare(name) => name,
        }
    }
}

/// Why a text names no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    #[error("{0:?} is no target: write KIND/NAME, such as deploy/checkout, or a pod's name")]
    Shape(String),
    #[error("{0} is a kind and names nothing: write {0}/NAME")]
    KindOnly(String),
    #[error("Pitwall doesn't know the kind {kind:?}; it knows {known}")]
    UnknownKind { kind: String, known: String },
}

/// Reads `deploy/checkout`, `deployment.apps/checkout`, `pod/x` and `x`.
pub(crate) fn parse(text: &str) -> Result<Named, TargetError> {
    let Some((kind, name)) = text.split_once('/') else {
        return match () {
            () if text.is_empty() => Err(TargetError::Shape(text.to_owned())),
            () if kind_of(text).is_some() => Err(TargetError::KindOnly(text.to_owned())),
            () => Ok(Named::Bare(text.to_owned())),
        };
    };
    if kind.is_empty() || name.is_empty() || name.contains('/') {
        return Err(TargetError::Shape(text.to_owned()));
    }
    let name = name.to_owned();
    match kind_of(kind) {
        Some(WorkloadKind::Pod) => Ok(Named::Pod(name)),
        Some(kind) => Ok(Named::Workload(WorkloadRef { kind, name })),
        None => Err(TargetError::UnknownKind {
            kind: kind.to_owned(),
            known: WorkloadKind::ALL.map(WorkloadKind::short).join(", "),
        }),
    }
}

fn kind_of(text: &str) -> Option<WorkloadKind> {
    let text = text.to_ascii_lowercase();
    WorkloadKind::ALL.into_iter().find(|kind| kind.aliases().contains(&text.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_kubectl_writes_them() {
        let workload = |kind, name: &str| Ok(Named::Workload(WorkloadRef { kind, name: name.to_owned() }));
        for (text, expected) in [
            ("deploy/checkout", workload(WorkloadKind::Deployment, "checkout")),
            ("deployment.apps/checkout", workload(WorkloadKind::Deployment, "checkout")),
            ("Deployment/checkout", workload(WorkloadKind::Deployment, "checkout")),
            ("sts/db", workload(WorkloadKind::StatefulSet, "db")),
            ("daemonsets/agent", workload(WorkloadKind::DaemonSet, "agent")),
            ("rs/checkout-5d9c", workload(WorkloadKind::ReplicaSet, "checkout-5d9c")),
            ("job.batch/import", workload(WorkloadKind::Job, "import")),
            ("pod/x", Ok(Named::Pod("x".to_owned()))),
            ("po/x", Ok(Named::Pod("x".to_owned()))),
            ("x", Ok(Named::Bare("x".to_owned()))),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn what_names_no_target_is_refused_with_what_to_write() {
        for (text, said) in [
            ("", "KIND/NAME"),
            ("/x", "KIND/NAME"),
            ("deploy/", "KIND/NAME"),
            ("deploy/a/b", "KIND/NAME"),
            ("deploy", "write deploy/NAME"),
            ("cronjob/nightly", "it knows deploy, sts, ds, rs, job, pod"),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(said), "{text}: {message}");
        }
    }
}
