//! Programs to profile.

use crate::Story;
use serde_json::{Value, json};
use std::time::Duration;

/// Who a pod says that it runs as.
#[derive(Clone, Copy, Debug)]
pub enum RunAs {
    /// uid and gid are said.
    Said,
    /// Nothing is said, and the image's user is 1000.
    Unsaid,
    /// Nothing is said, by the image neither: root.
    Careless,
    /// uid and gid 0 are said.
    Root,
}

/// A Deployment of one of `e2e/apps`.
#[derive(Clone, Debug)]
pub struct App {
    name: String,
    version: u32,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    replicas: u32,
    run_as: RunAs,
    labels: Vec<(String, String)>,
    memory: &'static str,
    beside: Vec<Value>,
}

impl App {
    /// One pod of a program, on Node 22.
    pub fn new(name: &str, program: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: 22,
            arguments: vec![program.to_owned()],
            environment: Vec::new(),
            replicas: 1,
            run_as: RunAs::Said,
            labels: Vec::new(),
            memory: "256Mi",
            beside: Vec::new(),
        }
    }

    /// The shop, whose /checkout is slow in `serializeCart`.
    pub fn shop() -> Self {
        Self::new("checkout", "shop/server.js")
    }

    /// A program that is busy in `burnCpu` without any request.
    pub fn busy() -> Self {
        Self::new("busy", "busy.js")
    }

    /// On this major version of Node.
    pub fn node(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// With these arguments before the program.
    pub fn options(mut self, options: &[&str]) -> Self {
        self.arguments.splice(0..0, options.iter().map(|&option| option.to_owned()));
        self
    }

    /// With this in its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// So many pods.
    pub fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }

    /// As whom.
    pub fn run_as(mut self, run_as: RunAs) -> Self {
        self.run_as = run_as;
        self
    }

    /// With a label on its pods.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.to_owned(), value.to_owned()));
        self
    }

    /// With this memory limit; 256Mi unless said.
    pub fn memory(mut self, limit: &'static str) -> Self {
        self.memory = limit;
        self
    }

    /// With another container beside it.
    pub fn beside(mut self, container: Value) -> Self {
        self.beside.push(container);
        self
    }

    /// The Deployment.
    pub fn manifest(&self) -> Value {
        let mut labels = json!({ "app": self.name });
        for (key, value) in &self.labels {
            labels[key] = json!(value);
        }
        let env: Vec<_> =
            self.environment.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        let mut containers = vec![json!({
            "name": "app",
            "image": match self.run_as {
                RunAs::Careless => "pitwall.local/apps:root".to_owned(),
                _ => format!("pitwall.local/apps:node{}", self.version),
            },
            "imagePullPolicy": "Never",
            "args": self.arguments,
            "env": env,
            "resources": { "requests": { "cpu": "20m", "memory": "64Mi" }, "limits": { "memory": self.memory } },
        })];
        containers.extend(self.beside.clone());
        let security = match self.run_as {
            RunAs::Said => json!({ "runAsUser": 1000, "runAsGroup": 1000, "runAsNonRoot": true }),
            RunAs::Unsaid | RunAs::Careless => json!({}),
            RunAs::Root => json!({ "runAsUser": 0, "runAsGroup": 0 }),
        };
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": self.name },
            "spec": {
                "replicas": self.replicas,
                "selector": { "matchLabels": { "app": self.name } },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": {
                        "terminationGracePeriodSeconds": 2,
                        "securityContext": security,
                        "containers": containers,
                    },
                },
            },
        })
    }

    /// Deploys it, and waits until it is ready: its pods.
    pub fn deploy(&self, story: &Story) -> Vec<String> {
        story.apply(&self.manifest());
        let what = format!("deployment/{}", self.name);
        story.kubectl(&["rollout", "status", &what, "--timeout=90s"]);
        story.pods(&format!("app={}", self.name))
    }

    /// Asks a pod's port 8080 for /checkout all the time, from a pod without a sidecar: the load's pod.
    pub fn load(story: &Story, pod: &str) -> String {
        Self::load_with(story, pod, 2)
    }

    /// The same, on so many connections.
    pub fn load_with(story: &Story, pod: &str, connections: u32) -> String {
        let address = story.kubectl(&["get", "pod", pod, "-o", "jsonpath={.status.podIP}"]);
        let load = Self::new("load", "shop/load.js")
            .env("TARGET", &format!("http://{address}:8080/checkout"))
            .env("CONNECTIONS", &connections.to_string())
            .label("pitwall.dev/inject", "disabled");
        load.deploy(story).remove(0)
    }

    /// What the load has counted: answered and failed.
    pub fn counts(story: &Story, load: &str) -> (u64, u64) {
        crate::eventually(
            Duration::from_secs(10),
            || "the load has printed nothing".to_owned(),
            || {
                let log = story.kubectl(&["logs", load, "--tail=1"]);
                let counts: Value = serde_json::from_str(log.trim()).ok()?;
                Some((counts["answered"].as_u64()?, counts["failed"].as_u64()?))
            },
        )
    }
}
