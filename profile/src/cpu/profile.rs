//! What a CPU profile holds, put in order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::tree::NONE;

/// A CPU profile that is consistent: its nodes form trees, and its samples are in the order of time.
#[derive(Clone, Debug, Default)]
pub struct CpuProfile {
    /// The functions, each once.
    pub frames: Vec<Frame>,
    /// The call trees: each node after its parent, and all that is below a node right behind it.
    pub nodes: Vec<Node>,
    /// Which node each sample found running, as its index.
    pub samples: Vec<u32>,
    /// When each sample was taken: microseconds of a monotonic clock, in ascending order.
    pub times: Vec<i64>,
    /// When the recording ended, on the same clock.
    pub end: i64,
}

/// The index of a frame in [`CpuProfile::frames`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrameId(pub u32);

impl FrameId {
    /// As an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A node of the call trees: a function, called by that of its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// The function.
    pub frame: FrameId,
    /// The index of the caller's node, smaller than this one's.
    pub parent: Option<u32>,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// What it is.
    pub kind: FrameKind,
    /// Its name as V8 says it; empty where it has none. At most 1024 bytes, as all that an app says.
    pub name: Arc<str>,
    /// The script; empty for code that comes from none.
    pub url: Arc<str>,
    /// The line on which it begins, from 1.
    pub line: Option<u32>,
    /// The column at which it begins, from 1.
    pub column: Option<u32>,
}

/// What a frame stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrameKind {
    /// The root of the call tree.
    Root,
    /// Nothing ran.
    Idle,
    /// Native code with no JavaScript on the stack.
    Program,
    /// V8's garbage collector.
    GarbageCollector,
    /// Nothing was recorded: a gap between joined chunks.
    NotRecorded,
    /// A function of JavaScript.
    Function,
    /// The code of a module outside its functions.
    Module,
    /// A function of Node's or V8's native code.
    Native,
}

/// Nodes as they are read, in the order of the file and by V8's ids.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) frames: Frames,
    pub(super) ids: Vec<u32>,
    pub(super) frame_of: Vec<FrameId>,
    /// The id of a child and the index of the node that names it, or that of a node that names its parent's id.
    pub(super) links: Vec<Link>,
}

#[derive(Clone, Copy)]
pub(super) enum Link {
    Child { of: u32, id: u32 },
    Parent { of: u32, id: u32 },
}

/// Functions by what tells them apart.
#[derive(Default)]
pub(super) struct Frames {
    texts: HashSet<Arc<str>>,
    pub(super) text_bytes: u64,
    ids: HashMap<Frame, FrameId>,
    pub(super) distinct: Vec<Frame>,
}

impl Frames {
    /// Keeps a text once.
    pub(super) fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.text_bytes += text.len() as u64;
        self.texts.insert(Arc::clone(&text));
        text
    }

    pub(super) fn frame(&mut self, frame: Frame) -> FrameId {
        if let Some(&id) = self.ids.get(&frame) {
            return id;
        }
        let id = FrameId(
            u32::try_from(self.distinct.len()).expect("no more frames than nodes, which are limited"),
        );
        self.distinct.push(frame.clone());
        self.ids.insert(frame, id);
        id
    }
}

/// Where each id is: ids in ascending order, with the index of their node.
pub(super) struct Index(Vec<(u32, u32)>);

impl Index {
    fn new(ids: &[u32]) -> Result<Self, String> {
        let mut index: Vec<(u32, u32)> = ids.iter().copied().zip(0..).collect();
        index.sort_unstable();
        match index.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(format!("two nodes have the id {}", pair[0].0)),
            None => Ok(Self(index)),
        }
    }

    pub(super) fn get(&self, id: u32) -> Option<u32> {
        // V8 counts from 1 without gaps, where no search is needed.
        let guess = id.checked_sub(1).and_then(|at| self.0.get(at as usize));
        if let Some(&(found, index)) = guess
            && found == id
        {
            return Some(index);
        }
        self.0.binary_search_by_key(&id, |&(id, _)| id).ok().map(|at| self.0[at].1)
    }
}

