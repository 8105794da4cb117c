mod properties;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use saphyr_parser::Parser;
use serde_json::{Value, json};

use super::{Document, read};

/// Reads with `serde_yaml` by the rules of a configuration. Places, bounds and duplicate keys are
/// left to the reader under test.
fn by_serde(text: &str) -> Option<Value> {
    fn convert(value: serde_yaml::Value) -> Option<Value> {
        Some(match value {
            serde_yaml::Value::Null => Value::Null,
            serde_yaml::Value::Bool(value) => value.into(),
            serde_yaml::Value::String(value) => value.into(),
            serde_yaml::Value::Number(number) => {
                match (number.as_u64(), number.as_i64(), number.as_f64()) {
                    (Some(value), _, _) => value.into(),
                    (_, Some(value), _) => value.into(),
                    (_, _, value) => value.filter(|value| value.is_finite())?.into(),
                }
            }
            serde_yaml::Value::Tagged(_) => return None,
            serde_yaml::Value::Sequence(items) => {
                Value::Array(items.into_iter().map(convert).collect::<Option<_>>()?)
            }
            serde_yaml::Value::Mapping(entries) => {
                let entry = |(key, value)| {
                    let serde_yaml::Value::String(key) = key else { return None };
                    Some((key, convert(value)?))
                };
                Value::Object(entries.into_iter().map(entry).collect::<Option<_>>()?)
            }
        })
    }
    convert(serde_yaml::from_str(text).ok()?)
}

fn value(text: &str) -> Option<Value> {
    read("weir.yaml", text).ok().map(|(_, value)| value)
}

fn document(text: &str) -> Document {
    read("weir.yaml", text).unwrap().0
}

fn problems(text: &str) -> Vec<String> {
    let problems = read("weir.yaml", text).unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

fn texts() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut texts = Vec::new();
    for folder in ["configs", "tests/golden/config"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                texts.push(fs::read_to_string(path).unwrap());
            }
        }
    }
    assert!(texts.len() > 40, "{} files found", texts.len());
    texts
}

#[test]
fn every_configuration_has_the_values_that_serde_yaml_reads() {
    let mut read = 0;
    for text in texts() {
        if let Some(value) = value(&text) {
            assert_eq!(Some(value), by_serde(&text), "{text}");
            read += 1;
        }
    }
    assert!(read > 35, "{read} files read");
}

#[test]
fn every_value_is_written_at_its_place() {
    fn look(document: &Document, lines: &[&str], path: &str, value: &Value) {
        let shown = document.value(path).to_string();
        match value {
            Value::Array(items) => {
                for (at, value) in items.iter().enumerate() {
                    look(document, lines, &super::item(path, at), value);
                }
            }
            Value::Object(entries) => {
                for (key, value) in entries {
                    let path = super::below(path, key);
                    let shown = document.key(&path).to_string();
                    assert!(at(lines, &shown).contains(key.as_str()), "{path} at {shown}");
                    look(document, lines, &path, value);
                }
            }
            Value::String(text) => {
                let first = text.split(['\n', ' ']).next().unwrap();
                let written = at(lines, &shown).trim_start_matches(['"', '\'']);
                let is_alias = written.starts_with(['*', '&']);
                assert!(written.starts_with(first) || is_alias, "{path} at {shown}");
            }
            _ => assert_ne!(shown, "weir.yaml", "{path}"),
        }
    }
    fn at<'a>(lines: &[&'a str], place: &str) -> &'a str {
        let mut numbers = place.split(':').skip(1).map(|number| number.parse::<usize>().unwrap());
        let (line, column) = (numbers.next().unwrap(), numbers.next().unwrap());
        let line = lines[line - 1];
        line.char_indices().nth(column - 1).map_or("", |(start, _)| &line[start..])
    }
    for text in texts().iter().filter(|text| !text.contains(": *")) {
        let lines: Vec<&str> = text.lines().collect();
        if let Ok((document, value)) = read("weir.yaml", text) {
            look(&document, &lines, "", &value);
        }
    }
}

