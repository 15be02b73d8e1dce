//! The result of `Runtime.evaluate`.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::Error;
use crate::text::LossyText;

/// How much of an exception's text is kept, in characters.
const LONGEST_EXCEPTION: usize = 512;

/// What came of a [`Command::Evaluate`](crate::Command::Evaluate).
#[derive(Clone, Debug)]
pub enum Evaluated {
    /// The expression's value as JSON; `null` also for `undefined`.
    Value(Box<RawValue>),
    /// The expression threw: the exception's description.
    Threw(String),
}

impl Evaluated {
    /// Reads the `result` of a [`Reply`](crate::Incoming::Reply).
    pub fn from_result(result: &RawValue) -> Result<Self, Error> {
        let result: EvaluateResult<'_> =
            serde_json::from_str(result.get()).map_err(|source| Error::Result { source })?;
        if let Some(details) = result.exception_details {
            let text = details.exception.and_then(|exception| exception.description).or(details.text);
            let text = text.map_or_else(|| "(nothing)".to_owned(), |text| text.cut(LONGEST_EXCEPTION));
            return Ok(Self::Threw(text));
        }
        Ok(Self::Value(result.result.value.map_or_else(|| RawValue::NULL.to_owned(), ToOwned::to_owned)))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EvaluateResult<'a> {
    #[serde(borrow)]
    result: RemoteObject<'a>,
    exception_details: Option<ExceptionDetails>,
}

#[derive(Deserialize)]
struct RemoteObject<'a> {
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ExceptionDetails {
    text: Option<LossyText>,
    exception: Option<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    description: Option<LossyText>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_or_what_was_thrown() {
        for (json, expected) in [
            (r#"{"result":{"type":"number","value":7,"description":"7"}}"#, Ok("7")),
            (r#"{"result":{"type":"object","value":[1,"\ud800"]}}"#, Ok(r#"[1,"\ud800"]"#)),
            (r#"{"result":{"type":"undefined"}}"#, Ok("null")),
            (
                r#"{"result":{"type":"object"},"exceptionDetails":{"text":"Uncaught","exception":{"description":"Error: no"}}}"#,
                Err("Error: no"),
            ),
            (
                r#"{"result":{"type":"string","value":"x"},"exceptionDetails":{"text":"Uncaught"}}"#,
                Err("Uncaught"),
            ),
            (r#"{"result":{"type":"string","value":"x"},"exceptionDetails":{}}"#, Err("(nothing)")),
        ] {
            let raw: Box<RawValue> = serde_json::from_str(json).unwrap();
            match (Evaluated::from_result(&raw).unwrap(), expected) {
                (Evaluated::Value(value), Ok(expected)) => assert_eq!(value.get(), expected),
                (Evaluated::Threw(text), Err(expected)) => assert_eq!(text, expected),
                (seen, _) => panic!("{seen:?} of {json}"),
            }
        }
        let raw: Box<RawValue> = serde_json::from_str("[]").unwrap();
        assert!(Evaluated::from_result(&raw).is_err());
    }
}
