//! The stories, one file each, against the cluster that `make e2e` prepares.
#![expect(clippy::unwrap_used, reason = "a story that can't go on fails, with the line")]

mod alone;
mod app_exits;
mod busy_target;
mod deadline;
mod deletion;
mod downloads;
mod heap;
mod identities;
mod impostors;
mod long;
mod main_job;
mod not_node;
mod optimizations;
mod pods;
mod refusals;
mod s3;
mod safety;
mod schema;
mod stop;
mod wait_finished;
mod worker_killed;
mod workers;
