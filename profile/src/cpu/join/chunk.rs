//! One chunk, as V8 wrote it.

use std::io::Read;

use super::JoinLimits;
use crate::cpu::profile::{Link, Shape};
use crate::cpu::read::{Sampled, id, parts, too_large};
use crate::error::ReadError;
use crate::json::Json;
use crate::tree::Tree;

/// 71 years in microseconds. The difference of two such times is a number that every reader takes.
const LATEST: i64 = 1 << 51;

/// A chunk that is consistent. Its nodes are numbered as they come.
pub(super) struct Chunk {
    /// The index of each node's parent; [`NONE`](crate::tree::NONE) for a root.
    pub(super) parents: Vec<u32>,
    /// All nodes, each after its parent.
    pub(super) order: Vec<u32>,
    /// Each node's function, as its number in the tree of all chunks.
    pub(super) frames: Vec<u32>,
    /// `positionTicks`, those of one node side by side.
    pub(super) lines: Vec<Ticks>,
    /// `deoptReason`: nodes and numbers of texts.
    pub(super) reasons: Vec<(u32, u32)>,
    pub(super) sampled: Sampled,
}

#[derive(Clone, Copy)]
pub(super) struct Ticks {
    pub(super) node: u32,
    pub(super) line: u32,
    pub(super) count: u32,
}

/// Nodes as they are read.
#[derive(Default)]
struct Draft {
    ids: Vec<u32>,
    frames: Vec<u32>,
    links: Vec<Link>,
    lines: Vec<Ticks>,
    reasons: Vec<(u32, u32)>,
}

/// Reads a chunk. Its texts and functions go to `tree`.
pub(super) fn read(reader: impl Read, limits: &JoinLimits, tree: &mut Tree) -> Result<Chunk, ReadError> {
    let mut json = Json::new(reader, limits.chunk_bytes);
    let mut draft = Draft::default();
    let parts = parts(&mut json, limits.chunk_samples, |json| draft.node(json, limits, tree))?;
    let Draft { ids, frames, links, lines, reasons } = draft;
    let Shape { index, parents, order } =
        Shape::new(&ids, links).map_err(|problem| parts.nodes_problem(problem))?;
    drop(ids);
    let sampled = parts.sampled(&index)?;
    let ends = [sampled.times.first(), sampled.times.last(), Some(&sampled.end)];
    if ends.into_iter().flatten().any(|at| at.abs() > LATEST) {
        return json.shape("its times are out of range");
    }
    Ok(Chunk { parents, order, frames, lines, reasons, sampled })
}

impl Draft {
    fn node<R: Read>(
        &mut self,
        json: &mut Json<R>,
        limits: &JoinLimits,
        tree: &mut Tree,
    ) -> Result<(), ReadError> {
        let of = u32::try_from(self.ids.len()).expect("nodes are limited");
        if of >= limits.chunk_nodes {
            return Err(too_large(json, "nodes", limits.chunk_nodes));
        }
        let (mut own_id, mut frame) = (None, None);
        json.object(|json, key| match &**key {
            b"id" => {
                own_id = Some(id(json)?);
                Ok(())
            }
            b"callFrame" => {
                frame = Some(tree.call_frame(json)?);
                Ok(())
            }
            b"children" => json.array(|json| self.link(json, limits, |id| Link::Child { of, id })),
            b"parent" => self.link(json, limits, |id| Link::Parent { of, id }),
            b"positionTicks" => json.array(|json| self.ticks(json, limits, of)),
            b"deoptReason" => {
                if let Some(text) = tree.text(json.raw_text()?)
                    && self.reasons.last().is_none_or(|&(node, _)| node != of)
                {
                    self.reasons.push((of, text));
                }
                Ok(())
            }
            _ => json.skip(),
        })?;
        let Some(own_id) = own_id else { return json.shape("a node has no id") };
        let Some(frame) = frame else { return json.shape("a node has no callFrame") };
        self.ids.push(own_id);
        self.frames.push(frame);
        Ok(())
    }

    fn link<R: Read>(
        &mut self,
        json: &mut Json<R>,
        limits: &JoinLimits,
        link: impl Fn(u32) -> Link,
    ) -> Result<(), ReadError> {
        // Every node but a root is named by its parent or names it, and may do both.
        if self.links.len() / 2 >= limits.chunk_nodes as usize {
            return Err(too_large(json, "nodes", limits.chunk_nodes));
        }
        self.links.push(link(id(json)?));
        Ok(())
    }

    fn ticks<R: Read>(
        &mut self,
        json: &mut Json<R>,
        limits: &JoinLimits,
        node: u32,
    ) -> Result<(), ReadError> {
        let (mut line, mut count) = (0, 0);
        json.object(|json, key| {
            match &**key {
                b"line" => line = json.integer()?,
                b"ticks" => count = json.integer()?,
                _ => json.skip()?,
            }
            Ok(())
        })?;
        let (Ok(line), Ok(count)) = (u32::try_from(line), u32::try_from(count)) else {
            return json.shape("a number in `positionTicks` is out of range");
        };
        // Each tick is that of a sample.
        if self.lines.len() >= limits.chunk_samples as usize {
            return Err(too_large(json, "lines", limits.chunk_samples));
        }
        self.lines.push(Ticks { node, line, count });
        Ok(())
    }
}
