#[derive(Clone, Debug, clap::Args)]
pub struct Settings {}
pub fn router(
    _: Settings,
    _: tokio::sync::watch::Receiver<String>,
    _: kube::Client,
    _: &str,
) -> axum::Router {
    axum::Router::new()
}
pub async fn keep_ca_bundle(_: kube::Client, _: tokio::sync::watch::Receiver<String>) {}
pub async fn announce_left_alone(_: kube::Client, _: kube::runtime::events::Reporter) {}
