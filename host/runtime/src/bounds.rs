//! Bounds on the code of a component before it is compiled.
//!
//! A function of tens of thousands of nested blocks can take half a minute and gigabytes, and
//! only a compilation in another process can be stopped. The largest function of CPython has
//! 0.4 MiB and 800 nested blocks. These bounds do not cover everything that is slow to compile:
//! a few hundred loops with as many variables take as long.

use std::fmt;

use wasmparser::{FunctionBody, Operator, Parser, Payload};

/// The code that is out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    /// A function with more bytes than [`MAX_FUNCTION`].
    Function(usize),
    /// Blocks that are nested deeper than [`MAX_NESTING`].
    Nesting,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function(bytes) => {
                write!(f, "a function has {bytes} bytes; at most {MAX_FUNCTION} are compiled")
            }
            Self::Nesting => {
                write!(f, "a function has more than {MAX_NESTING} blocks within each other")
            }
        }
    }
}

/// Checks all functions of all core modules in a component. A component that cannot be read passes:
/// the compiler tells its fault better.
///
/// # Errors
/// The first excess.
pub(crate) fn check(wasm: &[u8]) -> Result<(), Excess> {
    for payload in Parser::new(0).parse_all(wasm) {
        let Ok(payload) = payload else { return Ok(()) };
        if let Payload::CodeSectionEntry(body) = payload {
            let bytes = body.range().len();
            if bytes > MAX_FUNCTION {
                return Err(Excess::Function(bytes));
            }
            // A block has at least three bytes, so that nearly all functions need no look inside.
            if bytes / LEAST_BLOCK > MAX_NESTING && nesting(&body) > MAX_NESTING {
                return Err(Excess::Nesting);
            }
        }
    }
    Ok(())
}

/// Returns the largest number of blocks within each other.
fn nesting(body: &FunctionBody<'_>) -> usize {
    let Ok(mut operators) = body.get_operators_reader() else { return 0 };
    let (mut depth, mut most) = (0_usize, 0);
    while let Ok(operator) = operators.read() {
        match operator {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::Try { .. }
            | Operator::TryTable { .. } => {
                depth += 1;
                most = most.max(depth);
            }
            Operator::End => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// Bytes of one function.
const MAX_FUNCTION: usize = 4 << 20;

/// Blocks within each other.
const MAX_NESTING: usize = 2000;

/// Bytes of the shortest block: its instruction, its type and its end.
const LEAST_BLOCK: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// A component with a core module of one function with this code.
    fn component(code: &str) -> Vec<u8> {
        wat::parse_str(format!("(component (core module (func {code})))")).unwrap()
    }

    fn nested(depth: usize) -> String {
        format!("{}{}", "block ".repeat(depth), "end ".repeat(depth))
    }

    #[test]
    fn nesting_has_a_bound_and_blocks_beside_each_other_have_none() {
        assert_eq!(check(&component(&nested(MAX_NESTING))), Ok(()));
        assert_eq!(check(&component(&nested(MAX_NESTING + 1))), Err(Excess::Nesting));
        assert_eq!(check(&component(&"block end ".repeat(10 * MAX_NESTING))), Ok(()));
        let deep = format!("(loop i32.const 0 if {} end)", nested(MAX_NESTING - 1));
        assert_eq!(check(&component(&deep)), Err(Excess::Nesting));
    }

    #[test]
    fn a_function_has_a_bound() {
        let large = "nop ".repeat(MAX_FUNCTION);
        assert!(matches!(check(&component(&large)), Err(Excess::Function(_))));
        assert_eq!(check(&component(&"nop ".repeat(MAX_FUNCTION / 2))), Ok(()));
    }

    #[test]
    fn bytes_that_are_no_component_pass_to_the_compiler() {
        assert_eq!(check(b""), Ok(()));
        assert_eq!(check(b"\0asm\x0d\0\x01\0garbage"), Ok(()));
    }
}
