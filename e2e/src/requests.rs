//! Requests, and what became of them.

use crate::Story;
use serde_json::{Value, json};
use std::time::Duration;

/// A `ProfileRequest` that a story makes.
pub struct Request<'a> {
    story: &'a Story,
    /// Its name.
    pub name: String,
}

impl<'a> Request<'a> {
    /// Applies a CPU request for a Deployment, with these fields of the spec beside.
    pub fn cpu(story: &'a Story, name: &str, deployment: &str, fields: Value) -> Self {
        Self::with_target(
            story,
            name,
            json!({ "workload": { "kind": "Deployment", "name": deployment } }),
            fields,
        )
    }

    /// Applies a request for a snapshot of a Deployment's heap, with these fields of the spec beside.
    pub fn snapshot(story: &'a Story, name: &str, deployment: &str, mut fields: Value) -> Self {
        fields["type"] = json!("HeapSnapshot");
        fields["duration"] = Value::Null;
        Self::cpu(story, name, deployment, fields)
    }

    /// Applies a CPU request for a target.
    pub fn with_target(story: &'a Story, name: &str, target: Value, fields: Value) -> Self {
        let mut spec = json!({ "type": "CPU", "target": target, "duration": "3s", "activeDeadline": "90s" });
        for (field, value) in fields.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        if spec["duration"].is_null() {
            spec.as_object_mut().expect("it was made as one").remove("duration");
        }
        story.apply(&json!({
            "apiVersion": "pitwall.dev/v1alpha1", "kind": "ProfileRequest",
            "metadata": { "name": name }, "spec": spec,
        }));
        Self { story, name: name.to_owned() }
    }

    /// The object as it is now.
    pub fn get(&self) -> Value {
        let text = self.story.kubectl(&["get", "profilerequest", &self.name, "-o", "json"]);
        serde_json::from_str(&text).expect("kubectl prints JSON")
    }

    /// Waits for the end with `kubectl wait`, as a user would: the object.
    pub fn finish(&self, patience: Duration) -> Value {
        let what = format!("profilerequest/{}", self.name);
        self.story.wait(&what, "condition=Finished", patience);
        self.get()
    }

    /// Waits until a target is in a phase: the object.
    pub fn reach(&self, phase: &str, patience: Duration) -> Value {
        let object = std::cell::RefCell::new(Value::Null);
        crate::eventually(
            patience,
            || format!("no target of {} reached {phase}: {}", self.name, object.borrow()["status"]),
            || {
                *object.borrow_mut() = self.get();
                let object = object.borrow();
                let targets = object["status"]["targets"].as_array()?;
                targets.iter().any(|target| target["phase"] == phase).then(|| object.clone())
            },
        )
    }

    /// Changes fields of the spec.
    pub fn patch(&self, spec: &Value) {
        let patch = json!({ "spec": spec }).to_string();
        self.story.kubectl(&["patch", "profilerequest", &self.name, "--type=merge", "-p", &patch]);
    }
}

/// The object's Finished condition: whether it is true.
pub fn finished(object: &Value) -> bool {
    condition(object, "Finished").is_some_and(|condition| condition["status"] == "True")
}

/// The reason of the object's Finished condition.
pub fn reason_of(object: &Value) -> &str {
    condition(object, "Finished").and_then(|condition| condition["reason"].as_str()).unwrap_or_default()
}

/// The message of the object's Finished condition.
pub fn message_of(object: &Value) -> &str {
    condition(object, "Finished").and_then(|condition| condition["message"].as_str()).unwrap_or_default()
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// The object's first target.
pub fn target_of(object: &Value) -> &Value {
    &object["status"]["targets"][0]
}