#[test]
fn a_path_leads_to_its_value_or_to_the_nearest_part_around_it() {
    let mut document = document(
        "a:
  \"b.c\": [1, { d: 2 }]
  'q\"]\\': {r: x}
  \"\": &n
    e: [f]
g: *n
",
    );
    let place = |document: &Document, path: &str| {
        let key = document.key(path).to_string().replace("weir.yaml:", "");
        let value = document.value(path).to_string().replace("weir.yaml:", "");
        format!("{key} {value}")
    };
    for (path, places) in [
        ("", "1:1 1:1"),
        ("a", "1:1 2:3"),
        ("a[\"b.c\"]", "2:3 2:10"),
        ("a[\"b.c\"][0]", "2:11 2:11"),
        ("a[\"b.c\"][1].d", "2:16 2:19"),
        ("a[\"b.c\"][1].none.x", "2:14 2:14"),
        ("a[\"b.c\"][2]", "2:3 2:10"),
        ("a[\"b.x\"][1]", "1:1 2:3"),
        ("a[\"q\\\"]\\\\\"]", "3:3 3:11"),
        ("a[\"q\\\"]\\\\\"].r", "3:12 3:15"),
        ("a[\"\"].e[0]", "5:9 5:9"),
        ("g", "6:1 6:4"),
        ("g.e[0]", "6:1 6:4"),
        ("a[\"open", "1:1 2:3"),
        ("h", "1:1 1:1"),
    ] {
        assert_eq!(place(&document, path), places, "{path}");
    }
    assert!(document.has("a[\"b.c\"][1].d") && document.has("g"));
    assert!(!document.has("a[\"b.c\"][2]") && !document.has("h") && !document.has("g.e"));
    document.set_argument("h[0].source".to_owned(), "--plugin".to_owned());
    document.set_argument("a[\"b.c\"][0]".to_owned(), "--first".to_owned());
    assert_eq!(place(&document, "h[0].source.x"), "--plugin --plugin");
    assert_eq!(place(&document, "h[0]"), "1:1 1:1");
    assert_eq!(place(&document, "a[\"b.c\"][0]"), "--first --first");
    assert!(document.has("h[0]") && document.has("a[\"b.c\"][0]"));
    document.set_argument("a".to_owned(), "--whole".to_owned());
    assert_eq!(place(&document, "a.none"), "--whole --whole");
    assert_eq!(place(&document, "a[\"b.c\"][1].d"), "2:16 2:19");
}

#[test]
fn a_document_from_the_command_line_has_no_other_places() {
    let mut document = Document::argument("--upstream");
    assert_eq!(document.value("routes[0]").to_string(), "--upstream");
    document.set_argument("routes[0]".to_owned(), "--listen".to_owned());
    assert_eq!(document.value("routes[0].name").to_string(), "--listen");
    assert_eq!(document.key("routes").to_string(), "--upstream");
}

#[test]
fn a_document_in_a_log_shows_no_value() {
    let shown = format!("{:?}", document("token: sesame\nlist: [sesame]"));
    assert!(shown.contains("weir.yaml") && !shown.contains("sesame"), "{shown}");
}

#[test]
fn every_fault_of_a_part_is_reported_in_one_pass() {
    assert_eq!(
        problems(
            "a: !y {1: a}
b: -.inf
c: [18446744073709551616, -9223372036854775809, 0x10000000000000000]
~: {true: x, : y}
!q r: s
!!int '3': t
a: {x: 1, x: [.nan]}
d: !!int x
e: !!float x
f: !!null ''
g: !!bool yes
h: [!s [], ! {}, !]
i: [>, '|']
"
        ),
        [
            "weir.yaml:1:4: the tag \"!y\" has no meaning here",
            "weir.yaml:1:8: a key must be text; write \"1\" in quotes",
            "weir.yaml:2:4: a number must be finite",
            "weir.yaml:3:5: the integer does not fit into 64 bits",
            "weir.yaml:3:27: the integer does not fit into 64 bits",
            "weir.yaml:3:49: the integer does not fit into 64 bits",
            "weir.yaml:4:1: a key must be text; write \"~\" in quotes",
            "weir.yaml:4:5: a key must be text; write \"true\" in quotes",
            "weir.yaml:4:14: a key must be text; write \"\" in quotes",
            "weir.yaml:5:1: the tag \"!q\" has no meaning here",
            "weir.yaml:6:1: a key must be text; write \"3\" in quotes",
            "weir.yaml:7:1: duplicate key \"a\"; the first is on line 1",
            "weir.yaml:7:11: duplicate key \"x\"; the first is on line 7",
            "weir.yaml:7:15: a number must be finite",
            "weir.yaml:8:4: the value is not of the type that its tag names: integer",
            "weir.yaml:9:4: the value is not of the type that its tag names: number",
            "weir.yaml:10:4: the value is not of the type that its tag names: null",
            "weir.yaml:11:4: the value is not of the type that its tag names: boolean",
            "weir.yaml:12:5: the tag \"!s\" has no meaning here",
            "weir.yaml:12:12: the tag \"!\" has no meaning here",
            "weir.yaml:12:18: the tag \"!\" has no meaning here",
            "weir.yaml:13:5: text that begins with \">\" must be in quotes",
        ]
    );
}

