//! The configurations in configs/ that show a filter. Each runs unchanged, over HTTP/3, and behaves
//! as documented.

use std::path::Path;

use http::Request;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::mmdb::{Data, database};
use crate::support::{Answer, Body, Client, Origin, Protocol, RawOrigin, Weir, within};

/// A request of an example and its expected result.
struct Step<'a> {
    method: &'a str,
    path: &'a str,
    fields: &'a [(&'a str, &'a str)],
}

fn get<'a>(path: &'a str, fields: &'a [(&'a str, &'a str)]) -> Step<'a> {
    Step { method: "GET", path, fields }
}

/// An example with its origins.
struct Example {
    /// Ends when dropped.
    _weir: Weir,
    client: Client,
    origins: Vec<Origin>,
}

impl Example {
    /// Starts an example with the upstreams `app`, `second` and `third`, as many as it has.
    async fn start(name: &str, origins: usize) -> Self {
        Self::edited(name, origins, |yaml, _| yaml).await
    }

    async fn edited(
        name: &str,
        origins: usize,
        edit: impl FnOnce(String, &Path) -> String,
    ) -> Self {
        let mut started = Vec::new();
        for name in ["app", "second", "third"].iter().take(origins) {
            started.push(Origin::named(name).await);
        }
        let weir = Weir::example(name, &started.iter().collect::<Vec<_>>(), edit).await;
        let client = weir.client(Protocol::H3).await;
        Self { _weir: weir, client, origins: started }
    }

    async fn send(&self, step: Step<'_>) -> Answer {
        let mut request = Request::builder().method(step.method).uri(step.path);
        for (name, value) in step.fields {
            request = request.header(*name, *value);
        }
        self.client.send(request.body(Body::empty()).unwrap()).await
    }

    /// Sends a request that an origin answers, and returns the origin's name.
    async fn served(&self, step: Step<'_>) -> String {
        let answer = self.send(step).await;
        assert_eq!(answer.status, 200);
        answer.text().await
    }

    /// Returns a field of the last request at the first origin.
    fn seen(&self, name: &str) -> String {
        self.origins[0].head().header(name)
    }
}

#[tokio::test]
async fn cors() {
    let example = Example::start("cors", 1).await;
    let own = [("origin", "https://app.example.com")];
    let answer = example.send(get("/orders", &own)).await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example.com");
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    let asked = [own[0], ("access-control-request-method", "PUT")];
    let answer = example.send(Step { method: "OPTIONS", ..get("/orders", &asked) }).await;
    assert_eq!((answer.status.as_u16(), answer.header("access-control-max-age")), (204, "7200"));
    let stranger = [("origin", "https://evil.example")];
    assert_eq!(example.send(get("/orders", &stranger)).await.status, 403);
    let answer = example.send(get("/public/prices", &stranger)).await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
}

#[tokio::test]
async fn security_headers() {
    let example = Example::start("security-headers", 2).await;
    let answer = example.send(get("/", &[])).await;
    assert_eq!(answer.header("strict-transport-security"), "max-age=31536000; includeSubDomains");
    assert_eq!(answer.header("x-frame-options"), "DENY");
    assert_eq!(answer.header("server"), "");
    let answer = example.send(get("/files/logo.png", &[])).await;
    assert_eq!(answer.header("cross-origin-resource-policy"), "cross-origin");
    assert_eq!(answer.header("x-frame-options"), "");
}

#[tokio::test]
async fn request_id() {
    let example = Example::start("request-id", 1).await;
    let forged = [("x-request-id", "forged"), ("x-correlation-id", "order-7")];
    let answer = example.send(get("/internal/jobs", &forged)).await;
    let id = answer.header("x-request-id");
    assert_eq!((id.len(), id.as_bytes()[14]), (36, b'7'), "{id}");
    assert_eq!(example.seen("x-request-id"), id);
    assert_eq!(example.seen("x-correlation-id"), "order-7");
}

#[tokio::test]
async fn maintenance() {
    let window = |yaml: String, _: &Path| yaml.replace("2031-03-01T02", "2021-03-01T02");
    let example = Example::edited("maintenance", 2, window).await;
    let answer = example.send(get("/cart", &[("accept", "text/html")])).await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (503, "no-store"));
    assert!(answer.text().await.contains("Back at four"));
    assert_eq!(example.send(get("/health", &[])).await.status, 200);
    let tester = [("x-preview", "a-secret-of-the-testers")];
    assert_eq!(example.served(get("/cart", &tester)).await, "app");
    assert_eq!(example.seen("x-preview"), "");
    assert_eq!(example.served(get("/api/orders", &[])).await, "second");
}

