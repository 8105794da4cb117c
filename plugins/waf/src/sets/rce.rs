//! Commands and code for the server.

use super::{BuiltIn, text_matches};

pub(super) const RULES: &[BuiltIn] = &[
    BuiltIn {
        id: "rce-command",
        score: 5,
        lane: "rce",
        what: "a sign that ends a command of a shell, then a command with an argument",
        when: text_matches!(
            r#"(?:[;|&`]|\$\() ?(?:\/(?:usr\/)?s?bin\/)?(?:cat|tac|head|tail|less|more|ls|dir|id|uname|wget|curl|nc|ncat|netcat|socat|(?:ba|da|k|z)?sh|python[23]?|perl|ruby|php|node|powershell|pwsh|cmd|ping|nslookup|dig|host|telnet|ftp|tftp|chmod|chown|rm|cp|mv|touch|sleep|echo|printf|base64|xxd|kill|sudo|su|find|grep|awk|sed|crontab|type|del|copy|net|reg)(?:\.exe)? ?(?:-[a-z]|\/[a-z]|\.\.?\/|~\/|\$[({a-z]|> ?[\/.a-z]|< ?\/|https?:|[0-9]{1,3}\.[0-9]{1,3}\.)"#
        ),
    },
    BuiltIn {
        id: "rce-command-alone",
        score: 5,
        lane: "rce",
        what: "a sign that ends a command, then a command that needs no argument",
        when: text_matches!(
            r"(?:[;|&`]|\$\() ?(?:\/(?:usr\/)?s?bin\/)?(?:whoami|uname|ifconfig|ipconfig|netstat|printenv|systeminfo) ?(?:[;|&`)#]|$)"
        ),
    },
    BuiltIn {
        id: "rce-substitution",
        score: 5,
        lane: "rce",
        what: "a command in place of a value",
        when: text_matches!(
            r"(?:\$\(|`) ?(?:\/(?:usr\/)?s?bin\/)?(?:id|ls|pwd|env|ps|w|hostname|whoami|uname|date|sleep [0-9]+) ?[)`]"
        ),
    },
    BuiltIn {
        id: "rce-line",
        score: 5,
        lane: "rce",
        what: "a line end, then a command with an argument",
        when: r"url_decode_all(any(path, query.*, query_names, cookie.*)) matches /[\r\n][ \t]*(?:\/(?:usr\/)?s?bin\/)?(?:cat|ls|id|uname|wget|curl|nc|(?:ba)?sh|python[23]?|perl|php|ping|nslookup|sleep|rm|chmod)[ \t]+(?:-[a-z]|\/[a-z]|https?:|[0-9]+(?:[\r\n]|$))/i",
    },
    BuiltIn {
        id: "rce-shell",
        score: 5,
        lane: "rce",
        what: "a shell with a command, or a connection of one",
        when: text_matches!(
            r#"\/bin\/(?:ba|da|k|z|c|tc)?sh (?:-[a-z]*[ci]|<|>)|\/dev\/(?:tcp|udp)\/[a-z0-9]|\bcmd(?:\.exe)? \/[ck] |\bpowershell(?:\.exe)? (?:-[a-z]+ )*-(?:e|ec|enc|encodedcommand|nop|noprofile|w|windowstyle|c|command|ex|ep)\b"#
        ),
    },
    BuiltIn {
        id: "rce-ifs",
        score: 5,
        lane: "rce",
        what: "a shell's variable in place of a space",
        when: text_matches!(r"\$\{?ifs\b|\$ifs\$"),
    },
    BuiltIn {
        id: "rce-jndi",
        score: 5,
        lane: "rce-c",
        what: "a lookup of Log4j by JNDI, plain or nested",
        when: text_matches!(
            r"\$\{ ?(?:jndi ?:|[^}]*\$\{ ?(?:lower|upper|env|sys|java|date|base64|main|ctx|::|[a-z]*:-))"
        ),
    },
    BuiltIn {
        id: "rce-jndi-header",
        score: 5,
        lane: "rce",
        what: "a lookup of Log4j by JNDI in a header field",
        when: r"headers.* matches /\$\{ ?(?:jndi ?:|[^}]*\$\{ ?(?:lower|upper|env|sys|java|date|base64|main|ctx|::|[a-z]*:-))/i",
    },
    BuiltIn {
        id: "rce-shellshock",
        score: 5,
        lane: "rce",
        what: "a function of bash in a header field",
        when: r"headers.* matches /^\(\) *\{/",
    },
    BuiltIn {
        id: "rce-php",
        score: 5,
        lane: "rce-b",
        what: "PHP that runs commands or code",
        when: text_matches!(
            r#"<\?(?:php\b|=)|\b(?:system|passthru|shell_exec|proc_open|popen|pcntl_exec|assert|eval|create_function|call_user_func|preg_replace|file_put_contents|include|require) ?\( ?(?:['"]? ?\$_|base64_decode ?\(|gzinflate ?\(|str_rot13 ?\(|chr ?\()|\$_(?:get|post|request|cookie|server|files|session) ?\[|\bphpinfo ?\( ?\)"#
        ),
    },
    BuiltIn {
        id: "rce-java",
        score: 5,
        lane: "rce-b",
        what: "Java that runs commands, or that reaches the class loader",
        when: text_matches!(
            r"\bgetruntime ?\( ?\)|\bnew java\.lang\.processbuilder|@java\.lang\.|\bt ?\( ?java\.lang\.|\bclass(?:\.module)?\.classloader\b|#_memberaccess|%\{ ?\(?#|\$\{ ?\(?#[a-z_]+ ?="
        ),
    },
    BuiltIn {
        id: "rce-template",
        score: 5,
        lane: "rce-c",
        what: "a template's expression that reaches the language below",
        when: text_matches!(
            r#"(?:\{\{|\{%|\$\{|#\{|<%=?)[^}>]*(?:__(?:class|mro|globals|subclasses|builtins|import|init)__|\bconstructor ?[.(\[]|\.getclass ?\(|\bpopen ?\(|\bexec ?\(|\bsystem ?\(|[0-9] ?\* ?'?[0-9]+'? ?[}%])"#
        ),
    },
    BuiltIn {
        id: "rce-node",
        score: 5,
        lane: "rce-b",
        what: "a process of Node.js",
        when: text_matches!(
            r#"\brequire ?\( ?['"`](?:node:)?child_process|\bprocess\.mainmodule\b|\bglobal\.process\b|\bexecsync ?\( ?['"`]"#
        ),
    },
    BuiltIn {
        id: "rce-prototype",
        score: 5,
        lane: "rce-c",
        what: "a property of all objects of JavaScript, set by a parameter",
        when: text_matches!(r"(?:^|[\[.])__proto__(?:[\].=\[]|$)|\bconstructor[\].\[]+prototype\b"),
    },
    BuiltIn {
        id: "rce-object",
        score: 5,
        lane: "rce-b",
        what: "a serialized object of Java or PHP",
        when: text_matches!(r#"^(?:ro0ab[a-z0-9]|aced0005|o:[0-9]+:"[a-z0-9_\\]+":[0-9]+:\{)"#),
    },
    BuiltIn {
        id: "rce-metadata",
        score: 5,
        lane: "xss-c",
        what: "the metadata service of a cloud",
        when: text_matches!(
            r"^(?:[a-z]+:)?\/*(?:[^\/]*@)?(?:169\.254\.169\.254|100\.100\.100\.200|metadata\.google\.internal|\[?fd00:ec2::254|\[?::ffff:a9fe:a9fe|0xa9fea9fe|2852039166)\b"
        ),
    },
];
