//! What can't be recorded ends at once, with the reason and what to do.

use pitwall_e2e::{App, Request, Story, eventually, message_of, reason_of};
use serde_json::json;
use std::time::Duration;

#[test]
fn a_namespace_where_nothing_is_injected_says_what_to_do() {
    let story = Story::labelled("not-injected", &[]);
    App::busy().deploy(&story);
    let object = Request::cpu(&story, "r", "busy", json!({})).finish(Duration::from_secs(20));
    assert_eq!(reason_of(&object), "NotInjected");
    assert!(message_of(&object).contains("kubectl label namespace"), "{}", message_of(&object));
}

#[test]
fn a_workload_that_does_not_exist_is_named() {
    let story = Story::new("missing");
    let object = Request::cpu(&story, "r", "nothing", json!({})).finish(Duration::from_secs(20));
    assert_eq!(reason_of(&object), "TargetNotFound");
    assert!(message_of(&object).contains("deploy/nothing"), "{}", message_of(&object));
}

#[test]
fn an_inspector_that_can_not_be_opened_names_the_proof_that_failed() {
    for (name, app, wanted) in [
        ("disabled", App::busy().options(&["--disable-sigusr1"]), "InspectorDisabled"),
        (
            "permission",
            App::busy().node(24).options(&["--permission", "--allow-fs-read=*"]),
            "InspectorDisabled",
        ),
        ("exposed", App::busy().options(&["--inspect=0.0.0.0:9229"]), "InspectorFailed"),
        ("handler", App::new("busy", "own-handler.js"), "InspectorDidNotOpen"),
    ] {
        let story = Story::new(name);
        let pod = app.deploy(&story).remove(0);
        let object = Request::cpu(&story, "r", "busy", json!({})).finish(Duration::from_secs(60));
        assert_eq!(reason_of(&object), wanted, "{}", object["status"]);
        assert!(message_of(&object).len() > 30, "{}", message_of(&object));
        let restarts = story.kubectl(&[
            "get",
            "pod",
            &pod,
            "-o",
            "jsonpath={.status.containerStatuses[*].restartCount}",
        ]);
        assert_eq!(restarts.trim(), "0");
    }
}

#[test]
fn a_port_that_another_process_has_is_not_taken_for_the_apps_own() {
    let story = Story::new("port-taken");
    let squatter = json!({
        "name": "squatter", "image": "pitwall.local/tools:1", "imagePullPolicy": "Never",
        "command": ["python3", "-c",
            "import socket,time\ns=socket.socket()\ns.bind(('127.0.0.1',9229))\ns.listen()\ntime.sleep(10000)"],
    });
    let pod = App::busy().beside(squatter).deploy(&story).remove(0);
    eventually(
        Duration::from_secs(20),
        || "the squatter does not listen".to_owned(),
        || story.listens(&pod, "app", 9229).then_some(()),
    );
    let object = Request::cpu(&story, "r", "busy", json!({})).finish(Duration::from_secs(60));
    assert_eq!(reason_of(&object), "PortTaken", "{}", object["status"]);
}

#[test]
fn several_node_containers_must_be_told_apart() {
    let story = Story::new("several");
    let other = json!({
        "name": "other", "image": "pitwall.local/apps:node22", "imagePullPolicy": "Never", "args": ["busy.js"],
    });
    App::busy().beside(other).deploy(&story);
    let object = Request::cpu(&story, "unnamed", "busy", json!({})).finish(Duration::from_secs(30));
    assert_eq!(reason_of(&object), "SeveralContainers");
    assert!(
        message_of(&object).contains("app") && message_of(&object).contains("other"),
        "{}",
        message_of(&object)
    );
    let target = json!({ "workload": { "kind": "Deployment", "name": "busy" }, "container": "other" });
    let object = Request::with_target(&story, "named", target, json!({})).finish(Duration::from_secs(60));
    assert_eq!(reason_of(&object), "AllStored", "{}", object["status"]);
    assert_eq!(object["status"]["targets"][0]["container"], "other");
}

#[test]
fn a_target_whose_pods_do_not_start_ends_at_its_deadline() {
    let story = Story::new("unready");
    let mut manifest = App::busy().manifest();
    manifest["spec"]["template"]["spec"]["containers"][0]["image"] = json!("pitwall.local/none:1");
    story.apply(&manifest);
    eventually(
        Duration::from_secs(20),
        || "no pod came".to_owned(),
        || story.pods("app=busy").into_iter().next(),
    );
    let fields = json!({ "duration": "1s", "activeDeadline": "15s" });
    let object = Request::cpu(&story, "r", "busy", fields).finish(Duration::from_secs(40));
    assert_eq!(reason_of(&object), "NoPodReady", "{}", object["status"]);
    assert!(message_of(&object).len() > 30, "{}", message_of(&object));
}
