//! Figures for Prometheus, and the probes.

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use prometheus::{Encoder, IntCounter, IntGauge, Registry, TextEncoder};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// The operator's figures. None has a label whose values a tenant chooses.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// Sessions that sidecars were told to start.
    pub sessions_started: IntCounter,
    /// Writes of a request's status.
    pub status_writes: IntCounter,
    /// Sidecars that are connected.
    pub sidecars: IntGauge,
    /// Sessions under way.
    pub sessions: IntGauge,
    /// 1 while this replica leads.
    pub leading: IntGauge,
    ready: Arc<AtomicBool>,
}

impl Metrics {
    /// Figures that begin at zero.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("pitwall".to_owned()), None)?;
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        Ok(Self {
            sessions_started: counter(
                "sessions_started_total",
                "Sessions that sidecars were told to start.",
            )?,
            status_writes: counter("status_writes_total", "Writes of a ProfileRequest's status.")?,
            sidecars: gauge("sidecars_connected", "Sidecars that are connected to this replica.")?,
            sessions: gauge("sessions_active", "Sessions under way.")?,
            leading: gauge("leading", "1 while this replica leads.")?,
            ready: Arc::default(),
            registry,
        })
    }

    /// Says that the webhook can be served; it doesn't depend on leading.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// `/metrics`, `/healthz` and `/readyz`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/metrics", get(render))
            .route("/healthz", get(|| async { "ok" }))
            .route("/readyz", get(ready))
            .with_state(self)
    }
}

async fn render(State(metrics): State<Metrics>) -> impl IntoResponse {
    let mut text = Vec::new();
    match TextEncoder::new().encode(&metrics.registry.gather(), &mut text) {
        Ok(()) => (StatusCode::OK, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string().into_bytes()),
    }
}

async fn ready(State(metrics): State<Metrics>) -> impl IntoResponse {
    if metrics.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the certificates aren't there yet")
    }
}
