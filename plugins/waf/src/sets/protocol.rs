//! Requests that no browser sends.

use super::BuiltIn;

pub(super) const RULES: &[BuiltIn] = &[
    BuiltIn {
        id: "protocol-null",
        score: 5,
        lane: "protocol",
        what: "a null byte",
        when: r"url_decode_all(any(path, query.*, query_names, cookie.*)) matches /\x00/",
    },
    BuiltIn {
        id: "protocol-line",
        score: 5,
        lane: "protocol",
        what: "a line end, then a header field, to split a response",
        when: r"url_decode_all(any(path, query.*, query_names, cookie.*)) matches /[\r\n][ \t]*(?:set-cookie|location|content-type|content-length|transfer-encoding|refresh|access-control-allow-origin)[ \t]*:|[\r\n]http\/[0-9]/i",
    },
    BuiltIn {
        id: "protocol-overlong",
        score: 5,
        lane: "protocol",
        what: "a slash, dot or bracket as overlong UTF-8 (RFC 3629 §3)",
        when: r"any(path, query) matches /%c0%(?:ae|af|2f|2e|a5|bc|be|a7|a2|80)|%c1%9c|%e0%80%(?:ae|af|bc|be|a7)|%f0%80%80%/i",
    },
    BuiltIn {
        id: "protocol-double-encoding",
        score: 5,
        lane: "protocol",
        what: "a path with a dot, backslash, bracket, quotation mark or null byte encoded twice",
        when: r"path matches /%(?:25)+(?:2e|5c|00|3c|27|22)/i",
    },
    BuiltIn {
        id: "protocol-encoding",
        score: 2,
        lane: "protocol",
        what: "a percent sign that encodes nothing",
        when: r"any(path, query) matches /%(?:[^0-9a-f]|[0-9a-f](?:[^0-9a-f]|$)|$)/i",
    },
    BuiltIn {
        id: "protocol-method",
        score: 5,
        lane: "protocol",
        what: "a method for debugging",
        when: r#"method in ["TRACE", "TRACK", "DEBUG"]"#,
    },
    BuiltIn {
        id: "protocol-host",
        score: 5,
        lane: "protocol",
        what: "a host that is not a name or address",
        when: r"count(host) > 0 and not host matches /^(?:[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])$/",
    },
    BuiltIn {
        id: "protocol-repeated",
        score: 5,
        lane: "protocol",
        what: "a repeated header field that may occur only once",
        when: "count(header.content-type) > 1 or count(header.authorization) > 1 or count(header.range) > 1",
    },
    BuiltIn {
        id: "protocol-ranges",
        score: 5,
        lane: "protocol",
        what: "more than 16 ranges",
        when: r"header.range matches /(?:,[^,]*){16}/",
    },
    BuiltIn {
        id: "protocol-parameters",
        score: 2,
        lane: "protocol",
        what: "more than 255 parameters",
        when: "count(query_names) > 255",
    },
];
