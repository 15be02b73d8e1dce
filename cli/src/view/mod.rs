//! What people see: rendered by pure functions, drawn by [`screen`].

pub(crate) mod findings;
pub(crate) mod list;
pub(crate) mod load;
pub(crate) mod meter;
pub(crate) mod printable;
pub(crate) mod screen;
pub(crate) mod stage;
pub(crate) mod table;
