//! The command line.

use crate::exit::EXIT_CODES;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use pitwall_crds::{Duration, PodPick, PreflightCheck, Share};
use std::path::PathBuf;

/// For `--help`.
const EXAMPLE: &str = "Example: kubectl pitwall cpu deploy/checkout -n shop --duration 30s";

/// Profile Node.js processes that run in Kubernetes.
#[derive(Parser, Debug)]
#[command(name = "kubectl-pitwall", bin_name = "kubectl pitwall", version, after_help = format!("{EXAMPLE}\n\n{EXIT_CODES}"))]
pub(crate) struct Cli {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// The heading of [`ClusterArgs`] in `--help`.
const CLUSTER: &str = "Cluster";

/// Which cluster, and where in it; as kubectl's own flags.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ClusterArgs {
    /// Namespace; default: the context's
    #[arg(short, long, global = true, value_name = "NS", help_heading = CLUSTER)]
    pub namespace: Option<String>,
    /// Context of the kubeconfig
    #[arg(long, global = true, help_heading = CLUSTER)]
    pub context: Option<String>,
    /// Path to the kubeconfig; default: $KUBECONFIG, ~/.kube/config, or the pod's own service account
    #[arg(long, global = true, value_name = "FILE", help_heading = CLUSTER)]
    pub kubeconfig: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Record a CPU profile, print what is hot, and download it
    #[command(after_help = format!("{EXAMPLE}\n\n{EXIT_CODES}"))]
    Cpu(CpuArgs),
    /// Record which code allocates, and download it
    #[command(visible_alias = "heap", after_help = EXIT_CODES)]
    HeapSampling(HeapSamplingArgs),
    /// Take a snapshot of the heap, and download it: stops the process for seconds, and takes memory
    #[command(visible_alias = "snapshot", after_help = EXIT_CODES)]
    HeapSnapshot(HeapSnapshotArgs),
    /// Record a process on this machine, without a cluster
    #[command(after_help = "Example: kubectl pitwall local --command server.js --duration 10s")]
    Local(LocalArgs),
    /// Say what is in CPU profiles on this disk, from Pitwall or from anywhere
    #[command(after_help = "Example: kubectl pitwall analyze checkout.cpuprofile")]
    Analyze(AnalyzeArgs),
    /// Write a CPU profile in another tool's format
    #[command(after_help = "Example: kubectl pitwall export checkout.cpuprofile --format speedscope")]
    Export(ExportArgs),
    /// Follow a request to its end, as `cpu` does for the one it makes
    #[command(after_help = EXIT_CODES)]
    Follow(FollowArgs),
    /// Print the findings of a finished request
    #[command(after_help = EXIT_CODES)]
    Findings(FindingsArgs),
    /// Download the artifacts of a request, and check their checksums
    #[command(after_help = EXIT_CODES)]
    Download(DownloadArgs),
    /// Stop a recording now, and keep what was recorded
    Stop(StopArgs),
    /// List the requests of a namespace
    List(ListArgs),
    /// Print a completion script
    Completion(CompletionArgs),
    /// Answers kubectl's plugin completion
    #[command(name = "__complete", hide = true)]
    Complete(CompleteArgs),
}

#[derive(Args, Debug)]
pub(crate) struct CpuArgs {
    /// How long to record, from 1s to 8h
    #[arg(short, long, default_value = "30s")]
    pub duration: Duration,
    /// Time between samples, from 100us to 100ms [default: 1ms, and 10ms for more than 10m]
    #[arg(long, value_name = "DURATION")]
    pub sampling_interval: Option<Duration>,
    /// Record, too, which functions V8 optimized and deoptimized, and why
    #[arg(long)]
    pub trace_optimizations: bool,
    /// Which threads: the main one, or also up to eight worker threads, a profile each
    #[arg(long, value_enum, ignore_case = true, default_value = "Main")]
    pub threads: Threads,
    #[command(flatten)]
    pub record: RecordArgs,
}

