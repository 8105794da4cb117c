//! The expansions of the attributes. Each exports on WebAssembly and nothing elsewhere, so that
//! unit tests run the logic natively.

/// Makes the [`Manifest`](crate::Manifest) of the package that contains the call, with the schema
/// of the given configuration.
#[doc(hidden)]
#[macro_export]
macro_rules! package_manifest {
    ($config:ty) => {
        $crate::Manifest {
            name: env!("CARGO_PKG_NAME").into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: env!("CARGO_PKG_DESCRIPTION").into(),
            config_schema: <$config as $crate::Config>::schema(),
        }
    };
}

/// The one instance of a component.
#[doc(hidden)]
#[macro_export]
macro_rules! one_instance {
    ($plugin:ty) => {
        // A component runs on one thread, where this is a plain static.
        ::std::thread_local! {
            static INSTANCE: ::core::cell::RefCell<Option<$plugin>> =
                const { ::core::cell::RefCell::new(None) };
        }

        fn with<T>(call: impl FnOnce(&mut $plugin) -> T) -> T {
            INSTANCE.with_borrow_mut(|instance| match instance {
                Some(instance) => call(instance),
                // The host configures first; any other first call ends in a trap.
                None => ::core::arch::wasm32::unreachable(),
            })
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! export_balancer {
    ($plugin:ty) => {
        // Natively only tests call it; this use prevents the compiler's warning about dead code.
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn($plugin, &$crate::Pick<'_>) = |mut plugin, pick| {
            <$plugin as $crate::Balancer>::pick(&mut plugin, pick);
        };

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the exports of a component are unsafe attributes")]
        const _: () = {
            struct Exported;

            $crate::one_instance!($plugin);

            impl $crate::bindings::balancer::Guest for Exported {
                fn describe() -> $crate::Manifest {
                    $crate::host::tell_panics();
                    <$plugin as $crate::Balancer>::describe($crate::package_manifest!(
                        <$plugin as $crate::Balancer>::Config
                    ))
                }

                fn configure(
                    config: String,
                ) -> Result<$crate::bindings::balancing::BalancerNeeds, String> {
                    $crate::host::tell_panics();
                    let mut needs = $crate::BalancerNeeds::default();
                    let config = $crate::Config::parse(&config)?;
                    let plugin = <$plugin as $crate::Balancer>::new(config, &mut needs);
                    let plugin = plugin.map_err(String::from)?;
                    INSTANCE.set(Some(plugin));
                    Ok(needs.into())
                }

                fn update(endpoints: Vec<$crate::Endpoint>) {
                    with(|plugin| $crate::Balancer::update(plugin, endpoints))
                }

                fn pick(
                    sequence: u64,
                    attempt: u32,
                    inputs: Vec<Option<Vec<u8>>>,
                    loads: Vec<u32>,
                ) -> Option<u32> {
                    let pick = $crate::Pick { sequence, attempt, inputs: &inputs, loads: &loads };
                    with(|plugin| $crate::Balancer::pick(plugin, &pick))
                }

                fn observe(outcomes: Vec<$crate::Outcome>) {
                    with(|plugin| $crate::Balancer::observe(plugin, outcomes))
                }
            }

            $crate::bindings::balancer::export_balancer_world!(
                Exported with_types_in $crate::bindings::balancer
            );
        };
    };
}

/// The exports that both worlds of filters share.
#[doc(hidden)]
#[macro_export]
macro_rules! filter_functions {
    ($plugin:ty) => {
        fn describe() -> $crate::Manifest {
            $crate::host::tell_panics();
            <$plugin as $crate::Filter>::describe($crate::package_manifest!(
                <$plugin as $crate::Filter>::Config
            ))
        }

        fn configure(config: String) -> Result<$crate::bindings::filtering::FilterNeeds, String> {
            $crate::host::tell_panics();
            let mut needs = $crate::FilterNeeds::default();
            let config = $crate::Config::parse(&config)?;
            let plugin = <$plugin as $crate::Filter>::new(config, &mut needs);
            let plugin = plugin.map_err(String::from)?;
            INSTANCE.set(Some(plugin));
            Ok(needs.into())
        }

        fn on_request(inputs: Vec<Option<Vec<u8>>>) -> $crate::RequestDecision {
            let request = $crate::Request { inputs: &inputs };
            with(|plugin| $crate::Filter::on_request(plugin, &request))
        }

        fn on_fetch(
            context: Vec<u8>,
            answer: Result<$crate::Reply, String>,
        ) -> $crate::RequestDecision {
            with(|plugin| $crate::Filter::on_fetch(plugin, &context, answer))
        }

        fn on_response(
            status: u16,
            inputs: Vec<Option<Vec<u8>>>,
            context: Vec<u8>,
        ) -> $crate::ResponseDecision {
            let response = $crate::Response { status, inputs: &inputs, context: &context };
            with(|plugin| $crate::Filter::on_response(plugin, &response))
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! export_filter {
    ($plugin:ty) => {
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn($plugin, &$crate::Request<'_>) = |mut plugin, request| {
            <$plugin as $crate::Filter>::on_request(&mut plugin, request);
        };

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the exports of a component are unsafe attributes")]
        const _: () = {
            struct Exported;

            $crate::one_instance!($plugin);

            impl $crate::bindings::filter::Guest for Exported {
                $crate::filter_functions!($plugin);
            }

            $crate::bindings::filter::export_filter_world!(
                Exported with_types_in $crate::bindings::filter
            );
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! export_body_filter {
    ($plugin:ty) => {
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn($plugin, &$crate::Piece<'_>) = |mut plugin, piece| {
            <$plugin as $crate::BodyFilter>::on_response_body(&mut plugin, piece);
        };

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the exports of a component are unsafe attributes")]
        const _: () = {
            struct Exported;

            $crate::one_instance!($plugin);

            impl $crate::bindings::body_filter::Guest for Exported {
                $crate::filter_functions!($plugin);

                fn on_request_body(
                    context: Vec<u8>,
                    data: Vec<u8>,
                    end: bool,
                ) -> $crate::BodyDecision {
                    let piece = $crate::Piece { context: &context, data: &data, end };
                    with(|plugin| $crate::BodyFilter::on_request_body(plugin, &piece))
                }

                fn on_response_body(
                    context: Vec<u8>,
                    data: Vec<u8>,
                    end: bool,
                ) -> $crate::BodyDecision {
                    let piece = $crate::Piece { context: &context, data: &data, end };
                    with(|plugin| $crate::BodyFilter::on_response_body(plugin, &piece))
                }
            }

            $crate::bindings::body_filter::export_body_filter_world!(
                Exported with_types_in $crate::bindings::body_filter
            );
        };
    };
}
