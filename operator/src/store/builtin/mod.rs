//! The built-in store: objects on a volume, behind signed URLs, so that a fresh install works with nothing else.
//!
//! One binary, two sides. `client` is the operator's: it signs URLs and calls the control side. [`run`] is
//! the store role (`pitwall-operator store`), one replica with a volume, which keeps no state but its files.
//!
//! # Addresses
//! | request | what it does |
//! | --- | --- |
//! | `POST /objects/KEY?op=begin&media=JSON` | begins an upload: `{"upload": ID}` |
//! | `PUT /objects/KEY?op=part&upload=ID&number=N&max=BYTES` | takes a part of at most BYTES, answers its `ETag` |
//! | `POST /objects/KEY?op=complete&upload=ID&max=BYTES&sha256=HEX` | makes the object of the parts in the JSON body: `{"bytes": N}` |
//! | `DELETE /objects/KEY?op=abort&upload=ID` | throws an upload away |
//! | `PUT /objects/KEY?op=put&media=JSON&sha256=HEX` | writes a small object |
//! | `GET /objects/KEY` | reads an object; `Range` works |
//! | `GET`, `DELETE /folders/FOLDER` | lists, deletes what is in a folder: `{"count": N}` |
//! | `DELETE /folders/FOLDER?op=abort` | throws the folder's unfinished uploads away: `{"count": N}` |
//! | `POST /sweep?older=SECONDS` | throws old unfinished uploads away: `{"count": N}` |
//! | `GET /healthz` | 200; the only one that needs no signature |
//!
//! Every other request is authorised by its URL alone: `sign` says how. What isn't 2xx has a JSON
//! body with `reason` and `message`. Operator and store come from one image and are upgraded together, so the addresses carry no version.

pub(super) mod client;
mod disk;
mod routes;
mod serve;
mod sign;
mod space;
#[cfg(test)]
mod tests;

pub use client::AddressError;
pub use serve::{ServeError, ServeSettings, run};
pub use sign::SigningKey;

use super::StoreErrorKind;
use serde::{Deserialize, Serialize};

/// What the store says when it can't.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Problem {
    reason: Reason,
    message: String,
}

/// Why it can't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Reason {
    /// 400: not a request of this store.
    BadRequest,
    /// 403: the URL's signature is wrong, missing or expired.
    Refused,
    /// 404
    NotFound,
    /// 408: the body came too slowly.
    TooSlow,
    /// 413: more bytes than the URL allows.
    TooLarge,
    /// 416
    Range,
    /// 422: the parts aren't what was claimed.
    Mismatch,
    /// 500: the volume failed.
    Volume,
    /// 503: the same upload is being worked on.
    Busy,
    /// 507: no space left.
    Full,
}

impl Reason {
    const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Refused => 403,
            Self::NotFound => 404,
            Self::TooSlow => 408,
            Self::TooLarge => 413,
            Self::Range => 416,
            Self::Mismatch => 422,
            Self::Volume => 500,
            Self::Busy => 503,
            Self::Full => 507,
        }
    }

    const fn kind(self) -> StoreErrorKind {
        match self {
            Self::Refused => StoreErrorKind::Refused,
            Self::NotFound => StoreErrorKind::NotFound,
            Self::TooLarge => StoreErrorKind::TooLarge,
            Self::Mismatch => StoreErrorKind::Mismatch,
            Self::TooSlow | Self::Busy => StoreErrorKind::Unreachable,
            Self::Full => StoreErrorKind::Full,
            Self::BadRequest | Self::Range | Self::Volume => StoreErrorKind::Other,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Begun {
    upload: String,
}

#[derive(Serialize, Deserialize)]
struct Completed {
    bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Counted {
    count: u32,
}
