//! The call tree of a recording that came in chunks: nodes are one where their path is, the same `callFrame`s from the root
//! on. Texts stay as V8 wrote them, lone surrogates too, but for their length.

mod table;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use crate::error::ReadError;
use crate::json::Json;
use table::Table;

/// No node.
pub(crate) const NONE: u32 = u32::MAX;
/// The `functionName` of time that no chunk covers.
pub(crate) const NOT_RECORDED: &str = "(not recorded)";

/// The node that is all others' ancestor.
pub(crate) const ROOT: u32 = 0;
/// The frame of [`ROOT`].
pub(crate) const ROOT_FRAME: u32 = 0;
const NOT_RECORDED_FRAME: u32 = 1;
const FOLDED_FRAME: u32 = 2;
/// A function that passed a limit.
pub(crate) const UNKNOWN_FRAME: u32 = u32::MAX;

/// A `callFrame`: its texts by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CallFrame {
    pub(crate) name: u32,
    pub(crate) script: u32,
    pub(crate) url: u32,
    pub(crate) line: i32,
    pub(crate) column: i32,
}

/// A text within all texts.
struct Span {
    start: u32,
    length: u16,
}

pub(crate) struct Node {
    pub(crate) parent: u32,
    pub(crate) frame: u32,
    pub(crate) hits: u32,
}

/// A line of a node's `positionTicks`.
pub(crate) struct LineTicks {
    pub(crate) node: u32,
    pub(crate) line: u32,
    pub(crate) ticks: u32,
}

/// All nodes by their path, each after its parent, with what they name. Numbers count from 0.
pub(crate) struct Tree {
    texts: String,
    spans: Table<Span>,
    frames: Table<CallFrame>,
    nodes: Table<Node>,
    lines: Table<LineTicks>,
    /// `deoptReason`, by node.
    reasons: BTreeMap<u32, u32>,
    limits: TreeLimits,
}

/// How much a tree holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TreeLimits {
    /// Nodes. From seven eighths of it on, new paths are folded.
    pub(crate) nodes: u32,
    /// Functions. Further ones are folded.
    pub(crate) functions: u32,
    /// Lines of `positionTicks`.
    pub(crate) lines: u32,
    /// Bytes of different texts.
    pub(crate) text: u32,
}

/// The nodes of one chunk, by their numbers in it.
pub(crate) struct Nodes<'chunk> {
    /// The parent of each; [`NONE`] for a root.
    pub(crate) parents: &'chunk [u32],
    /// The function of each, by its number in the tree.
    pub(crate) frames: &'chunk [u32],
}

/// How much a tree held.
pub(crate) struct Mark {
    texts: usize,
    spans: u32,
    frames: u32,
    nodes: u32,
}

