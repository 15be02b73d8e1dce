//! What the injection says in the environment, and the command line.

use crate::attach::assume::Task;
use clap::{Parser, Subcommand};
use pitwall_protocol::PodRef;
use std::path::PathBuf;
use url::Url;

/// `pitwall-sidecar`: records one pod's Node.js processes on demand.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Arguments {
    /// What to run as; `supervise` when nothing is said.
    #[command(subcommand)]
    pub role: Option<Role>,
}

/// What this program runs as.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// The container's main process: keeps a worker running.
    Supervise,
    /// The worker: speaks with the operator and records.
    Work,
    /// A short-lived child with a target's ids: looks or signals, prints one JSON line, and ends.
    #[command(hide = true)]
    Assume {
        /// The uid that it was started with.
        #[arg(long)]
        uid: u32,
        /// The gid that it was started with.
        #[arg(long)]
        gid: u32,
        /// What to do, as JSON.
        #[arg(value_parser = parse_task)]
        task: Task,
    },
}

fn parse_task(text: &str) -> Result<Task, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Whose ids look and signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The sidecar's own: they are the target's.
    Same,
    /// Those of a child that takes the target's.
    Assume,
}

/// The worker's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `PITWALL_OPERATOR_URL`: the channel's URL, `wss://…/channel/v1`.
    pub operator: Url,
    /// `PITWALL_CA`: PEM text of the CA that the operator's certificate descends from.
    pub ca: String,
    /// `PITWALL_TOKEN_FILE`: the projected service-account token.
    pub token_file: PathBuf,
    /// `PITWALL_POD_NAMESPACE`, `_NAME` and `_UID`.
    pub pod: PodRef,
    /// `PITWALL_SPOOL_DIR`: where artifacts wait for their upload.
    pub spool_dir: PathBuf,
    /// `PITWALL_SPOOL_LIMIT`: the bytes that may lie there.
    pub spool_limit: u64,
    /// `PITWALL_JOURNAL_DIR`: where a worker leaves word for the next.
    pub journal_dir: PathBuf,
    /// `PITWALL_IDENTITY`: `same` or `assume`.
    pub identity: Identity,
}

/// A setting that the worker can't start with.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingError {
    /// It must be there.
    #[error("the environment has no {0}; the injection sets it")]
    Missing(&'static str),
    /// It can't be read.
    #[error("{name}={value}: {why}")]
    Wrong {
        /// The variable.
        name: &'static str,
        /// What it says.
        value: String,
        /// What is wrong with it.
        why: String,
    },
}

const SPOOL_LIMIT: u64 = 512 << 20;

impl Settings {
    /// Reads the settings from an environment.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let get = |name: &'static str| get(name).filter(|value| !value.is_empty());
        let must = |name| get(name).ok_or(SettingError::Missing(name));
        let path = |name, default: &str| PathBuf::from(get(name).unwrap_or_else(|| default.to_owned()));
        let wrong = |name, value: &str, why: &dyn std::fmt::Display| SettingError::Wrong {
            name,
            value: value.to_owned(),
            why: why.to_string(),
        };
        let url = must("PITWALL_OPERATOR_URL")?;
        let operator = Url::parse(&url).map_err(|error| wrong("PITWALL_OPERATOR_URL", &url, &error))?;
        if operator.scheme() != "wss" || operator.host_str().is_none() {
            return Err(wrong("PITWALL_OPERATOR_URL", &url, &"only wss://HOST:PORT/PATH is dialled"));
        }
        let spool_limit = match get("PITWALL_SPOOL_LIMIT") {
            Some(text) => text.parse().map_err(|error| wrong("PITWALL_SPOOL_LIMIT", &text, &error))?,
            None => SPOOL_LIMIT,
        };
        let identity = match get("PITWALL_IDENTITY").as_deref() {
            None | Some("same") => Identity::Same,
            Some("assume") => Identity::Assume,
            Some(other) => return Err(wrong("PITWALL_IDENTITY", other, &"same or assume is expected")),
        };
        Ok(Self {
            operator,
            ca: must("PITWALL_CA")?,
            token_file: path("PITWALL_TOKEN_FILE", "/var/run/secrets/pitwall.dev/token"),
            pod: PodRef {
                namespace: must("PITWALL_POD_NAMESPACE")?,
                name: must("PITWALL_POD_NAME")?,
                uid: must("PITWALL_POD_UID")?,
            },
            spool_dir: path("PITWALL_SPOOL_DIR", "/var/lib/pitwall/spool"),
            spool_limit,
            journal_dir: path("PITWALL_JOURNAL_DIR", "/var/lib/pitwall/journal"),
            identity,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &[(&str, &str)] = &[
        ("PITWALL_OPERATOR_URL", "wss://pitwall-channel.pitwall.svc:8443/channel/v1"),
        ("PITWALL_CA", "pem"),
        ("PITWALL_POD_NAMESPACE", "shop"),
        ("PITWALL_POD_NAME", "checkout-1"),
        ("PITWALL_POD_UID", "u"),
    ];

    fn read(changes: &[(&str, &str)]) -> Result<Settings, SettingError> {
        Settings::read(|name| {
            let all = changes.iter().chain(LEAST);
            all.clone().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn what_the_injection_leaves_out_has_its_default() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.token_file, PathBuf::from("/var/run/secrets/pitwall.dev/token"));
        assert_eq!(settings.spool_limit, 536_870_912);
        assert_eq!(settings.identity, Identity::Same);
        assert_eq!(read(&[("PITWALL_IDENTITY", "assume")]).unwrap().identity, Identity::Assume);
        assert_eq!(read(&[("PITWALL_SPOOL_LIMIT", "1000")]).unwrap().spool_limit, 1000);
    }

    #[test]
    fn a_setting_that_is_missing_or_wrong_is_named() {
        for (name, value, text) in [
            ("PITWALL_OPERATOR_URL", "", "no PITWALL_OPERATOR_URL"),
            ("PITWALL_OPERATOR_URL", "ws://pitwall/channel/v1", "only wss"),
            ("PITWALL_OPERATOR_URL", "pitwall", "PITWALL_OPERATOR_URL=pitwall"),
            ("PITWALL_CA", "", "PITWALL_CA"),
            ("PITWALL_POD_UID", "", "PITWALL_POD_UID"),
            ("PITWALL_SPOOL_LIMIT", "1Gi", "PITWALL_SPOOL_LIMIT=1Gi"),
            ("PITWALL_IDENTITY", "root", "same or assume"),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
