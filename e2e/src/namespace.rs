//! A namespace of one's own.

use crate::{attempt, command, eventually, kubectl, run};
use std::{io::Write, process::Stdio, time::Duration};

/// Where the chart is installed.
pub const fn operator_namespace() -> &'static str {
    "pitwall-system"
}

/// One story's namespace; it goes with the story, however that ends.
pub struct Story {
    /// Its name.
    pub namespace: String,
}

impl Story {
    /// A namespace with the label that has its pods injected.
    pub fn new(name: &str) -> Self {
        Self::labelled(name, &["pitwall.dev/inject=enabled"])
    }

    /// A namespace with these labels.
    pub fn labelled(name: &str, labels: &[&str]) -> Self {
        let namespace = format!("story-{name}-{}", std::process::id());
        run(&mut kubectl(&["create", "namespace", &namespace]));
        let story = Self { namespace };
        for label in labels {
            run(&mut kubectl(&["label", "namespace", &story.namespace, label]));
        }
        story
    }

    /// kubectl in this namespace.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        run(&mut kubectl(&[&["-n", &self.namespace], arguments].concat()))
    }

    /// kubectl in this namespace, which may fail: its output, standard error last.
    pub fn try_kubectl(&self, arguments: &[&str]) -> (bool, String) {
        let output = attempt(&mut kubectl(&[&["-n", &self.namespace], arguments].concat()));
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Applies a manifest.
    pub fn apply(&self, manifest: &serde_json::Value) {
        let (applied, told) = self.try_apply(manifest);
        assert!(applied, "{manifest} was refused: {told}");
    }

    /// Applies a manifest that may be refused.
    pub fn try_apply(&self, manifest: &serde_json::Value) -> (bool, String) {
        let mut command = kubectl(&["-n", &self.namespace, "apply", "-f", "-"]);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.expect("kubectl can be started");
        let mut input = child.stdin.take().expect("stdin was asked for as a pipe");
        input.write_all(manifest.to_string().as_bytes()).expect("kubectl reads its input");
        drop(input);
        let output = child.wait_with_output().expect("kubectl ends");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The names of the pods with this label.
    pub fn pods(&self, label: &str) -> Vec<String> {
        let names = self.kubectl(&["get", "pods", "-l", label, "-o", "jsonpath={.items[*].metadata.name}"]);
        names.split_whitespace().map(str::to_owned).collect()
    }

    /// Waits until a condition of an object holds.
    pub fn wait(&self, what: &str, condition: &str, patience: Duration) {
        let timeout = format!("--timeout={}s", patience.as_secs());
        self.kubectl(&["wait", what, &format!("--for={condition}"), &timeout]);
    }

    /// Whether a port of the pod is listened on, seen through a process of its app container.
    pub fn listens(&self, pod: &str, container: &str, port: u16) -> bool {
        let script = format!(
            "const fs=require('fs');const p=':{port:04X} ';const t=['/proc/net/tcp','/proc/net/tcp6'].map(f=>{{try{{return \
             fs.readFileSync(f,'utf8')}}catch{{return ''}}}}).join('');\
             console.log(t.split('\\n').some(l=>l.includes(p)&&/ 0A /.test(l)))"
        );
        let told = self.kubectl(&["exec", pod, "-c", container, "--", "node", "-e", &script]);
        told.trim() == "true"
    }

    /// SIGKILL to each process of the pod whose command line has all of these words, through its app container.
    pub fn kill(&self, pod: &str, words: &[&str]) {
        let words = serde_json::Value::from(words.to_vec());
        let script = format!(
            "const fs=require('fs');for(const p of fs.readdirSync('/proc')){{if(!/^\\d+$/.test(p)||+p===process.pid)continue;\
             try{{const c=fs.readFileSync(`/proc/${{p}}/cmdline`,'utf8').split('\\0');\
             if({words}.every(w=>c.some(a=>a.endsWith(w))))process.kill(+p,'SIGKILL')}}catch{{}}}}"
        );
        self.kubectl(&["exec", pod, "-c", "app", "--", "node", "-e", &script]);
    }

    /// Waits until an app's inspector is closed.
    pub fn inspector_closes(&self, pod: &str) {
        eventually(
            Duration::from_secs(10),
            || format!("the inspector of {pod} is still open"),
            || (!self.listens(pod, "app", 9229)).then_some(()),
        );
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = std::io::stderr().write_all(
                format!("--- what was in {} ---\n{}\n", self.namespace, self.evidence()).as_bytes(),
            );
        }
        let _ = attempt(&mut kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]));
    }
}

impl Story {
    fn evidence(&self) -> String {
        let mut text = String::new();
        for arguments in [
            &["get", "pods,profilerequests", "-o", "wide"][..],
            &["get", "profilerequests", "-o", "yaml"],
            &["get", "events", "--sort-by=.lastTimestamp"],
            &["logs", "-l", "app", "-c", "pitwall", "--tail=40", "--prefix"],
        ] {
            text += &self.try_kubectl(arguments).1;
        }
        let operator = ["-n", operator_namespace(), "logs", "deployment/pitwall-operator", "--tail=40"];
        text += &String::from_utf8_lossy(&attempt(&mut kubectl(&operator)).stdout);
        text
    }
}

/// Where artifacts go in this run of the stories: S3 where `e2e/run-stories` says so.
pub fn stores_in_s3() -> bool {
    std::env::var_os("PITWALL_E2E_S3").is_some()
}

/// Upgrades the release with some values changed, until the guard goes: then with the values of before.
pub fn with_values(values: &[&str]) -> ReleaseGuard {
    let namespace = operator_namespace();
    let revision =
        run(command("helm").args(["-n", namespace, "history", "pitwall", "--max=1", "-o", "json"]));
    let revision: serde_json::Value = serde_json::from_str(&revision).expect("helm prints JSON");
    let guard = ReleaseGuard { revision: revision[0]["revision"].to_string() };
    let mut upgrade = command("helm");
    upgrade.args([
        "-n",
        namespace,
        "upgrade",
        "pitwall",
        "charts/pitwall",
        "--reuse-values",
        "--wait",
        "--timeout=2m",
    ]);
    for value in values {
        upgrade.args(["--set", value]);
    }
    run(&mut upgrade);
    guard
}

/// Puts a release back.
pub struct ReleaseGuard {
    revision: String,
}

impl Drop for ReleaseGuard {
    fn drop(&mut self) {
        let rollback =
            ["-n", operator_namespace(), "rollback", "pitwall", &self.revision, "--wait", "--timeout=2m"];
        let put_back = attempt(command("helm").args(rollback));
        if !put_back.status.success() {
            let _ = std::io::stderr().write_all(&put_back.stderr);
        }
    }
}
