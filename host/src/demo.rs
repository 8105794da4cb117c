//! `weir demo`: three small origins in this process and a configuration that shows the built-in balancers.

use std::convert::Infallible;
use std::io;
use std::iter;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use crate::config::{self, Config, ConfigErrors, Overrides};
use crate::task::Tasks;

/// The demonstration's origins, bound to free ports of the loopback.
pub struct Demo {
    origins: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl Demo {
    /// Binds the origins.
    ///
    /// # Errors
    /// When the loopback has no free port.
    pub fn bind() -> io::Result<Self> {
        let bind = |_| TcpListener::bind("127.0.0.1:0");
        let origins = NAMES.iter().map(bind).collect::<io::Result<Vec<_>>>()?;
        let addresses = origins.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
        Ok(Self { origins, addresses })
    }

    /// The configuration: each built-in balancer under a path of its own, round robin for all else.
    ///
    /// # Errors
    /// When an address is in the way of another.
    pub fn config(
        &self,
        listen: SocketAddr,
        metrics: SocketAddr,
        admin: SocketAddr,
    ) -> Result<Config, ConfigErrors> {
        let token = format!("{:032x}", rand::random::<u128>());
        let mut text = String::from("listeners:\n");
        for address in iter::once(listen).chain(other_loopback(listen)) {
            text.push_str(&format!(
                "  - {{ address: \"{address}\", tls: {{ self_signed: {{ names: [localhost, 127.0.0.1, \"::1\"] }} }} }}\n"
            ));
        }
        text.push_str(&format!(
            "telemetry: {{ metrics: {{ address: \"{metrics}\" }}, log: {{ format: text, access: false }} }}\n\
             admin: {{ address: \"{admin}\", token: \"{token}\" }}\n\
             plugins: [{{ name: headers, source: builtin:headers, config: {{ response: {{ set: {{ x-weir-route: \"${{route}}\" }} }} }} }}]\n\
             shutdown: {{ grace: 5s }}\n"
        ));
        let mut routes = String::from("routes:\n");
        text.push_str("upstreams:\n");
        for (name, balancer, extra) in BALANCERS {
            text.push_str(&format!(
                "  - name: {name}\n    balancer: {balancer}\n{extra}    endpoints:\n"
            ));
            for (address, weight) in self.addresses.iter().zip([5, 3, 1]) {
                text.push_str(&format!("      - {{ address: \"{address}\", weight: {weight} }}\n"));
            }
            text.push_str("    health: { path: /health, interval: 2s }\n");
            if name != "round-robin" {
                routes.push_str(&format!(
                    "  - {{ match: {{ path: \"/{name}/*\" }}, filters: [headers], upstream: {name} }}\n"
                ));
            }
        }
        routes.push_str("  - { filters: [headers], upstream: round-robin }\n");
        text.push_str(&routes);
        let mut config = config::from_text("demo", &text, Path::new("."), &Overrides::default())?;
        for (path, argument) in [
            ("listeners[0].address", "--listen"),
            ("telemetry.metrics.address", "--metrics"),
            ("admin.address", "--admin"),
        ] {
            config.places.set_argument(path, argument);
        }
        Ok(config)
    }

    /// Serves the origins until the drain ends.
    ///
    /// # Errors
    /// When a socket cannot be used.
    pub fn serve(self, tasks: &Tasks) -> io::Result<()> {
        for (listener, name) in self.origins.into_iter().zip(NAMES) {
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let owner = tasks.clone();
            tasks.spawn(async move { accept(listener, name, &owner).await });
        }
        Ok(())
    }
}

/// What is said once the demonstration listens on `address`: what to try, with the name by which `weir` was run.
pub fn welcome(address: SocketAddr, config: &Config) -> String {
    let port = address.port();
    let page = format!("https://localhost:{port}/");
    let weir = std::env::args().next().unwrap_or_else(|| "weir".to_owned());
    let mut lines = vec![
        (page.clone(), "a page that shows the balancers at work"),
        (format!("curl -k --http3-only {page}whoami"), "round robin, over HTTP/3"),
        (format!("curl -k {page}weighted/whoami"), "smooth weighted: 5, 3, 1"),
    ];
    if let Some(metrics) = &config.telemetry.metrics {
        lines.push((format!("http://{}/metrics", metrics.address), "metrics for Prometheus"));
    }
    if let Some(admin) = &config.admin {
        let access =
            format!("export WEIR_ADMIN={} WEIR_ADMIN_TOKEN={}", admin.address, admin.token);
        lines.extend([
            (String::new(), ""),
            (access, ""),
            (format!("{weir} plugin list"), "the plugins, and in which generation"),
            (
                format!("{weir} plugin new mine --kind balancer"),
                "one of your own, in the folder mine",
            ),
            (
                format!("{weir} plugin build mine"),
                "made a component; wants a WebAssembly target, and says which",
            ),
            (
                format!("{weir} plugin swap weighted mine/mine.wasm"),
                "in its place while requests flow",
            ),
        ]);
    }
    let mut text = format!(
        "\nWeir's demonstration serves HTTP/3, HTTP/2 and HTTP/1.1 on https://localhost:{port}\n\
         with a certificate made for this run (a browser will warn; curl wants -k). Try:\n\n"
    );
    for (what, why) in lines {
        // What is too long for the column has its reason below.
        let gap = if what.len() > 56 && !why.is_empty() {
            format!("\n  {:<56}", "")
        } else {
            String::new()
        };
        text.push_str(format!("  {what:<56}{gap} {why}").trim_end());
        text.push('\n');
    }
    text.push_str("\nCtrl-C drains and stops.\n\n");
    text
}

/// The same port of the IPv6 loopback, if there is one: browsers take `localhost` for `[::1]` first, and QUIC, unlike TCP,
/// does not tell them that nobody is there.
fn other_loopback(listen: SocketAddr) -> Option<SocketAddr> {
    let other = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), listen.port());
    let is_wanted = listen.ip() == Ipv4Addr::LOCALHOST && listen.port() != 0;
    (is_wanted && TcpListener::bind(other).is_ok()).then_some(other)
}

