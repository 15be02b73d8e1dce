//! What only a process's own ids may see of it. Run in the worker, or in the child that took those ids.

use crate::discover::node::{
    InspectorPlan, SINGLE_EXECUTABLE_FUSE, inspector_plan, is_node_executable, lookalike,
};
use crate::discover::procfs::{Facts, ProcRoot};
use serde::{Deserialize, Serialize};

/// What was seen of one process with its own ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sight {
    /// The file that it executes, or why that can't be read.
    pub executable: Result<String, String>,
    /// What it is, if it is one of those that people take for Node.
    pub lookalike: Option<String>,
    /// `NODE_OPTIONS` at its start.
    pub node_options: Option<String>,
    /// Which of the listening sockets on its inspector's port are its own, by inode.
    pub held: Vec<u64>,
}

impl Sight {
    /// Looks.
    pub fn take(proc: &ProcRoot, facts: &Facts) -> Self {
        let pid = facts.id.pid;
        let executable = proc.executable(pid).map_err(|error| error.to_string());
        let node_options = proc.node_options(pid).ok().flatten();
        let lookalike = executable.as_ref().ok().and_then(|path| lookalike_of(proc, facts, path));
        let mut sight = Self { executable, lookalike, node_options, held: vec![] };
        let port = sight.plan(facts).port;
        let on_port: Vec<u64> = proc
            .listeners(pid)
            .unwrap_or_default()
            .iter()
            .filter(|one| one.port == port)
            .map(|one| one.inode)
            .collect();
        sight.held = proc.held_by(pid, &on_port).unwrap_or_default();
        sight
    }

    /// A sight that could not be had at all.
    pub fn refused(why: impl Into<String>) -> Self {
        Self { executable: Err(why.into()), lookalike: None, node_options: None, held: vec![] }
    }

    /// Where the process's inspector would open.
    pub fn plan(&self, facts: &Facts) -> InspectorPlan {
        inspector_plan(&facts.command, self.node_options.as_deref())
    }
}

fn lookalike_of(proc: &ProcRoot, facts: &Facts, path: &str) -> Option<String> {
    if is_node_executable(path) {
        return None;
    }
    // Only what catches the signal can hold a Node: most other programs are never read, and a service mesh's Go proxy,
    // which catches every signal and has 100 MB, isn't either.
    let caught = facts.status.caught;
    let holds_node = || {
        caught.has_usr1()
            && !caught.is_of_go()
            && proc.executable_holds(facts.id.pid, SINGLE_EXECUTABLE_FUSE).unwrap_or(false)
    };
    let name =
        lookalike(path).or_else(|| holds_node().then_some("a single executable application of Node.js"));
    name.map(str::to_owned)
}