impl Tree {
    /// Limits below 16 count as that.
    pub(crate) fn new(limits: TreeLimits) -> Self {
        let limits = TreeLimits {
            nodes: limits.nodes.max(16),
            functions: limits.functions.max(16),
            text: limits.text.min(1 << 31),
            ..limits
        };
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
    pub(crate) fn text(&mut self, text: &str) -> Option<u32> {
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
    pub(crate) fn frame(&mut self, frame: CallFrame) -> u32 {
        let known = self.frames.find(&frame, |frame| *frame);
        known.unwrap_or_else(|| {
            if self.frames.len() < self.limits.functions {
                self.frames.push(frame, |frame| *frame)
            } else {
                UNKNOWN_FRAME
            }
        })
    }

    /// Reads a `callFrame`, and gives its function's number.
    pub(crate) fn call_frame<R: Read>(&mut self, json: &mut Json<R>) -> Result<u32, ReadError> {
        let (mut name, mut script, mut url) = (None, self.text("0"), self.text(""));
        let (mut line, mut column) = (-1, -1);
        json.object(|json, key| {
            match &**key {
                b"functionName" => name = Some(self.text(json.raw_text()?)),
                b"scriptId" => script = self.text(json.raw_text()?),
                b"url" => url = self.text(json.raw_text()?),
                b"lineNumber" => line = place(json)?,
                b"columnNumber" => column = place(json)?,
                _ => json.skip()?,
            }
            Ok(())
        })?;
        let Some(name) = name else { return json.shape("a callFrame has no functionName") };
        Ok(match (name, script, url) {
            (Some(name), Some(script), Some(url)) => {
                self.frame(CallFrame { name, script, url, line, column })
            }
            _ => UNKNOWN_FRAME,
        })
    }

    /// Gives, for each node of a chunk that weighs something, the node that it goes to; `order` has each after its parent.
    /// `folded` grows by the weight of those whose paths aren't kept.
    pub(crate) fn place(
        &mut self,
        chunk: &Nodes<'_>,
        order: impl DoubleEndedIterator<Item = u32> + Clone,
        weight: impl Fn(usize) -> u64,
        folded: &mut u64,
    ) -> Vec<u32> {
        let mut needed: Vec<bool> = (0..chunk.parents.len()).map(|node| weight(node) > 0).collect();
        for node in order.clone().rev() {
            let parent = chunk.parents[node as usize];
            if needed[node as usize] && parent != NONE {
                needed[parent as usize] = true;
            }
        }
        let mut paths = vec![NONE; needed.len()];
        let mut targets = vec![NONE; needed.len()];
        for node in order {
            let at = node as usize;
            if !needed[at] {
                continue;
            }
            let frame = chunk.frames[at];
            let path = match chunk.parents[at] {
                NONE if frame == ROOT_FRAME => Some(ROOT),
                _ if frame == UNKNOWN_FRAME => None,
                // V8 has one root. What another file has beside it is called by that.
                NONE => self.child(ROOT, frame),
                parent if paths[parent as usize] == NONE => None,
                parent => self.child(paths[parent as usize], frame),
            };
            paths[at] = path.unwrap_or(NONE);
            if weight(at) > 0 {
                targets[at] = path.unwrap_or_else(|| {
                    *folded += weight(at);
                    self.folded(frame)
                });
            }
        }
        targets
    }

    /// How many nodes there are.
    pub(crate) fn node_count(&self) -> u32 {
        self.nodes.len()
    }

    /// The node of a function below another. `None`: it isn't there yet, and the limit is reached.
    pub(crate) fn child(&mut self, parent: u32, frame: u32) -> Option<u32> {
        // The rest is for folded nodes.
        self.below(parent, frame, self.limits.nodes - self.limits.nodes / 8)
    }

    /// The node for a function whose path isn't kept: one below `(folded)`, or that itself.
    pub(crate) fn folded(&mut self, frame: u32) -> u32 {
        let folded = self.own(FOLDED_FRAME);
        let child = (frame != UNKNOWN_FRAME).then(|| self.below(folded, frame, self.limits.nodes)).flatten();
        child.unwrap_or(folded)
    }

    /// Whether a node is that for functions that aren't known.
    pub(crate) fn is_folded(&self, node: u32) -> bool {
        self.nodes.entries[node as usize].frame == FOLDED_FRAME
    }

    /// The node for the time in which nothing was recorded.
    pub(crate) fn not_recorded(&mut self) -> u32 {
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
    pub(crate) fn hit(&mut self, node: u32, count: u32) {
        let hits = &mut self.nodes.entries[node as usize].hits;
        *hits = hits.saturating_add(count);
    }

    /// Adds to a line of a node's `positionTicks`. `false`: it isn't there yet, and the limit is reached.
    pub(crate) fn tick(&mut self, node: u32, line: u32, ticks: u32) -> bool {
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
    pub(crate) fn reason(&mut self, node: u32, text: u32) {
        self.reasons.entry(node).or_insert(text);
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            texts: self.texts.len(),
            spans: self.spans.len(),
            frames: self.frames.len(),
            nodes: self.nodes.len(),
        }
    }

    /// Forgets what came after a mark, if that are only texts, functions and nodes.
    pub(crate) fn back_to(&mut self, mark: &Mark) {
        self.spans.truncate(mark.spans, |span| slice(&self.texts, span));
        self.texts.truncate(mark.texts);
        self.frames.truncate(mark.frames, |frame| *frame);
        self.nodes.truncate(mark.nodes, path);
    }

    /// What is to be written. What only finding needs is let go.
    pub(crate) fn into_whole(self) -> Whole {
        let Self { texts, spans, frames, nodes, lines, reasons, .. } = self;
        let (spans, mut lines) = (spans.entries, lines.entries);
        lines.sort_unstable_by_key(|line| (line.node, line.line));
        Whole { texts, spans, frames: frames.entries, nodes: nodes.entries, lines, reasons }
    }
}

/// A tree to which nothing is added.
pub(crate) struct Whole {
    texts: String,
    spans: Vec<Span>,
    frames: Vec<CallFrame>,
    pub(crate) nodes: Vec<Node>,
    /// By node, then line.
    pub(crate) lines: Vec<LineTicks>,
    pub(crate) reasons: BTreeMap<u32, u32>,
}

impl Whole {
    /// Each node's first child and next sibling; [`NONE`] where there is none.
    pub(crate) fn families(&self) -> (Vec<u32>, Vec<u32>) {
        let mut first_child = vec![NONE; self.nodes.len()];
        let mut next_sibling = vec![NONE; self.nodes.len()];
        let mut number = u32::try_from(self.nodes.len()).expect("nodes are limited");
        for node in self.nodes.iter().rev() {
            number -= 1;
            if node.parent != NONE {
                next_sibling[number as usize] =
                    std::mem::replace(&mut first_child[node.parent as usize], number);
            }
        }
        (first_child, next_sibling)
    }

    /// Writes a node's `callFrame`.
    pub(crate) fn call_frame(&self, out: &mut impl Write, node: &Node) -> io::Result<()> {
        let CallFrame { name, script, url, line, column } = self.frames[node.frame as usize];
        let (name, script, url) = (self.text(name), self.text(script), self.text(url));
        write!(
            out,
            r#""callFrame":{{"functionName":"{name}","scriptId":"{script}","url":"{url}","lineNumber":{line},"columnNumber":{column}}}"#
        )
    }

    /// A text as V8 wrote it between quotes.
    pub(crate) fn text(&self, number: u32) -> &str {
        slice(&self.texts, &self.spans[number as usize])
    }
}

fn slice<'texts>(texts: &'texts str, span: &Span) -> &'texts str {
    &texts[span.start as usize..][..usize::from(span.length)]
}

fn path(node: &Node) -> (u32, u32) {
    (node.parent, node.frame)
}

fn place<R: Read>(json: &mut Json<R>) -> Result<i32, ReadError> {
    match i32::try_from(json.integer()?) {
        Ok(number) => Ok(number),
        Err(_) => json.shape("a line or column is out of range"),
    }
}
