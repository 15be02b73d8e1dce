//! Stories that change Pitwall's installation, and so run one after another, without others beside them.

use pitwall_e2e::{kubectl, operator_namespace, run};

mod operator_down;
mod operator_killed;
mod replicas;
mod store_full;

/// kubectl in Pitwall's own namespace.
fn own(arguments: &[&str]) -> String {
    run(&mut kubectl(&[&["-n", operator_namespace()], arguments].concat()))
}

/// The operator at another number of replicas, until this goes: then one.
struct Scaled;

impl Scaled {
    fn to(replicas: u32) -> Self {
        scale(replicas);
        Self
    }
}

impl Drop for Scaled {
    fn drop(&mut self) {
        scale(1);
    }
}

fn scale(replicas: u32) {
    own(&["scale", "deployment/pitwall-operator", &format!("--replicas={replicas}")]);
    own(&["rollout", "status", "deployment/pitwall-operator", "--timeout=90s"]);
}
