//! The call tree of all chunks.

use std::collections::BTreeMap;

use super::table::Table;
use super::{JoinLimits, NOT_RECORDED};
use crate::cpu::profile::NONE;

/// The node that is all others' ancestor.
pub(super) const ROOT: u32 = 0;
/// The frame of [`ROOT`].
pub(super) const ROOT_FRAME: u32 = 0;
const NOT_RECORDED_FRAME: u32 = 1;
const FOLDED_FRAME: u32 = 2;
/// A function that passed a limit.
pub(super) const UNKNOWN_FRAME: u32 = u32::MAX;

/// A `callFrame`: its texts by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct CallFrame {
    pub(super) name: u32,
    pub(super) script: u32,
    pub(super) url: u32,
    pub(super) line: i32,
    pub(super) column: i32,
}

/// A text within all texts.
struct Span {
    start: u32,
    length: u16,
}

pub(super) struct Node {
    pub(super) parent: u32,
    pub(super) frame: u32,
    pub(super) hits: u32,
}

/// A line of a node's `positionTicks`.
pub(super) struct LineTicks {
    pub(super) node: u32,
    pub(super) line: u32,
    pub(super) ticks: u32,
}

/// All nodes by their path, each after its parent, with what they name. Numbers count from 0.
pub(super) struct Tree {
    texts: String,
    spans: Table<Span>,
    frames: Table<CallFrame>,
    nodes: Table<Node>,
    lines: Table<LineTicks>,
    /// `deoptReason`, by node.
    reasons: BTreeMap<u32, u32>,
    limits: JoinLimits,
}

/// How much a tree held.
pub(super) struct Mark {
    texts: usize,
    spans: u32,
    frames: u32,
    nodes: u32,
}

impl Tree {
    pub(super) fn new(limits: JoinLimits) -> Self {
        let mut tree = Self {
            texts: String::new(),
            spans: Table::new(),
            frames: Table::new(),
            nodes: Table::new(),
            lines: Table::new(),
            reasons: BTreeMap::new(),
            limits,
        };
        let (script, url) = (tree.add_text("0"), tree.add_text(""));
        // In the order of their constants.
        for name in ["(root)", NOT_RECORDED, "(folded)"] {
            let name = tree.add_text(name);
            tree.frames.push(CallFrame { name, script, url, line: -1, column: -1 }, |frame| *frame);
        }
        tree.add_node(NONE, ROOT_FRAME);
        tree
    }

    /// The number of a text. `None`: the limit is reached.
    pub(super) fn text(&mut self, text: &str) -> Option<u32> {
        let known = self.spans.find(&text, |span| slice(&self.texts, span));
        known.or_else(|| {
            let fits = self.texts.len() + text.len() <= self.limits.text as usize
                && self.spans.len() < self.limits.functions.saturating_mul(3);
            fits.then(|| self.add_text(text))
        })
    }

    fn add_text(&mut self, text: &str) -> u32 {
        let start = u32::try_from(self.texts.len()).expect("texts are limited");
        self.texts.push_str(text);
        let length = u16::try_from(text.len()).expect("texts are cut");
        self.spans.push(Span { start, length }, |span| slice(&self.texts, span))
    }

    /// The number of a function, or [`UNKNOWN_FRAME`] where the limit is reached.
    pub(super) fn frame(&mut self, frame: CallFrame) -> u32 {
        let known = self.frames.find(&frame, |frame| *frame);
        known.unwrap_or_else(|| {
            if self.frames.len() < self.limits.functions {
                self.frames.push(frame, |frame| *frame)
            } else {
                UNKNOWN_FRAME
            }
        })
    }

    /// The node of a function below another. `None`: it isn't there yet, and the limit is reached.
    pub(super) fn child(&mut self, parent: u32, frame: u32) -> Option<u32> {
        // The rest is for folded nodes.
        self.below(parent, frame, self.limits.nodes - self.limits.nodes / 8)
    }

