//! Amounts of CPU, memory and storage as Kubernetes writes them.

use std::{fmt, str::FromStr};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;

/// An amount that can be compared, with the way it was written.
///
/// Exact to a thousandth (rounded up), which is the finest that Kubernetes itself accepts of CPU.
/// Format: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>.
#[derive(Clone, Debug)]
pub struct Quantity {
    written: String,
    thousandths: i128,
}

/// A quantity that could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{written:?} is no quantity: write a number with a suffix of Kubernetes, such as 50m, 64Mi or 1G")]
pub struct ParseQuantityError {
    written: String,
}

impl Quantity {
    /// In whole units (bytes for memory and storage), rounded up.
    pub fn whole(&self) -> u64 {
        u64::try_from(
            self.thousandths.max(0).div_euclid(1000) + i128::from(self.thousandths.max(0) % 1000 != 0),
        )
        .unwrap_or(u64::MAX)
    }

    /// That many bytes.
    pub fn bytes(bytes: u64) -> Self {
        Self::of_thousandths(i128::from(bytes) * 1000)
    }

    /// The sum of both.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self::of_thousandths(self.thousandths.saturating_add(other.thousandths))
    }

    /// This divided by a ratio, rounded up; itself where the ratio isn't positive.
    #[must_use]
    pub fn over(&self, ratio: &Self) -> Self {
        if ratio.thousandths <= 0 {
            return self.clone();
        }
        let amount = self.thousandths.saturating_mul(1000);
        Self::of_thousandths(
            amount.div_euclid(ratio.thousandths) + i128::from(amount % ratio.thousandths != 0),
        )
    }

    fn of_thousandths(thousandths: i128) -> Self {
        let written = if thousandths % 1000 == 0 {
            (thousandths / 1000).to_string()
        } else {
            format!("{thousandths}m")
        };
        Self { written, thousandths }
    }

    /// For a Kubernetes object.
    pub fn written(&self) -> Written {
        Written(self.written.clone())
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.thousandths == other.thousandths
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.thousandths.cmp(&other.thousandths)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl TryFrom<&Written> for Quantity {
    type Error = ParseQuantityError;

    fn try_from(written: &Written) -> Result<Self, Self::Error> {
        written.0.parse()
    }
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(written: &str) -> Result<Self, Self::Err> {
        thousandths(written)
            .map(|thousandths| Self { written: written.to_owned(), thousandths })
            .ok_or_else(|| ParseQuantityError { written: written.chars().take(64).collect() })
    }
}

/// `None` where it is no quantity, or one beyond any that Kubernetes knows.
fn thousandths(written: &str) -> Option<i128> {
    let end = written.find(|c: char| !matches!(c, '0'..='9' | '.' | '+' | '-')).unwrap_or(written.len());
    let (number, suffix) = written.split_at(end);
    let (negative, digits) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty()
        || !whole.chars().chain(fraction.chars()).all(|c| c.is_ascii_digit())
        || whole.len() > 19
        || fraction.len() > 9
    {
        return None;
    }
    // A multiplier and a divisor of the unit, in thousandths.
    let (times, by): (i128, i128) = match suffix {
        "n" => (1, 1_000_000),
        "u" => (1, 1000),
        "m" => (1, 1),
        "" => (1000, 1),
        "k" => (1_000_000, 1),
        "M" => (1_000_000_000, 1),
        "G" => (1_000_000_000_000, 1),
        "T" => (1_000_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000_000, 1),
        "Ki" => (1000 << 10, 1),
        "Mi" => (1000 << 20, 1),
        "Gi" => (1000 << 30, 1),
        "Ti" => (1000 << 40, 1),
        "Pi" => (1000 << 50, 1),
        "Ei" => (1000 << 60, 1),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            match power {
                -9..=-3 => (1, 10_i128.pow((-3 - power).unsigned_abs())),
                -2..=18 => (10_i128.pow((power + 3).unsigned_abs()), 1),
                _ => return None,
            }
        }
    };
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let by = by.checked_mul(10_i128.pow(u32::try_from(fraction.len()).ok()?))?;
    let amount = digits.checked_mul(times)?;
    let amount = amount.div_euclid(by) + i128::from(amount % by != 0);
    Some(if negative { -amount } else { amount })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubernetes_writes_is_read() {
        for (written, expected) in [
            ("0", 0),
            ("5m", 5),
            ("1", 1000),
            ("0.1", 100),
            (".5", 500),
            ("1.5", 1500),
            ("100u", 1),
            ("1e3", 1_000_000),
            ("5e-1", 500),
            ("16Mi", 16 * 1024 * 1024 * 1000),
            ("0.5Gi", 512 * 1024 * 1024 * 1000),
            ("128M", 128_000_000_000),
            ("-1", -1000),
        ] {
            assert_eq!(written.parse::<Quantity>().unwrap().thousandths, expected, "{written}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for written in ["", "m", "1mi", "1 Gi", "--1", "1.2.3", "1e99", "99999999999999999999", "NaN", "0x10"]
        {
            assert!(written.parse::<Quantity>().is_err(), "{written}");
        }
    }

    #[test]
    fn one_amount_written_in_two_ways_is_equal() {
        assert_eq!("1".parse::<Quantity>(), "1000m".parse());
        assert_eq!("1Gi".parse::<Quantity>(), "1024Mi".parse());
        assert!("1G".parse::<Quantity>().unwrap() < "1Gi".parse().unwrap());
    }

    #[test]
    fn bytes_are_rounded_up() {
        assert_eq!("1500m".parse::<Quantity>().unwrap().whole(), 2);
        assert_eq!("1Gi".parse::<Quantity>().unwrap().whole(), 1 << 30);
        assert_eq!("-1".parse::<Quantity>().unwrap().whole(), 0);
    }
}
