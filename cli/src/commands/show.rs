//! `findings`, `stop` and `list`.

use super::record::json;
use crate::{
    args::{ClusterArgs, FindingsArgs, ListArgs, OutputFormat, StopArgs},
    cluster::Cluster,
    exit::{Exit, Failure},
    outcome::end,
    report::report,
    view::{
        findings::describe,
        list::table,
        screen::{print, stdout_paint, tell},
        stage::stage,
    },
};

/// `kubectl pitwall findings`
pub(super) async fn findings(flags: &ClusterArgs, args: &FindingsArgs) -> Result<Exit, Failure> {
    let cluster = Cluster::connect(flags).await?;
    let request = cluster.get_request(&args.name).await?;
    let end = end(&request).ok_or_else(|| {
        let (name, namespace) = (&args.name, &cluster.namespace);
        let stage = stage(&request).name();
        Failure::new(
            Exit::Failed,
            format!(
                "{name} hasn't ended ({stage}); kubectl pitwall follow {name} -n {namespace} waits for it"
            ),
        )
    })?;
    match args.output {
        OutputFormat::Text => print(&describe(&request, end, stdout_paint())),
        OutputFormat::Json => print(&json(&report(&request, &[]))),
    }
    Ok(end.into())
}

/// `kubectl pitwall stop`
pub(super) async fn stop(flags: &ClusterArgs, args: &StopArgs) -> Result<Exit, Failure> {
    let cluster = Cluster::connect(flags).await?;
    let request = cluster.stop_request(&args.name).await?;
    let name = &args.name;
    match end(&request) {
        Some(_) => print(&format!("{name} had ended already\n")),
        None => print(&format!("{name} is stopping, and what was recorded is kept\n")),
    }
    Ok(Exit::Done)
}

/// `kubectl pitwall list`
#[expect(clippy::disallowed_methods, reason = "ages are counted from now")]
pub(super) async fn list(flags: &ClusterArgs, args: &ListArgs) -> Result<Exit, Failure> {
    let cluster = Cluster::connect(flags).await?;
    let requests = cluster.list_requests(args.all_namespaces).await?;
    if requests.is_empty() {
        let place = if args.all_namespaces { "the cluster" } else { &cluster.namespace };
        tell(&format!("No requests in {place}."));
    } else {
        print(&table(&requests, args.all_namespaces, jiff::Timestamp::now(), stdout_paint()));
    }
    Ok(Exit::Done)
}
