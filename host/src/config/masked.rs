//! Configurations without their secrets, and the way back.

use serde_json::Value;

use super::document::{below, item};
use super::items::{labels, positions};
use super::json_schema as schema;
use super::names::Secret;
use super::secret::SecretSource;
use super::text::Kind as _;
use super::{SCHEMA, defaults};

/// Returns the JSON pointers (RFC 6901) of the secrets in the configuration of a plugin, which its
/// name and its configuration stand for.
pub type Secrets<'a> = dyn Fn(&str, &Value) -> Vec<String> + 'a;

/// Returns a configuration with [`MASK`] in place of each secret. A reference, `env:NAME` or
/// `file:PATH`, is no secret.
pub fn masked(value: &Value, plugin_secrets: &Secrets<'_>) -> Value {
    let mut masked = value.clone();
    hide(&SCHEMA, &mut masked);
    for item in list(&mut masked, "plugins") {
        hide_of_plugin(item, "name", "config", plugin_secrets);
    }
    for item in list(&mut masked, "upstreams") {
        hide_of_plugin(item, "balancer", "balancer_config", plugin_secrets);
    }
    masked
}

/// Replaces each [`MASK`] in a configuration that a client sends back by the value at the same
/// place of `present`. Items of a list are found by their names, addresses or hosts.
///
/// # Errors
/// The path of each mask that `present` has no value for.
pub fn unmask(value: &mut Value, present: &Value) -> Result<(), Vec<String>> {
    let mut lost = Vec::new();
    reveal("", value, Some(present), &mut lost);
    if lost.is_empty() { Ok(()) } else { Err(lost) }
}

fn list<'a>(value: &'a mut Value, key: &str) -> &'a mut [Value] {
    value.get_mut(key).and_then(Value::as_array_mut).map_or(&mut [], Vec::as_mut_slice)
}

/// Masks the values that the schema calls secrets.
fn hide(schema: &Value, value: &mut Value) {
    if schema.get("format").is_some_and(|format| format == Secret::FORMAT) {
        return mask(value);
    }
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                // They are public keys.
                let schema = schema::of_key(schema, key).filter(|_| key != "signatures");
                if let Some(schema) = schema {
                    hide(schema, member);
                }
            }
        }
        Value::Array(items) => {
            if let Some(schema) = schema.get("items") {
                items.iter_mut().for_each(|item| hide(schema, item));
            }
        }
        _ => {}
    }
}

fn hide_of_plugin(item: &mut Value, name: &str, config: &str, secrets: &Secrets<'_>) {
    let plugin = item.get(name).and_then(Value::as_str).unwrap_or(defaults::BALANCER).to_owned();
    let Some(config) = item.get_mut(config) else { return };
    for place in secrets(&plugin, config) {
        if let Some(secret) = config.pointer_mut(&place) {
            mask(secret);
        }
    }
}

fn mask(value: &mut Value) {
    let source = value.as_str().map(Secret::parse);
    let is_reference =
        matches!(source, Some(Ok(SecretSource::Environment(_) | SecretSource::File(_))));
    if !is_reference {
        *value = MASK.into();
    }
}

fn reveal(path: &str, value: &mut Value, present: Option<&Value>, lost: &mut Vec<String>) {
    match value {
        Value::String(text) if text == MASK => match present {
            Some(present) => *value = present.clone(),
            None => lost.push(path.to_owned()),
        },
        Value::Object(members) => {
            for (key, member) in members {
                let present = present.and_then(|present| present.get(key));
                reveal(&below(path, key), member, present, lost);
            }
        }
        Value::Array(items) => {
            let others = present.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let partners = partners(items, others);
            for (at, (value, present)) in items.iter_mut().zip(partners).enumerate() {
                reveal(&item(path, at), value, present, lost);
            }
        }
        _ => {}
    }
}

/// Returns the present item of each item, if it is certain.
fn partners<'a>(items: &[Value], present: &'a [Value]) -> Vec<Option<&'a Value>> {
    let others = positions(&labels(present));
    let find = |(at, (item, label)): (usize, (&Value, _))| match label {
        Some(label) => others.get(&label).and_then(|at| present.get(*at)),
        None => {
            let same =
                present.get(at).filter(|same| items.len() == present.len() && fits(item, same));
            let mut fitting = present.iter().filter(|other| fits(item, other));
            same.or_else(|| fitting.next().filter(|_| fitting.next().is_none()))
        }
    };
    items.iter().zip(labels(items)).enumerate().map(find).collect()
}

/// Whether `item` is `present` with masks. A secret must not move to an item that only stands at
/// the same position.
fn fits(item: &Value, present: &Value) -> bool {
    match (item, present) {
        (Value::String(text), _) if text == MASK => true,
        (Value::Array(items), Value::Array(others)) => {
            items.len() == others.len() && items.iter().zip(others).all(|(a, b)| fits(a, b))
        }
        (Value::Object(members), Value::Object(others)) => {
            let fits = |(key, member)| others.get(key).is_some_and(|other| fits(member, other));
            members.len() == others.len() && members.iter().all(fits)
        }
        (item, present) => item == present,
    }
}

/// The text in place of a secret.
pub const MASK: &str = "<secret>";

#[cfg(test)]
mod tests;
