//! Quantities of Kubernetes, so far as two of them have to be compared.

use std::cmp::Ordering;

/// How two quantities compare; unknown when one of them is beyond what can be counted.
pub(crate) fn compare(one: &str, other: &str) -> Option<Ordering> {
    if one == other {
        return Some(Ordering::Equal);
    }
    Some(nanos(one)?.cmp(&nanos(other)?))
}

/// A quantity in billionths, which is as fine as Kubernetes counts.
fn nanos(text: &str) -> Option<i128> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let (factor, tens) = unit(suffix)?;
    let tens = tens + 9 - i32::try_from(fraction.len()).ok()?;
    let power = 10_i128.checked_pow(tens.unsigned_abs())?;
    let digits = digits.checked_mul(factor)?;
    if tens < 0 {
        Some(digits / power)
    } else {
        digits.checked_mul(power)
    }
}

/// What a suffix multiplies by: a number, and a power of ten.
fn unit(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "" => (1, 0),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        exponent => (
            1,
            exponent
                .strip_prefix(['e', 'E'])?
                .parse()
                .ok()
                .filter(|tens: &i32| tens.abs() < 30)?,
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_compared_by_how_much_they_are() {
        use Ordering::{Equal, Greater, Less};
        for (one, other, expected) in [
            ("1", "1000m", Some(Equal)),
            ("0.5", "500m", Some(Equal)),
            (".5", "+0.50", Some(Equal)),
            ("1.5Gi", "1536Mi", Some(Equal)),
            ("128Mi", "131072Ki", Some(Equal)),
            ("1k", "1000", Some(Equal)),
            ("1e3", "1k", Some(Equal)),
            ("5E-1", "500m", Some(Equal)),
            ("1E", "1000P", Some(Equal)),
            ("1000000n", "1m", Some(Equal)),
            ("1Gi", "1G", Some(Greater)),
            ("128Mi", "256Mi", Some(Less)),
            ("1", "2", Some(Less)),
            ("lots", "lots", Some(Equal)),
            ("lots", "1", None),
            ("1e99", "1", None),
            ("99999999999999999999Ei", "1", None),
        ] {
            assert_eq!(compare(one, other), expected, "{one} and {other}");
        }
    }
}
