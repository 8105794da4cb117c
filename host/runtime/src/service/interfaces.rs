//! The interfaces that a standard component may import.

use http_body_util::BodyExt;
use wasmtime::component::{Accessor, Linker, Resource};
use wasmtime_wasi_config::WasiConfig;
use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p3::{Request, Response};
use wasmtime_wasi_http::{WasiHttpView as _, p2, p3};

use super::guest::Guest;
use super::outgoing::Ask;
use super::{HttpError, state};

/// Adds every available interface: WASI 0.2 and 0.3 without files and sockets, and `wasi:http`.
pub(super) fn add(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi::p3::add_to_linker(linker)?;
    p2::add_only_http_to_linker_async(linker)?;
    p3::add_to_linker(linker)?;
    wasmtime_wasi_config::add_to_linker(linker, |guest: &mut Guest| {
        WasiConfig::from(&*guest.values)
    })?;
    state::add(linker)?;
    let mut handler = linker.instance("wasi:http/handler@0.3.0")?;
    handler.func_wrap_concurrent("handle", |accessor, (request,)| {
        Box::pin(async move { Ok((handle(accessor, request).await?,)) })
    })
}

/// The error code that a middleware gets if the handler after it gives no response.
fn code(error: &HttpError) -> ErrorCode {
    match error {
        HttpError::ConnectionTerminated => ErrorCode::ConnectionTerminated,
        HttpError::ConnectionRefused => ErrorCode::ConnectionRefused,
        HttpError::ConnectionTimeout => ErrorCode::ConnectionTimeout,
        HttpError::ConnectionLimitReached => ErrorCode::ConnectionLimitReached,
        HttpError::DestinationUnavailable => ErrorCode::DestinationUnavailable,
        HttpError::HttpResponseTimeout => ErrorCode::HttpResponseTimeout,
        HttpError::HttpProtocolError => ErrorCode::HttpProtocolError,
        HttpError::HttpRequestDenied => ErrorCode::HttpRequestDenied,
        HttpError::HttpRequestBodySize(size) => ErrorCode::HttpRequestBodySize(*size),
        other => ErrorCode::InternalError(Some(other.to_string())),
    }
}

type Handled = Result<Resource<Response>, ErrorCode>;

/// Calls the handler after a middleware. The runner of the call produces the response.
async fn handle(
    accessor: &Accessor<Guest>,
    request: Resource<Request>,
) -> wasmtime::Result<Handled> {
    let taken = accessor.with(|mut store| {
        let request = store.get().table.delete(request)?;
        let converted = request.into_http(&mut store, std::future::ready(Ok(())));
        let asks = store.get().asks.clone();
        wasmtime::error::Ok(converted.map(|(request, _)| (request, asks)))
    })?;
    let (request, asks) = match taken {
        Ok(taken) => taken,
        Err(error) => return error.downcast().map(Err),
    };
    let response = asks.ask(Ask::Next, request, None).await;
    accessor.with(|mut store| {
        let view = store.get().http();
        Ok(match response {
            Ok(response) => {
                let response = response.map(BodyExt::boxed_unsync);
                let (response, _) = Response::from_http(view.hooks, response);
                Ok(view.table.push(response)?)
            }
            Err(error) => Err(code(&error)),
        })
    })
}
