//! What a container's spec allows it: memory, and silence before its probes. Pure.

use crate::inject::Quantity;
use k8s_openapi::api::core::v1::{Container, Probe};
use pitwall_protocol::ContainerBounds;

/// The bounds of a container.
pub(super) fn bounds(container: &Container) -> ContainerBounds {
    let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    ContainerBounds {
        memory_bytes: limits
            .and_then(|limits| limits.get("memory")?.0.parse::<Quantity>().ok())
            .map(|quantity| quantity.whole()),
        liveness_patience_ms: container.liveness_probe.as_ref().and_then(patience_ms),
        readiness_patience_ms: container.readiness_probe.as_ref().and_then(patience_ms),
    }
}

/// The shortest silence after which the probe has failed for good: one that begins right before a probe is sent.
/// Nothing where it doesn't ask the app: the kernel takes a TCP connection whatever the app does.
fn patience_ms(probe: &Probe) -> Option<u64> {
    if probe.http_get.is_none() && probe.grpc.is_none() && probe.exec.is_none() {
        return None;
    }
    // As the API server defaults them.
    let number =
        |value: Option<i32>, default: u64| value.and_then(|n| u64::try_from(n).ok()).unwrap_or(default);
    let failures = number(probe.failure_threshold, 3).max(1);
    let period = number(probe.period_seconds, 10);
    Some(((failures - 1) * period + number(probe.timeout_seconds, 1)) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_spec_says_becomes_bounds() {
        let http = json!({ "httpGet": { "path": "/", "port": 80 } });
        for (container, expected) in [
            (json!({}), (None, None, None)),
            (
                json!({ "resources": { "limits": { "memory": "256Mi" } }, "livenessProbe": http, "readinessProbe": http }),
                (Some(256 << 20), Some(21_000), Some(21_000)),
            ),
            (
                json!({ "livenessProbe": { "exec": { "command": ["x"] }, "periodSeconds": 2, "failureThreshold": 1,
                    "timeoutSeconds": 5 }, "readinessProbe": { "tcpSocket": { "port": 80 } } }),
                (None, Some(5000), None),
            ),
            (
                json!({ "resources": { "limits": { "memory": "1G", "cpu": "1" } } }),
                (Some(1_000_000_000), None, None),
            ),
        ] {
            let mut container = container;
            container["name"] = json!("app");
            let parsed: Container = serde_json::from_value(container.clone()).unwrap();
            let ContainerBounds { memory_bytes, liveness_patience_ms, readiness_patience_ms } =
                bounds(&parsed);
            assert_eq!((memory_bytes, liveness_patience_ms, readiness_patience_ms), expected, "{container}");
        }
    }
}