#[tokio::test]
async fn mirror_tag() {
    let example = Example::start("mirror-tag", 1).await;
    let mut marked = Vec::new();
    for visitor in 0..200 {
        let cookie = format!("session={visitor}");
        let fields = [("cookie", cookie.as_str()), ("x-mirror-to", "forged")];
        for _ in 0..2 {
            example.served(get("/shop/1", &fields)).await;
            marked.push(example.seen("x-mirror-to"));
        }
    }
    let steady = marked.chunks(2).all(|twice| twice[0] == twice[1]);
    let share = marked.iter().filter(|mark| *mark == "release-7").count();
    assert!(steady && (2..=60).contains(&share), "{share} of 400");
    assert!(marked.iter().all(|mark| mark != "forged"));
}

#[tokio::test]
async fn rewrite() {
    let example = Example::start("rewrite", 1).await;
    let target = async |path: &str| {
        example.served(get(path, &[])).await;
        example.origins[0].head().target
    };
    assert_eq!(target("/api/orders?x=%2F").await, "/v2/orders?x=%2F");
    assert_eq!(example.seen("x-original-uri"), "/api/orders?x=%2F");
    assert_eq!(target("/user/7").await, "/users/7/profile");
    assert_eq!(target("/page?utm_source=mail&id=1&fbclid=2").await, "/page?id=1");
    target("/docs/start").await;
    assert_eq!(example.seen("host"), "docs.internal");
}

#[tokio::test]
async fn redirect() {
    let secure = |yaml: String, _: &Path| {
        yaml.lines()
            .filter(|line| !line.contains("127.0.0.1:8080"))
            .map(|line| format!("{line}\n"))
            .collect()
    };
    let example = Example::edited("redirect", 1, secure).await;
    let answer = example.send(get("/blog/2026/weir", &[])).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (308, "/articles/weir?year=2026")
    );
    let answer = example.send(get("/chat?room=1", &[])).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (302, "https://chat.example/"));
    assert_eq!(answer.header("cache-control"), "max-age=3600");
    assert_eq!(example.send(get("/app/x", &[])).await.header("location"), "/app/x/");
    assert_eq!(example.served(get("/app/x/", &[])).await, "app");

    // The last address in the log is that of the listener without TLS.
    let plain = |yaml: String, _: &Path| yaml.replace("\"127.0.0.1:8080\"", "\"127.0.0.1:0\"");
    let origin = Origin::start().await;
    let weir = Weir::example("redirect", &[&origin], plain).await;
    let mut stream = TcpStream::connect(weir.address()).await.unwrap();
    stream
        .write_all(b"GET /a?b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    within("a redirect", stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
    assert!(answer.contains("location: https://localhost:8443/a?b\r\n"), "{answer}");
}

#[tokio::test]
async fn split() {
    let example = Example::start("split", 3).await;
    assert_eq!(example.served(get("/", &[("x-variant", "preview")])).await, "third");
    let answer = example.send(get("/", &[])).await;
    let cookie = answer.header("set-cookie");
    let group = cookie.strip_prefix("variant=").and_then(|rest| rest.split(';').next()).unwrap();
    assert_eq!(answer.header("x-served-by"), group);
    let origin = if group == "canary" { "second" } else { "app" };
    let cookie = format!("variant={group}");
    for _ in 0..20 {
        assert_eq!(example.served(get("/", &[("cookie", &cookie)])).await, origin);
    }
    assert_eq!(example.served(get("/", &[("cookie", "variant=canary")])).await, "second");
}

#[tokio::test]
async fn ip_allow() {
    let example = Example::start("ip-allow", 1).await;
    assert_eq!(example.served(get("/admin/users", &[])).await, "app");
    let partner = [("x-forwarded-for", "198.51.100.1, 203.0.113.9")];
    assert_eq!(example.served(get("/partners/1", &partner)).await, "app");
    let stranger = [("x-forwarded-for", "203.0.113.9, 198.51.100.1")];
    assert_eq!(example.send(get("/partners/1", &stranger)).await.status, 403);
    assert_eq!(example.send(get("/partners/1", &[])).await.status, 403);
}

