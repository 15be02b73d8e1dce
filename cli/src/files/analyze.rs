use super::{open, unusable};
use crate::{
    args::{AnalyzeArgs, OutputFormat},
    exit::{Exit, Failure},
    read::Finding,
    view::{
        findings::{numbers, tables},
        printable::{Paint, printable},
        screen::{Screen, print, stderr_paint, stdout_paint, tell_error},
    },
};
use pitwall_profile::{Report, analyse_artifact};
use std::{fmt::Write as _, path::Path, time::Duration};

/// `kubectl pitwall analyze`: all files, also where one of them is of no use.
pub(crate) fn analyze(args: &AnalyzeArgs) -> Result<Exit, Failure> {
    let mut screen = Screen::on_stderr();
    let results: Vec<_> = args
        .files
        .iter()
        .map(|path| {
            let reader = open(path, &mut screen)?;
            analyse_artifact(reader).map_err(|error| unusable(path, &error))
        })
        .collect();
    screen.clear();
    let several = args.files.len() > 1;
    let mut exit = Exit::Done;
    let mut documents = Vec::new();
    for (path, result) in args.files.iter().zip(results) {
        match result {
            Err(failure) if !several => return Err(failure),
            Err(failure) => {
                tell_error(&failure.message, stderr_paint());
                exit = Exit::Failed;
                documents.push(serde_json::json!({ "path": path, "error": failure.message }));
            }
            Ok(report) if args.output == OutputFormat::Json => {
                documents.push(serde_json::json!({
                    "path": path, "summary": report.summary, "findings": report.findings,
                }));
            }
            Ok(report) => print(&text(several.then_some(path.as_path()), &report, stdout_paint())),
        }
    }
    if args.output == OutputFormat::Json {
        print(&format!("{:#}\n", serde_json::json!({ "files": documents })));
    }
    Ok(exit)
}

/// What was found, for people; below its name, where there are several.
fn text(path: Option<&Path>, report: &Report, paint: Paint) -> String {
    let mut text = String::new();
    if let Some(path) = path {
        let _ = writeln!(text, "{}", paint.bold(&printable(&path.display().to_string())));
    }
    let seconds = Duration::from_millis(report.summary.duration_milliseconds).as_secs_f64();
    let _ = writeln!(text, "{}", printable(&format!("{seconds:.1} s; {}", numbers(&report.summary))));
    let findings: Result<Vec<Finding>, _> =
        serde_json::to_value(&report.findings).and_then(serde_json::from_value);
    tables(&mut text, &findings.unwrap_or_default(), paint);
    text
}
