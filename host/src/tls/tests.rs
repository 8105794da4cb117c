use std::fs;
use std::path::Path;

use rcgen::{KeyPair, date_time_ymd};

use super::testing::{authority, ed25519, leaf, rsa, write};
use super::*;
use crate::config::Certificate;

mod handshakes;

const BOTH: Protocols = Protocols { h3: true, h2: true, h1: true };

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

/// Writes a self-signed pair for `names` and returns its paths.
fn pair(directory: &Path, file: &str, names: &[&str]) -> Certificate {
    let key = key();
    write(directory, file, &[&leaf(names, &key, None, |_| ())], &key)
}

fn load(pairs: Vec<Certificate>, dates: Dates) -> Result<ServerConfigs, TlsError> {
    let tickets = Arc::new(Tickets::new().unwrap());
    ServerConfigs::new(&Tls::Certificates(pairs), BOTH, &tickets, dates)
}

/// Loads a leaf of `key` with the certificates after it.
fn chain(chain: &[&str], key: &KeyPair) -> Result<ServerConfigs, TlsError> {
    let folder = tempfile::tempdir().unwrap();
    load(vec![write(folder.path(), "site", chain, key)], Dates::Refuse)
}

#[test]
fn the_alpn_list_follows_the_protocols() {
    let tls = Tls::SelfSigned { names: vec!["localhost".into(), "127.0.0.1".into()] };
    let tickets = Arc::new(Tickets::new().unwrap());
    let made = |protocols| ServerConfigs::new(&tls, protocols, &tickets, Dates::Refuse).unwrap();
    assert_eq!(made(BOTH).tcp.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    let one = made(Protocols { h2: false, ..BOTH });
    assert_eq!(one.tcp.alpn_protocols, [b"http/1.1".to_vec()]);
}

#[test]
fn a_key_of_another_certificate_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (
        pair(directory.path(), "one", &["one.test"]),
        pair(directory.path(), "two", &["two.test"]),
    );
    let error = load(vec![Certificate { cert: one.cert, key: two.key }], Dates::Warn).unwrap_err();
    assert!(matches!(error, TlsError::Mismatch { .. }), "{error}");
    assert!(error.to_string().contains("two.key") && error.to_string().contains("one.crt"));
}

#[test]
fn missing_and_empty_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let good = pair(directory.path(), "good", &["good.test"]);
    let absent = directory.path().join("absent.pem");
    let empty = directory.path().join("empty.pem");
    fs::write(&empty, "nothing\n").unwrap();

    let case = |cert: &Path, key: &Path| {
        let pair = Certificate { cert: cert.to_owned(), key: key.to_owned() };
        load(vec![pair], Dates::Warn).unwrap_err().to_string()
    };
    assert!(case(&absent, &good.key).contains("absent.pem"));
    assert!(case(&empty, &good.key).contains("no CERTIFICATE section"));
    assert!(case(&good.cert, &empty).starts_with("read private key from"));
    assert!(matches!(load(Vec::new(), Dates::Warn).unwrap_err(), TlsError::Empty));
}

#[test]
fn a_chain_may_end_before_the_root_or_with_it() {
    let root = authority("root", None);
    let (middle, key) = (authority("middle", Some(&root)), key());
    let site = leaf(&["a.test"], &key, Some(&middle), |_| ());
    for issuers in [&[][..], &[middle.pem()], &[middle.pem(), root.pem()]] {
        let mut all = vec![site.as_str()];
        all.extend(issuers.iter().map(String::as_str));
        chain(&all, &key).unwrap();
    }
}