#[tokio::test]
async fn geo() {
    let folder = TempDir::new().unwrap();
    let country =
        |code| Data::Map(vec![("country", Data::Map(vec![("iso_code", Data::Text(code))]))]);
    let system = Data::Map(vec![("autonomous_system_number", Data::Number(64_500))]);
    let write = |name: &str, bytes| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        format!("{path:?}")
    };
    let systems = write("asn.mmdb", database(&[("127.0.0.0/8", system)]));
    for (code, origin) in
        [("DE", Some("second")), ("US", Some("third")), ("JP", Some("app")), ("KP", None)]
    {
        let countries = write("country.mmdb", database(&[("127.0.0.0/8", country(code))]));
        let edit = |yaml: String, _: &Path| {
            let lines = yaml.lines().filter(|line| !line.starts_with("geoip:"));
            let rest = lines.collect::<Vec<_>>().join("\n");
            format!("geoip: {{ databases: [{systems}, {countries}] }}\n{rest}")
        };
        let example = Example::edited("geo", 3, edit).await;
        let forged = [("x-client-country", "FR"), ("x-client-asn", "1")];
        let Some(origin) = origin else {
            assert_eq!(example.send(get("/", &forged)).await.status, 451);
            continue;
        };
        assert_eq!(example.served(get("/", &forged)).await, origin);
        let head = example.origins.iter().find_map(Origin::last_head).unwrap();
        assert_eq!(
            (head.header("x-client-country"), head.header("x-client-asn")),
            (code.into(), "64500".into())
        );
    }
}

#[tokio::test]
async fn waf() {
    let example = Example::start("waf", 1).await;
    let bot = [("user-agent", "ExampleBot/1.0")];
    assert_eq!(example.served(get("/shop?q=union%20jack", &bot)).await, "app");
    assert_eq!(example.seen("x-waf-tags"), "bots");
    let attack = "/shop?id=1%27%20UNION%20SELECT%20password%20FROM%20users--";
    let answer = example.send(get(attack, &[])).await;
    assert_eq!(answer.status, 403);
    assert_eq!(example.send(get("/..%2f..%2fetc/passwd", &[])).await.status, 403);
    assert_eq!(example.send(get("/?q=%3Cscript%3Ealert(1)%3C/script%3E", &[])).await.status, 403);
    assert_eq!(example.served(get("/admin/", &[])).await, "app");
}

#[tokio::test]
async fn api_key() {
    let keys = |yaml: String, folder: &Path| {
        // The example has only digests; this test has the keys themselves, from a file and in the
        // text.
        std::fs::write(folder.join("acme.key"), "a-key-of-acme-itself\n").unwrap();
        let key = |line: &str| match line.trim_start().split_once(": \"sha256:") {
            Some(("acme", _)) => "        acme: \"file:acme.key\"\n".to_owned(),
            Some((name, _)) => format!("        {name}: the-key-of-{name}\n"),
            None => format!("{line}\n"),
        };
        yaml.lines().map(key).collect()
    };
    let example = Example::edited("api-key", 2, keys).await;
    let answer = example.send(get("/", &[("x-consumer", "acme")])).await;
    assert_eq!(answer.status, 401);
    let acme = [("x-api-key", "a-key-of-acme-itself"), ("x-consumer", "forged")];
    assert_eq!(example.served(get("/", &acme)).await, "app");
    assert_eq!(
        (example.seen("x-consumer"), example.seen("x-api-key")),
        ("acme".into(), String::new())
    );
    let reports = [("x-api-key", "the-key-of-reports")];
    assert_eq!(example.served(get("/reports/1", &reports)).await, "second");
    assert_eq!(example.send(get("/", &reports)).await.status, 403);
    // The unchanged example loads too.
    let example = Example::start("api-key", 2).await;
    assert_eq!(example.send(get("/", &acme)).await.status, 401);
}

