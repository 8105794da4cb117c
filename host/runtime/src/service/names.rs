//! Finds the kind of a component by its outermost imports and exports. This comes before compiling,
//! because each engine compiles its own components.

use wasmparser::{Chunk, Parser, Payload};

use crate::plugin::Kind;

/// The kind of a standard component; `None` for any other bytes.
pub(super) fn kind(wasm: &[u8]) -> Option<Kind> {
    let names = Names::read(wasm)?;
    if names.exports(HANDLER) {
        Some(if names.imports(HANDLER) { Kind::Middleware } else { Kind::Service })
    } else if names.exports(INCOMING) {
        Some(Kind::Proxy)
    } else {
        None
    }
}

/// The names of the outermost imports and exports; empty for bytes that cannot be read.
pub(crate) fn all(wasm: &[u8]) -> Vec<&str> {
    let Names { imports, exports } = Names::read(wasm).unwrap_or_default();
    imports.into_iter().chain(exports).collect()
}

#[derive(Default)]
struct Names<'a> {
    imports: Vec<&'a str>,
    exports: Vec<&'a str>,
}

impl<'a> Names<'a> {
    /// Reads the sections of the outermost component and skips the nested ones.
    fn read(wasm: &'a [u8]) -> Option<Self> {
        let mut names = Self::default();
        let mut parser = Parser::new(0);
        let mut at = 0;
        loop {
            let Chunk::Parsed { consumed, payload } = parser.parse(wasm.get(at..)?, true).ok()?
            else {
                return None;
            };
            at += consumed;
            match payload {
                Payload::ModuleSection { unchecked_range, .. }
                | Payload::ComponentSection { unchecked_range, .. } => at = unchecked_range.end,
                Payload::ComponentImportSection(section) => {
                    let imports = section.into_iter().map_while(Result::ok);
                    names.imports.extend(imports.map(|import| import.name.name));
                }
                Payload::ComponentExportSection(section) => {
                    let exports = section.into_iter().map_while(Result::ok);
                    names.exports.extend(exports.map(|export| export.name.name));
                }
                Payload::End(_) => return Some(names),
                _ => {}
            }
        }
    }

    fn imports(&self, interface: &str) -> bool {
        self.imports.iter().any(|name| name.starts_with(interface))
    }

    fn exports(&self, interface: &str) -> bool {
        self.exports.iter().any(|name| name.starts_with(interface))
    }
}

const HANDLER: &str = "wasi:http/handler@0.3.";
const INCOMING: &str = "wasi:http/incoming-handler@0.2.";

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<Kind> {
        kind(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn the_outermost_names_tell_what_a_component_is() {
        let service = r#"(component
            (component $inner (import "wasi:http/handler@0.3.0" (instance)))
            (core module (memory 1))
            (instance $i)
            (export "wasi:http/handler@0.3.0" (instance $i)))"#;
        assert_eq!(found(service), Some(Kind::Service));
        let middleware = r#"(component
            (import "wasi:http/handler@0.3.1" (instance $i))
            (export "wasi:http/handler@0.3.1" (instance $i)))"#;
        assert_eq!(found(middleware), Some(Kind::Middleware));
        let proxy = r#"(component (instance $i)
            (export "wasi:http/incoming-handler@0.2.6" (instance $i)))"#;
        assert_eq!(found(proxy), Some(Kind::Proxy));
        assert_eq!(found("(component (core module))"), None);
        assert_eq!(found("(module)"), None);
        assert_eq!(kind(b""), None);
        assert_eq!(kind(b"\0asm\x0d\0\x01\0\x01\xff\xff\xff\xff\x0f"), None);
    }
}