    /// The node for a function whose path isn't kept: one below `(folded)`, or that itself.
    pub(super) fn folded(&mut self, frame: u32) -> u32 {
        let folded = self.own(FOLDED_FRAME);
        let child = (frame != UNKNOWN_FRAME).then(|| self.below(folded, frame, self.limits.nodes)).flatten();
        child.unwrap_or(folded)
    }

    /// Whether a node is that for functions that aren't known.
    pub(super) fn is_folded(&self, node: u32) -> bool {
        self.nodes.entries[node as usize].frame == FOLDED_FRAME
    }

    /// The node for the time in which nothing was recorded.
    pub(super) fn not_recorded(&mut self) -> u32 {
        self.own(NOT_RECORDED_FRAME)
    }

    fn own(&mut self, frame: u32) -> u32 {
        let known = self.nodes.find(&(ROOT, frame), path);
        known.unwrap_or_else(|| self.add_node(ROOT, frame))
    }

    fn below(&mut self, parent: u32, frame: u32, most: u32) -> Option<u32> {
        let known = self.nodes.find(&(parent, frame), path);
        known.or_else(|| (self.nodes.len() < most).then(|| self.add_node(parent, frame)))
    }

    fn add_node(&mut self, parent: u32, frame: u32) -> u32 {
        self.nodes.push(Node { parent, frame, hits: 0 }, path)
    }

    /// Adds to a node's `hitCount`.
    pub(super) fn hit(&mut self, node: u32, count: u32) {
        let hits = &mut self.nodes.entries[node as usize].hits;
        *hits = hits.saturating_add(count);
    }

    /// Adds to a line of a node's `positionTicks`. `false`: it isn't there yet, and the limit is reached.
    pub(super) fn tick(&mut self, node: u32, line: u32, ticks: u32) -> bool {
        let key = |line: &LineTicks| (line.node, line.line);
        if let Some(known) = self.lines.find(&(node, line), key) {
            let sum = &mut self.lines.entries[known as usize].ticks;
            *sum = sum.saturating_add(ticks);
        } else if self.lines.len() < self.limits.lines {
            self.lines.push(LineTicks { node, line, ticks }, key);
        } else {
            return false;
        }
        true
    }

    /// Keeps a node's first `deoptReason`.
    pub(super) fn reason(&mut self, node: u32, text: u32) {
        self.reasons.entry(node).or_insert(text);
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            texts: self.texts.len(),
            spans: self.spans.len(),
            frames: self.frames.len(),
            nodes: self.nodes.len(),
        }
    }

    /// Forgets what came after a mark, if that are only texts, functions and nodes.
    pub(super) fn back_to(&mut self, mark: &Mark) {
        self.spans.truncate(mark.spans, |span| slice(&self.texts, span));
        self.texts.truncate(mark.texts);
        self.frames.truncate(mark.frames, |frame| *frame);
        self.nodes.truncate(mark.nodes, path);
    }

    /// What is to be written. What only finding needs is let go.
    pub(super) fn into_whole(self) -> Whole {
        let Self { texts, spans, frames, nodes, lines, reasons, .. } = self;
        let (spans, mut lines) = (spans.entries, lines.entries);
        lines.sort_unstable_by_key(|line| (line.node, line.line));
        Whole { texts, spans, frames: frames.entries, nodes: nodes.entries, lines, reasons }
    }
}

/// A tree to which nothing is added.
pub(super) struct Whole {
    texts: String,
    spans: Vec<Span>,
    pub(super) frames: Vec<CallFrame>,
    pub(super) nodes: Vec<Node>,
    /// By node, then line.
    pub(super) lines: Vec<LineTicks>,
    pub(super) reasons: BTreeMap<u32, u32>,
}

impl Whole {
    /// A text as V8 wrote it between quotes.
    pub(super) fn text(&self, number: u32) -> &str {
        slice(&self.texts, &self.spans[number as usize])
    }
}

fn slice<'texts>(texts: &'texts str, span: &Span) -> &'texts str {
    &texts[span.start as usize..][..usize::from(span.length)]
}

fn path(node: &Node) -> (u32, u32) {
    (node.parent, node.frame)
}
