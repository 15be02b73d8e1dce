//! What a namespace allows its pods: what a sidecar must fit into, or it would stop its pod.

use std::time::Duration;

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem, Namespace, ResourceQuota};
use kube::{
    Api, Client,
    api::{ListParams, VersionMatch},
    core::PartialObjectMeta,
};

/// The Pod Security level that a namespace enforces by its label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodSecurity {
    /// No label, or a level that the sidecar fits in any case.
    #[default]
    Baseline,
    /// `restricted`.
    Restricted,
}

/// What a namespace allows its pods.
#[derive(Clone, Debug, Default)]
pub struct NamespaceRules {
    /// The Pod Security level.
    pub pod_security: PodSecurity,
    /// Limits on each container and pod.
    pub limits: Vec<LimitRangeItem>,
    /// Limits on all pods together.
    pub quotas: Vec<ResourceQuota>,
}

/// Longest wait for the API server, within the webhook's own two seconds.
const PATIENCE: Duration = Duration::from_secs(1);
/// More of these in one namespace than anybody has.
const MOST: u32 = 100;

/// Why a namespace's rules could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadRulesError {
    /// The API server refused.
    #[error("reading namespace, LimitRanges and ResourceQuotas of {namespace:?}: {source}")]
    Api {
        /// Which namespace.
        namespace: String,
        /// What it said.
        source: Box<kube::Error>,
    },
    /// It did not answer in time.
    #[error(
        "reading namespace, LimitRanges and ResourceQuotas of {namespace:?}: no answer within {PATIENCE:?}"
    )]
    Slow {
        /// Which namespace.
        namespace: String,
    },
}

/// Reads them. Not cached: they are three reads of the API server's own cache for each new pod, and what a
/// quota has left changes with each pod.
pub(super) async fn read_rules(client: &Client, namespace: &str) -> Result<NamespaceRules, ReadRulesError> {
    let namespaces = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
    let limit_ranges = Api::<LimitRange>::namespaced(client.clone(), namespace);
    let quotas = Api::<ResourceQuota>::namespaced(client.clone(), namespace);
    let recent = ListParams {
        version_match: Some(VersionMatch::NotOlderThan),
        resource_version: Some("0".into()),
        limit: Some(MOST),
        ..ListParams::default()
    };
    let read = async {
        tokio::try_join!(namespaces.get(namespace), limit_ranges.list(&recent), quotas.list(&recent))
    };
    let (metadata, limit_ranges, quotas) = tokio::time::timeout(PATIENCE, read)
        .await
        .map_err(|_| ReadRulesError::Slow { namespace: namespace.to_owned() })?
        .map_err(|source| ReadRulesError::Api {
            namespace: namespace.to_owned(),
            source: Box::new(source),
        })?;
    let level =
        metadata.metadata.labels.as_ref().and_then(|labels| labels.get("pod-security.kubernetes.io/enforce"));
    Ok(NamespaceRules {
        pod_security: match level.map(String::as_str) {
            Some("restricted") => PodSecurity::Restricted,
            _ => PodSecurity::Baseline,
        },
        limits: limit_ranges
            .items
            .into_iter()
            .filter_map(|range| range.spec)
            .flat_map(|spec| spec.limits)
            .collect(),
        quotas: quotas.items,
    })
}
