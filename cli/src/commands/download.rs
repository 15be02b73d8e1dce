//! `download`: the artifacts of a request, into files.

use crate::{
    args::{ClusterArgs, DownloadArgs},
    artifact::{
        download::{Downloader, Into},
        receive::{self, Form, Taken},
    },
    cluster::Cluster,
    exit::{Exit, Failure},
    interrupt::Interrupts,
    read::{Artifact, Request},
    report::Download,
    view::{
        printable::printable,
        screen::{Screen, print},
        stage::stage,
    },
};

/// `kubectl pitwall download`
pub(super) async fn download(flags: &ClusterArgs, args: &DownloadArgs) -> Result<Exit, Failure> {
    receive::prepare(&args.output).map_err(|error| Failure::usage(error.to_string()))?;
    let cluster = Cluster::connect(flags).await?;
    let request = cluster.get_request(&args.name).await?;
    let into = Into {
        folder: &args.output,
        form: if args.raw { Form::Stored } else { Form::Opened },
        taken: if args.force { Taken::Overwrite } else { Taken::Number },
    };
    let mut screen = Screen::on_stderr();
    let mut interrupts = Interrupts::listen();
    let only = args.artifact.as_deref();
    let downloads = fetch_all(&cluster, &request, only, into, &mut screen, &mut interrupts).await?;
    if downloads.is_empty() {
        return Err(nothing(&request, only));
    }
    say_where(&downloads);
    Ok(Exit::Done.and_download(downloads.iter().all(|download| download.result.is_ok())))
}

fn nothing(request: &Request, only: Option<&str>) -> Failure {
    let name = request.metadata.name.as_deref().unwrap_or_default();
    let names: Vec<&str> = artifacts(request).map(|artifact| artifact.name.as_str()).collect();
    match only {
        Some(only) if !names.is_empty() => {
            Failure::usage(format!("{name} has no artifact {only}; it has {}", names.join(", ")))
        }
        _ => Failure::new(
            Exit::Failed,
            format!(
                "{name} has no artifact ({}); see kubectl pitwall findings {name}",
                stage(request).name()
            ),
        ),
    }
}

fn artifacts(request: &Request) -> impl Iterator<Item = &Artifact> {
    request.status.iter().flat_map(|status| &status.targets).flat_map(|target| &target.artifacts)
}

/// Downloads the artifacts, one after another. A refusal of the cluster is the same for all and ends it, as
/// does Ctrl-C; other errors are each artifact's own.
pub(super) async fn fetch_all(
    cluster: &Cluster,
    request: &Request,
    only: Option<&str>,
    into: Into<'_>,
    screen: &mut Screen,
    interrupts: &mut Interrupts,
) -> Result<Vec<Download>, Failure> {
    let name = request.metadata.name.as_deref().unwrap_or_default();
    let mut downloads = Vec::new();
    let mut downloader = Downloader { cluster, request: name, into, screen, interrupts };
    for artifact in artifacts(request).filter(|artifact| only.is_none_or(|only| artifact.name == only)) {
        let result = downloader.download(artifact).await;
        downloader.screen.clear();
        let result = match result {
            Err(failure) if failure.exit == Exit::Interrupted => {
                let later = format!("kubectl pitwall download {name} -n {}", cluster.namespace);
                return Err(Failure { message: format!("{failure}. To fetch it later: {later}"), ..failure });
            }
            Err(failure) => {
                downloader.screen.note(&failure.message);
                Err(failure.message)
            }
            Ok(path) => Ok(path),
        };
        downloads.push(Download { artifact: artifact.name.clone(), result });
    }
    Ok(downloads)
}

/// Says where the files lie, and how they are opened.
pub(super) fn say_where(downloads: &[Download]) {
    let mut hints: Vec<&str> = Vec::new();
    for path in downloads.iter().filter_map(|download| download.result.as_ref().ok()) {
        print(&format!("\nsaved {} (sha256 agrees)\n", printable(&path.to_string_lossy())));
        hints.extend(how_to_open(path).filter(|hint| !hints.contains(hint)));
    }
    for hint in hints {
        print(hint);
    }
}

/// How a file is opened.
pub(crate) fn how_to_open(path: &std::path::Path) -> Option<&'static str> {
    match path.extension()?.to_str()? {
        "cpuprofile" => Some(
            "To open it: Chrome DevTools, panel Performance, \"Load profile\" (for DevTools of their own: \
             chrome://inspect, \"Open dedicated DevTools for Node\")\n",
        ),
        "heapprofile" | "heapsnapshot" => {
            Some("To open it: Chrome DevTools, panel Memory, \"Load profile\"\n")
        }
        _ => None,
    }
}
