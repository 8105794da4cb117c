//! The components that are embedded in the binary: the one list of them.

/// Makes the lists of names and the table of components from one list, so that they cannot differ.
macro_rules! builtins {
    ($($(#[$doc:meta])* $list:ident: $($name:literal)*;)*) => {
        $($(#[$doc])* pub const $list: &[&str] = &[$($name),*];)*

        /// Every embedded component, by name.
        pub const COMPONENTS: &[(&str, &[u8])] = &[$($((
            $name,
            include_bytes!(concat!("../../plugins/dist/", $name, ".wasm")),
        ),)*)*];
    };
}

builtins! {
    /// The names of the balancers.
    BALANCERS:
        "round-robin" "least-connections" "weighted" "random-two-choices" "consistent-hash";
    /// The names of the filters.
    FILTERS:
        "api-key" "basic-auth" "body-replace" "cors" "forward-auth" "geo" "headers" "ip-allow" "jwt"
        "maintenance" "mirror-tag" "rate-limit" "redirect" "request-id" "rewrite" "security-headers"
        "split" "waf";
}

/// Returns the component with this name.
pub fn component(name: &str) -> Option<&'static [u8]> {
    COMPONENTS.iter().find(|(builtin, _)| *builtin == name).map(|(_, wasm)| *wasm)
}
