//! Times in the format of RFC 3339, parsed strictly.

use weir_sdk::parse::duration;

/// Parses a time such as `2027-03-01T02:00:00Z` to seconds since the Unix epoch. Only UTC without a
/// fraction is accepted: other forms in a window are mistakes.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let text = text.as_bytes();
    let is_separated = text.len() == 20
        && [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')]
            .iter()
            .all(|(at, separator)| text.get(*at) == Some(separator));
    if !is_separated {
        return None;
    }
    let number = |from: usize, to: usize| {
        text.get(from..to)?.iter().try_fold(0_u64, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let is_date = year >= 1970 && (1..=12).contains(&month) && day >= 1 && day <= days(year, month);
    // A leap second is refused: no window begins at one.
    if !is_date || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let months: u64 = (1..month).map(|month| days(year, month)).sum();
    let leap_days = leaps_before(year) - leaps_before(1970);
    let days = (year - 1970) * 365 + leap_days + months + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn days(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Leap years before a year, from year 1 on.
fn leaps_before(year: u64) -> u64 {
    let past = year - 1;
    past / 4 - past / 100 + past / 400
}

/// Parses a time such as `30s`, `10m`, `2h` or `1d`, up to 366 days, to seconds.
pub(crate) fn span(text: &str) -> Option<u64> {
    let seconds = duration(text)?.as_secs();
    (1..=366 * 24 * 3600).contains(&seconds).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        // Checked with `date -u -d TIME +%s`.
        for (text, wanted) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-12-31T23:59:59Z", 31_535_999),
            ("1972-02-29T00:00:00Z", 68_169_600),
            ("1972-03-01T00:00:00Z", 68_256_000),
            ("2000-02-29T12:34:56Z", 951_827_696),
            ("2024-12-31T23:59:59Z", 1_735_689_599),
            ("2027-03-01T02:00:00Z", 1_803_866_400),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(seconds(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let mut last = None;
        for year in 1970..2405 {
            for month in 1..=12 {
                for day in 1..=days(year, month) {
                    let time = seconds(&format!("{year:04}-{month:02}-{day:02}T00:00:00Z"));
                    assert!(time.is_some());
                    if let Some(last) = last {
                        assert_eq!(time, Some(last + 86_400), "{year}-{month}-{day}");
                    }
                    last = time;
                }
            }
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2027-03-01",
            "2027-03-01T02:00:00",
            "2027-03-01T02:00:00z",
            "2027-03-01t02:00:00Z",
            "2027-03-01 02:00:00Z",
            "2027-03-01T02:00:00+00:00",
            "2027-03-01T02:00:00.5Z",
            "2027-3-01T02:00:00Z",
            "2027-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2027-04-31T00:00:00Z",
            "2027-00-01T00:00:00Z",
            "2027-13-01T00:00:00Z",
            "2027-01-00T00:00:00Z",
            "2027-01-01T24:00:00Z",
            "2027-01-01T00:60:00Z",
            "2016-12-31T23:59:60Z",
            "1969-12-31T23:59:59Z",
            "+027-01-01T00:00:00Z",
            "2027-01-01T00:00:0éZ",
            " 2027-01-01T00:00:00",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn spans_have_a_unit() {
        assert_eq!(
            ["1s", "10m", "2h", "366d"].map(span),
            [Some(1), Some(600), Some(7200), Some(31_622_400)]
        );
        for text in ["", "s", "0s", "5", "1w", "-1s", "+1s", "367d", "99999999999999999999s", "1é"]
        {
            assert_eq!(span(text), None, "{text}");
        }
    }
}
