//! The HTTP client of registries: TLS by rustls with ring, redirects that stay in TLS, bounds on
//! waiting.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::redirect::Policy;
use rustls::RootCertStore;

use super::access::{self, Access, AccessError};

/// Makes a client for a registry. It uses the proxies that the environment names.
pub(super) fn client(access: &Access) -> Result<reqwest::ClientBuilder, AccessError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    if !access.plain_http {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots.add_parsable_certificates(access.ca.iter().cloned());
        if roots.is_empty() {
            return Err(AccessError::NoRoots);
        }
    }
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(AccessError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .redirect(Policy::custom(|redirect| {
            let is_secure = |url: &Url| url.scheme() == "https";
            if redirect.previous().len() > MAX_REDIRECTS {
                redirect.error("too many redirects")
            } else if redirect.previous().iter().any(is_secure) && !is_secure(redirect.url()) {
                redirect.error("a redirect to a URL without TLS")
            } else {
                redirect.follow()
            }
        }));
    // The proxies of the environment do not serve requests to this machine.
    Ok(if access::is_loopback(&access.host) { client.no_proxy() } else { client })
}

/// The bound on connecting and the handshake.
const CONNECT: Duration = Duration::from_secs(5);

/// The bound on the time without a byte.
const SILENCE: Duration = Duration::from_secs(30);

/// A registry redirects to its storage, and the storage may redirect further.
const MAX_REDIRECTS: usize = 5;
