//! Attaching to real Node processes, recording, and leaving.

mod node;

use std::time::Duration;

use node::{Attached, Node, Outcome};
use pitwall_inspector::{Command, expression, expression::Identity};

async fn proves_who_it_is(version: &str) {
    let mut node = Node::start(version, "ticking.js").await;
    let mut attached = node.attach().await;
    let identity = Identity::from_value(&attached.evaluate(&expression::identity()).await).unwrap();
    assert_eq!(identity, Identity { pid: node.pid(), version: format!("v{version}") });
}

/// Records for 300 ms and gives the bytes of a `.cpuprofile`.
async fn record(attached: &mut Attached) -> Vec<u8> {
    attached.ok(Command::ProfilerEnable).await;
    attached.ok(Command::ProfilerSetSamplingInterval(Duration::from_millis(1))).await;
    attached.ok(Command::ProfilerStart).await;
    attached.evaluate("new Promise(r => setTimeout(r, 1))").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    match attached.run(Command::ProfilerStop).await {
        Outcome::Streamed(profile) => profile,
        other => panic!("{other:?} instead of a profile"),
    }
}

async fn records_a_cpu_profile(version: &str) {
    let mut node = Node::start(version, "ticking.js").await;
    let mut attached = node.attach().await;
    let profile: serde_json::Value = serde_json::from_slice(&record(&mut attached).await).unwrap();
    assert!(profile["samples"].as_array().unwrap().len() > 50, "{profile}");
    let nodes = profile["nodes"].as_array().unwrap();
    assert!(nodes.iter().any(|node| node["callFrame"]["functionName"] == "spin"), "{profile}");
}

macro_rules! on_every_version {
    ($($test:ident)*) => {$(
        mod $test {
            #[tokio::test]
            async fn node_18() { super::$test("18.20.8").await }
            #[tokio::test]
            async fn node_20() { super::$test("20.20.2").await }
            #[tokio::test]
            async fn node_22() { super::$test("22.23.3").await }
            #[tokio::test]
            async fn node_24() { super::$test("24.21.0").await }
            #[tokio::test]
            async fn node_26() { super::$test("26.10.0").await }
        }
    )*};
}
on_every_version! { proves_who_it_is records_a_cpu_profile }