async fn accept(listener: tokio::net::TcpListener, name: &'static str, tasks: &Tasks) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: the proxy's own limit is the one to raise; the demonstration waits.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let service =
            service_fn(move |request| async move { Ok::<_, Infallible>(answer(name, &request)) });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        tasks.spawn(async move {
            // The proxy closes connections as it likes.
            let _ = connection.await;
        });
    }
}

fn answer(name: &'static str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let (kind, body) = if path == "/" {
        ("text/html; charset=utf-8", Bytes::from_static(PAGE))
    } else if path == "/health" {
        ("text/plain", Bytes::from_static(b"ok\n"))
    } else if path.ends_with("/whoami") {
        ("application/json", whoami(name, request))
    } else {
        let mut response = Response::new(Full::new(Bytes::from_static(b"not found\n")));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    let mut response = Response::new(Full::new(body));
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(HeaderName::from_static("x-origin"), HeaderValue::from_static(name));
    response
}

fn whoami(name: &str, request: &Request<Incoming>) -> Bytes {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let fields: serde_json::Map<String, serde_json::Value> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), text(value).into()))
        .collect();
    let path = request.uri().path();
    let body = serde_json::json!({ "origin": name, "path": path, "fields": fields });
    Bytes::from(format!("{body:#}\n"))
}

const NAMES: [&str; 3] = ["amber", "birch", "cobalt"];

/// Upstream, balancer and its further keys.
const BALANCERS: [(&str, &str, &str); 5] = [
    ("round-robin", "round-robin", ""),
    ("weighted", "weighted", ""),
    ("least", "least-connections", ""),
    ("two-choices", "random-two-choices", ""),
    ("hash", "consistent-hash", "    balancer_config: { key: client }\n"),
];

const PAGE: &[u8] = include_bytes!("demo.html");
