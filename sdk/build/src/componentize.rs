//! Makes a component of a core module of any language.

use anyhow::{Context, ensure};
use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
use wasmparser::{Encoding, ExternalKind, Parser, Payload};

use crate::interface::{self, Adapter, World};

/// Makes a component of a core module, which may also be WebAssembly's text. The module exports the
/// functions of its world in the canonical ABI, `memory`, and `cabi_realloc`. A language whose
/// names have no hyphens may write `on_request` for `on-request`, and `cabi_post_on_request` for
/// `cabi_post_on-request`. Imports of WASI are answered as for all languages, unless an adapter of
/// `adapters` has their module's name.
///
/// # Errors
///
/// If the module is not valid, is a component already, or does not fit its world.
pub fn componentize(
    module: &[u8],
    world: World,
    mut adapters: Vec<Adapter>,
) -> anyhow::Result<Vec<u8>> {
    let core = wat::parse_bytes(module).context("read the text of the module")?;
    ensure!(core.starts_with(MAGIC), "this is no WebAssembly module");
    let read = Read::new(&core)?;
    ensure!(!read.is_component, "this is a component already");
    let mut core = with_names_of(world, &core, &read)?;
    if !read.has_world {
        interface::embed(&mut core, world)?;
    }
    let wasi = Adapter::wasi()?;
    if !adapters.iter().any(|adapter| adapter.name == wasi.name) {
        adapters.push(wasi);
    }
    interface::wrap(&core, &adapters)
        .with_context(|| format!("make a component of world {}", world.name()))
}

/// The parts of a module that matter here.
#[derive(Default)]
struct Read {
    is_component: bool,
    /// Whether it has the description of its world: its bindings come from this interface.
    has_world: bool,
    exports: Vec<String>,
}

