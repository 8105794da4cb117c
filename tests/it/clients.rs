//! Clients and origins of other projects.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::tools::{
    Running, curl, h2load, h2load_h3, nginx, output, python, python_module,
};
use crate::support::weir::free_address;
use crate::support::{Origin, Protocol, Setup, Weir, until};

const CURL: [(&str, &str); 3] = [("--http3-only", "3"), ("--http2", "2"), ("--http1.1", "1.1")];

#[tokio::test]
async fn curl_gets_and_posts_on_every_protocol() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for (option, version) in CURL {
        let mut get = curl();
        get.args([option, "--write-out", " %{http_version} %{response_code}", &weir.url("/who")]);
        assert_eq!(output(get).await, format!("origin {version} 200"));
        let mut post = curl();
        let body = "x".repeat(300_000);
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("body");
        std::fs::write(&file, &body).unwrap();
        post.args([option, "--data-binary", &format!("@{}", file.display()), &weir.url("/count")]);
        assert_eq!(output(post).await, "300000", "{option}");
    }
}

#[tokio::test]
async fn curl_waits_for_100_continue_and_gets_it() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let mut post = curl();
    let expect = [
        "--http1.1",
        "--expect100-timeout",
        "10",
        "-H",
        "Expect: 100-continue",
        "-d",
        "some bytes",
    ];
    post.args(expect).args(["--max-time", "5", &weir.url("/count")]);
    assert_eq!(output(post).await, "10");
}

#[tokio::test]
async fn curl_finds_http_3_by_alt_svc() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let directory = TempDir::new().unwrap();
    let cache = directory.path().join("alt-svc");
    for expected in ["2", "3"] {
        let mut get = curl();
        get.arg("--alt-svc").arg(&cache).args([
            "-o",
            "/dev/null",
            "--write-out",
            "%{http_version}",
        ]);
        get.arg(weir.url("/who"));
        assert_eq!(output(get).await, expected);
    }
}

#[tokio::test]
async fn aioquic_is_served() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).workers(4).start().await;
    for (scenario, answers, bytes) in
        [("get", 1, 6), ("post", 1, 100_000), ("many", 50, 6), ("reset", 1, 6), ("migrate", 11, 6)]
    {
        let mut client = python("h3.py");
        client.arg(weir.address().port().to_string()).arg(scenario);
        let lines = output(client).await;
        let lines: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), answers, "{scenario}");
        assert!(
            lines.iter().all(|line| line["status"] == 200 && line["bytes"] == bytes),
            "{scenario}: {lines:?}"
        );
    }
    // A reset may overtake its request, which the origin then never sees. The other requests are
    // cancelled at the origin.
    let held = origin.heads().iter().filter(|head| head.target == "/hold").count();
    origin.until_cancelled(held).await;
}

#[tokio::test]
async fn nginx_is_an_origin() {
    let directory = TempDir::new().unwrap();
    let address = free_address();
    std::fs::create_dir(directory.path().join("www")).unwrap();
    std::fs::write(directory.path().join("www/page"), "from nginx").unwrap();
    std::fs::write(directory.path().join("www/large"), vec![b'x'; 3_000_000]).unwrap();
    let here = directory.path().display();
    let config = format!(
        "daemon off; master_process off; pid {here}/pid; error_log {here}/errors; events {{}}\n\
         http {{ access_log off; client_body_temp_path {here}/body; proxy_temp_path {here}/proxy;\n\
         fastcgi_temp_path {here}/f; uwsgi_temp_path {here}/u; scgi_temp_path {here}/s;\n\
         server {{ listen {address}; root {here}/www; location /upload {{ client_max_body_size 1m; return 204; }} }} }}"
    );
    std::fs::write(directory.path().join("nginx.conf"), config).unwrap();
    let mut command = nginx();
    command.arg("-p").arg(directory.path()).arg("-c").arg(directory.path().join("nginx.conf"));
    let _nginx = Running::start(command.stderr(Stdio::null()));
    until("nginx", async || tokio::net::TcpStream::connect(address).await.ok()).await;
    let weir = Setup::addresses([address]).start().await;
    for protocol in Protocol::ALL {
        serves_files(&weir, protocol, "from nginx").await;
        assert_eq!(
            weir.client(protocol).await.post("/upload", "x").await.status,
            204,
            "{protocol:?}"
        );
    }
}

#[tokio::test]
async fn pythons_http_server_is_an_origin() {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("page"), "from Python").unwrap();
    std::fs::write(directory.path().join("large"), vec![b'x'; 3_000_000]).unwrap();
    let mut command = python_module("http.server");
    command.args(["0", "--bind", "127.0.0.1"]).current_dir(&directory).env("PYTHONUNBUFFERED", "1");
    let mut server = Running::start(command.stdout(Stdio::piped()).stderr(Stdio::null()));
    let mut first = String::new();
    BufReader::new(server.child().stdout.take().unwrap()).read_line(&mut first).unwrap();
    let port: u16 =
        first.split_whitespace().nth(5).and_then(|port| port.parse().ok()).expect(&first);
    let weir = Setup::addresses([([127, 0, 0, 1], port).into()]).start().await;
    for protocol in Protocol::ALL {
        serves_files(&weir, protocol, "from Python").await;
    }
}

#[tokio::test]
async fn h2load_gets_every_answer_on_h2_and_h1() {
    for alpn in ["h2", "http/1.1"] {
        let origin = Origin::start().await;
        let weir = Setup::to([&origin]).start().await;
        let mut load = h2load();
        load.args([
            "-n",
            "3000",
            "-c",
            "8",
            "-m",
            "10",
            "--alpn-list",
            alpn,
            &weir.url("/bytes/1000"),
        ]);
        expect_all(&output(load).await, 3000);
    }
}

#[tokio::test]
async fn h2load_gets_every_answer_on_h3() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let Some(mut load) = h2load_h3() else {
        println!(
            "no h2load with HTTP/3 here (no distribution packages one; WEIR_H2LOAD may name it): quinn's client asks instead"
        );
        return ask_h3(&weir, 3000).await;
    };
    load.args(["-n", "3000", "-c", "8", "-m", "10", "--alpn-list", "h3", &weir.url("/bytes/1000")]);
    expect_all(&output(load).await, 3000);
}

async fn ask_h3(weir: &Weir, count: usize) {
    let mut clients = Vec::new();
    for _ in 0..8 {
        let client = weir.client(Protocol::H3).await;
        clients.push(crate::support::spawn(async move {
            for _ in 0..count / 8 {
                assert_eq!(client.get("/bytes/1000").await.count().await.unwrap(), 1000);
            }
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
}

fn expect_all(report: &str, count: usize) {
    let expected = format!("{count} succeeded, 0 failed, 0 errored, 0 timeout");
    assert!(report.contains(&expected), "{report}");
    assert!(report.contains(&format!("status codes: {count} 2xx")), "{report}");
}

async fn serves_files(weir: &Weir, protocol: Protocol, page: &str) {
    let client = weir.client(protocol).await;
    assert_eq!(client.get("/page").await.text().await, page, "{protocol:?}");
    assert_eq!(client.get("/large").await.count().await.unwrap(), 3_000_000, "{protocol:?}");
    assert_eq!(client.get("/absent").await.status, 404, "{protocol:?}");
}
