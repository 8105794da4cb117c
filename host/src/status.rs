//! Which responses have content: the one table of statuses, and the two questions that it answers.

use http::StatusCode;

/// The content that a status allows its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// Any.
    Any,
    /// None, and the message says so like any other: by a length of 0 or an empty body. 205 alone
    /// is of this kind (RFC 9110 §15.3.6).
    Empty,
    /// None: the message ends with its header section, even if a field says otherwise
    /// (RFC 9112 §6.3).
    Absent,
}

impl Content {
    fn of(status: StatusCode) -> Self {
        match status {
            _ if status.is_informational() => Self::Absent,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Self::Absent,
            StatusCode::RESET_CONTENT => Self::Empty,
            _ => Self::Any,
        }
    }
}

/// Whether a response of this status may have content: not one of 1xx, 204, 205 or 304
/// (RFC 9110 §15.2, §15.3.5, §15.3.6, §15.4.5). A sender of responses asks this.
pub(crate) fn may_have_content(status: StatusCode) -> bool {
    Content::of(status) == Content::Any
}

/// Whether a response of this status ends with its header section: 1xx, 204 and 304, but not 205,
/// which has a length of 0 (RFC 9112 §6.3). A reader of responses asks this.
pub(crate) fn ends_with_head(status: StatusCode) -> bool {
    Content::of(status) == Content::Absent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_questions_differ_about_205_alone() {
        for code in 100..600 {
            let status = StatusCode::from_u16(code).unwrap();
            let is_absent = code < 200 || code == 204 || code == 304;
            assert_eq!(ends_with_head(status), is_absent, "{code}");
            assert_eq!(may_have_content(status), !is_absent && code != 205, "{code}");
        }
    }
}
