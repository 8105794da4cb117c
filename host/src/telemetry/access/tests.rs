use super::*;

fn entry() -> Entry<'static> {
    Entry {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_323_045_678),
        request_id: RequestId(0x00c0_ffee_0123_4567),
        client: "192.0.2.7:50123".parse().unwrap(),
        protocol: "h3",
        method: "GET",
        scheme: "https",
        host: b"example.com",
        path: "/items?page=2",
        route: Some("/items"),
        upstream: Some("app"),
        endpoint: Some("10.0.0.3:8080"),
        attempts: 1,
        status: 200,
        grpc_status: None,
        request_bytes: 0,
        response_bytes: 1024,
        duration: Duration::from_micros(12_345),
        first_byte: Some(Duration::from_micros(9_007)),
        error: None,
        is_aborted: false,
        trace_id: Some("0af7651916cd43dd8448eb211c80319c"),
        user_agent: Some(b"curl/8.5.0"),
        skipped: &[],
        attributes: &[],
    }
}

fn hostile(entry: &mut Entry<'static>, value: &'static [u8]) {
    entry.host = value;
    entry.user_agent = Some(value);
    entry.path = std::str::from_utf8(value).unwrap_or("/");
    entry.method = std::str::from_utf8(value).unwrap_or("/");
}

fn line(entry: &Entry<'_>, format: LogFormat) -> String {
    String::from_utf8(entry.line(format)).unwrap()
}

fn json(entry: &Entry<'_>) -> serde_json::Value {
    let line = line(entry, LogFormat::Json);
    assert_eq!(line.matches('\n').count(), 1);
    serde_json::from_str(&line).unwrap()
}

#[test]
fn the_page_shows_what_is_written_and_lists_each_field_in_order() {
    let page = include_str!("../../../../docs/access-log.md");
    assert!(page.contains(&line(&entry(), LogFormat::Json)), "{}", line(&entry(), LogFormat::Json));
    assert!(page.contains(&line(&entry(), LogFormat::Text)), "{}", line(&entry(), LogFormat::Text));
    let rows = page.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next());
    let listed: Vec<&str> = rows.collect();
    let text = line(&entry(), LogFormat::Json);
    let written: Vec<&str> =
        text.split("\":").filter_map(|part| part.rsplit(['"', ',', '{']).next()).collect();
    let written: Vec<&str> = written.into_iter().filter(|name| listed.contains(name)).collect();
    assert_eq!(listed, written);
    assert_eq!(listed.len(), json(&entry()).as_object().unwrap().len());
}

#[test]
fn a_client_cannot_forge_a_line_or_a_field() {
    for value in [
        &b"x\n{\"status\":200}"[..],
        b"x\r\ny",
        b"\"},\"status\":999,\"x\":\"",
        b"\\\"\\",
        b"a b=c status=200",
        b"\x00\x1b[2J\x7f",
        "\u{85}\u{2028}\u{2029}\u{9b}".as_bytes(),
        b"\xff\xfe\xc3",
        b"caf\xc3\xa9",
        b"",
    ] {
        let mut entry = entry();
        hostile(&mut entry, value);
        let text = String::from_utf8_lossy(value);
        let record = json(&entry);
        assert_eq!(record["status"], 200);
        assert_eq!(record["user_agent"], *text, "as sent once unescaped");
        assert_eq!(record.as_object().unwrap().len(), 24);

        for format in [LogFormat::Json, LogFormat::Text] {
            let line = line(&entry, format);
            let body = line.strip_suffix('\n').unwrap();
            assert!(!body.contains(|c: char| c.is_control() || c == '\u{2028}'), "{body:?}");
        }
        let text = line(&entry, LogFormat::Text);
        let outside: String = unquoted(&text);
        assert_eq!(outside.matches(" status=").count(), 1, "{text}");
    }
}

/// Returns the text without its quoted values.
fn unquoted(text: &str) -> String {
    let (mut out, mut is_quoted, mut is_escaped) = (String::new(), false, false);
    for c in text.chars() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            c if !is_quoted => out.push(c),
            _ => {}
        }
    }
    assert!(!is_quoted);
    out
}

#[test]
fn what_is_absent_is_null_in_json_and_left_out_of_text() {
    let mut entry = entry();
    entry.route = None;
    entry.endpoint = None;
    entry.first_byte = None;
    entry.trace_id = None;
    entry.error = Some(("upstream", "timeout"));
    entry.is_aborted = true;
    let record = json(&entry);
    assert!(record["route"].is_null() && record["first_byte_ms"].is_null());
    assert_eq!(record["error"], "upstream/timeout");
    assert_eq!(record["aborted"], true);
    let text = line(&entry, LogFormat::Text);
    assert!(!text.contains("route=") && text.contains(" error=upstream/timeout aborted=true "));
}

#[test]
fn facts_of_plugins_are_a_list_and_an_object() {
    let skipped = [Arc::from("gate"), Arc::from("waf")];
    let note = |plugin: &str, name: &str, value: &str| Noted {
        plugin: plugin.to_owned(),
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let attributes =
        [note("t", "plan", "gold \"x\""), note("waf", "rule", "7"), note("t", "by.key", "1")];
    let entry = Entry { skipped: &skipped, attributes: &attributes, ..entry() };
    let record = json(&entry);
    assert_eq!(record["skipped"], serde_json::json!(["gate", "waf"]));
    assert_eq!(
        record["attributes"],
        serde_json::json!({ "t": { "plan": "gold \"x\"", "by.key": "1" }, "waf": { "rule": "7" } })
    );
    let text = line(&entry, LogFormat::Text);
    let expected = r#" skipped=gate,waf attributes.t.plan="gold \"x\"" attributes.waf.rule=7 attributes.t.by.key=1"#;
    assert!(text.trim_end().ends_with(expected), "{text}");
}