#[derive(Args, Debug)]
pub(crate) struct HeapSamplingArgs {
    /// How long to record, from 1s to 8h
    #[arg(short, long, default_value = "30s")]
    pub duration: Duration,
    /// Bytes that are allocated between two samples: 4Ki, 8Ki and so on to 1Mi
    #[arg(long, value_name = "SIZE", default_value = "32Ki")]
    pub sampling_interval: String,
    /// Which objects: those that are reachable at the end, or also those that were freed (Node.js 20)
    #[arg(long, value_enum, ignore_case = true, default_value = "Live")]
    pub include: Include,
    /// Which threads: the main one, or also up to eight worker threads, a profile each
    #[arg(long, value_enum, ignore_case = true, default_value = "Main")]
    pub threads: Threads,
    #[command(flatten)]
    pub record: RecordArgs,
}

#[derive(Args, Debug)]
pub(crate) struct HeapSnapshotArgs {
    /// Replace the contents of strings before anything leaves the pod
    #[arg(long)]
    pub redact: bool,
    /// How many snapshots, in which objects keep their ids: from 1 to 3
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
    pub count: u8,
    /// From one snapshot to the next, from 1s to 10m
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    pub interval: Duration,
    /// Take the risk that a check names; several with commas between
    #[arg(long = "override", value_name = "CHECK", value_enum, ignore_case = true, value_delimiter = ',')]
    pub overridden: Vec<OverriddenCheck>,
    #[command(flatten)]
    pub record: RecordArgs,
}

/// What every type of recording takes.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("what").required(true).args(["target", "selector"])))]
pub(crate) struct RecordArgs {
    /// What to profile, as kubectl writes it: deploy/checkout, sts/db, job/import, pod/x; a bare name is a pod's
    pub target: Option<String>,
    /// A second word, which is refused with what to write instead
    #[arg(hide = true, conflicts_with = "selector")]
    pub second: Option<String>,
    /// Profile the pods that carry these labels, such as app=checkout
    #[arg(short = 'l', long)]
    pub selector: Option<String>,
    /// Container to record in; default: the only one that runs Node.js
    #[arg(short, long)]
    pub container: Option<String>,
    /// How many pods at most: from 1 to 32, or a share of those that run, such as 25%
    #[arg(long, value_name = "N", default_value = "1")]
    pub pods: Share,
    /// How many pods at once: from 1 to 32, or a share; default: all, and one for a heap snapshot
    #[arg(long, value_name = "N")]
    pub at_once: Option<Share>,
    /// Which pods, when there are more
    #[arg(long, value_enum, ignore_case = true, default_value = "Oldest")]
    pub pick: Pick,
    /// How long the request may take, waiting included, from 10s to 24h; default: 15m
    #[arg(long, value_name = "DURATION")]
    pub deadline: Option<Duration>,
    /// How long the finished request and its artifacts are kept; default: until someone deletes it
    #[arg(long, value_name = "DURATION")]
    pub ttl: Option<Duration>,
    /// Name of the request; default: a readable one with five random characters
    #[arg(long)]
    pub name: Option<String>,
    /// Prove and check everything in the pod, and record nothing
    #[arg(long)]
    pub check: bool,
    /// Print the request instead of making it
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub result: ResultArgs,
}

#[derive(Args, Debug)]
#[command(group(ArgGroup::new("which").required(true).args(["pid", "command"])))]
pub(crate) struct LocalArgs {
    /// Pid of the Node.js process
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: Option<u32>,
    /// Record the only Node.js process whose command line holds this
    #[arg(long, value_name = "TEXT")]
    pub command: Option<String>,
    /// What to record
    #[arg(short, long, value_enum, ignore_case = true, default_value = "CPU")]
    pub r#type: LocalType,
    /// How long to record, from 1s to 8h; Ctrl-C ends it sooner, and keeps what was recorded
    #[arg(short, long, default_value = "30s", value_parser = between("1s", "8h"))]
    pub duration: Duration,
    /// Of a CPU profile: time between samples, from 100us to 100ms [default: 1ms, and 10ms for more than 10m]
    #[arg(long, value_name = "DURATION", value_parser = between("100us", "100ms"))]
    pub sampling_interval: Option<Duration>,
    /// Of the CPU: record, too, which functions V8 optimized and deoptimized, and why
    #[arg(long)]
    pub trace_optimizations: bool,
    /// Of a sampling: objects that are reachable at the end, or also those that were freed (Node.js 20)
    #[arg(long, value_enum, ignore_case = true, default_value = "Live")]
    pub include: Include,
    /// Of the CPU and of a sampling: the main thread, or also up to eight worker threads, a profile each
    #[arg(long, value_enum, ignore_case = true, default_value = "Main")]
    pub threads: Threads,
    /// Of a snapshot: replace the contents of strings
    #[arg(long)]
    pub redact: bool,
    /// Of a snapshot: take the risk that a check names
    #[arg(long = "override", value_name = "CHECK", value_enum, ignore_case = true, value_delimiter = ',')]
    pub overridden: Vec<OverriddenCheck>,
    /// Folder to save the profile in
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
    /// How to print the result on stdout; progress goes to stderr
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: OutputFormat,
}

