//! A built-in store without room: the request ends with the reason, and nothing is left open.

use pitwall_e2e::{
    App, Request, Story, builtin_folder, command, kubectl, operator_namespace, reason_of, run,
};
use serde_json::json;
use std::{path::PathBuf, time::Duration};

/// The built-in store's volume, with next to no room left until the guard goes.
struct Full {
    mounted: PathBuf,
}

impl Full {
    fn new() -> Self {
        let full = Self { mounted: builtin_folder() };
        run(command("mount").args(["-t", "tmpfs", "-o", "size=64k,mode=0777", "tmpfs"]).arg(&full.mounted));
        restart_store();
        full
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        run(command("umount").arg("--lazy").arg(&self.mounted));
        restart_store();
    }
}

fn restart_store() {
    let own = |arguments: &[&str]| run(&mut kubectl(&[&["-n", operator_namespace()], arguments].concat()));
    own(&["delete", "pod", "pitwall-store-0", "--timeout=60s"]);
    own(&["rollout", "status", "statefulset/pitwall-store", "--timeout=60s"]);
}

#[test]
fn a_full_store_is_named() {
    let story = Story::new("store-full");
    let pod = App::busy().deploy(&story).remove(0);
    let full = Full::new();
    let fields = json!({ "duration": "1s", "activeDeadline": "45s" });
    let object = Request::cpu(&story, "r", "busy", fields).finish(Duration::from_secs(90));
    assert_eq!(reason_of(&object), "StoreFull", "{}", object["status"]);
    story.inspector_closes(&pod);
    drop(full);
}