#[test]
fn certificates_in_a_wrong_order_are_refused_by_position() {
    let root = authority("root", None);
    let (middle, key) = (authority("middle", Some(&root)), key());
    let site = leaf(&["a.test"], &key, Some(&middle), |_| ());
    let (root, middle) = (root.pem(), middle.pem());

    let refused = |all: &[&str]| chain(all, &key).unwrap_err();
    let error = refused(&[&site, &root, &middle]);
    assert!(matches!(error, TlsError::Order { position: 2, .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("site.crt") && text.contains("CN=root"), "{text}");
    assert!(text.contains("issued by \"CN=middle\""), "{text}");

    let error = refused(&[&site, &middle, &middle]);
    assert!(matches!(error, TlsError::Order { position: 3, .. }), "{error}");
    // The leaf is not the first one: the key is of another certificate.
    let error = refused(&[&middle, &root]);
    assert!(matches!(error, TlsError::Mismatch { .. }), "{error}");
}

#[test]
fn a_certificate_after_the_root_is_refused() {
    let (root, other, key) = (authority("root", None), authority("other", None), key());
    let site = leaf(&["a.test"], &key, Some(&root), |_| ());
    for extra in [root.pem(), other.pem()] {
        let error = chain(&[&site, &root.pem(), &extra], &key).unwrap_err();
        assert!(matches!(error, TlsError::Extra { position: 3, .. }), "{error}");
    }
}

#[test]
fn a_signature_of_another_key_is_refused_by_position() {
    let (one, two, key) = (authority("root", None), authority("root", None), key());
    let site = leaf(&["a.test"], &key, Some(&one), |_| ());
    chain(&[&site, &one.pem()], &key).unwrap();
    let error = chain(&[&site, &two.pem()], &key).unwrap_err();
    assert!(matches!(error, TlsError::Signature { position: 1, .. }), "{error}");

    let middle = authority("middle", Some(&one));
    let site = leaf(&["a.test"], &key, Some(&middle), |_| ());
    let error = chain(&[&site, &middle.pem(), &two.pem()], &key).unwrap_err();
    assert!(matches!(error, TlsError::Signature { position: 2, .. }), "{error}");
}

#[test]
fn a_chain_of_rsa_keys_is_verified() {
    let (one, two) = (rsa(), rsa());
    let params = || {
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "root");
        params
    };
    let root = rcgen::CertifiedIssuer::self_signed(params(), one).unwrap();
    let other = rcgen::CertifiedIssuer::self_signed(params(), two).unwrap();
    let key = key();
    let site = leaf(&["a.test"], &key, Some(&root), |_| ());
    chain(&[&site, &root.pem()], &key).unwrap();
    let error = chain(&[&site, &other.pem()], &key).unwrap_err();
    assert!(matches!(error, TlsError::Signature { position: 1, .. }), "{error}");
}

#[test]
fn a_section_that_is_no_certificate_is_refused_by_position() {
    let (root, key) = (authority("root", None), key());
    let site = leaf(&["a.test"], &key, Some(&root), |_| ());
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let error = chain(&[&site, junk], &key).unwrap_err();
    assert!(matches!(error, TlsError::Unreadable { position: 2, .. }), "{error}");
}

#[test]
fn dates_are_refused_at_a_reload_and_only_told_at_the_start() {
    let (root, key) = (authority("root", None), key());
    let expired = leaf(&["a.test"], &key, Some(&root), |params| {
        params.not_after = date_time_ymd(2020, 2, 3);
    });
    let early = leaf(&["a.test"], &key, Some(&root), |params| {
        params.not_before = date_time_ymd(3000, 2, 3);
    });
    let folder = tempfile::tempdir().unwrap();
    for (site, wanted) in [
        (expired, "site.crt has expired: it is valid until 2020-02-03T00:00:00Z"),
        (early, "site.crt is not valid yet: it is valid from 3000-02-03T00:00:00Z"),
    ] {
        let pair = write(folder.path(), "site", &[&site], &key);
        load(vec![pair.clone()], Dates::Warn).unwrap();
        let error = load(vec![pair], Dates::Refuse).unwrap_err();
        assert!(matches!(error, TlsError::Dates(_)), "{error}");
        assert!(error.to_string().ends_with(wanted), "{error}");
    }
}

#[test]
fn an_expired_issuer_is_told_too() {
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
    params.not_after = date_time_ymd(2020, 2, 3);
    let root = rcgen::CertifiedIssuer::self_signed(params, key()).unwrap();
    let key = key();
    let site = leaf(&["a.test"], &key, Some(&root), |_| ());
    let error = chain(&[&site, &root.pem()], &key).unwrap_err();
    let wanted = matches!(error, TlsError::Dates(DateFault::Expired { position: 2, .. }));
    assert!(wanted, "{error}");
}

#[test]
fn the_last_and_the_first_second_are_valid() {
    let key = key();
    let site = leaf(&["a.test"], &key, None, |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 2);
    });
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls::Certificates(vec![write(folder.path(), "site", &[&site], &key)]);
    let provider = rustls::crypto::ring::default_provider();
    let first = 1_577_836_800;
    let faults = |seconds: u64| {
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        certs::load(&tls, &provider, now).unwrap().faults.len()
    };
    assert_eq!([first - 1, first, first + 86400, first + 86401].map(faults), [1, 0, 0, 1]);
}