/// A key from the file may steer a terminal, and a value may be a secret.
#[test]
fn a_fault_is_one_short_line_without_the_value() {
    assert_eq!(
        problems("\"\\e[2J\\n\": 1\n\"\\e[2J\\n\": 1\n? |\n  1\n  2\n: !a%0A x\n"),
        [
            "weir.yaml:2:1: duplicate key \"\\u{1b}[2J\\n\"; the first is on line 1",
            "weir.yaml:6:3: the tag \"!a\\n\" has no meaning here",
        ]
    );
    assert_eq!(
        problems("!!int \"a\\nb\": 1\ntoken: !!int sesame\n!!null sesame: 1"),
        [
            "weir.yaml:1:1: the value is not of the type that its tag names: integer",
            "weir.yaml:2:8: the value is not of the type that its tag names: integer",
            "weir.yaml:3:1: the value is not of the type that its tag names: null",
        ]
    );
    let (short, long) = ("x".repeat(63), "x".repeat(64));
    assert_eq!(
        problems(&format!("[!{short} a, !{long} a]")),
        [
            format!("weir.yaml:1:2: the tag \"!{short}\" has no meaning here"),
            format!("weir.yaml:1:70: the tag \"!{short}…\" has no meaning here"),
        ]
    );
}

/// The parser copies the prefix for each tag.
#[test]
fn a_tag_with_a_long_prefix_ends_the_reading() {
    let text = |length: usize, value: &str| {
        format!("%TAG !a! !{}\n---\n[!a!x {value}, !b 2]", "x".repeat(length - 1))
    };
    assert_eq!(problems(&text(64, "1")).len(), 2);
    for value in ["1", "[]", "{}", "{!a!x b: c}"] {
        assert_eq!(
            problems(&text(65, value)),
            ["weir.yaml:3:2: the %TAG prefix of this tag has more than 64 bytes"]
        );
    }
    let text = "%TAG !y! tag:yaml.org,2002:\n%TAG !! x:\n---\n[!y!int '1', !!int '1']";
    assert_eq!(value(text), Some(json!([1, "1"])));
}

#[test]
fn a_key_that_is_no_scalar_is_refused() {
    for (text, place) in [("? [a]\n: b", "1:3"), ("? {a: b}\n", "1:3"), ("a: &k b\n*k : c", "2:1")]
    {
        assert_eq!(problems(text), [format!("weir.yaml:{place}: a key must be text")]);
    }
    assert_eq!(by_serde("a: &k b\n*k : c"), Some(json!({"a": "b", "b": "c"})));
}

#[test]
fn an_alias_is_a_copy_of_the_last_part_with_its_anchor() {
    for (text, expected) in [
        (
            "a: &x [1, &y {b: 2}]\nc: [*y, *x]",
            json!({"a": [1, {"b": 2}], "c": [{"b": 2}, [1, {"b": 2}]]}),
        ),
        ("a: &x 1\nb: *x\nc: &x 2\nd: *x", json!({"a": 1, "b": 1, "c": 2, "d": 2})),
        ("a: &x [&x 1, *x]\nb: *x", json!({"a": [1, 1], "b": 1})),
        ("&k key: 1\nb: *k", json!({"key": 1, "b": "key"})),
        ("<<: &x {a: 1}\nb: {<<: *x}", json!({"<<": {"a": 1}, "b": {"<<": {"a": 1}}})),
    ] {
        assert_eq!(value(text), Some(expected.clone()), "{text}");
        assert_eq!(by_serde(text), Some(expected), "{text}");
    }
    assert_eq!(
        problems("a: &a [*a]"),
        ["weir.yaml:1:8: the alias refers to a part that contains it"]
    );
}

/// `serde_yaml` numbers the anchors by their names, so two of them can have one number.
#[test]
fn an_alias_after_a_redefined_anchor_is_not_what_serde_yaml_reads() {
    let text = "[&x 1, &y 2, &x 3, &z 4, *x]";
    assert_eq!(value(text), Some(json!([1, 2, 3, 4, 3])));
    assert_eq!(by_serde(text), Some(json!([1, 2, 3, 4, 4])));
}

