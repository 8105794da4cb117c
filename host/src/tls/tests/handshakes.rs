//! Handshakes of a rustls client with the configurations, in memory.

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConnection,
    SupportedProtocolVersion,
};

use super::*;

/// Makes a client that trusts one authority, with a memory of sessions. It offers the suites that
/// `offered` accepts.
fn client(
    root: &CertificateDer<'static>,
    version: &'static SupportedProtocolVersion,
    offered: impl Fn(&str) -> bool,
) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|suite| offered(&format!("{:?}", suite.suite())));
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(8);
    Client(Arc::new(config))
}

struct Client(Arc<ClientConfig>);

impl Client {
    /// Makes a handshake, and returns its kind and the server's certificate.
    fn meet(&self, server: &ServerConfigs) -> (HandshakeKind, CertificateDer<'static>) {
        let name = ServerName::try_from("a.test").unwrap();
        let mut client = ClientConnection::new(Arc::clone(&self.0), name).unwrap();
        let mut server = ServerConnection::new(Arc::clone(&server.tcp)).unwrap();
        // The server's tickets of TLS 1.3 follow its handshake.
        while client.wants_write() || server.wants_write() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                server.read_tls(&mut rest).unwrap();
                server.process_new_packets().unwrap();
            }
            let mut bytes = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
                client.process_new_packets().unwrap();
            }
        }
        assert!(!client.is_handshaking() && !server.is_handshaking());
        let seen = client.peer_certificates().unwrap()[0].clone();
        (server.handshake_kind().unwrap(), seen)
    }
}

/// Loads the certificate in `folder` again, as a reload does.
fn server(folder: &Path, tickets: &Arc<Tickets>) -> ServerConfigs {
    let pair = Certificate { cert: folder.join("site.crt"), key: folder.join("site.key") };
    ServerConfigs::new(&Tls::Certificates(vec![pair]), BOTH, tickets, Dates::Refuse).unwrap()
}

#[test]
fn a_session_resumes_after_a_reload_and_in_the_next_process() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let folder = tempfile::tempdir().unwrap();
        let root = authority("root", None);
        let issue = || {
            let key = key();
            let site = leaf(&["a.test"], &key, Some(&root), |_| ());
            write(folder.path(), "site", &[&site], &key);
        };
        issue();
        let tickets = Arc::new(Tickets::new().unwrap());
        let client = client(root.der(), version, |_| true);
        let (kind, old) = client.meet(&server(folder.path(), &tickets));
        assert_ne!(kind, HandshakeKind::Resumed);

        issue();
        let (kind, _) = client.meet(&server(folder.path(), &tickets));
        assert_eq!(kind, HandshakeKind::Resumed, "after a reload");

        let moved = Arc::new(Tickets::import(&tickets.export()).unwrap());
        let (kind, _) = client.meet(&server(folder.path(), &moved));
        assert_eq!(kind, HandshakeKind::Resumed, "in the next process");

        let foreign = Arc::new(Tickets::new().unwrap());
        let (kind, new) = client.meet(&server(folder.path(), &foreign));
        assert_ne!(kind, HandshakeKind::Resumed, "with other keys");
        assert_ne!(old, new, "the new certificate is in use");
    }
}

#[test]
fn a_client_gets_the_certificate_that_it_can_verify() {
    let folder = tempfile::tempdir().unwrap();
    let root = authority("root", None);
    let keys = [("old", rsa()), ("new", key())];
    let pairs = keys.iter().map(|(file, key)| {
        let site = leaf(&["a.test"], key, Some(&root), |_| ());
        write(folder.path(), file, &[&site], key)
    });
    let server = load(pairs.collect(), Dates::Refuse).unwrap();
    // Over TLS 1.2, the suites tell which keys the client can use.
    let client = |offered: fn(&str) -> bool| client(root.der(), &rustls::version::TLS12, offered);
    let chosen = |client: &Client| client.meet(&server).1.to_vec();
    let (both, rsa_only) = (client(|_| true), client(|suite| suite.contains("_RSA_")));
    assert_eq!(chosen(&both), files_of(&folder.path().join("new.crt")));
    assert_eq!(chosen(&rsa_only), files_of(&folder.path().join("old.crt")));
}
