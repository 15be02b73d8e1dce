//! The cluster: where it is, and the few things that are asked of it.

use crate::{
    args::ClusterArgs,
    exit::Failure,
    kubeconfig,
    proxy::Proxies,
    read::{Download, Request},
    refusal::{Attempt, causes, refusal, silence},
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use pitwall_crds::ProfileRequest;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::time::timeout;

pub(crate) const REQUESTS: &str = "profilerequests";
pub(crate) const DOWNLOADS: &str = "artifactdownloads";

/// As many requests as are listed at most.
const LISTED: u32 = 500;

/// For one answer; as long as the API server itself gives a request.
const PATIENCE: Duration = Duration::from_mins(1);

/// For what needn't succeed.
const COURTESY: Duration = Duration::from_secs(5);

/// A connection to a cluster, in a namespace of it.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub client: Client,
    pub namespace: String,
    pub proxies: Arc<Proxies>,
    /// The API server's address, and how it is reached.
    server: String,
}

impl Cluster {
    pub(crate) async fn connect(args: &ClusterArgs) -> Result<Self, Failure> {
        let proxies = Arc::new(Proxies::from_env());
        let config = kubeconfig::read(args, &proxies).await?;
        let namespace = config.default_namespace.clone();
        let through =
            config.proxy_url.as_ref().map(|url| format!(" through the proxy {}", without_user(url)));
        let server = format!("{}{}", config.cluster_url, through.unwrap_or_default());
        let helper = config.auth_info.exec.as_ref().and_then(|exec| exec.command.clone());
        let client = Client::try_from(config).map_err(|error| {
            let helper = helper.map(|it| format!(" (the kubeconfig's program for credentials is {it})"));
            let why = causes(&error) + &helper.unwrap_or_default();
            Failure::cluster(format!("can't use the kubeconfig's settings for {server}: {why}"))
        })?;
        Ok(Self { client, namespace, proxies, server })
    }

    pub(crate) fn requests(&self) -> Api<Request> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) fn downloads(&self) -> Api<Download> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// An attempt in this namespace, for its error.
    pub(crate) fn attempt<'a>(
        &'a self,
        verb: &'static str,
        resource: &'static str,
        name: Option<&'a str>,
    ) -> Attempt<'a> {
        Attempt { verb, resource, name, namespace: Some(&self.namespace), server: &self.server }
    }

    /// Waits for one answer of the API server.
    async fn ask<T>(
        &self,
        attempt: Attempt<'_>,
        answer: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Failure> {
        match timeout(PATIENCE, answer).await {
            Ok(answer) => answer.map_err(|error| refusal(&error, attempt)),
            Err(_) => Err(silence(PATIENCE, attempt)),
        }
    }

    pub(crate) async fn create_request(&self, request: &ProfileRequest) -> Result<Request, Failure> {
        let name = request.metadata.name.as_deref();
        self.ask(self.attempt("create", REQUESTS, name), self.create(request)).await
    }

    /// Creates an object, which is read as another type than it is written.
    async fn create<R>(&self, object: &impl Serialize) -> Result<R, kube::Error>
    where
        R: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
        let request = kube::core::Request::new(R::url_path(&(), Some(&self.namespace)))
            .create(&PostParams::default(), body)
            .map_err(kube::Error::BuildRequest)?;
        self.client.request(request).await
    }

    pub(crate) async fn get_request(&self, name: &str) -> Result<Request, Failure> {
        self.ask(self.attempt("get", REQUESTS, Some(name)), self.requests().get(name)).await
    }

    /// Asks to stop, and to keep what was recorded.
    pub(crate) async fn stop_request(&self, name: &str) -> Result<Request, Failure> {
        let patch = Patch::Merge(json!({ "spec": { "stop": true } }));
        let (api, params) = (self.requests(), PatchParams::default());
        self.ask(self.attempt("patch", REQUESTS, Some(name)), api.patch(name, &params, &patch)).await
    }

    pub(crate) async fn list_requests(&self, everywhere: bool) -> Result<Vec<Request>, Failure> {
        let api = if everywhere { Api::all(self.client.clone()) } else { self.requests() };
        let namespace = (!everywhere).then_some(self.namespace.as_str());
        let attempt = Attempt { namespace, ..self.attempt("list", REQUESTS, None) };
        Ok(self.ask(attempt, api.list(&ListParams::default().limit(LISTED))).await?.items)
    }

    pub(crate) async fn create_download(&self, download: &Value) -> Result<Download, Failure> {
        self.ask(self.attempt("create", DOWNLOADS, None), self.create(download)).await
    }

    /// Deletes a download. Its URL is dead in a minute and Pitwall deletes it then, so failing is no matter.
    pub(crate) async fn delete_download(&self, name: &str) {
        let _ = timeout(COURTESY, self.downloads().delete(name, &DeleteParams::default())).await;
    }
}

/// Without the name and password that the address of a proxy may hold.
fn without_user(url: &http::Uri) -> String {
    let authority = url.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    format!("{}://{place}", url.scheme_str().unwrap_or("http"))
}
