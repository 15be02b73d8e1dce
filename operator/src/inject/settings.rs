//! What an installation says about its sidecars.

use super::quantity::Quantity;

/// When a node pulls the sidecar's image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[clap(rename_all = "PascalCase")]
pub enum PullPolicy {
    /// At each start.
    Always,
    /// When the node doesn't have it.
    IfNotPresent,
    /// Never: the node has it.
    Never,
}

impl PullPolicy {
    /// As Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// What the webhook gives each pod.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Settings {
    /// The sidecar's image
    #[arg(long, value_name = "IMAGE")]
    pub sidecar_image: String,
    /// When nodes pull the sidecar's image
    #[arg(long, value_enum, default_value = "IfNotPresent", value_name = "POLICY")]
    pub sidecar_pull_policy: PullPolicy,
    /// Where sidecars dial: wss://HOST:PORT/channel/v1
    #[arg(long, value_name = "URL")]
    pub operator_url: String,
    /// CPU that each sidecar requests
    #[arg(long, default_value = "5m", value_name = "QUANTITY")]
    pub sidecar_cpu_request: Quantity,
    /// CPU that a sidecar requests and is limited to in a Guaranteed pod, which so stays one
    #[arg(long, default_value = "100m", value_name = "QUANTITY")]
    pub sidecar_guaranteed_cpu: Quantity,
    /// Memory that each sidecar requests
    #[arg(long, default_value = "16Mi", value_name = "QUANTITY")]
    pub sidecar_memory_request: Quantity,
    /// Memory that each sidecar is limited to
    #[arg(long, default_value = "64Mi", value_name = "QUANTITY")]
    pub sidecar_memory_limit: Quantity,
    /// Size of the volume on which a sidecar keeps what it recorded until it is uploaded
    #[arg(long, default_value = "1Gi", value_name = "QUANTITY")]
    pub sidecar_spool_size: Quantity,
}

#[cfg(test)]
pub(super) mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Run {
        #[command(flatten)]
        settings: Settings,
    }

    pub(in crate::inject) fn settings() -> Settings {
        let arguments = [
            "run",
            "--sidecar-image=pitwall/sidecar:1",
            "--operator-url=wss://pitwall-channel.pitwall.svc:8443/channel/v1",
        ];
        Run::try_parse_from(arguments).unwrap().settings
    }

    #[test]
    fn a_quantity_that_is_none_is_refused_at_start() {
        let arguments = ["run", "--sidecar-image=x", "--operator-url=wss://x", "--sidecar-spool-size=lots"];
        assert!(Run::try_parse_from(arguments).is_err());
    }
}
