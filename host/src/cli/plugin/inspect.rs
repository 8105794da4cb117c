//! `weir plugin inspect`: the description of a component and its needs.

use serde_json::{Value, json};
use weir_runtime::{Engine, Environment, Kind, Limits, Plugin, PluginError};

use super::{PluginCliError, print, project, read};
use crate::config::{defaults, plugin_keys};
use crate::oci::Digest;
use crate::plugins::outside;

/// Prints the configuration's keys, for a page of documentation.
pub(super) fn reference(component: &str) -> Result<(), PluginCliError> {
    print(&plugin_keys(&schema(&load(component, &read(component)?)?)))
}

pub(super) fn run(
    component: &str,
    config: Option<&str>,
    as_json: bool,
) -> Result<(), PluginCliError> {
    let wasm = project::component(component)?;
    let plugin = load(component, &wasm)?;
    if plugin.kind().is_standard() {
        return standard(&plugin, &wasm, as_json);
    }
    let limits = Limits::default();
    let manifest = plugin.manifest();
    let interfaces = plugin.interfaces();
    let schema = schema(&plugin);
    let needs = needs(&plugin, config.unwrap_or("{}"));
    let about = json!({
        "name": manifest.name,
        "version": manifest.version,
        "summary": manifest.summary,
        "world": plugin.kind().world(),
        "sha256": Digest::of(&wasm).hex(),
        "bytes": wasm.len(),
        "imports": interfaces.imports,
        "exports": interfaces.exports,
        "needs": needs.as_ref().ok(),
        "limits": { "memory_bytes": limits.memory, "time_seconds": limits.time.as_secs_f64() },
        "config_schema": schema,
    });
    if as_json {
        return print(&format!("{about:#}\n"));
    }
    let mut text = format!(
        "{} {}: {}\n\nworld    {}\nsha256   {}\nsize     {} bytes\nimports  {}\n\
         limits   {} MiB of memory and {:?} for each call, by default\n",
        manifest.name,
        manifest.version,
        manifest.summary,
        plugin.kind().world(),
        Digest::of(&wasm).hex(),
        wasm.len(),
        join(&interfaces.imports),
        limits.memory >> 20,
        limits.time,
    );
    match needs {
        Ok(Value::Object(needs)) => {
            for (name, value) in needs {
                text.push_str(&format!("{name:<8} {value}\n"));
            }
        }
        Ok(_) => {}
        Err(error) => text.push_str(&format!("needs    unknown without --config: {error}\n")),
    }
    text.push_str(&format!("\nconfiguration:\n{schema:#}\n"));
    print(&text)
}

/// Prints a standard component. It has no manifest and no configuration that can be checked.
fn standard(plugin: &Plugin, wasm: &[u8], as_json: bool) -> Result<(), PluginCliError> {
    let (world, interfaces) = (plugin.kind().world(), plugin.interfaces());
    if as_json {
        let about = json!({
            "world": world,
            "sha256": Digest::of(wasm).hex(),
            "bytes": wasm.len(),
            "imports": interfaces.imports,
            "exports": interfaces.exports,
            "limits": {
                "memory_bytes": defaults::COMPONENT_MEMORY,
                "cpu_seconds": defaults::COMPONENT_CPU.as_secs_f64(),
                "time_seconds": defaults::COMPONENT_TIME.as_secs_f64(),
                "concurrency": defaults::COMPONENT_CONCURRENCY,
            },
        });
        return print(&format!("{about:#}\n"));
    }
    print(&format!(
        "a standard component: {}\n\nworld    {world}\nsha256   {}\nsize     {} bytes\nimports  {}\n\
         limits   {} MiB of memory, {:?} of CPU time, {:?} without progress, {} requests at once, \
         by default\n",
        match plugin.kind() {
            Kind::Middleware => "one of a route's `filters`",
            _ => "a route's `component`",
        },
        Digest::of(wasm).hex(),
        wasm.len(),
        join(&interfaces.imports),
        defaults::COMPONENT_MEMORY >> 20,
        defaults::COMPONENT_CPU,
        defaults::COMPONENT_TIME,
        defaults::COMPONENT_CONCURRENCY,
    ))
}

/// Loads a component to inspect it.
pub(super) fn load(component: &str, wasm: &[u8]) -> Result<Plugin, PluginCliError> {
    // An interpreter takes more than the default at its start. The report shows the real use.
    let ample = Limits { memory: 256 << 20, ..Limits::default() };
    let environment = Environment::default().with_every_space();
    Ok(Plugin::load(
        &Engine::with_code(None, outside::compiler())?,
        component,
        wasm,
        ample,
        &environment,
    )?)
}

fn schema(plugin: &Plugin) -> Value {
    serde_json::from_str(&plugin.manifest().config_schema).unwrap_or(Value::Null)
}

fn needs(plugin: &Plugin, config: &str) -> Result<Value, PluginError> {
    if plugin.kind() == Kind::Balancer {
        let instance = plugin.balancer(config)?;
        let needs = instance.needs();
        return Ok(json!({
            "inputs": needs.inputs, "sequence": needs.sequence, "loads": needs.loads,
            "outcomes": needs.outcomes, "memory": instance.memory(),
        }));
    }
    let instance = plugin.filter(config)?;
    let needs = instance.needs();
    Ok(json!({
        "inputs": needs.inputs, "response-inputs": needs.response_inputs,
        "on-request": needs.on_request, "on-response": needs.on_response, "pure": needs.pure,
        "memory": instance.memory(),
    }))
}

fn join(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