#[test]
fn aliases_expand_to_a_bounded_depth_and_size() {
    let around =
        |inner: &str, depth: usize| format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
    let nested = |depth: usize| around("1", depth);
    let aliased = |depth: usize| format!("a: &a {}\nb: {}", nested(31), around("*a", depth));
    assert!(value(&aliased(32)).is_some());
    assert_eq!(
        problems(&aliased(33)),
        ["weir.yaml:2:37: is nested more than 64 deep, aliases expanded"]
    );
    assert!(by_serde(&aliased(33)).is_some(), "serde_yaml allows 128");

    assert!(value(&nested(64)).is_some());
    assert_eq!(problems(&nested(65)), ["weir.yaml:1:65: is nested more than 64 deep"]);

    let multiplied = "a: &a [1,1,1,1,1,1,1,1,1,1]
b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]
c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]
d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]
e: [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]
";
    assert!(value(multiplied).is_some(), "123,000 values");
    assert!(by_serde(multiplied).is_none(), "serde_yaml counts the aliases in aliases");
}

#[test]
fn aliases_of_long_text_are_bounded_by_their_length() {
    let text =
        |aliases: usize| format!("a: &a {}\nb: [{}]", "x".repeat(1 << 19), "*a,".repeat(aliases));
    assert!(value(&text(30)).is_some());
    assert_eq!(
        problems(&text(100_000)),
        ["weir.yaml:2:101: has more than 16 MiB of text, aliases expanded"]
    );
}

#[test]
fn a_hostile_text_takes_no_more_time_or_memory_than_a_long_one() {
    let most = super::MAX_BYTES - 100;
    let duplicates = "a:\n".repeat(90_000);
    let long = "k".repeat(1000);
    let keys: String =
        (0..60).map(|depth| format!("{}? {long}\n{0}:\n", " ".repeat(depth))).collect();
    let paths = format!("{keys}{}[{}]", " ".repeat(61), "1,".repeat(190_000));
    let anchors = format!("{}{}{}", "[&a ".repeat(60), "[1,1],".repeat(60_000), "]".repeat(60));
    let brackets = "[".repeat(most);
    let questions = "? ".repeat(most / 2);
    let tags = |prefix: &str| {
        let prefix = format!("{prefix}{}", "x".repeat(100_000));
        format!("%TAG !a! {prefix}\n%TAG !! {prefix}\n---\n[{}]", "!a!b 1, !!c [], ".repeat(2000))
    };
    for (text, is_read) in [
        (duplicates, false),
        (paths, true),
        (anchors, true),
        (brackets, false),
        (questions, false),
        (tags("!"), false),
        (tags("x:"), false),
    ] {
        let start = Instant::now();
        let result = read("weir.yaml", &text);
        assert_eq!(result.is_ok(), is_read, "{}", &text[..100]);
        let problems = result.err().unwrap_or_default();
        let shown: usize = problems.iter().map(|problem| problem.message().len()).sum();
        assert!(shown < 16 * text.len(), "{}: {shown} bytes of messages", &text[..100]);
        assert!(start.elapsed() < Duration::from_secs(10), "{}", &text[..100]);
    }
}

#[test]
fn a_text_without_a_value_is_empty() {
    for text in ["", "\n", "# nothing\n", "...\n"] {
        assert_eq!(problems(text), ["weir.yaml: is empty"], "{text}");
        assert!(by_serde(text).is_none_or(|value| value.is_null()));
    }
    assert_eq!(value("---\n"), Some(Value::Null));
}

/// Some of them end a line in YAML 1.1 and are letters in YAML 1.2.
#[test]
fn characters_that_readers_disagree_about_are_refused() {
    for (text, place, code) in [
        ("a: x\u{2028}b: y\n", "1:5", "2028"),
        ("# é\n# \u{2029}\na: b\n", "2:3", "2029"),
        ("a: \"\u{85}\"\n", "1:5", "0085"),
        ("a: b\r\nc: d\0\n", "2:5", "0000"),
        ("a: b\u{7}", "1:5", "0007"),
        ("a: b\u{7f}", "1:5", "007F"),
        ("a: b\u{ffff}", "1:5", "FFFF"),
    ] {
        let message =
            format!("the character U+{code} is not allowed; write \"\\u{code}\" in double quotes");
        assert_eq!(problems(text), [format!("weir.yaml:{place}: {message}")]);
    }
    let text = "a: \"\\u2028\\u0085\\0\\u007F\"";
    assert_eq!(value(text), Some(json!({"a": "\u{2028}\u{85}\0\u{7f}"})));
    assert_eq!(value(text), by_serde(text));
}

