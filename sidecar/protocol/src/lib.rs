//! Pitwall.
