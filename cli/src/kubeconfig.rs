//! Which cluster is meant, and how it is reached: from flags, the kubeconfig and the environment.

use crate::{args::ClusterArgs, exit::Failure, proxy::Proxies, refusal::causes};
use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use std::io;

/// The settings that the flags name, else the kubeconfig's present ones, else those of the pod this runs in.
pub(crate) async fn read(args: &ClusterArgs, proxies: &Proxies) -> Result<Config, Failure> {
    let mut config = match from_file(args, proxies).await {
        Ok(config) => config,
        Err(error) => {
            let named = args.kubeconfig.is_some() || args.context.is_some();
            let of_the_pod = if named { None } else { Config::incluster().ok() };
            of_the_pod.ok_or_else(|| Failure::cluster(unknown(&error, args)))?
        }
    };
    if let Some(namespace) = &args.namespace {
        config.default_namespace.clone_from(namespace);
    }
    Ok(config)
}

/// The namespace that the flags and the kubeconfig name, if any.
pub(crate) async fn namespace(args: &ClusterArgs) -> Option<String> {
    match &args.namespace {
        Some(namespace) => Some(namespace.clone()),
        None => read(args, &Proxies::from_env()).await.ok().map(|config| config.default_namespace),
    }
}

/// Says why it isn't known which cluster is meant.
fn unknown(error: &KubeconfigError, args: &ClusterArgs) -> String {
    let path = match (&args.kubeconfig, std::env::var("KUBECONFIG")) {
        (Some(path), _) => path.display().to_string(),
        (None, Ok(paths)) if !paths.is_empty() => format!("{paths} (of $KUBECONFIG)"),
        (None, _) => "~/.kube/config".to_owned(),
    };
    match error {
        KubeconfigError::ReadConfig(error, _) if error.kind() == io::ErrorKind::NotFound => {
            format!(
                "no cluster is known: there is no kubeconfig {path}. Name one with --kubeconfig or $KUBECONFIG"
            )
        }
        KubeconfigError::CurrentContextNotSet => format!(
            "the kubeconfig {path} has no present context. Name one with --context, or set it: kubectl config use-context NAME"
        ),
        KubeconfigError::LoadContext(context) => format!(
            "the kubeconfig {path} has no context {context}; kubectl config get-contexts shows those that it has"
        ),
        error => format!("can't use the kubeconfig {path}: {}", causes(error)),
    }
}

async fn from_file(args: &ClusterArgs, proxies: &Proxies) -> Result<Config, KubeconfigError> {
    let kubeconfig = args.kubeconfig.as_ref().map_or_else(Kubeconfig::read, Kubeconfig::read_from)?;
    let own_proxy = own_proxy(&kubeconfig, args.context.as_deref());
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    // kube asks NO_PROXY about the proxy's own address, not about the cluster's.
    config.proxy_url = match own_proxy {
        Some(url) => Some(url.parse().map_err(KubeconfigError::ParseProxyUrl)?),
        None => proxies.on_the_way_to(&config.cluster_url).map(|proxy| proxy.url),
    };
    Ok(config)
}

/// The proxy that the kubeconfig itself names for this context's cluster, whatever the environment says.
fn own_proxy(kubeconfig: &Kubeconfig, context: Option<&str>) -> Option<String> {
    let name = context.or(kubeconfig.current_context.as_deref())?;
    let context = kubeconfig.contexts.iter().find(|it| it.name == name)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|it| it.name == context.cluster)?.cluster.as_ref()?;
    cluster.proxy_url.clone().filter(|url| !url.is_empty())
}