#[test]
fn a_block_scalar_ends_with_a_line_break_only_if_its_last_line_does() {
    for style in ["|", ">", "|+", ">+", "|-", "|2"] {
        for end in ["", "\n  \t", "\n   y", "\n", "\n\n", "\n# c", "\nb: c", "\r\n"] {
            for start in ["a: ", "a: &x ", "a: !!str "] {
                let text = format!("{start}{style}\n  x{end}");
                assert_eq!(value(&text), by_serde(&text), "{text:?}");
                assert!(value(&text).is_some(), "{text:?}");
            }
        }
    }
}

/// The parser adds a line break to such a line if it has the indentation of the scalar.
#[test]
fn a_blank_last_line_without_a_line_break_adds_none() {
    for (text, expected) in [
        ("a: |\n  x\n  ", "x\n"),
        ("a: |\n  x\n   ", "x\n "),
        ("a: |+\n  x\n  ", "x\n"),
        ("a: |+\n  x\n ", "x\n"),
        ("a: |-\n  x\n   ", "x\n "),
        ("\u{feff}a: |\n  x\n   ", "x\n "),
    ] {
        assert_eq!(value(text), Some(json!({ "a": expected })), "{text:?}");
    }
    for style in ["|", ">", "|+", ">+", "|-", ">-", "|2", "|2+"] {
        for before in ["  x\n", "  x\n\n", "  x\n   y\n", "  x\r\n", "\n  x\n", "\n", ""] {
            for spaces in 0..12 {
                for start in ["a: ", "a: &x ", "a:\n- !!str ", "", "? "] {
                    let text = format!("{start}{style}\n{before}{}", " ".repeat(spaces));
                    assert_eq!(value(&text), by_serde(&text), "{text:?}");
                }
            }
        }
    }
}

#[test]
fn a_question_mark_in_front_of_a_letter_is_text_in_brackets() {
    for (text, expected, by_libyaml) in [
        ("[?a]", json!(["?a"]), Some(json!([{"a": null}]))),
        ("{?a: b}", json!({"?a": "b"}), Some(json!({"a": "b"}))),
        ("[?]", json!(["?"]), None),
        ("{?}", json!({"?": null}), None),
    ] {
        assert_eq!(value(text), Some(expected), "{text}");
        // `[?]` and a line break; without it libyaml takes the text for unfinished as well.
        assert_eq!(by_serde(&format!("{text}\n")), by_libyaml, "{text}");
    }
}

/// YAML 1.2 allows them; libyaml, the parser of `serde_yaml`, reads YAML 1.1.
#[test]
fn texts_that_only_yaml_1_2_allows_are_read() {
    for (text, expected) in [
        ("[:a]", json!([":a"])),
        ("[a:]", json!([{"a": null}])),
        ("{a\n b: c}", json!({"a b": "c"})),
        ("{\"a\n b\": c}", json!({"a b": "c"})),
        ("-\ta\n", json!(["a"])),
        ("a: b\n\t\nc: d", json!({"a": "b", "c": "d"})),
        ("a: |\n \tb\n", json!({"a": "\tb\n"})),
        ("...\na: b", json!({"a": "b"})),
        ("a: b\n...\n\t", json!({"a": "b"})),
        ("%FUTURE! 1\n---\na: b", json!({"a": "b"})),
        ("\u{feff}a: b\nc: d", json!({"a": "b", "c": "d"})),
        ("--- |\na\n", json!("a\n")),
        ("|\na: b\n", json!("a: b\n")),
    ] {
        assert_eq!(value(text), Some(expected.clone()), "{text:?}");
        assert_ne!(by_serde(text), Some(expected), "{text:?}: no difference");
    }
}

/// The other way round: libyaml reads them. A configuration had to suit both parsers before.
#[test]
fn texts_that_only_libyaml_takes_are_refused() {
    for text in ["a: >#\n", "- \"b\"#c\n", "a:\n-\n|\n", "a: '\nb'\n", "!!! a", "a: b\u{feff}"] {
        assert!(value(text).is_none(), "{text:?}");
        assert!(by_serde(text).is_some(), "{text:?}: no difference");
    }
}

/// libyaml refuses some names of tags.
#[test]
fn a_tag_of_yaml_with_an_unknown_name_is_ignored() {
    for text in ["a: !!# b", "a: !!set b", "a: !<x:y> b"] {
        assert!(matches!(value(text), Some(Value::Object(_))), "{text:?}");
    }
    assert_eq!(by_serde("a: !!# b"), None);
}

fn is_yaml_1_2(text: &str) -> bool {
    Parser::new_from_str(text).all(|event| event.is_ok())
}
