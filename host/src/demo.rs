//! `weir demo`: three small origins in this process and a configuration that shows the built-in
//! balancers.

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

/// The demonstration's origins, bound to free ports of the loopback address.
pub struct Demo {
    origins: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl Demo {
    /// Binds the origins.
    ///
    /// # Errors
    /// The loopback address has no free port.
    pub fn bind() -> io::Result<Self> {
        let bind = |_| TcpListener::bind("127.0.0.1:0");
        let origins = NAMES.iter().map(bind).collect::<io::Result<Vec<_>>>()?;
        let addresses = origins.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
        Ok(Self { origins, addresses })
    }

    /// Returns the configuration: each built-in balancer under a path of its own, and round robin
    /// for all other paths.
    ///
    /// # Errors
    /// An address is the same as another.
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
    /// A socket cannot be used.
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

/// Returns the text that is printed once the demonstration listens on `address`: commands to try,
/// with the name that `weir` was run by.
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
    if let Some(admin) = &config.admin
        && let Some(token) = admin.strongest()
    {
        let access = format!("export WEIR_ADMIN={} WEIR_ADMIN_TOKEN={token}", admin.address);
        lines.extend([
            (String::new(), ""),
            (access, ""),
            (format!("{weir} plugin list"), "the plugins and their generations"),
            (format!("{weir} plugin new mine --kind balancer"), "a new plugin, in the folder mine"),
            (
                format!("{weir} plugin build mine"),
                "builds its component; needs a WebAssembly target, and names it",
            ),
            (
                format!("{weir} plugin swap weighted mine/mine.wasm"),
                "replaces a balancer while requests flow",
            ),
        ]);
    }
    let mut text = format!(
        "\nWeir's demonstration serves HTTP/3, HTTP/2 and HTTP/1.1 on https://localhost:{port}\n\
         with a certificate made for this run (a browser will warn; curl needs -k). Try:\n\n"
    );
    for (what, why) in lines {
        // The text of a long line is on the line below.
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

/// Returns the same port of the IPv6 loopback address, if it is free. Browsers resolve `localhost`
/// to `[::1]` first. Unlike TCP, QUIC does not tell them that no process listens there.
fn other_loopback(listen: SocketAddr) -> Option<SocketAddr> {
    let other = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), listen.port());
    let is_wanted = listen.ip() == Ipv4Addr::LOCALHOST && listen.port() != 0;
    (is_wanted && TcpListener::bind(other).is_ok()).then_some(other)
}

async fn accept(listener: tokio::net::TcpListener, name: &'static str, tasks: &Tasks) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // No file descriptors are left. The proxy's own limit is the one to raise, and the
            // demonstration waits.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let service =
            service_fn(move |request| async move { Ok::<_, Infallible>(answer(name, &request)) });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        tasks.spawn(async move {
            // The proxy may close a connection at any time.
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