#[derive(Args, Debug)]
pub(crate) struct AnalyzeArgs {
    /// Files, compressed or not, as Pitwall, Chrome or `node --cpu-prof` wrote them; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How to print what was found
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: OutputFormat,
}

#[derive(Args, Debug)]
pub(crate) struct ExportArgs {
    /// A CPU profile, compressed or not; `-` is standard input
    pub file: PathBuf,
    /// Whose format
    #[arg(short, long, value_enum)]
    pub format: ExportFormat,
    /// File to write, `-` for standard output; default: in this folder, by the profile's name
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Overwrite a file that exists
    #[arg(long)]
    pub force: bool,
}

/// A format that other tools read.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExportFormat {
    /// Google's pprof: `go tool pprof`, Pyroscope, Parca, Grafana
    Pprof,
    /// speedscope.app
    Speedscope,
    /// A line a stack: flamegraph.pl, inferno
    Collapsed,
}

/// A duration within bounds that here no API server checks.
fn between(least: &'static str, most: &'static str) -> impl Fn(&str) -> Result<Duration, String> + Clone {
    move |text| {
        let bound = |text: &str| text.parse::<Duration>().map(pitwall_crds::Duration::as_std).ok();
        let duration: Duration = text.parse().map_err(|error| format!("{error}"))?;
        let within = Some(duration.as_std()) >= bound(least) && Some(duration.as_std()) <= bound(most);
        if within { Ok(duration) } else { Err(format!("it must be from {least} to {most}")) }
    }
}

/// What is done with the result of a recording.
#[derive(Args, Clone, Debug)]
pub(crate) struct ResultArgs {
    /// How to print the result on stdout; progress goes to stderr
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: OutputFormat,
    /// Folder to download the artifacts into
    #[arg(long, value_name = "DIR", default_value = ".", conflicts_with = "no_download")]
    pub download: PathBuf,
    /// Download nothing
    #[arg(long)]
    pub no_download: bool,
}

impl ResultArgs {
    /// The folder to download into, if anything is to be downloaded.
    pub(crate) fn folder(&self) -> Option<&std::path::Path> {
        (!self.no_download).then_some(self.download.as_path())
    }
}

#[derive(Args, Debug)]
pub(crate) struct FollowArgs {
    /// Name of the request, as `kubectl pitwall list` shows it
    pub name: String,
    #[command(flatten)]
    pub result: ResultArgs,
}

#[derive(Args, Debug)]
pub(crate) struct FindingsArgs {
    /// Name of the request, as `kubectl pitwall list` shows it
    pub name: String,
    /// How to print them
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: OutputFormat,
}

#[derive(Args, Debug)]
pub(crate) struct DownloadArgs {
    /// Name of the request, as `kubectl pitwall list` shows it
    pub name: String,
    /// Folder to download into
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,
    /// Only this artifact; default: all
    #[arg(long, value_name = "NAME")]
    pub artifact: Option<String>,
    /// Keep the bytes as they are stored (compressed)
    #[arg(long)]
    pub raw: bool,
    /// Overwrite files that exist; default: number the new ones
    #[arg(long)]
    pub force: bool,
}

#[derive(Args, Debug)]
pub(crate) struct StopArgs {
    /// Name of the request, as `kubectl pitwall list` shows it
    pub name: String,
}

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// The requests of every namespace
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

#[derive(Args, Debug)]
pub(crate) struct CompletionArgs {
    /// The shell; `kubectl` prints the script kubectl_complete-pitwall, which makes `kubectl pitwall` complete
    #[arg(value_enum)]
    pub shell: Shell,
}

#[derive(Args, Debug)]
pub(crate) struct CompleteArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputFormat {
    /// For people
    Text,
    /// One JSON document
    Json,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
    Kubectl,
}

