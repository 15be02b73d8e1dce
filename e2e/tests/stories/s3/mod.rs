//! Stories that only S3 has, one after another.

mod refuses;
