use std::collections::HashSet;

use super::*;

/// Returns the rows of docs/metrics.md.
fn table(metrics: &Metrics) -> String {
    let row = |metric: &Listed| {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let Listed { name, kind, help, .. } = metric;
        format!("| `{name}` | {kind} | {} | {help} |\n", labels.join(", "))
    };
    metrics.listed().iter().map(row).collect()
}

#[test]
fn the_page_lists_every_metric_and_no_other() {
    let page = include_str!("../../../../docs/metrics.md");
    let rows: String = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| format!("{line}\n"))
        .collect();
    let table = table(&Metrics::new());
    assert_eq!(rows, table, "docs/metrics.md should list:\n{table}");
}

#[test]
fn every_metric_that_is_listed_can_be_scraped_by_its_name() {
    let metrics = Metrics::new();
    let _generation = touch(&metrics);
    let text = metrics.encode();
    let typed: HashSet<(&str, &str)> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let listed: HashSet<_> = metrics.listed().iter().map(|m| (m.name, m.kind)).collect();
    assert_eq!(typed, listed);
}

#[test]
fn names_follow_prometheus_conventions() {
    for metric in Metrics::new().listed() {
        assert_eq!(metric.kind == "counter", metric.name.ends_with("_total"), "{}", metric.name);
        assert_eq!(
            metric.kind == "histogram",
            metric.name.ends_with("_duration_seconds") || metric.name == "quic_rtt_seconds"
        );
    }
}

#[test]
fn label_values_cannot_break_the_format() {
    let metrics = Metrics::new();
    let endpoint = metrics.upstream("a\"b\\c\nd").endpoint("e");
    endpoint.requests.inc();
    let text = metrics.encode();
    let sample = r#"backend_requests_total{endpoint="e",upstream="a\"b\\c\nd"} 1"#;
    assert!(text.lines().any(|line| line == sample), "{text}");
}

#[test]
fn endpoints_and_plugins_have_their_own_children() {
    let metrics = Metrics::new();
    let _generation = touch(&metrics);
    let text = metrics.encode();
    for sample in [
        r#"backend_health_status{endpoint="10.0.0.3:80",upstream="app"} 1"#,
        r#"backend_errors_total{endpoint="10.0.0.3:80",kind="connect",upstream="app"} 1"#,
        r#"weir_plugin_calls_total{function="pick",generation="1",plugin="round-robin"} 1"#,
        r#"weir_plugin_failures_total{generation="1",kind="trap",plugin="round-robin"} 1"#,
        r#"quic_handshakes_total{result="failed"} 0"#,
    ] {
        assert!(text.lines().any(|line| line == sample), "{sample}\n{text}");
    }
}

#[test]
fn two_routes_of_one_name_share_their_counters_and_others_do_not() {
    let metrics = Arc::new(Metrics::new());
    let local = Local::new(&metrics);
    let series = ["a", "a", "b"].map(|name| metrics.route(name));
    for series in &series {
        let route = local.route(series);
        let what = (MethodLabel::of(&http::Method::GET), 200, crate::message::peer::Protocol::H2);
        local.ended(&route, what, std::time::Duration::from_millis(3));
    }
    let count =
        |route: &str| metrics.http_requests.with_label_values(&["GET", "200", "h2", route]).get();
    assert_eq!((count("a"), count("b")), (2, 1));
    local.forget_routes();
    let [a, other, b] = series;
    drop((a, b));
    let text = metrics.encode();
    assert!(text.contains("route=\"a\"") && !text.contains("route=\"b\""), "{text}");
    drop(other);
    let text = metrics.encode();
    assert!(!text.contains("route=\"a\""), "{text}");
}

/// The users of series, which end with them.
type Users = (GenerationCounters, PluginCounters, EndpointCounters);

/// Gives every vector a child. Some children are removed when the returned values are dropped.
fn touch(metrics: &Metrics) -> Users {
    let endpoint = metrics.upstream("app").endpoint("10.0.0.3:80");
    endpoint.error("connect");
    let plugin = metrics.plugin("round-robin");
    plugin.shadow("same");
    plugin.custom("things").inc();
    let generation = plugin.generation(1);
    generation.failure("trap");
    generation.function("pick").calls.inc();
    for function in crate::plugins::function::Function::ALL {
        generation.function(function.name());
        generation.remembered(function.name()).inc();
    }
    metrics.http_requests.with_label_values(&["GET", "200", "h3", NO_ROUTE]).inc();
    metrics.grpc_requests.with_label_values(&[NO_ROUTE, "0"]).inc();
    metrics.http_request_duration.with_label_values(&["h3", NO_ROUTE]).observe(0.1);
    metrics.http_requests_active.with_label_values(&["h3"]).inc();
    metrics.http_tunnels_active.with_label_values(&["h3"]).inc();
    metrics.certificates("web", &[certificate(None, 0)]);
    (generation, plugin, endpoint)
}

/// A certificate that ends at a Unix time.
pub(super) fn certificate(file: Option<&str>, not_after: i64) -> CertificateStatus {
    let word = || "word".to_owned();
    CertificateStatus {
        cert: file.map(str::to_owned),
        key: None,
        names: Vec::new(),
        subject: word(),
        issuer: word(),
        key_type: word(),
        not_before: 0,
        not_after,
        serial: word(),
        sha256: word(),
    }
}

#[test]
fn an_expired_certificate_has_negative_days_at_a_scrape() {
    let metrics = Metrics::new();
    metrics.certificates("web", &[certificate(Some("certs/a.pem"), 0)]);
    let text = metrics.encode();
    let start = r#"weir_certificate_days_left{certificate="certs/a.pem",listener="web"} -"#;
    assert!(text.lines().any(|line| line.starts_with(start)), "{text}");
    metrics.certificates("web", &[]);
    assert!(!metrics.encode().contains("certs/a.pem"));
}

#[test]
fn what_is_counted_for_a_generation_ends_with_it() {
    let metrics = Metrics::new();
    let (generation, plugin, endpoint) = touch(&metrics);
    let counts = |label: &str| metrics.encode().matches(label).count();
    assert!(counts("generation=\"1\"") > 10);
    drop(generation);
    assert_eq!(counts("generation=\"1\""), 0, "{}", metrics.encode());
    assert!(counts("plugin=\"round-robin\"") > 5);
    drop(plugin);
    assert_eq!(counts("plugin=\"round-robin\""), 0, "{}", metrics.encode());
    assert!(counts("upstream=\"app\"") > 3);
    let again = metrics.upstream("app").endpoint("10.0.0.3:80");
    drop(endpoint);
    assert!(counts("upstream=\"app\"") > 3, "it has another user");
    drop(again);
    assert_eq!(counts("upstream=\"app\""), 0, "{}", metrics.encode());
}
