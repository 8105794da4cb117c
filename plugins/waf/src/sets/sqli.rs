//! SQL in parameters, paths and cookies. The texts are in lower case, with comments as spaces.

use super::{BuiltIn, text_matches};

pub(super) const RULES: &[BuiltIn] = &[
    BuiltIn {
        id: "sqli-union",
        score: 5,
        lane: "sqli",
        what: "UNION SELECT with something to select",
        when: text_matches!(
            r#"\bunion ?(?:\(|all\b|distinct\b)?[ (]*select\b ?(?:all |distinct )?(?:[*0-9(@'"~!-]|null\b|[a-z_][a-z0-9_.$]*(?: ?[,(]| from\b| into\b|--|#))"#
        ),
    },
    BuiltIn {
        id: "sqli-tautology",
        score: 5,
        lane: "sqli",
        what: "a quotation mark, then a comparison of constants joined by OR or AND",
        when: text_matches!(
            r#"['"`][ )]*(?:\b(?:or|and|xor)\b|\|\||&&)[ (!]*(?:not )?(?:['"]?[0-9]+['"]?|['"][a-z0-9]{0,3}['"]) ?(?:=|<|>|!=|like\b) ?(?:['"]?[0-9]|['"])"#
        ),
    },
    BuiltIn {
        id: "sqli-tautology-number",
        score: 5,
        lane: "sqli",
        what: "a number, then a comparison of numbers joined by OR or AND",
        when: text_matches!(
            r"(?:^|[ (])-?[0-9]+[ )]*(?: (?:or|and|xor)\b|\|\||&&)[ (!]*[0-9]+ ?(?:=|<|>|!=) ?[0-9]+(?: ?(?:--|#|;|\)|$)| (?:and|or|union|order|limit)\b)"
        ),
    },
    BuiltIn {
        id: "sqli-boolean",
        score: 5,
        lane: "sqli",
        what: "a quotation mark, then OR with a word that is always true or a subquery",
        when: text_matches!(
            r#"['"][ )]*(?:\b(?:or|and|xor)\b|\|\||&&)[ (!]*(?:true ?(?:--|#|$)|exists ?\(|select\b|ascii ?\(|substr(?:ing)? ?\(|length ?\(|(?:char|nchar|chr) ?\()"#
        ),
    },
    BuiltIn {
        id: "sqli-stacked",
        score: 5,
        lane: "sqli-b",
        what: "a second statement that changes data or the schema",
        when: text_matches!(
            r#"; ?(?:drop (?:table|database|schema|view|index|user|function|procedure)\b|truncate table\b|alter (?:table|user|database)\b|create (?:table|user|function|login)\b|insert into\b|delete from [a-z_`"\[]|update [a-z0-9_.`"\[\]]+ set\b|exec(?:ute)? ?(?:xp_|sp_|master|\(|@)|declare @|shutdown ?(?:with\b|;|--|$))"#
        ),
    },
    BuiltIn {
        id: "sqli-time",
        score: 5,
        lane: "sqli-b",
        what: "a function that waits, in the place of an expression",
        when: text_matches!(
            r#"(?:\b(?:and|or|xor|select|if|when|then|by|from)\b|\|\||&&|[;,(='"*\/-])[ (]*(?:sleep|pg_sleep|benchmark|dbms_lock\.sleep|dbms_pipe\.receive_message|randomblob) ?\( ?['"0-9(]"#
        ),
    },
    BuiltIn {
        id: "sqli-waitfor",
        score: 5,
        lane: "sqli",
        what: "WAITFOR of SQL Server",
        when: text_matches!(r#"\bwaitfor (?:delay|time) ?['"(@]"#),
    },
    BuiltIn {
        id: "sqli-error",
        score: 5,
        lane: "sqli",
        what: "a function that shows data in its error message, or that reads files",
        when: text_matches!(
            r#"\b(?:extractvalue|updatexml|load_file|utl_http\.request|utl_inaddr\.get_host_address|xmltype|exp) ?\( ?(?:~|rand\b|concat|char|0x|[0-9]+ ?,|['"(]|select\b)"#
        ),
    },
    BuiltIn {
        id: "sqli-schema",
        score: 5,
        lane: "sqli",
        what: "a table in which a database describes itself",
        when: text_matches!(
            r#"\b(?:from|join|into|table) ?[`"\[(]?(?:information_schema|mysql ?[`"\]]?\.|sqlite_master|sqlite_schema|pg_catalog|pg_shadow|pg_user\b|sysobjects|syscolumns|sys\.|master\.\.|all_tables\b|user_tables\b|dual\b)"#
        ),
    },
    BuiltIn {
        id: "sqli-outfile",
        score: 5,
        lane: "sqli",
        what: "a result written to a file",
        when: text_matches!(r#"\binto (?:out|dump)file ?['"(0]"#),
    },
    BuiltIn {
        id: "sqli-procedure",
        score: 5,
        lane: "sqli-b",
        what: "a procedure of SQL Server that runs commands",
        when: text_matches!(
            r"\b(?:xp_(?:cmdshell|dirtree|regread|regwrite|fileexist)|sp_(?:oacreate|executesql|makewebtask))\b ?[ ('@;]"
        ),
    },
    BuiltIn {
        id: "sqli-order",
        score: 5,
        lane: "sqli",
        what: "ORDER BY or GROUP BY a number after the end of a value, to count columns",
        when: text_matches!(
            r#"(?:['")]|^-?[0-9]+) ?(?:order|group) by [0-9]+ ?(?:,|--|#|;|\/\*|$)"#
        ),
    },
    BuiltIn {
        id: "sqli-comment",
        score: 5,
        lane: "sqli",
        what: "a word, then a quotation mark and a comment",
        when: text_matches!(r"^[a-z0-9_.@-]*'[ )]*(?:;? ?--|#|\/\*)"),
    },
];
