//! The macros of a plugin's crate: [`manifest!`](crate::manifest) and [`export_balancer!`](crate::export_balancer).

/// A [`Manifest`](crate::Manifest) with the name, version and description of the package it is written in, and the
/// JSON Schema given.
#[macro_export]
macro_rules! manifest {
    ($schema:expr) => {
        $crate::Manifest {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: env!("CARGO_PKG_DESCRIPTION").into(),
            config_schema: $schema.into(),
        }
    };
}

/// Exports a [`Balancer`](crate::Balancer) from a component: once in a crate of type `cdylib`. Exports nothing on
/// targets other than WebAssembly.
#[macro_export]
macro_rules! export_balancer {
    ($balancer:ty) => {
        // Natively nobody calls it but tests; this keeps the compiler from calling it dead.
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn($balancer, &$crate::Pick<'_>) = |mut balancer, pick| {
            <$balancer as $crate::Balancer>::pick(&mut balancer, pick);
        };

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the exports of a component are unsafe attributes")]
        const _: () = {
            use ::core::cell::RefCell;

            struct Exported;

            // A component runs on one thread, where this is a plain static.
            ::std::thread_local! {
                static INSTANCE: RefCell<Option<$balancer>> = const { RefCell::new(None) };
            }

            fn with<T>(call: impl FnOnce(&mut $balancer) -> T) -> T {
                INSTANCE.with_borrow_mut(|instance| match instance {
                    Some(instance) => call(instance),
                    // The host configures first; whatever else calls has earned a trap.
                    None => ::core::arch::wasm32::unreachable(),
                })
            }

            impl $crate::bindings::Guest for Exported {
                fn describe() -> $crate::Manifest {
                    <$balancer as $crate::Balancer>::describe()
                }

                fn configure(config: String) -> Result<$crate::Needs, String> {
                    let config = $crate::Config::parse(&config)?;
                    let balancer = <$balancer as $crate::Balancer>::new(config)?;
                    let needs = $crate::Balancer::needs(&balancer);
                    INSTANCE.set(Some(balancer));
                    Ok(needs)
                }

                fn update(endpoints: Vec<$crate::Endpoint>) {
                    with(|balancer| $crate::Balancer::update(balancer, endpoints))
                }

                fn pick(
                    sequence: u64,
                    attempt: u32,
                    inputs: Vec<Option<Vec<u8>>>,
                    loads: Vec<u32>,
                ) -> Option<u32> {
                    let pick = $crate::Pick { sequence, attempt, inputs: &inputs, loads: &loads };
                    with(|balancer| $crate::Balancer::pick(balancer, &pick))
                }

                fn observe(outcomes: Vec<$crate::Outcome>) {
                    with(|balancer| $crate::Balancer::observe(balancer, outcomes))
                }
            }

    $crate::bindings::export!(Exported with_types_in $crate::bindings);
        };
    };
}
