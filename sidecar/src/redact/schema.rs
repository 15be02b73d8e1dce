//! What the columns of a snapshot's sections mean, by their names in `snapshot.meta`.

use super::{LOOSE, STRICT, TEXT};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Number,
    /// The row's type, which says what its name is.
    Type,
    /// The index of a string, where the row's type says so.
    Name,
}

/// The columns of each section, and how each type uses its name: not at all, or as one of the bits.
#[derive(Clone, Debug, Default)]
pub(super) struct Schema {
    pub(super) nodes: Vec<Column>,
    pub(super) edges: Vec<Column>,
    pub(super) functions: Vec<Column>,
    pub(super) node_types: Vec<Option<u8>>,
    pub(super) edge_types: Vec<Option<u8>>,
    /// Rows of `trace_function_infos` have no type: all are of the first.
    pub(super) function_types: Vec<Option<u8>>,
}

#[derive(Deserialize, Serialize)]
struct Header {
    meta: Meta,
    /// Counts.
    #[serde(flatten)]
    numbers: BTreeMap<String, u64>,
}

#[derive(Deserialize, Serialize)]
struct Meta {
    node_fields: Vec<String>,
    node_types: Vec<Value>,
    edge_fields: Vec<String>,
    edge_types: Vec<Value>,
    #[serde(default)]
    trace_function_info_fields: Vec<String>,
    #[serde(flatten)]
    others: BTreeMap<String, Vec<Value>>,
}

impl Schema {
    /// Reads the `snapshot` member, and gives it as it is to be written: nothing but what was understood.
    pub(super) fn read(text: &[u8]) -> Option<(Self, String)> {
        let header: Header = serde_json::from_slice(text).ok()?;
        let meta = &header.meta;
        let types =
            |all: &[Value]| -> Option<Vec<String>> { serde_json::from_value(all.first()?.clone()).ok() };
        let schema = Self {
            nodes: columns(&meta.node_fields, &["name"])?,
            edges: columns(&meta.edge_fields, &["name_or_index"])?,
            functions: columns(&meta.trace_function_info_fields, &["name", "script_name"])?,
            node_types: types(&meta.node_types)?.iter().map(|name| Some(node_use(name))).collect(),
            edge_types: types(&meta.edge_types)?.iter().map(|name| edge_use(name)).collect(),
            function_types: vec![Some(LOOSE)],
        };
        let has = |columns: &[Column], column| columns.iter().filter(|one| **one == column).count() == 1;
        let is_typed = |columns: &[Column]| {
            let at = |column| columns.iter().position(|one| *one == column);
            has(columns, Column::Type) && has(columns, Column::Name) && at(Column::Type) < at(Column::Name)
        };
        (is_typed(&schema.nodes) && is_typed(&schema.edges)).then_some(())?;
        Some((schema, serde_json::to_string(&header).ok()?))
    }
}

fn columns(fields: &[String], names: &[&str]) -> Option<Vec<Column>> {
    let column = |field: &String| match field.as_str() {
        "type" => Column::Type,
        field if names.contains(&field) => Column::Name,
        _ => Column::Number,
    };
    (fields.len() <= 64).then(|| fields.iter().map(column).collect())
}

/// How a node's name is used. A type that isn't known here is taken for a text.
fn node_use(name: &str) -> u8 {
    match name {
        "object" | "closure" | "symbol" => STRICT,
        "hidden" | "array" | "code" | "native" | "synthetic" | "object shape" | "number" | "bigint" => LOOSE,
        _ => TEXT,
    }
}

/// How an edge's name is used. `None`: it is a number.
fn edge_use(name: &str) -> Option<u8> {
    match name {
        "element" | "hidden" => None,
        "context" | "internal" | "weak" => Some(LOOSE),
        _ => Some(STRICT),
    }
}
