//! Files outside the served files.

use super::{BuiltIn, text_matches};

pub(super) const RULES: &[BuiltIn] = &[
    BuiltIn {
        id: "traversal-path",
        score: 5,
        lane: "traversal",
        what: "a path with a dot-dot segment, which browsers never send",
        when: r"normalize_text(path) matches /(?:^|[\/\\])\.\.(?:[\/\\;]|$)/",
    },
    BuiltIn {
        id: "traversal-deep",
        score: 5,
        lane: "traversal",
        what: "a way two directories up",
        when: text_matches!(r"\.\.+(?:;[^\/\\]*)?[\/\\]+\.\.+(?:;[^\/\\]*)?(?:[\/\\]|$)"),
    },
    BuiltIn {
        id: "traversal-file",
        score: 5,
        lane: "traversal",
        what: "a value that is the name of a file of the system",
        when: text_matches!(
            r"^(?:file:[\/\\]*|[a-z]:)?[.\/\\]*[\/\\](?:etc[\/\\](?:passwd|shadow|group|hosts|sudoers|issue|crontab)\b|proc[\/\\](?:self|version|[0-9]+)\b|root[\/\\]\.|windows[\/\\](?:win\.ini|system32|system\.ini)|winnt[\/\\]|boot\.ini|var[\/\\]log[\/\\]|var[\/\\]run[\/\\]secrets)"
        ),
    },
    BuiltIn {
        id: "traversal-up-file",
        score: 5,
        lane: "traversal",
        what: "a way up to a file of the system",
        when: text_matches!(
            r"\.\.[\/\\]+(?:[^\/\\]*[\/\\])*(?:etc[\/\\](?:passwd|shadow|hosts)|proc[\/\\]self|win\.ini|boot\.ini|wp-config\.php|web\.config|\.env|\.git[\/\\]|\.ssh[\/\\]|id_rsa|web-inf[\/\\])"
        ),
    },
    BuiltIn {
        id: "traversal-wrapper",
        score: 5,
        lane: "traversal",
        what: "a URI that makes a server read files or streams",
        when: text_matches!(
            r"^ ?(?:php:\/\/(?:filter|input|fd|stdin|memory|temp)|phar:\/\/|expect:\/\/|compress\.(?:zlib|bzip2):\/\/|zip:\/\/|glob:\/\/|file:\/\/|gopher:\/\/|dict:\/\/|netdoc:)"
        ),
    },
];
