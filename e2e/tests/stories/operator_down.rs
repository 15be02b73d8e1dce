//! Pitwall scaled to zero holds nothing up.

use pitwall_e2e::{App, Request, Story, kubectl, operator_namespace, reason_of, run};
use serde_json::json;
use std::time::Duration;

fn scale(replicas: &str) {
    let replicas = format!("--replicas={replicas}");
    run(&mut kubectl(&["-n", operator_namespace(), "scale", "deployment/pitwall-operator", &replicas]));
    run(&mut kubectl(&[
        "-n",
        operator_namespace(),
        "rollout",
        "status",
        "deployment/pitwall-operator",
        "--timeout=60s",
    ]));
}

#[test]
fn deploys_go_on_without_the_operator() {
    let story = Story::new("operator-down");
    scale("0");
    let outcome = std::panic::catch_unwind(|| App::busy().deploy(&story));
    scale("1");
    outcome.expect("a Deployment becomes ready while the operator is away");
    // Its pods have no sidecar, and the operator says so once it is back.
    let object = Request::cpu(&story, "r", "busy", json!({})).finish(Duration::from_secs(60));
    assert_eq!(reason_of(&object), "NotInjected");
}
