//! Parsers for plugin configurations: names of header fields, and durations.

use std::time::Duration;

/// Whether a text is a token (RFC 9110 §5.6.2), such as the name of a header field or a method.
pub fn is_token(text: &str) -> bool {
    let is_of_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(is_of_token)
}

/// Returns a header field's name in lower case, if a filter may set, append or remove it. Fields
/// that frame or route a message belong to the host.
///
/// # Errors
///
/// The problem, for the user.
pub fn field_name(name: &str) -> Result<String, String> {
    if !is_token(name) || name.len() > LONGEST_NAME {
        return Err(format!("{name:?} is not the name of a header field"));
    }
    let name = name.to_ascii_lowercase();
    if OF_THE_HOST.contains(&name.as_str()) {
        return Err(format!("{name} is the proxy's own"));
    }
    Ok(name)
}

/// Reads a duration such as `500ms`, `30s`, `10m`, `2h` or `1d`.
pub fn duration(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
    let unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(Duration::from_millis(digits.parse::<u64>().ok()?.checked_mul(unit)?))
}

/// Bytes of a field's name.
const LONGEST_NAME: usize = 255;

/// Fields that frame or route a message: the host refuses them from plugins.
const OF_THE_HOST: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_lower_case_and_not_the_host_s() {
        assert_eq!(field_name("X-Variant").as_deref(), Ok("x-variant"));
        for wrong in ["", "x a", "x:a", "Host", "Content-Length", "x\r\n", "ä"] {
            assert!(field_name(wrong).is_err(), "{wrong}");
        }
        assert!(field_name(&"x".repeat(255)).is_ok());
        assert!(field_name(&"x".repeat(256)).is_err());
    }

    #[test]
    fn times_have_digits_and_a_unit() {
        let cases =
            [("0s", 0), ("500ms", 500), ("30s", 30_000), ("2h", 7_200_000), ("1d", 86_400_000)];
        for (text, milliseconds) in cases {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for wrong in
            ["", "s", "30", "-1s", "+1s", "1 s", "1w", "1.5s", "99999999999999999999s", "ä"]
        {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
