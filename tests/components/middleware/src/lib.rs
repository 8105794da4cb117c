//! A middleware of `wasi:http` 0.3. It marks the requests and responses that pass it. It answers
//! `/early` itself. At `/trap` and `/panic` it crashes before it sends the request on, and at
//! `/late` afterwards. It sends `/elsewhere/HOST/…` to another host.

mod bindings {
    wit_bindgen::generate!({
        inline: "package weir:tests; world middleware { include wasi:http/middleware@0.3.2; }",
        path: "../target/wit",
        world: "weir:tests/middleware",
        generate_all,
    });
}

use bindings::wasi::http::types::{ErrorCode, Fields, Request, Response};
use bindings::wasi::http::{client, handler};
use bindings::{wit_future, wit_stream};

struct Middleware;

impl bindings::exports::wasi::http::handler::Guest for Middleware {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        tell_panics();
        let path = request.get_path_with_query().unwrap_or_default();
        if let Some((host, rest)) = path.strip_prefix("/elsewhere/").and_then(|r| r.split_once('/'))
        {
            let marked = mark_request(request)?;
            let wrong = |()| ErrorCode::InternalError(None);
            marked.set_authority(Some(host)).map_err(wrong)?;
            marked.set_path_with_query(Some(&format!("/{rest}"))).map_err(wrong)?;
            return mark_response(client::send(marked).await?);
        }
        match &*path {
            "/early" => return Ok(early()),
            "/trap" => std::process::abort(),
            "/panic" => panic!("panicked on purpose"),
            "/late" => {
                handler::handle(request).await?;
                std::process::abort()
            }
            _ => {}
        }
        let response = handler::handle(mark_request(request)?).await?;
        mark_response(response)
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

/// Returns the same request with one more field.
fn mark_request(request: Request) -> Result<Request, ErrorCode> {
    let (method, scheme) = (request.get_method(), request.get_scheme());
    let (authority, path) = (request.get_authority(), request.get_path_with_query());
    let fields = mark(&request.get_headers())?;
    let (_, done) = wit_future::new(|| Ok(()));
    let (body, trailers) = Request::consume_body(request, done);
    let (marked, _) = Request::new(fields, Some(body), trailers, None);
    let wrong = |()| ErrorCode::InternalError(None);
    marked.set_method(&method).map_err(wrong)?;
    marked.set_scheme(scheme.as_ref()).map_err(wrong)?;
    marked.set_authority(authority.as_deref()).map_err(wrong)?;
    marked.set_path_with_query(path.as_deref()).map_err(wrong)?;
    Ok(marked)
}

/// Returns the same response with one more field.
fn mark_response(response: Response) -> Result<Response, ErrorCode> {
    let status = response.get_status_code();
    let fields = mark(&response.get_headers())?;
    let (_, done) = wit_future::new(|| Ok(()));
    let (body, trailers) = Response::consume_body(response, done);
    let (marked, _) = Response::new(fields, Some(body), trailers);
    marked.set_status_code(status).map_err(|()| ErrorCode::InternalError(None))?;
    Ok(marked)
}

fn mark(fields: &Fields) -> Result<Fields, ErrorCode> {
    let fields = fields.clone();
    let added = fields.append("x-middleware", b"passed");
    added.map_err(|_| ErrorCode::InternalError(None))?;
    Ok(fields)
}

fn early() -> Response {
    let (mut body, reader) = wit_stream::new();
    let (_, trailers) = wit_future::new(|| Ok(None));
    let (response, _) = Response::new(Fields::new(), Some(reader), trailers);
    wit_bindgen::spawn_local(async move {
        body.write_all(b"early".to_vec()).await;
    });
    let _ = response.set_status_code(418);
    response
}

bindings::export!(Middleware with_types_in bindings);
