//! The ready-made bindings of the Rust SDK. With them, a plugin needs no generator at build time:
//! its first build takes half the time.

use anyhow::Context;
use wit_bindgen_core::{Files, WorldGenerator as _};
use wit_bindgen_rust::{Opts, WithOption};

use crate::interface::{self, World};

/// Returns the bindings of each world: a file's name below `sdk/src/bindings`, and its text.
///
/// # Errors
///
/// The interface has a fault, which tests exclude.
pub fn bindings() -> anyhow::Result<Vec<(&'static str, String)>> {
    [
        (World::BodyFilter, "body_filter", &[][..]),
        (World::Filter, "filter", &["types", "filtering", "host", "state"]),
        (World::Balancer, "balancer", &["types", "host", "state"]),
    ]
    .into_iter()
    .map(|(world, module, shared)| Ok((module, generate(world, module, shared)?)))
    .collect()
}

/// Generates the bindings of a world. The largest world has the types that the others share.
fn generate(world: World, module: &str, shared: &[&str]) -> anyhow::Result<String> {
    let (mut resolve, id) = interface::resolve(world)?;
    let version = interface::version()?;
    let with = shared.iter().map(|interface| {
        let path = format!("crate::bindings::body_filter::weir::plugin::{interface}");
        (format!("weir:plugin/{interface}@{version}"), WithOption::Path(path))
    });
    let options = Opts {
        format: true,
        pub_export_macro: true,
        export_macro_name: Some(format!("export_{module}_world")),
        default_bindings_module: Some(format!("weir_sdk::bindings::{module}")),
        additional_derive_attributes: vec!["PartialEq".to_owned()],
        with: with.collect(),
        ..Opts::default()
    };
    let mut files = Files::default();
    options.build().generate(&mut resolve, id, &mut files).context("generate bindings")?;
    let (_, text) = files.iter().next().context("the generator writes one file")?;
    let text = std::str::from_utf8(text).context("the bindings are text")?;
    Ok(format!("// Made by `make bindings` from wit/; a test compares.\n{text}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_bindings_of_the_sdk_are_those_of_the_interface() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/bindings");
        for (module, text) in super::bindings().unwrap() {
            let written = fs::read_to_string(folder.join(module).with_extension("rs")).unwrap();
            assert!(
                written == text,
                "sdk/src/bindings/{module}.rs is not what wit/ says: run `make bindings`"
            );
        }
    }
}
