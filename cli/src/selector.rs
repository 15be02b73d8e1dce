//! Label selectors, as kubectl's `-l` writes them.

use pitwall_crds::{LabelSelector, LabelSelectorRequirement, SelectorOperator};

/// A text that is no label selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no label selector: write such as app=checkout,tier!=test,track in (a,b),!legacy")]
pub(crate) struct SelectorError(String);

/// Reads equality and set conditions, joined by commas.
pub(crate) fn parse(text: &str) -> Result<LabelSelector, SelectorError> {
    let error = || SelectorError(text.to_owned());
    let mut selector = LabelSelector::default();
    for term in terms(text) {
        let (key, operator, values) = condition(term.trim()).ok_or_else(error)?;
        if !is_word(key) || values.iter().any(|value| !value.is_empty() && !is_word(value)) {
            return Err(error());
        }
        let known = selector.match_labels.contains_key(key);
        match (operator, values.as_slice()) {
            (SelectorOperator::In, [value]) if !known => {
                selector.match_labels.insert(key.to_owned(), (*value).to_owned());
            }
            _ => selector.match_expressions.push(LabelSelectorRequirement {
                key: key.to_owned(),
                operator,
                values: values.into_iter().map(str::to_owned).collect(),
            }),
        }
    }
    Ok(selector)
}

/// Splits at the commas that stand in no parentheses.
fn terms(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    text.split(move |c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    })
}

fn condition(term: &str) -> Option<(&str, SelectorOperator, Vec<&str>)> {
    use SelectorOperator::{DoesNotExist, Exists, In, NotIn};
    if let Some(body) = term.strip_suffix(')') {
        let (head, values) = body.split_once('(')?;
        let (key, word) = head.trim_end().rsplit_once(char::is_whitespace)?;
        let operator = match word {
            "in" => In,
            "notin" => NotIn,
            _ => return None,
        };
        return Some((key.trim(), operator, values.split(',').map(str::trim).collect()));
    }
    let parts = |at: &str| term.split_once(at).map(|(key, value)| (key.trim(), vec![value.trim()]));
    if let Some((key, value)) = parts("!=") {
        Some((key, NotIn, value))
    } else if let Some((key, value)) = parts("==").or_else(|| parts("=")) {
        Some((key, In, value))
    } else if let Some(key) = term.strip_prefix('!') {
        Some((key.trim(), DoesNotExist, Vec::new()))
    } else {
        Some((term, Exists, Vec::new()))
    }
}

/// Whether the characters are ones of label keys and values; the API says the rest.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_read_as_kubectl_writes_them() {
        use SelectorOperator::{DoesNotExist, Exists, In, NotIn};
        type Labels = &'static [(&'static str, &'static str)];
        type Expressions = &'static [(&'static str, SelectorOperator, &'static [&'static str])];
        let table: [(&str, Labels, Expressions); 8] = [
            ("app=checkout", &[("app", "checkout")], &[]),
            ("app == checkout , tier=web", &[("app", "checkout"), ("tier", "web")], &[]),
            ("app!=checkout", &[], &[("app", NotIn, &["checkout"])]),
            ("app in (a, b),tier=web", &[("tier", "web")], &[("app", In, &["a", "b"])]),
            ("app notin (a,b)", &[], &[("app", NotIn, &["a", "b"])]),
            ("app.kubernetes.io/name", &[], &[("app.kubernetes.io/name", Exists, &[])]),
            ("!legacy", &[], &[("legacy", DoesNotExist, &[])]),
            ("a=1,a=2", &[("a", "1")], &[("a", In, &["2"])]),
        ];
        for (text, labels, expressions) in table {
            let selector = parse(text).unwrap();
            let seen: Vec<_> = selector.match_labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            assert_eq!(seen, labels, "{text}");
            let expected: Vec<_> = expressions
                .iter()
                .map(|(key, operator, values)| LabelSelectorRequirement {
                    key: (*key).to_owned(),
                    operator: *operator,
                    values: values.iter().map(|&value| value.to_owned()).collect(),
                })
                .collect();
            assert_eq!(selector.match_expressions, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in ["", "=x", "a=b=c", "app in a,b", "app within (a)", "app=x,,b=y", "a b", "app in (a"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