/// `ProfileType`, as an argument.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LocalType {
    /// Where the time goes
    #[value(name = "CPU")]
    Cpu,
    /// Which code allocates
    #[value(name = "HeapSampling", alias = "heap-sampling")]
    HeapSampling,
    /// Every object, and what keeps it alive; stops the process for seconds
    #[value(name = "HeapSnapshot", alias = "heap-snapshot")]
    HeapSnapshot,
}

/// `AllocationsIncluded`, as an argument.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
#[value(rename_all = "PascalCase")]
pub(crate) enum Include {
    /// Reachable at the end
    Live,
    /// All that were allocated
    All,
}

/// `Threads` of a target, as an argument.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
#[value(rename_all = "PascalCase")]
pub(crate) enum Threads {
    /// The main thread
    Main,
    /// The main thread and up to eight worker threads
    All,
}

impl From<Threads> for pitwall_crds::Threads {
    fn from(threads: Threads) -> Self {
        match threads {
            Threads::Main => Self::Main,
            Threads::All => Self::All,
        }
    }
}

/// `PreflightCheck`, as an argument.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
#[value(rename_all = "PascalCase")]
pub(crate) enum OverriddenCheck {
    /// The container's memory limit
    MemoryLimit,
    /// The node's free memory
    NodeMemory,
    /// The liveness probe's patience
    LivenessProbe,
    /// The readiness probe's patience
    ReadinessProbe,
    /// The snapshot is over by the deadline
    Deadline,
}

impl From<OverriddenCheck> for PreflightCheck {
    fn from(check: OverriddenCheck) -> Self {
        match check {
            OverriddenCheck::MemoryLimit => Self::MemoryLimit,
            OverriddenCheck::NodeMemory => Self::NodeMemory,
            OverriddenCheck::LivenessProbe => Self::LivenessProbe,
            OverriddenCheck::ReadinessProbe => Self::ReadinessProbe,
            OverriddenCheck::Deadline => Self::Deadline,
        }
    }
}

/// `PodPick`, as an argument.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
#[value(rename_all = "PascalCase")]
pub(crate) enum Pick {
    /// Those that became ready first
    Oldest,
    /// Those that became ready last
    Newest,
    /// Any
    Random,
    /// Those that take the most CPU time, measured for a second
    Busiest,
}

impl From<Pick> for PodPick {
    fn from(pick: Pick) -> Self {
        match pick {
            Pick::Oldest => Self::Oldest,
            Pick::Newest => Self::Newest,
            Pick::Random => Self::Random,
            Pick::Busiest => Self::Busiest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, error::ErrorKind};

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn contradictions_and_omissions_are_wrong_usage() {
        for (line, kind) in [
            ("cpu", ErrorKind::MissingRequiredArgument),
            ("cpu deploy/x -l app=x", ErrorKind::ArgumentConflict),
            ("cpu deploy/x --download d --no-download", ErrorKind::ArgumentConflict),
            ("cpu deploy/x --duration 30", ErrorKind::ValueValidation),
            ("cpu deploy/x --pods 0", ErrorKind::ValueValidation),
            ("cpu deploy/x --pods 33", ErrorKind::ValueValidation),
            ("cpu deploy/x --pick Best", ErrorKind::InvalidValue),
            ("cpu deploy/x --output yaml", ErrorKind::InvalidValue),
            ("heap-snapshot deploy/x --duration 30s", ErrorKind::UnknownArgument),
            ("snapshot deploy/x --override Gravity", ErrorKind::InvalidValue),
            ("heap deploy/x --include Some", ErrorKind::InvalidValue),
            ("frobnicate", ErrorKind::InvalidSubcommand),
        ] {
            let words = std::iter::once("kubectl-pitwall").chain(line.split(' '));
            let error = Cli::try_parse_from(words).unwrap_err();
            assert_eq!((error.kind(), error.exit_code()), (kind, 2), "{line}");
        }
    }

    #[test]
    fn flags_of_the_cluster_may_follow_the_subcommand() {
        let cli = Cli::try_parse_from(["kubectl-pitwall", "cpu", "deploy/x", "-n", "shop", "--context", "c"])
            .unwrap();
        assert_eq!(cli.cluster.namespace.as_deref(), Some("shop"));
        assert_eq!(cli.cluster.context.as_deref(), Some("c"));
    }
}
