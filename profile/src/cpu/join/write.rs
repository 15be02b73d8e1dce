//! The one profile, in V8's shape and order.

use std::io::{self, Read, Seek, Write};

use super::JoinError;
use super::scratch::Scratch;
use crate::tree::{NONE, Whole};

pub(super) fn nodes(out: &mut impl Write, tree: &Whole) -> io::Result<()> {
    let (first_child, next_sibling) = tree.families();
    let mut lines = tree.lines.as_slice();
    write!(out, "{{\"nodes\":[")?;
    for (number, node) in (0u32..).zip(&tree.nodes) {
        write!(out, "{}{{\"id\":{},", comma(number == 0), number + 1)?;
        tree.call_frame(out, node)?;
        write!(out, ",\"hitCount\":{}", node.hits)?;
        let mut child = first_child[number as usize];
        if child != NONE {
            write!(out, ",\"children\":[{}", child + 1)?;
            child = next_sibling[child as usize];
            while child != NONE {
                write!(out, ",{}", child + 1)?;
                child = next_sibling[child as usize];
            }
            write!(out, "]")?;
        }
        if let Some(&reason) = tree.reasons.get(&number) {
            write!(out, ",\"deoptReason\":\"{}\"", tree.text(reason))?;
        }
        let count = lines.iter().take_while(|line| line.node == number).count();
        if count > 0 {
            write!(out, ",\"positionTicks\":[")?;
            for (at, line) in lines[..count].iter().enumerate() {
                write!(out, r#"{}{{"line":{},"ticks":{}}}"#, comma(at == 0), line.line, line.ticks)?;
            }
            write!(out, "]")?;
            lines = &lines[count..];
        }
        write!(out, "}}")?;
    }
    write!(out, "]")
}

fn comma(first: bool) -> &'static str {
    if first { "" } else { "," }
}

/// Which of the samples are written: `most` groups of neighbours, of which each becomes one sample. That takes the time
/// of them all, and is one of them, drawn by how long each lasted: so each function keeps its share of time, but for
/// chance.
pub(super) struct Thinning {
    samples: u64,
    most: u64,
}

impl Thinning {
    /// Neither number is above 2^32.
    pub(super) fn new(samples: u64, most: u64) -> Self {
        Self { samples, most: most.clamp(1, samples.max(1)) }
    }

    /// How many are written.
    pub(super) fn written(&self) -> u64 {
        self.most.min(self.samples)
    }

    fn group(&self, sample: u64) -> u64 {
        sample * self.most / self.samples
    }

    fn begins_group(&self, sample: u64) -> bool {
        sample == 0 || self.group(sample) != self.group(sample - 1)
    }

    /// Writes the array of nodes. `last` is how long the last sample lasts.
    pub(super) fn samples<File: Read + Write + Seek>(
        &self,
        out: &mut impl Write,
        scratch: &mut Scratch<File>,
        last: u64,
    ) -> Result<(), JoinError> {
        let mut reading = scratch.read().map_err(JoinError::reading)?;
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut next = reading.next().map_err(JoinError::reading)?;
        let (mut drawn, mut time) = (next.node, 0);
        write!(out, "[").map_err(JoinError::writing)?;
        for number in 0..self.samples {
            let node = next.node;
            let lasts = if number + 1 < self.samples {
                next = reading.next().map_err(JoinError::reading)?;
                next.delta
            } else {
                last
            };
            if self.begins_group(number) {
                (drawn, time) = (node, 0);
            }
            time += lasts;
            if lasts > 0 && random.below(time) < lasts {
                drawn = node;
            }
            if number + 1 == self.samples || self.begins_group(number + 1) {
                let comma = comma(self.group(number) == 0);
                write!(out, "{comma}{}", drawn + 1).map_err(JoinError::writing)?;
            }
        }
        write!(out, "]").map_err(JoinError::writing)
    }

    /// Writes the array of times since the sample before.
    pub(super) fn deltas<File: Read + Write + Seek>(
        &self,
        out: &mut impl Write,
        scratch: &mut Scratch<File>,
    ) -> Result<(), JoinError> {
        let mut reading = scratch.read().map_err(JoinError::reading)?;
        let mut delta = 0;
        write!(out, "[").map_err(JoinError::writing)?;
        for number in 0..self.samples {
            delta += reading.next().map_err(JoinError::reading)?.delta;
            if self.begins_group(number) {
                let delta = std::mem::take(&mut delta);
                write!(out, "{}{delta}", comma(number == 0)).map_err(JoinError::writing)?;
            }
        }
        write!(out, "]").map_err(JoinError::writing)
    }
}

/// Marsaglia's xorshift: the same in every run, so that the same chunks give the same profile.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
