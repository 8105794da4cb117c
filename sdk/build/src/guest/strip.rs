//! Removes the data for debuggers from a core module. The names of functions stay: a trap reports
//! its position by them.

use anyhow::{Context, bail};

/// Returns the module without its DWARF sections.
pub(super) fn without_dwarf(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (header, mut rest) = module.split_at_checked(HEADER).context(BROKEN)?;
    let mut stripped = header.to_vec();
    while let Some((&id, mut body)) = rest.split_first() {
        let len = number(&mut body)?;
        let (content, next) = body.split_at_checked(len).context(BROKEN)?;
        let section = rest.get(..rest.len() - next.len()).context(BROKEN)?;
        if id != CUSTOM || !name(content)?.starts_with(b".debug_") {
            stripped.extend_from_slice(section);
        }
        rest = next;
    }
    Ok(stripped)
}

/// Returns the name of a custom section.
fn name(mut content: &[u8]) -> anyhow::Result<&[u8]> {
    let len = number(&mut content)?;
    content.get(..len).context(BROKEN)
}

/// Reads a number of 32 bits in LEB128.
fn number(bytes: &mut &[u8]) -> anyhow::Result<usize> {
    let mut value = 0_u64;
    for shift in (0..35).step_by(7) {
        let (&byte, rest) = bytes.split_first().context(BROKEN)?;
        *bytes = rest;
        value |= u64::from(byte & 127) << shift;
        if byte < 128 {
            return usize::try_from(value).context(BROKEN);
        }
    }
    bail!(BROKEN)
}

/// The magic number and the version.
const HEADER: usize = 8;

const CUSTOM: u8 = 0;

const BROKEN: &str = "this is no WebAssembly module";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dwarf_goes_and_names_stay() {
        let source =
            r#"(module (func $f unreachable) (@custom ".debug_line" "x") (@custom "other" "y"))"#;
        let module = wat::parse_str(source).unwrap();
        let stripped = without_dwarf(&module).unwrap();
        let has = |module: &[u8], text: &[u8]| module.windows(text.len()).any(|w| w == text);
        assert!(has(&module, b".debug_line") && !has(&stripped, b".debug_line"));
        assert!(has(&stripped, b"other") && has(&stripped, b"name"));
        assert_eq!(without_dwarf(&stripped).unwrap(), stripped);
    }

    #[test]
    fn a_module_that_is_cut_short_is_refused() {
        let module = wat::parse_str(r#"(module (@custom "other" "yyyy"))"#).unwrap();
        for len in (0..HEADER).chain(HEADER + 1..module.len()) {
            assert!(without_dwarf(module.get(..len).unwrap()).is_err(), "{len}");
        }
    }
}
