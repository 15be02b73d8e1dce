//! Redacted snapshots of real Node processes: the secrets are gone, the graph is the same.

mod pod;

use pitwall_protocol::{Recording, Start};
use pitwall_test_node::EVERY_NODE;
use pod::Pod;
use pod::app::App;
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;

async fn snapshot(version: &str, redact: bool) -> Value {
    let (pod, mut channel) = Pod::connected().await;
    let app = App::node(&pod.container, version, &["--inspect-port=0"], "secrets.js").await;
    let start = Start {
        recording: Recording::HeapSnapshot { redact },
        grant: pod.store.grant("r", 1 << 20, 1, 100),
        ..pod.start("r", app.id(), Duration::ZERO)
    };
    pod.begin(&mut channel, &start).await;
    let end = channel.end().await;
    let (_, snapshot) = pod.published(&end);
    pod.acknowledge(&mut channel, &end).await;
    snapshot
}

fn strings(snapshot: &Value) -> Vec<&str> {
    snapshot["strings"].as_array().expect("strings").iter().map(|one| one.as_str().expect("text")).collect()
}

/// How many nodes of each type there are, and how large they are together.
fn sizes(snapshot: &Value) -> HashMap<u64, (u64, u64)> {
    let fields = snapshot["snapshot"]["meta"]["node_fields"].as_array().expect("fields");
    let size = fields.iter().position(|field| field == "self_size").expect("a size");
    let nodes: Vec<u64> =
        snapshot["nodes"].as_array().expect("nodes").iter().map(|n| n.as_u64().expect("a number")).collect();
    let mut sizes: HashMap<u64, (u64, u64)> = HashMap::new();
    for row in nodes.chunks(fields.len()) {
        let entry = sizes.entry(row[0]).or_default();
        *entry = (entry.0 + 1, entry.1 + row[size]);
    }
    sizes
}

#[tokio::test]
async fn no_planted_secret_leaves_the_pod_and_the_graph_stays() {
    for version in EVERY_NODE {
        let original = snapshot(version, false).await;
        let planted = strings(&original).iter().filter(|one| one.contains("SECRET")).count();
        assert!(planted > 2000, "the secrets are in the heap: {planted}");

        let redacted = snapshot(version, true).await;
        let left: Vec<_> = strings(&redacted).into_iter().filter(|one| one.contains("SECRET")).collect();
        assert_eq!(left, [] as [&str; 0], "{version}");
        for name in
            ["Customer", "cardNumber", "byMail", "customers", "madeAtRunTime", "(GC roots)", "Map", "table"]
        {
            assert!(strings(&redacted).contains(&name), "{name} of {version}");
        }
        let counts = |one: &Value| {
            let fields = one["snapshot"]["meta"]["node_fields"].as_array().expect("fields").len();
            let nodes = one["nodes"].as_array().expect("nodes").len() / fields;
            assert_eq!(one["snapshot"]["node_count"], nodes, "{version}");
            assert_eq!(one["snapshot"]["edge_count"], one["edges"].as_array().expect("edges").len() / 3);
        };
        counts(&redacted);
        // Two snapshots of the same program: about as many objects of each type, about as large.
        let (before, after) = (sizes(&original), sizes(&redacted));
        for (kind, (count, bytes)) in before {
            let (other_count, other_bytes) = after.get(&kind).copied().unwrap_or_default();
            if count > 1000 {
                assert!(
                    other_count.abs_diff(count) * 10 < count,
                    "{version} {kind}: {count} and {other_count}"
                );
                assert!(
                    other_bytes.abs_diff(bytes) * 5 < bytes,
                    "{version} {kind}: {bytes} and {other_bytes}"
                );
            }
        }
    }
}