#[test]
fn the_status_tells_names_issuer_key_dates_and_fingerprint() {
    let folder = tempfile::tempdir().unwrap();
    let (root, key) = (authority("root", None), key());
    let site = leaf(&["A.test", "*.b.test", "::1"], &key, Some(&root), |params| {
        params.distinguished_name.push(rcgen::DnType::CommonName, "site");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 2);
        params.serial_number = Some(vec![0x0a, 0xbc].into());
    });
    let first = write(folder.path(), "site", &[&site], &key);
    let der = files_of(&first.cert);
    let configs = load(vec![first.clone()], Dates::Warn).unwrap();
    let [status] = configs.certificates() else { panic!("one certificate") };
    assert_eq!(
        serde_json::to_value(status).unwrap(),
        serde_json::json!({
            "cert": first.cert.to_str().unwrap(),
            "key": first.key.to_str().unwrap(),
            "names": ["a.test", "*.b.test", "::1"],
            "subject": "CN=site",
            "issuer": "CN=root",
            "key_type": "ecdsa-p256",
            "not_before": 1_577_836_800,
            "not_after": 1_577_923_200,
            "serial": "0abc",
            "sha256": crate::oci::Digest::of(&der).hex(),
        })
    );
}

fn files_of(cert: &Path) -> Vec<u8> {
    crate::files::certificates(cert).unwrap().remove(0).to_vec()
}

#[test]
fn each_kind_of_key_has_a_name() {
    let folder = tempfile::tempdir().unwrap();
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let keys = [("rsa-2048", rsa()), ("ed25519", ed25519()), ("ecdsa-p384", p384)];
    let pairs = keys.iter().map(|(name, key)| {
        write(folder.path(), name, &[&leaf(&["a.test"], key, None, |_| ())], key)
    });
    let configs = load(pairs.collect(), Dates::Refuse).unwrap();
    let kinds: Vec<_> = configs.certificates().iter().map(|one| one.key_type.as_str()).collect();
    assert_eq!(kinds, keys.map(|(name, _)| name));
}

#[test]
fn a_self_signed_certificate_has_a_status_and_no_file() {
    let tls = Tls::SelfSigned { names: vec!["localhost".into(), "127.0.0.1".into()] };
    let tickets = Arc::new(Tickets::new().unwrap());
    let configs = ServerConfigs::new(&tls, BOTH, &tickets, Dates::Refuse).unwrap();
    let [status] = configs.certificates() else { panic!("one certificate") };
    assert_eq!((&status.cert, status.label()), (&None, "self_signed"));
    assert_eq!(status.names, ["localhost", "127.0.0.1"]);
    assert_eq!(files(&tls), [""; 0].map(PathBuf::from));
}

#[test]
fn each_file_is_watched_once() {
    let pair = |cert: &str, key: &str| Certificate { cert: cert.into(), key: key.into() };
    let tls =
        Tls::Certificates(vec![pair("a.crt", "key"), pair("b.pem", "b.pem"), pair("c", "key")]);
    assert_eq!(files(&tls), ["a.crt", "b.pem", "c", "key"].map(PathBuf::from));
}
