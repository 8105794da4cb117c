//! A component of `wasi:http` 0.2. The path of a request selects its behaviour, good or bad.

mod standard {
    wit_bindgen::generate!({
        inline: "
            package weir:tests;
            world standard {
                import wasi:config/store@0.2.0-rc.1;
                import wasi:keyvalue/store@0.2.0-draft;
                import wasi:keyvalue/atomics@0.2.0-draft;
                import wasi:logging/logging@0.1.0-draft;
            }
            package wasi:config@0.2.0-rc.1 {
                interface store {
                    variant error { upstream(string), io(string) }
                    get: func(key: string) -> result<option<string>, error>;
                }
            }
            package wasi:keyvalue@0.2.0-draft {
                interface store {
                    variant error { no-such-store, access-denied, other(string) }
                    open: func(identifier: string) -> result<bucket, error>;
                    resource bucket {
                        get: func(key: string) -> result<option<list<u8>>, error>;
                        set: func(key: string, value: list<u8>) -> result<_, error>;
                    }
                }
                interface atomics {
                    use store.{bucket, error};
                    increment: func(bucket: borrow<bucket>, key: string, delta: u64) -> result<u64, error>;
                }
            }
            package wasi:logging@0.1.0-draft {
                interface logging {
                    enum level { trace, debug, info, warn, error, critical }
                    log: func(level: level, context: string, message: string);
                }
            }
        ",
        world: "weir:tests/standard",
        generate_all,
    });
}

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;
use futures_lite::stream::unfold;
use http_body_util::{BodyExt as _, StreamBody};
use wstd::http::body::{Body, Bytes, Frame};
use wstd::http::{Client, Error, Request, Response};
use wstd::time::Duration;

use standard::wasi::config::store as config;
use standard::wasi::keyvalue::{atomics, store as keyvalue};
use standard::wasi::logging::logging;

#[wstd::http_server]
async fn main(request: Request<Body>) -> Result<Response<Body>, Error> {
    tell_panics();
    let path = request.uri().path().to_owned();
    let (what, rest) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    let number = rest.parse().unwrap_or(0);
    match what {
        "count" => text(served().to_string()),
        "trap" => std::process::abort(),
        "panic" => panic!("panicked on purpose"),
        "spin" => loop {
            std::hint::spin_loop();
        },
        "memory" => {
            let mut kept = Vec::new();
            loop {
                kept.push(vec![1u8; 1 << 20]);
                std::hint::black_box(&kept);
            }
        }
        "sleep" => {
            wstd::task::sleep(Duration::from_millis(number)).await;
            text("slept".to_owned())
        }
        "stream" => Ok(Response::new(stream(number, u64::MAX))),
        "break" => Ok(Response::new(stream(1 << 20, number))),
        "sum" => sum(request).await,
        "echo" => Ok(Response::new(request.into_body())),
        "status" => Ok(Response::builder().status(number as u16).body(Body::from("content"))?),
        "short" => {
            Ok(Response::builder().header("content-length", "99").body(stream(9, u64::MAX))?)
        }
        "long" => {
            Ok(Response::builder().header("content-length", "9").body(stream(99, u64::MAX))?)
        }
        "field" => Ok(Response::builder()
            .header("x-large", "a".repeat(number as usize))
            .body(().into())?),
        "url" => text(request.uri().to_string()),
        "config" => text(config::get(rest).ok().flatten().unwrap_or_default()),
        "add" => text(match keyvalue::open(rest) {
            Ok(bucket) => format!("{:?}", atomics::increment(&bucket, "n", 2)),
            Err(error) => format!("{error:?}"),
        }),
        "log" => {
            logging::log(logging::Level::Warn, "mischief", rest);
            text(String::new())
        }
        "fetch" => fetch(request, rest).await,
        _ => Ok(Response::builder().status(404).body(().into())?),
    }
}

/// Makes a panic write the same message to standard error as std does on `wasm32-wasip2`, with the
/// same number of writes.
fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let note = "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace";
        for text in ["\nthread '<unnamed>' (1) ", &panic.to_string(), "\n", note, "\n"] {
            // A failed write cannot be reported anywhere.
            let _ = wasip2::cli::stderr::get_stderr().blocking_write_and_flush(text.as_bytes());
        }
    }));
}

fn text(text: String) -> Result<Response<Body>, Error> {
    Ok(Response::new(text.into()))
}

/// Returns the number of requests to this instance.
fn served() -> u32 {
    static SERVED: AtomicU32 = AtomicU32::new(0);
    SERVED.fetch_add(1, Ordering::Relaxed) + 1
}

/// Returns a body of `bytes` bytes, in pieces. The component crashes after `until` of them.
fn stream(bytes: u64, until: u64) -> Body {
    let pieces = unfold(0, move |sent| async move {
        if sent >= until {
            std::process::abort();
        }
        let piece = (bytes - sent).min(PIECE);
        let data = Bytes::from(vec![b'x'; piece as usize]);
        (piece > 0).then(|| (Ok::<_, Infallible>(Frame::data(data)), sent + piece))
    });
    Body::from_http_body(StreamBody::new(pieces))
}

/// Answers with the number of bytes of the request body.
async fn sum(request: Request<Body>) -> Result<Response<Body>, Error> {
    let mut body = request.into_body().into_boxed_body();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, Bytes::len);
    }
    text(bytes.to_string())
}

/// Sends the request with its body on to `HOST/PATH`.
async fn fetch(request: Request<Body>, target: &str) -> Result<Response<Body>, Error> {
    let outgoing = Request::builder()
        .method(request.method())
        .uri(format!("http://{target}"))
        .header("x-from", "mischief")
        .body(request.into_body())?;
    let response = Client::new().send(outgoing).await.context("send")?;
    let (head, body) = response.into_parts();
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    Ok(response)
}

const PIECE: u64 = 16 << 10;
