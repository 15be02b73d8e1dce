//! An S3 that refuses: the request ends with the reason, and nothing is left open.

use pitwall_e2e::{
    App, Request, Story, kubectl, message_of, operator_namespace, reason_of, run, s3_fact, with_values,
};
use serde_json::json;
use std::time::Duration;

fn is_refused(story: &Story, reason: &str, told: &str) {
    let pod = App::busy().deploy(story).remove(0);
    let fields = json!({ "duration": "1s", "activeDeadline": "45s" });
    let object = Request::cpu(story, "r", "busy", fields).finish(Duration::from_secs(90));
    assert_eq!(reason_of(&object), reason, "{}", object["status"]);
    assert!(message_of(&object).contains(told), "{}", message_of(&object));
    story.inspector_closes(&pod);
}

#[test]
fn without_the_bucket() {
    let story = Story::new("wrong-bucket");
    let values = with_values(&["store.s3.bucket=nowhere"]);
    is_refused(&story, "StoreRefused", "nowhere");
    drop(values);
}

#[test]
fn with_a_wrong_key() {
    let story = Story::new("wrong-key");
    let secret = ["-n", operator_namespace(), "create", "secret", "generic", "s3-wrong"];
    let literals = [
        "--from-literal=AWS_ACCESS_KEY_ID=pitwall",
        "--from-literal=AWS_SECRET_ACCESS_KEY=wrong",
        &format!("--from-file=ca.crt={}", s3_fact("S3_CA_FILE")),
    ];
    run(&mut kubectl(&[&secret[..], &literals].concat()));
    let values = with_values(&["store.s3.existingSecret=s3-wrong"]);
    is_refused(&story, "StoreRefused", "credentials");
    drop(values);
    run(&mut kubectl(&["-n", operator_namespace(), "delete", "secret", "s3-wrong"]));
}
