//! Priorities of responses (RFC 9218): the `priority` field and the PRIORITY_UPDATE frame, which
//! share one syntax.

/// The urgency of a response, and whether parts of it are of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority {
    /// 0, the most urgent, to 7. Default 3 (RFC 9218 §4.1).
    pub urgency: u8,
    /// Whether it may be interleaved with others of its urgency. Default false (RFC 9218 §4.2).
    pub incremental: bool,
}

impl Default for Priority {
    fn default() -> Self {
        Self { urgency: 3, incremental: false }
    }
}

impl Priority {
    /// Reads a priority field value: a dictionary of structured fields (RFC 9651 §3.2). Only `u`
    /// and `i` count. A value that cannot be parsed or is out of range counts as absent (RFC 9218
    /// §4).
    pub fn parse(value: &[u8]) -> Self {
        let mut priority = Self::default();
        let Ok(text) = std::str::from_utf8(value) else { return priority };
        for member in text.split(',') {
            // Parameters of a member have no meaning here.
            let member = member.split(';').next().unwrap_or_default().trim_matches([' ', '\t']);
            match member.split_once('=') {
                Some(("u", value)) => {
                    if let [digit @ b'0'..=b'7'] = value.as_bytes() {
                        priority.urgency = digit - b'0';
                    }
                }
                Some(("i", "?1")) => priority.incremental = true,
                Some(("i", "?0")) => priority.incremental = false,
                None if member == "i" => priority.incremental = true,
                _ => {}
            }
        }
        priority
    }

    /// Returns the priority for quinn, which sends higher numbers first. Among equal urgency, a
    /// non-incremental response comes before incremental ones, which share.
    pub(crate) fn for_quinn(self) -> i32 {
        (3 - i32::from(self.urgency)) * 2 - i32::from(self.incremental)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &str) -> (u8, bool) {
        let Priority { urgency, incremental } = Priority::parse(value.as_bytes());
        (urgency, incremental)
    }

    #[test]
    fn members_are_read_and_the_rest_ignored() {
        assert_eq!(parsed(""), (3, false));
        assert_eq!(parsed("u=5, i"), (5, true));
        assert_eq!(parsed("i, u=0"), (0, true));
        assert_eq!(parsed("u=7;a=b,i=?1"), (7, true));
        assert_eq!(parsed("u=1, u=2, i, i=?0"), (2, false));
        assert_eq!(parsed("u=8"), (3, false));
        assert_eq!(parsed("u=-1, x=?1, (u=2)"), (3, false));
        assert_eq!(parsed("u=2.0"), (3, false));
        assert_eq!(Priority::parse(&[0xff, b'u']), Priority::default());
    }

    #[test]
    fn urgent_streams_go_first() {
        let order = |value| Priority::parse(value).for_quinn();
        assert_eq!(Priority::default().for_quinn(), 0);
        assert!(order(b"u=0") > order(b"u=0, i"));
        assert!(order(b"u=0, i") > order(b"u=1"));
        assert!(order(b"u=6, i") > order(b"u=7"));
    }
}
