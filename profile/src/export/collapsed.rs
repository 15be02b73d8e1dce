use std::io::{self, BufWriter, Write};

use super::{name, running, stack};
use crate::cpu::{CpuProfile, Frame};
use crate::place::Places;

/// Writes collapsed stacks, as `flamegraph.pl` and inferno read them: `main (server.js:3);render (view.js:7) 17`, from the
/// outermost function to the innermost, with the number of samples. A stack may have several lines. Semicolons and line
/// breaks in names become `:` and spaces.
pub fn collapsed(profile: &CpuProfile, out: impl Write) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    let places = Places::new(profile.frames.iter().map(|frame| &*frame.url));
    let labels: Vec<String> = profile.frames.iter().map(|frame| label(frame, &places)).collect();
    let mut counts = vec![0u32; profile.nodes.len()];
    for &node in &profile.samples {
        counts[node as usize] += 1;
    }
    let mut nodes = Vec::new();
    for (node, count) in (0..).zip(counts) {
        if count == 0 || running(profile, node).is_none() {
            continue;
        }
        nodes.clear();
        nodes.extend(stack(profile, node));
        for (at, &node) in nodes.iter().rev().enumerate() {
            let separator = if at == 0 { "" } else { ";" };
            write!(out, "{separator}{}", labels[profile.nodes[node as usize].frame.index()])?;
        }
        writeln!(out, " {count}")?;
    }
    out.flush()
}

fn label(frame: &Frame, places: &Places) -> String {
    let name = name(frame);
    let label = match (frame.url.is_empty(), frame.line) {
        (true, _) => name.to_owned(),
        (false, None) => format!("{name} ({})", places.short(&frame.url)),
        (false, Some(line)) => format!("{name} ({}:{line})", places.short(&frame.url)),
    };
    label
        .chars()
        .map(|one| {
            if one == ';' {
                ':'
            } else if one.is_control() {
                ' '
            } else {
                one
            }
        })
        .collect()
}
