//! Checks the versions of the interfaces that a component is made for, by the names of its imports
//! and exports.
//!
//! The linker compares only the functions that it links. It accepts an interface that has only
//! types in any version. It would also accept a component that imports no function, although its
//! exported functions may have another meaning.

use std::sync::LazyLock;

/// Refuses a component with an interface of another version of `weir:plugin` than this host's.
/// Versions agree by the linker's rule: up to the first number that is not zero.
///
/// # Errors
/// The interface, and a remedy.
pub(crate) fn check<'a>(mut names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let other = names.find(|name| {
        let version = version(name);
        version.is_some_and(|version| track(version) != track(&OWN))
    });
    other.map_or(Ok(()), |name| {
        Err(format!(
            "it is made for {name}; this Weir has {PACKAGE}@{}: build it with the SDK of this Weir \
             (docs/interface.md lists the changes)",
            *OWN
        ))
    })
}

/// Refuses a component that names no interface of `weir:plugin`, and so no version.
///
/// # Errors
/// The version of this host, and a remedy.
pub(crate) fn expect_named<'a>(mut names: impl Iterator<Item = &'a str>) -> Result<(), String> {
    if names.any(|name| version(name).is_some()) {
        return Ok(());
    }
    Err(format!(
        "it names no version of {PACKAGE}; this Weir has {PACKAGE}@{}: build it with the SDK of \
         this Weir, or with `weir plugin componentize`",
        *OWN
    ))
}

/// Returns the version in the name of an interface of the package; empty without one.
fn version(name: &str) -> Option<&str> {
    let interface = name.strip_prefix(PACKAGE)?.strip_prefix('/')?;
    Some(interface.split_once('@').map_or("", |(_, version)| version))
}

/// Refuses a standard component of a version that [`crate::service::standard`] does not know.
///
/// # Errors
/// The component's interface, and the interfaces that Weir serves.
pub(crate) fn check_standard<'a>(mut exports: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let Some(name) = exports.find(|name| name.starts_with("wasi:http/")) else { return Ok(()) };
    Err(format!(
        "it exports {name}; this Weir serves wasi:http/incoming-handler@0.2 and wasi:http/handler@0.3"
    ))
}

/// Returns the part of a version that interchangeable versions have in common, by the rule of
/// Wasmtime's linker. A pre-release is interchangeable with no other version.
fn track(version: &str) -> &str {
    if version.contains(['-', '+']) {
        return version;
    }
    let mut end = 0;
    for number in version.split('.') {
        end += number.len();
        if number.bytes().any(|digit| digit != b'0') {
            break;
        }
        end += 1;
    }
    version.get(..end).unwrap_or(version)
}

/// The package of the interface.
const PACKAGE: &str = "weir:plugin";

/// The version of the package, read from the interface.
static OWN: LazyLock<String> = LazyLock::new(|| {
    let first = WIT.lines().next().and_then(|line| line.split_once('@'));
    first.map(|(_, version)| version.trim_end_matches(';').to_owned()).unwrap_or_default()
});

const WIT: &str = include_str!("../../../wit/types.wit");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_knows_its_own_version() {
        assert!(OWN.split('.').count() == 3 && OWN.split('.').all(|n| n.parse::<u32>().is_ok()));
        let own = format!("weir:plugin/types@{}", *OWN);
        assert_eq!(check([own.as_str(), "pick", "wasi:cli/run@0.2.0"].into_iter()), Ok(()));
    }

    #[test]
    fn another_version_is_told() {
        for name in ["weir:plugin/types@9.0.0", "weir:plugin/types", "weir:plugin/host@0.1.0-rc.1"]
        {
            let told = check(["pick", name].into_iter()).unwrap_err();
            assert!(told.contains(name) && told.contains(&*OWN), "{told}");
        }
    }

    #[test]
    fn a_component_without_a_version_is_told_too() {
        for names in [&[][..], &["pick"], &["pick", "weir:plugins/types@9.0.0"]] {
            let told = expect_named(names.iter().copied()).unwrap_err();
            assert!(told.starts_with("it names no version") && told.contains(&*OWN), "{told}");
        }
    }

    #[test]
    fn versions_agree_up_to_the_first_number_that_is_not_zero() {
        for (version, expected) in [
            ("0.1.0", "0.1"),
            ("0.1.7", "0.1"),
            ("1.2.3", "1"),
            ("10.0.0", "10"),
            ("0.0.3", "0.0.3"),
            ("0.0.0", "0.0.0"),
            ("0.1.0-rc.1", "0.1.0-rc.1"),
            ("", ""),
        ] {
            assert_eq!(track(version), expected, "{version}");
        }
    }
}
