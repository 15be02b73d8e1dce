//! Heap samplings: V8's `.heapprofile`, as `HeapProfiler.stopSampling` gives it.
//!
//! The format is the Chrome `DevTools` Protocol's type `HeapProfiler.SamplingHeapProfile`: `head`, the call tree of what was
//! allocated (nodes with an `id`, a `callFrame`, `selfSize` in bytes and their `children`), and `samples`.
//!
//! A sampling that keeps what the garbage collector freed grows with all that the app allocates. So a long one comes in
//! chunks, each of its own sampling interval: [`Joiner`] makes one of them.

use std::io::{self, BufWriter, Read, Write};

use crate::error::ReadError;
use crate::json::Json;
use crate::tree::{NONE, Nodes, Tree, TreeLimits, Whole};

/// Two levels of JSON a function, of which V8 notes 128 at most.
const DEEPEST: u32 = 320;

/// How much is joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinLimits {
    /// Bytes of a chunk. More are an error of that chunk.
    pub chunk_bytes: u64,
    /// Nodes of a chunk, each 25 bytes of memory while the chunk is added. More are an error of that chunk.
    pub chunk_nodes: u32,
    /// Nodes of the profile, each up to 60 bytes of memory. From seven eighths of it on, new paths are folded.
    pub nodes: u32,
    /// Functions of the profile, each up to 100 bytes of memory beside its texts. Further ones are folded.
    pub functions: u32,
    /// Bytes of different texts. Functions that need more are folded.
    pub text: u32,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// The chunks.
    pub chunks: u32,
    /// The nodes of the profile.
    pub nodes: u32,
    /// What was allocated: bytes.
    pub allocated: u64,
    /// The bytes of it on paths that aren't kept, below `(folded)`.
    pub folded: u64,
}

/// Joins chunks of one sampling into one profile. Each says how many bytes were allocated in its time, so the profile has the
/// sums; `samples`, which say in which order, are left out. Its memory grows with the tree.
///
/// # Guarantees
/// Whatever the bytes of a chunk: it is added or left out as a whole, within the limits.
pub struct Joiner {
    tree: Tree,
    /// What each node allocated itself, by its number.
    sizes: Vec<u64>,
    limits: JoinLimits,
    joined: Joined,
}

/// The nodes of a chunk, each after its parent.
#[derive(Default)]
struct Draft {
    parents: Vec<u32>,
    frames: Vec<u32>,
    sizes: Vec<u64>,
}

impl Joiner {
    /// Limits below 16 count as that.
    pub fn new(limits: JoinLimits) -> Self {
        let JoinLimits { nodes, functions, text, .. } = limits;
        let tree = Tree::new(TreeLimits { nodes, functions, lines: 0, text });
        Self { tree, sizes: vec![], limits, joined: Joined::default() }
    }

    /// Adds one chunk: a `HeapProfiler.SamplingHeapProfile` as V8 wrote it, not compressed. After an error nothing of it is
    /// kept, and others can be added.
    pub fn add(&mut self, chunk: impl Read) -> Result<(), ReadError> {
        let mark = self.tree.mark();
        let draft = match read(chunk, &self.limits, &mut self.tree) {
            Ok(draft) => draft,
            Err(error) => {
                self.tree.back_to(&mark);
                return Err(error);
            }
        };
        let Draft { parents, frames, sizes } = &draft;
        let nodes = Nodes { parents, frames };
        let order = 0..u32::try_from(parents.len()).expect("nodes are limited");
        let mut folded = 0u64;
        let targets = self.tree.place(&nodes, order, |node| sizes[node], &mut folded);
        self.sizes.resize(self.tree.node_count() as usize, 0);
        for (&target, &size) in targets.iter().zip(sizes) {
            if size > 0 {
                let sum = &mut self.sizes[target as usize];
                *sum = sum.saturating_add(size);
                self.joined.allocated = self.joined.allocated.saturating_add(size);
            }
        }
        self.joined.folded = self.joined.folded.saturating_add(folded);
        self.joined.chunks += 1;
        Ok(())
    }

    /// Writes the one profile.
    pub fn finish(self, out: impl Write) -> io::Result<Joined> {
        let Self { tree, mut sizes, joined, .. } = self;
        let tree = tree.into_whole();
        sizes.resize(tree.nodes.len(), 0);
        let mut out = BufWriter::new(out);
        write(&mut out, &tree, &sizes)?;
        out.flush()?;
        Ok(Joined { nodes: u32::try_from(tree.nodes.len()).expect("nodes are limited"), ..joined })
    }
}

fn read(chunk: impl Read, limits: &JoinLimits, tree: &mut Tree) -> Result<Draft, ReadError> {
    let mut json = Json::new(chunk, limits.chunk_bytes).deep(DEEPEST);
    let mut draft = Draft::default();
    json.object(|json, key| match &**key {
        b"head" if !draft.parents.is_empty() => json.shape("`head` is there twice"),
        b"head" => draft.node(json, limits, tree, NONE),
        _ => json.skip(),
    })?;
    json.end()?;
    if draft.parents.is_empty() {
        return json.shape("`head` is missing");
    }
    Ok(draft)
}

impl Draft {
    fn node<R: Read>(
        &mut self,
        json: &mut Json<R>,
        limits: &JoinLimits,
        tree: &mut Tree,
        parent: u32,
    ) -> Result<(), ReadError> {
        let at = self.parents.len();
        if at >= limits.chunk_nodes as usize {
            let limit = limits.chunk_nodes.into();
            return Err(ReadError::TooLarge { offset: json.offset(), of: "nodes", limit });
        }
        self.parents.push(parent);
        self.frames.push(NONE);
        self.sizes.push(0);
        let mut named = false;
        let own = u32::try_from(at).expect("nodes are limited");
        json.object(|json, key| match &**key {
            b"callFrame" => {
                self.frames[at] = tree.call_frame(json)?;
                named = true;
                Ok(())
            }
            b"selfSize" => match u64::try_from(json.integer()?) {
                Ok(size) => {
                    self.sizes[at] = size;
                    Ok(())
                }
                Err(_) => json.shape("a `selfSize` is negative"),
            },
            b"children" => json.array(|json| self.node(json, limits, tree, own)),
            _ => json.skip(),
        })?;
        if named { Ok(()) } else { json.shape("a node has no callFrame") }
    }
}

/// Writes the tree as V8 does, without going as deep into the stack as it is.
fn write(out: &mut impl Write, tree: &Whole, sizes: &[u64]) -> io::Result<()> {
    let (first_child, next_sibling) = tree.families();
    write!(out, "{{\"head\":")?;
    let mut at = 0;
    'down: loop {
        let node = &tree.nodes[at as usize];
        write!(out, "{{")?;
        tree.call_frame(out, node)?;
        write!(out, ",\"selfSize\":{},\"id\":{},\"children\":[", sizes[at as usize], at + 1)?;
        if first_child[at as usize] != NONE {
            at = first_child[at as usize];
            continue;
        }
        loop {
            write!(out, "]}}")?;
            if next_sibling[at as usize] != NONE {
                write!(out, ",")?;
                at = next_sibling[at as usize];
                continue 'down;
            }
            at = tree.nodes[at as usize].parent;
            if at == NONE {
                return write!(out, ",\"samples\":[]}}");
            }
        }
    }
}

#[cfg(test)]
mod tests;