impl Read {
    fn new(core: &[u8]) -> anyhow::Result<Self> {
        let mut read = Self::default();
        for payload in Parser::new(0).parse_all(core) {
            match payload.context("read the module")? {
                Payload::Version { encoding: Encoding::Component, .. } => {
                    read.is_component = true;
                    break;
                }
                Payload::CustomSection(section) if section.name().starts_with(WORLD) => {
                    read.has_world = true;
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        read.exports.push(export.context("read an export")?.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(read)
    }
}

/// Replaces underscores in the names of exported functions of the world by hyphens.
fn with_names_of(world: World, core: &[u8], read: &Read) -> anyhow::Result<Vec<u8>> {
    let (resolve, world) = interface::resolve(world)?;
    let world = resolve.worlds.get(world).context("find the world")?;
    let functions: Vec<String> =
        world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
    let renamed = |name: &str| {
        let (prefix, function) =
            name.strip_prefix(AFTER).map_or(("", name), |function| (AFTER, function));
        let function = function.replace('_', "-");
        let hyphens = format!("{prefix}{function}");
        let is_new = functions.contains(&function) && !read.exports.contains(&hyphens);
        is_new.then_some(hyphens)
    };
    if !read.exports.iter().any(|name| renamed(name).is_some()) {
        return Ok(core.to_vec());
    }
    let mut module = Module::new();
    for payload in Parser::new(0).parse_all(core) {
        let payload = payload.context("read the module")?;
        if let Payload::ExportSection(section) = payload {
            let mut exports = ExportSection::new();
            for export in section {
                let export = export.context("read an export")?;
                let name = renamed(export.name);
                let kind = match export.kind {
                    ExternalKind::Func | ExternalKind::FuncExact => ExportKind::Func,
                    ExternalKind::Table => ExportKind::Table,
                    ExternalKind::Memory => ExportKind::Memory,
                    ExternalKind::Global => ExportKind::Global,
                    ExternalKind::Tag => ExportKind::Tag,
                };
                exports.export(name.as_deref().unwrap_or(export.name), kind, export.index);
            }
            module.section(&exports);
        } else if let Some((id, range)) = payload.as_section() {
            let data = core.get(range.start..range.end).context("read a section")?;
            module.section(&RawSection { id, data });
        }
    }
    Ok(module.finish())
}

/// The first bytes of every WebAssembly file.
const MAGIC: &[u8] = b"\0asm";

/// The beginning of the names of functions that free the result of another.
const AFTER: &str = "cabi_post_";

/// The beginning of the names of sections that describe a world.
const WORLD: &str = "component-type";

#[cfg(test)]
mod tests {
    use super::*;

    /// A balancer that takes the first endpoint. `pick` is named by the caller.
    fn balancer(pick: &str) -> String {
        format!(
            r#"(module
                (memory (export "memory") 1)
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
                (func (export "describe") (result i32) i32.const 0)
                (func (export "configure") (param i32 i32) (result i32) i32.const 0)
                (func (export "update") (param i32 i32))
                (func (export "{pick}") (param i64 i32 i32 i32 i32 i32) (result i32) i32.const 0)
                (func (export "observe") (param i32 i32)))"#
        )
    }

    fn fault(module: &str, world: World) -> String {
        format!("{:#}", componentize(module.as_bytes(), world, Vec::new()).unwrap_err())
    }

    #[test]
    fn a_module_becomes_a_component_once() {
        let wasm = componentize(balancer("pick").as_bytes(), World::Balancer, Vec::new()).unwrap();
        assert!(Read::new(&wasm).unwrap().is_component);
        let again = componentize(&wasm, World::Balancer, Vec::new()).unwrap_err();
        assert!(again.to_string().contains("a component already"), "{again}");
    }

    #[test]
    fn a_module_that_does_not_fit_is_told() {
        let missing = fault(&balancer("choose"), World::Balancer);
        assert!(missing.contains("pick"), "{missing}");
        assert!(fault("(module", World::Balancer).contains("read the text"));
        assert!(fault("", World::Filter).contains("read the text"), "{}", fault("", World::Filter));
        let other = balancer("pick").replace("(param i64 i32", "(param i32 i32");
        assert!(fault(&other, World::Balancer).contains("pick"));
        let imports =
            balancer("pick").replace("(memory", "(import \"env\" \"abort\" (func)) (memory");
        assert!(fault(&imports, World::Balancer).contains("env"));
    }

    #[test]
    fn underscores_stand_for_hyphens() {
        let decide = |name: &str, parameters: &str| {
            format!("(func (export \"{name}\") (param {parameters}) (result i32) i32.const 0)")
        };
        let filter = |request: &str| {
            balancer("pick").replace(
                "(memory (export \"memory\") 1)",
                &format!(
                    "(memory (export \"memory\") 1) {} {} {}",
                    decide(request, "i32 i32"),
                    decide("on_fetch", "i32 i32 i32 i32 i32 i32 i32 i32"),
                    decide("on_response", "i32 i32 i32 i32 i32"),
                ),
            )
        };
        let both = filter("on_request");
        componentize(both.as_bytes(), World::Filter, Vec::new()).unwrap();
        let module = wat::parse_str(filter("on-request")).unwrap();
        let read = Read::new(&module).unwrap();
        let renamed = with_names_of(World::Filter, &module, &read).unwrap();
        let exports = Read::new(&renamed).unwrap().exports;
        assert!(exports.contains(&"on-response".to_owned()), "{exports:?}");
        assert!(exports.contains(&"cabi_realloc".to_owned()), "{exports:?}");
        let post = "(module (func (export \"cabi_post_on_response\") (param i32)))";
        let module = wat::parse_str(post).unwrap();
        let read = Read::new(&module).unwrap();
        let renamed = with_names_of(World::Filter, &module, &read).unwrap();
        assert_eq!(Read::new(&renamed).unwrap().exports, ["cabi_post_on-response"]);
    }

    #[test]
    fn wasi_is_answered_and_may_be_answered_by_another_adapter() {
        let import =
            "(import \"wasi_snapshot_preview1\" \"sched_yield\" (func (result i32))) (memory";
        let module = balancer("pick").replacen("(memory", import, 1);
        componentize(module.as_bytes(), World::Balancer, Vec::new()).unwrap();
        let own =
            wat::parse_str("(module (func (export \"sched_yield\") (result i32) i32.const 0))");
        let own = Adapter { name: "wasi_snapshot_preview1".to_owned(), wasm: own.unwrap() };
        componentize(module.as_bytes(), World::Balancer, vec![own]).unwrap();
        let unknown = module.replace("wasi_snapshot_preview1", "mine");
        assert!(fault(&unknown, World::Balancer).contains("mine"));
    }
}