/// How nodes hang together.
pub(super) struct Shape {
    pub(super) index: Index,
    /// The index of each node's parent; [`NONE`] for a root.
    pub(super) parents: Vec<u32>,
    /// All nodes' indices, each after its parent.
    pub(super) order: Vec<u32>,
}

impl Shape {
    /// An error says which ids contradict each other.
    pub(super) fn new(ids: &[u32], links: Vec<Link>) -> Result<Self, String> {
        let index = Index::new(ids)?;
        let parents = parents(ids, &index, links)?;
        let order = preorder(&parents);
        if order.len() < ids.len() {
            let reached: HashSet<u32> = order.iter().copied().collect();
            let lost = (0..).zip(ids).find(|(at, _)| !reached.contains(at)).map_or(0, |(_, &id)| id);
            return Err(format!("node {lost} is its own caller, or below one that is"));
        }
        Ok(Self { index, parents, order })
    }
}

/// The call trees of a draft: frames, nodes, and where the node of each id is.
pub(super) struct Trees {
    pub(super) frames: Vec<Frame>,
    pub(super) nodes: Vec<Node>,
    pub(super) index: Index,
}

impl Draft {
    /// Puts the nodes in the order of [`CpuProfile::nodes`]. An error says which ids contradict each other.
    pub(super) fn into_trees(self) -> Result<Trees, String> {
        let Self { frames, ids, frame_of, links } = self;
        let Shape { mut index, parents, order } = Shape::new(&ids, links)?;
        let mut place = vec![0; order.len()];
        for (to, &from) in (0..).zip(&order) {
            place[from as usize] = to;
        }
        let nodes = order
            .iter()
            .map(|&from| {
                let parent = parents[from as usize];
                Node {
                    frame: frame_of[from as usize],
                    parent: (parent != NONE).then(|| place[parent as usize]),
                }
            })
            .collect();
        for (_, at) in &mut index.0 {
            *at = place[*at as usize];
        }
        Ok(Trees { frames: frames.distinct, nodes, index })
    }
}

/// The index of each node's parent.
fn parents(ids: &[u32], index: &Index, links: Vec<Link>) -> Result<Vec<u32>, String> {
    let mut parents = vec![NONE; ids.len()];
    for link in links {
        let (child, parent) = match link {
            Link::Child { of, id } => (index.get(id).ok_or((of, id)), Ok(of)),
            Link::Parent { of, id } => (Ok(of), index.get(id).ok_or((of, id))),
        };
        let missing =
            |(of, id): (u32, u32)| format!("node {} names node {id}, which is missing", ids[of as usize]);
        let (child, parent) = (child.map_err(missing)?, parent.map_err(missing)?);
        let known = &mut parents[child as usize];
        // A file may tell both ways, if it tells the same.
        if *known != NONE && *known != parent {
            return Err(format!("node {} has two callers", ids[child as usize]));
        }
        *known = parent;
    }
    Ok(parents)
}

/// All nodes that lie below one without parent, each after its parent, siblings in the order of the file.
fn preorder(parents: &[u32]) -> Vec<u32> {
    let count = u32::try_from(parents.len()).expect("nodes are limited");
    let mut first_child = vec![NONE; parents.len()];
    let mut next_sibling = vec![NONE; parents.len()];
    let mut first_root = NONE;
    for node in (0..count).rev() {
        let first = match parents[node as usize] {
            NONE => &mut first_root,
            parent => &mut first_child[parent as usize],
        };
        next_sibling[node as usize] = std::mem::replace(first, node);
    }
    let mut order = Vec::with_capacity(parents.len());
    let mut node = first_root;
    while node != NONE {
        order.push(node);
        let mut next = first_child[node as usize];
        // Without children: the next sibling, else that of the nearest ancestor that has one.
        while next == NONE && node != NONE {
            next = next_sibling[node as usize];
            node = parents[node as usize];
        }
        node = next;
    }
    order
}
