//! Whole numbers of JSON. RFC 8259 has one kind of number: `1.0` and `1e2` are as whole as `1`, and some languages write them so.

/// The whole number that a JSON number says, however it is written; `None`: it is no number, not whole, negative, or does not fit.
#[must_use]
pub fn whole_number(json: &str) -> Option<u64> {
    // As nearly all are written.
    if json.bytes().all(|byte| byte.is_ascii_digit()) {
        return json.parse().ok();
    }
    let (mantissa, exponent) =
        json.split_once(['e', 'E']).map_or((json, 0), |(m, e)| (m, e.parse::<i32>().unwrap_or(i32::MIN)));
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (mantissa, ""),
    };
    let (negative, whole) = whole.strip_prefix('-').map_or((false, whole), |whole| (true, whole));
    let mut digits = format!("{whole}{fraction}");
    if whole.is_empty() || exponent == i32::MIN || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let before_point = i64::try_from(whole.len()).ok()? + i64::from(exponent);
    digits.truncate(digits.trim_end_matches('0').len());
    if digits.is_empty() {
        return Some(0);
    }
    // So many zeros follow the digits; a digit that is not 0 behind the point makes it no whole number.
    let zeros = usize::try_from(before_point - i64::try_from(digits.len()).ok()?).ok()?;
    if negative || zeros > 20 {
        return None;
    }
    digits.push_str(&"0".repeat(zeros));
    digits.parse().ok()
}

/// The digits of a whole number, with its sign, which are its name: `7` for `7.0`, `-7` for `-0.7e1`, because a number has several ways
/// to be written. `None`: it is no number, not whole, or written with a point or an exponent and too large.
#[must_use]
pub fn whole_digits(json: &str) -> Option<String> {
    let (sign, size) = json.strip_prefix('-').map_or(("", json), |size| ("-", size));
    if size.is_empty() || size.starts_with('-') {
        return None;
    }
    let is_plain = size.bytes().all(|byte| byte.is_ascii_digit());
    let digits = if is_plain { size.to_owned() } else { whole_number(size)?.to_string() };
    Some(if digits == "0" { digits } else { format!("{sign}{digits}") })
}

#[cfg(test)]
mod tests {
    use super::{whole_digits, whole_number};

    #[test]
    fn a_whole_number_has_one_name() {
        for (name, ways) in [
            ("7", &["7", "7.0", "0.7e1", "70e-1"][..]),
            ("-7", &["-7", "-7.0", "-0.7e1", "-70E-1"]),
            ("0", &["0", "-0", "0.0", "-0.0", "-0e9"]),
            ("-18446744073709551615", &["-18446744073709551615", "-18446744073709551615.0"]),
            ("-123456789012345678901234567890", &["-123456789012345678901234567890"]),
        ] {
            for json in ways {
                assert_eq!(whole_digits(json).as_deref(), Some(name), "{json}");
            }
        }
        for json in ["", "-", "--7", "--0", "-7.5", "7.5", "1e30", "-1e30", "true", "\"7\"", "-.5", "7."] {
            assert_eq!(whole_digits(json), None, "{json:?}");
        }
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        for (json, number) in [
            ("0", 0),
            ("-0", 0),
            ("0.0", 0),
            ("-0.0e5", 0),
            ("1", 1),
            ("1.0", 1),
            ("1.000", 1),
            ("1e0", 1),
            ("10e-1", 1),
            ("1.5e1", 15),
            ("120.50E1", 1_205),
            ("0.001e3", 1),
            ("1E+2", 100),
            ("9007199254740991.0", 9_007_199_254_740_991),
            ("18446744073709551615", u64::MAX),
            ("1.8446744073709551615e19", u64::MAX),
            ("100000000000000000000e-19", 10),
        ] {
            assert_eq!(whole_number(json), Some(number), "{json}");
        }
    }

    #[test]
    fn what_is_not_whole_is_none() {
        for json in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "1.5",
            "1e-1",
            "10.01",
            "-1",
            "-1.0",
            "+1",
            "1e",
            "1e1.0",
            "e1",
            "18446744073709551616",
            "1e20",
            "1e2147483647",
            "1e99999999999",
            "1e-99999999999",
            "\"1\"",
            "true",
            "null",
            "[1]",
            "1 ",
            "0x1",
            "NaN",
            "--1",
            "1-.0",
        ] {
            assert_eq!(whole_number(json), None, "{json:?}");
        }
    }
}
