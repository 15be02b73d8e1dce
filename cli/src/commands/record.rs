//! `cpu`, its like, and `follow`: a request from its making to its file on this machine.

use super::download::{fetch_all, say_where};
use crate::{
    args::{ClusterArgs, FollowArgs, OutputFormat, RecordArgs, ResultArgs},
    artifact::{
        download::Into,
        receive::{self, Form, Taken},
    },
    cluster::Cluster,
    exit::{Exit, Failure},
    follow::{Followed, follow, later},
    interrupt::Interrupts,
    kubeconfig,
    outcome::End,
    read::Request,
    report::{Download, report},
    request::{Wanted, compose},
    view::{
        findings::describe,
        screen::{Screen, print, stdout_paint, tell},
    },
};
use pitwall_crds::ProfileRequest;

/// `kubectl pitwall cpu` and its like
pub(super) async fn record(flags: &ClusterArgs, args: &RecordArgs, wanted: Wanted) -> Result<Exit, Failure> {
    if args.dry_run {
        let namespace = kubeconfig::namespace(flags).await;
        print(&manifest(&compose(args, wanted, namespace.as_deref())?.request, args.result.output));
        return Ok(Exit::Done);
    }
    let composed = compose(args, wanted, flags.namespace.as_deref())?;
    // Before anything is recorded: a folder that can't be written would lose the result.
    prepare(&args.result)?;
    let cluster = Cluster::connect(flags).await?;
    let mut interrupts = Interrupts::listen();
    if let Some(remark) = composed.remark {
        tell(&remark);
    }
    let mut request = composed.request;
    request.metadata.namespace = Some(cluster.namespace.clone());
    let made = tokio::select! {
        made = cluster.create_request(&request) => made?,
        () = interrupts.next() => {
            return Err(Failure::new(Exit::Interrupted, "interrupted before the API server answered; see kubectl pitwall list"));
        }
    };
    tell(&format!("profilerequest {} made in {}", name_of(&made), cluster.namespace));
    see_through(&cluster, made, &args.result, &mut interrupts).await
}

/// `kubectl pitwall follow`
pub(super) async fn follow_request(flags: &ClusterArgs, args: &FollowArgs) -> Result<Exit, Failure> {
    prepare(&args.result)?;
    let cluster = Cluster::connect(flags).await?;
    let request = cluster.get_request(&args.name).await?;
    see_through(&cluster, request, &args.result, &mut Interrupts::listen()).await
}

fn prepare(result: &ResultArgs) -> Result<(), Failure> {
    match result.folder() {
        Some(folder) => receive::prepare(folder).map_err(|error| Failure::usage(error.to_string())),
        None => Ok(()),
    }
}

fn name_of(request: &Request) -> &str {
    request.metadata.name.as_deref().unwrap_or_default()
}

fn manifest(request: &ProfileRequest, output: OutputFormat) -> String {
    match output {
        OutputFormat::Json => json(request),
        OutputFormat::Text => serde_yaml::to_string(request).expect("a request has only string keys"),
    }
}

/// A document with a newline.
pub(super) fn json(document: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(document).expect("a report has only string keys") + "\n"
}

/// Follows the request, then prints and downloads what came of it.
async fn see_through(
    cluster: &Cluster,
    request: Request,
    result: &ResultArgs,
    interrupts: &mut Interrupts,
) -> Result<Exit, Failure> {
    let mut screen = Screen::on_stderr();
    let (request, end) = match follow(cluster, request, &mut screen, interrupts).await? {
        Followed::Ended(request, end) => (request, end),
        Followed::Left(request) => {
            if result.output == OutputFormat::Json {
                print(&json(&report(&request, &[])));
            }
            let name = name_of(&request);
            let message = format!("left {name} to itself. {}", later(name, &cluster.namespace));
            return Err(Failure::new(Exit::Interrupted, message));
        }
    };
    if result.output == OutputFormat::Text {
        print(&describe(&request, end, stdout_paint()));
    }
    let mut downloads: Vec<Download> = Vec::new();
    if let (Some(folder), End::Recorded | End::Partial) = (result.folder(), end) {
        let into = Into { folder, form: Form::Opened, taken: Taken::Number };
        downloads = fetch_all(cluster, &request, None, into, &mut screen, interrupts).await?;
    }
    match result.output {
        OutputFormat::Text => say_where(&downloads),
        OutputFormat::Json => print(&json(&report(&request, &downloads))),
    }
    Ok(Exit::from(end).and_download(downloads.iter().all(|download| download.result.is_ok())))
}