#[tokio::test]
async fn basic_auth() {
    // In an unoptimised build beside other tests, a hash takes longer than in production.
    let slow = |yaml: String, _: &Path| yaml.replace("time: 150ms", "time: 1s");
    let example = Example::edited("basic-auth", 1, slow).await;
    let answer = example.send(get("/admin/", &[])).await;
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").starts_with("Basic realm=\"staff\""));
    // ann:open sesame
    let ann = [("authorization", "Basic YW5uOm9wZW4gc2VzYW1l"), ("x-user", "root")];
    for _ in 0..3 {
        assert_eq!(example.served(get("/admin/", &ann)).await, "app");
        assert_eq!(
            (example.seen("x-user"), example.seen("authorization")),
            ("ann".into(), String::new())
        );
    }
    let wrong = [("authorization", "Basic YW5uOm9wZW4=")];
    assert_eq!(example.send(get("/admin/", &wrong)).await.status, 401);
    assert_eq!(example.served(get("/", &[])).await, "app");
}

#[tokio::test]
async fn jwt() {
    // Signed by the key of the document, for ann until the year 2100: of the tier gold, of none,
    // and without the scope.
    const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","kid":"1","x":"A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"}]}"#;
    const HEAD: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6IjEiLCJ0eXAiOiJKV1QifQ";
    const GOLD: &str = "eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlLmNvbSIsImF1ZCI6InNob3AiLCJleHAiOjQxMDI0NDQ4MDAsInN1YiI6ImFubiIsInJlYWxtX2FjY2VzcyI6eyJyb2xlcyI6WyJhIiwiYiJdfSwic2NvcGUiOiJyZWFkIHdyaXRlIiwidGllciI6ImdvbGQifQ.x-Wd_XSGfGLt58VRxToX-nDzFJok9zAEZz9_C2qPlzFUTmvPxXKBZy47hSsc8PMKVcIzIhFJUVAcqzSyaX5LCg";
    const PLAIN: &str = "eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlLmNvbSIsImF1ZCI6InNob3AiLCJleHAiOjQxMDI0NDQ4MDAsInN1YiI6ImFubiIsInJlYWxtX2FjY2VzcyI6eyJyb2xlcyI6WyJhIiwiYiJdfSwic2NvcGUiOiJyZWFkIn0.pOh_uRGISTAYNlSIcU367hzjf2rJs9xlXPTCC0o98KfsNwhjGtaR846f7luziATTb8utUGxd_H9frsv9dz-uAA";
    const OTHER: &str = "eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlLmNvbSIsImF1ZCI6InNob3AiLCJleHAiOjQxMDI0NDQ4MDAsInN1YiI6ImFubiIsInJlYWxtX2FjY2VzcyI6eyJyb2xlcyI6WyJhIiwiYiJdfSwic2NvcGUiOiJ3cml0ZSJ9.NU0w1tAV0evR7kJLTx57nsikbDVxtHNNluixhpZWBS5hVgps1Y1ddtZQ0z5YTNikZUbl1ZIMinw2-MWN0daCDA";
    let document = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{KEYS}",
        KEYS.len()
    );
    let provider = RawOrigin::answering(&document).await;
    // Its upstream is the third. An unoptimised host beside other tests takes longer than in
    // production.
    let edit = |yaml: String, _: &Path| {
        yaml.replace("127.0.0.1:3002", &provider.address().to_string())
            .replace("    source: builtin:jwt", "    limits: { time: 1s }\n    source: builtin:jwt")
    };
    let example = Example::edited("jwt", 2, edit).await;
    let answer = example.send(get("/", &[])).await;
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").starts_with("Bearer"));
    let bearer = |token: &str| format!("Bearer {HEAD}.{token}");
    let sent = async |token: &str, path: &str| {
        let bearer = bearer(token);
        example.send(get(path, &[("authorization", &bearer), ("x-user", "root")])).await
    };
    let answer = sent(PLAIN, "/").await;
    assert_eq!((answer.status.as_u16(), answer.text().await.as_str()), (200, "app"));
    assert_eq!((example.seen("x-user"), example.seen("x-roles")), ("ann".into(), "a,b".into()));
    assert_eq!(sent(GOLD, "/").await.text().await, "second");
    assert_eq!(sent(OTHER, "/").await.status, 403);
    // One byte of the signature is changed.
    assert_eq!(sent(&PLAIN.replace("uAA", "vAA"), "/").await.status, 401);
    assert_eq!(sent(PLAIN, "/public/").await.status, 200);
    assert_eq!(example.seen("x-user"), "ann");
    assert_eq!(example.send(get("/public/", &[("x-user", "root")])).await.status, 200);
    assert_eq!(example.seen("x-user"), "");
    assert!(provider.requests() <= 4, "{} requests for keys", provider.requests());
}
