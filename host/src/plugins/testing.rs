//! Configurations for the tests of plugins.

use std::path::Path;

use super::Plugins;
use crate::config::{self, Config, Overrides};
use crate::telemetry::metrics::Metrics;

/// Returns a configuration with this list of plugins, in which each upstream has the balancer `b`.
/// An upstream is a name and the configuration of its balancer.
pub(super) fn config(plugins: &str, upstreams: &[(&str, &str)]) -> Config {
    let upstream = |(name, config): &(&str, &str)| {
        format!(
            "{{ name: {name}, balancer: b, balancer_config: {config}, \
             endpoints: [{{ address: \"127.0.0.1:1\" }}] }}"
        )
    };
    let upstreams: Vec<_> = upstreams.iter().map(upstream).collect();
    // A list without items is refused.
    let list = |key: &str, items: &str| match items {
        "" => String::new(),
        items => format!("{key}: [{items}]\n"),
    };
    let (plugins, upstreams) = (list("plugins", plugins), list("upstreams", &upstreams.join(", ")));
    let text = format!(
        "listeners: [{{ address: \"127.0.0.1:0\" }}]\n{plugins}{upstreams}\
         routes: [{{ respond: {{ status: 204 }} }}]\n"
    );
    config::from_text("weir.yaml", &text, Path::new("."), &Overrides::default()).unwrap()
}

/// Loads the plugins of a configuration that follows another one, without its publication.
pub(super) fn follow(config: &Config, metrics: &Metrics, before: &Plugins) -> Plugins {
    Plugins::load(config, metrics, Some(before)).unwrap()
}
