//! Why a pod was left alone, in one list. `docs/injection.md` has a row for each; a test holds it to that.

macro_rules! reasons {
    ($($name:ident: $seen:literal, $advice:literal;)+) => {
        /// Why a pod was left alone: the value of the label and annotation `pitwall.dev/not-injected`.
        #[expect(clippy::doc_markdown, reason = "the sentences are also for a terminal")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $(#[doc = $seen] $name,)+ }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// As it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What was seen, a sentence for people.
            pub const fn seen(self) -> &'static str {
                match self { $(Self::$name => $seen,)+ }
            }

            /// What the reader can do about it, a sentence for people.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice,)+ }
            }
        }
    };
}

reasons! {
    // Whom the sidecar would run as.
    UidNotSaid:
        "The pod says runAsNonRoot, but not which uid its containers run as.",
        "Set securityContext.runAsUser and runAsGroup, or annotate the pod template with pitwall.dev/run-as: UID:GID.";
    GidNotSaid:
        "The pod says runAsUser, but not runAsGroup, so the group is the image's.",
        "Set securityContext.runAsGroup, or annotate the pod template with pitwall.dev/run-as: UID:GID.";
    IdentitiesDiffer:
        "The pod's containers run as different users or groups.",
        "Annotate the pod template with pitwall.dev/run-as: UID:GID of the container that runs Node.js.";
    RunAsMalformed:
        "The annotation pitwall.dev/run-as isn't two numbers with a colon between.",
        "Write it as UID:GID, for example \"1000:1000\" (in quotes, since YAML reads it as a number).";
    RootRefused:
        "The sidecar would run as uid 0, and the pod says runAsNonRoot.",
        "Give the uid and gid that the containers really run as.";
    RestrictedNamespace:
        "The pod doesn't say its uid, and the namespace's Pod Security level is restricted.",
        "Set securityContext.runAsUser and runAsGroup, or annotate the pod template with pitwall.dev/run-as: UID:GID.";
    UserNamespace:
        "The pod has a user namespace of its own (hostUsers: false) and doesn't say its uid.",
        "Set securityContext.runAsUser and runAsGroup, or annotate the pod template with pitwall.dev/run-as: UID:GID.";

    // What sharing the process namespace would break or open.
    HostPid:
        "The pod shares the node's processes (hostPID).",
        "Remove hostPID from the pod template.";
    HostNetwork:
        "The pod is on the node's network (hostNetwork): the inspector would listen on the node's loopback.",
        "Remove hostNetwork from the pod template.";
    ProcessesNotShared:
        "The pod says shareProcessNamespace: false.",
        "Remove that line if the containers may see each other's processes.";
    NamesPidOne:
        "A command, probe or hook of the pod names process 1, which is another one once processes are shared.",
        "Let it find its process in another way, for example by a pid file.";
    SignalsByName:
        "A command, probe or hook of the pod signals processes by name, and would reach those of other containers.",
        "Let it find its process in another way, for example by a pid file.";
    MustBePidOne:
        "An init system of the pod (s6-overlay, systemd) must be process 1.",
        "Use an image that starts Node.js itself.";

    // Pods that are not Pitwall's to change.
    Windows:
        "The pod is for Windows.",
        "Pitwall profiles Linux pods.";
    MirrorPod:
        "The pod is the mirror of a static one, which only its node can change.",
        "Run the program as a Deployment or DaemonSet.";
    SystemNamespace:
        "The namespace is kube-system or Pitwall's own.",
        "Move the workload into a namespace of its own.";
    NameTaken:
        "The pod has a container or volume of its own whose name the sidecar needs (pitwall, pitwall-token, pitwall-spool, pitwall-journal).",
        "Rename it.";

    // What the pod, or its namespace, allows in resources.
    PodLevelResources:
        "The pod sets resources for itself as a whole (spec.resources), which the sidecar could exceed.",
        "Set resources for each container instead.";
    LimitRange:
        "A LimitRange of the namespace doesn't allow a container of the sidecar's size.",
        "Compare the LimitRange with the sidecar's resources in Pitwall's Helm values.";
    ResourceQuota:
        "A ResourceQuota of the namespace has no room for the sidecar, or counts pods without requests apart.",
        "Raise the quota, or set requests for the pod's containers.";
    NamespaceUnread:
        "The operator could not read the namespace's limits in time.",
        "Restart the workload; see the operator's log if it happens again.";
}

impl Reason {
    /// The reason that is written so, if there is one.
    pub fn parse(written: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == written)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCS: &str = include_str!("../../../docs/injection.md");

    #[test]
    fn each_reason_has_a_row_in_the_docs() {
        for reason in Reason::ALL {
            assert!(DOCS.contains(&format!("\n| `{reason}` |")), "docs/injection.md has no row for {reason}");
        }
    }

    #[test]
    fn the_docs_name_no_reason_that_is_not_there() {
        for row in DOCS.lines().filter_map(|line| line.strip_prefix("| `")) {
            let name = row.split('`').next().unwrap();
            if name.starts_with(char::is_uppercase) && name.chars().all(char::is_alphanumeric) {
                assert!(Reason::parse(name).is_some(), "docs/injection.md has a row for {name}");
            }
        }
    }

    #[test]
    fn each_reason_is_a_valid_label_value() {
        for reason in Reason::ALL {
            assert!(reason.as_str().len() <= 63);
            assert!(reason.as_str().chars().all(|c| c.is_ascii_alphanumeric()));
        }
    }
}
