//! Stories that change Pitwall's installation, and so run one after another, without others beside them.

mod operator_down;
mod operator_killed;
mod replicas;
mod store_full;
