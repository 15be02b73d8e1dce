//! The conditions of a `ProfileRequest`.

use crate::Reason;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The types of condition that a `ProfileRequest` can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// The request can be carried out: the target was found, or will be waited for.
    Accepted,
    /// At least one target records now.
    Recording,
    /// The native artifacts are stored and their checksums agree.
    Complete,
    /// The findings are in status.
    Analyzed,
    /// Nothing was stored, and nothing will be.
    Failed,
    /// The request has ended, either way.
    Finished,
}

impl ConditionType {
    /// As it is written in `conditions[].type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Recording => "Recording",
            Self::Complete => "Complete",
            Self::Analyzed => "Analyzed",
            Self::Failed => "Failed",
            Self::Finished => "Finished",
        }
    }
}

/// Sets one condition. Its transition time moves only when its status does.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    kind: ConditionType,
    holds: bool,
    reason: Reason,
    message: impl Into<String>,
    generation: Option<i64>,
    now: Timestamp,
) {
    let status = if holds { "True" } else { "False" };
    let previous = conditions.iter().position(|condition| condition.type_ == kind.as_str());
    let last_transition_time = match previous {
        Some(at) if conditions[at].status == status => conditions[at].last_transition_time.clone(),
        _ => Time(now),
    };
    let condition = Condition {
        type_: kind.as_str().to_owned(),
        status: status.to_owned(),
        reason: reason.as_str().to_owned(),
        message: message.into(),
        observed_generation: generation,
        last_transition_time,
    };
    match previous {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let mut conditions = Vec::new();
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut set = |holds, reason, now| {
            set_condition(&mut conditions, ConditionType::Recording, holds, reason, "", Some(1), at(now));
            (conditions[0].last_transition_time.0, conditions.len())
        };
        assert_eq!(set(false, Reason::WaitingForSidecar, 1), (at(1), 1));
        assert_eq!(set(false, Reason::TargetBusy, 2), (at(1), 1));
        assert_eq!(set(true, Reason::Recording, 3), (at(3), 1));
    }
}
