//! Values that all instances of a plugin share, on every worker and across swaps. Natively, in unit
//! tests, each thread has its own state.
//!
//! `space` is the empty string for the plugin's own space. A name in `allow.state` of the
//! configuration is a space that it shares with other plugins. A time to live of 0 milliseconds
//! means no end.

#[cfg_attr(target_arch = "wasm32", path = "state/component.rs")]
#[cfg_attr(not(target_arch = "wasm32"), path = "state/native.rs")]
mod imp;

/// Adds to a counter and returns the sum. A missing counter begins at 0 and gets the time to live.
pub fn add(space: &str, key: &str, by: i64, ttl_ms: u64) -> i64 {
    imp::add(space, key, by, ttl_ms)
}

/// Returns the value of a key; for a counter, its sum in decimal.
pub fn get(space: &str, key: &str) -> Option<Vec<u8>> {
    imp::get(space, key)
}

/// Sets a value.
pub fn set(space: &str, key: &str, value: &[u8], ttl_ms: u64) {
    imp::set(space, key, value, ttl_ms);
}

/// Sets a value if the present one is `expected`, in one step. Returns whether it set the value.
pub fn replace(space: &str, key: &str, expected: Option<&[u8]>, value: &[u8], ttl_ms: u64) -> bool {
    imp::replace(space, key, expected, value, ttl_ms)
}

/// Removes a key.
pub fn remove(space: &str, key: &str) {
    imp::remove(space, key);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stand_in_does_what_the_host_does() {
        assert_eq!(add("", "n", 2, 0), 2);
        assert_eq!(add("", "n", 3, 0), 5);
        assert_eq!(get("", "n"), Some(b"5".to_vec()));
        assert_eq!(get("other", "n"), None);
        assert!(replace("", "v", None, b"a", 0));
        assert!(!replace("", "v", None, b"b", 0));
        assert!(replace("", "v", Some(b"a"), b"b", 0));
        set("", "v", b"c", 1);
        while get("", "v").is_some() {}
        remove("", "n");
        assert_eq!(get("", "n"), None);
    }
}
