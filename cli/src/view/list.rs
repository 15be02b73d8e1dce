//! Requests as a table, as kubectl would print them.

use super::{
    printable::Paint,
    table::{Column, render},
};
use crate::read::{Request, Target, Word, Workload};
use jiff::Timestamp;

/// The table, newest request last.
pub(crate) fn table(requests: &[Request], with_namespace: bool, now: Timestamp, paint: Paint) -> String {
    let mut requests: Vec<&Request> = requests.iter().collect();
    requests.sort_by_key(|request| request.metadata.creation_timestamp.as_ref().map(|time| time.0));
    let rows: Vec<[String; 8]> = requests.into_iter().map(|request| row(request, now)).collect();
    let columns = [
        Column::left("NAMESPACE", 63),
        Column::left("NAME", 80),
        Column::left("TYPE", 12),
        Column::left("TARGET", 60),
        Column::left("PHASE", 12),
        Column::left("PODS", 8),
        Column::left("HOTTEST", 60),
        Column::left("AGE", 8),
    ];
    if with_namespace {
        render(columns, &rows, paint)
    } else {
        let [_, columns @ ..] = columns;
        let rows: Vec<[String; 7]> = rows.into_iter().map(|[_, cells @ ..]| cells).collect();
        render(columns, &rows, paint)
    }
}

fn row(request: &Request, now: Timestamp) -> [String; 8] {
    let status = request.status.clone().unwrap_or_default();
    let age =
        request.metadata.creation_timestamp.as_ref().map(|time| age(now.as_second() - time.0.as_second()));
    [
        request.metadata.namespace.clone().unwrap_or_default(),
        request.metadata.name.clone().unwrap_or_default(),
        request.spec.r#type.to_string(),
        status.target.unwrap_or_else(|| target(&request.spec.target)),
        status.phase.as_ref().map(Word::to_string).unwrap_or_default(),
        status.pods.unwrap_or_default(),
        status.summary.and_then(|summary| summary.hottest).unwrap_or_default(),
        age.unwrap_or_default(),
    ]
}

/// The target in short, for a request that no operator has looked at.
fn target(target: &Target) -> String {
    match (&target.workload, &target.pod_name) {
        (Some(Workload { kind, name }), _) => match kind.known() {
            Some(kind) => format!("{}/{name}", kind.short()),
            None => format!("{}/{name}", kind.as_str().to_ascii_lowercase()),
        },
        (None, Some(pod)) => format!("pod/{pod}"),
        (None, None) => "selector".to_owned(),
    }
}

/// As kubectl rounds ages: two units while small, then one.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..120 => format!("{s}s"),
        s @ 120..600 => match s % 60 {
            0 => format!("{}m", s / 60),
            rest => format!("{}m{rest}s", s / 60),
        },
        s @ 600..10_800 => format!("{}m", s / 60),
        s @ 10_800..172_800 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::request;
    use serde_json::json;

    #[test]
    fn ages_read_as_kubectls() {
        for (seconds, text) in [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (130, "2m10s"),
            (3_600, "60m"),
            (20_000, "5h"),
            (200_000, "2d"),
        ] {
            assert_eq!(age(seconds), text);
        }
    }

    #[test]
    fn requests_are_listed_oldest_first() {
        let at = |second: i64, name: &str| {
            let mut request =
                request(&json!({ "phase": "Running", "pods": "0/1", "target": "deploy/checkout" }));
            request.metadata.name = Some(name.to_owned());
            let time = Timestamp::from_second(second).unwrap();
            request.metadata.creation_timestamp =
                Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time));
            request
        };
        let now = Timestamp::from_second(100).unwrap();
        let seen = table(&[at(90, "new"), at(10, "old")], false, now, Paint::Plain);
        assert_eq!(
            seen,
            "NAME   TYPE   TARGET            PHASE     PODS   HOTTEST   AGE\n\
             old    CPU    deploy/checkout   Running   0/1              90s\n\
             new    CPU    deploy/checkout   Running   0/1              10s\n"
        );
    }
}
