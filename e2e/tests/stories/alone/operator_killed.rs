//! The operator dies while a recording runs: the request completes all the same.

use pitwall_e2e::{App, Request, Story, kubectl, operator_namespace, reason_of, run};
use serde_json::json;
use std::time::Duration;

#[test]
fn a_recording_outlives_the_operator() {
    let story = Story::new("operator-killed");
    let pod = App::busy().deploy(&story).remove(0);
    let request = Request::cpu(&story, "r", "busy", json!({ "duration": "10s" }));
    request.reach("Recording", Duration::from_secs(30));
    run(&mut kubectl(&[
        "-n",
        operator_namespace(),
        "delete",
        "pod",
        "-l",
        "app.kubernetes.io/component=operator",
        "--grace-period=0",
        "--force",
    ]));
    let object = request.finish(Duration::from_secs(90));
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
    story.inspector_closes(&pod);
}
