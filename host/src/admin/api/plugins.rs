//! Plugins and their swaps.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};
use weir_runtime::with_causes;

use crate::admin::operation::Outcome;
use crate::admin::refusal::Refusal;
use crate::admin::{Admin, Call, reply, terms};
use crate::plugins::compile::{self, CompileError, SwapError};
use crate::plugins::generation::Origin;
use crate::plugins::slot::Slot;

pub(in crate::admin) async fn list(admin: &Admin, _: Call) -> Outcome {
    let plugins = admin.reach.live.plugins();
    let plugins: Vec<Value> = plugins.slots().iter().map(|slot| slot.status()).collect();
    Ok(reply::json(StatusCode::OK, &json!({ "plugins": plugins })))
}

pub(in crate::admin) async fn show(admin: &Admin, call: Call) -> Outcome {
    Ok(told(&*find(admin, call.param(0))?))
}

/// `PUT /api/plugins/NAME?share=10&for=60s`, or `?shadow=true&for=60s`. The body is the component.
pub(in crate::admin) async fn swap(admin: &Admin, call: Call) -> Outcome {
    let slot = find(admin, call.param(0))?;
    let query = call.request.uri().query().unwrap_or_default();
    let terms = terms::read(query, slot.plugin.canary.into()).map_err(Refusal::bad_request)?;
    // The body is read before the turn is taken: a client that stalls must not keep others from
    // swapping.
    let upload = admin.uploads.read(call.request.into_body()).await?;
    let turn = slot.shared.compiler.turn().await.map_err(|error| refused(&error.into()))?;
    let swapped = compile::swap(&slot, turn, move || Ok(upload), Origin::Sent, terms).await;
    swapped.map_err(|error| refused(&error))?;
    Ok(told(&slot))
}

pub(in crate::admin) async fn rollback(admin: &Admin, call: Call) -> Outcome {
    let slot = find(admin, call.param(0))?;
    slot.rollback("asked for")
        .map_err(|error| Refusal::new(StatusCode::CONFLICT, error.to_string()))?;
    tracing::info!(plugin = &*slot.name, "plugin rolled back by the admin API");
    Ok(told(&slot))
}

fn told(slot: &Slot) -> http::Response<crate::control::Answer> {
    reply::json(StatusCode::OK, &slot.status())
}

fn find(admin: &Admin, name: &str) -> Result<Arc<Slot>, Refusal> {
    let plugins = admin.reach.live.plugins();
    plugins.find(name).cloned().ok_or_else(|| {
        let names: Vec<&str> = plugins.slots().iter().map(|slot| &*slot.name).collect();
        let names = names.join(", ");
        Refusal::not_found(format!("no plugin has the name {name:?}; the plugins are {names}"))
    })
}

fn refused(error: &SwapError) -> Refusal {
    let status = match error {
        SwapError::Compile(CompileError::Busy(_)) => StatusCode::SERVICE_UNAVAILABLE,
        SwapError::Compile(CompileError::Thread(_) | CompileError::Broken) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Refusal::new(status, with_causes(error))
}
