use std::fs;
use std::path::Path;

use super::*;
use crate::config::Certificate;

const BOTH: Protocols = Protocols { h3: true, h2: true, h1: true };

/// Writes a self-signed pair for `names` and returns its paths.
fn pair(directory: &Path, file: &str, names: &[&str]) -> Certificate {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let (cert, key) =
        (directory.join(format!("{file}.crt")), directory.join(format!("{file}.key")));
    fs::write(&cert, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    Certificate { cert, key }
}

#[test]
fn the_alpn_list_follows_the_protocols() {
    let tls = Tls::SelfSigned { names: vec!["localhost".into(), "127.0.0.1".into()] };
    let both = ServerConfigs::new(&tls, BOTH).unwrap();
    assert_eq!(both.tcp.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    let one = ServerConfigs::new(&tls, Protocols { h2: false, ..BOTH }).unwrap();
    assert_eq!(one.tcp.alpn_protocols, [b"http/1.1".to_vec()]);
}

#[test]
fn a_key_of_another_certificate_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (
        pair(directory.path(), "one", &["one.test"]),
        pair(directory.path(), "two", &["two.test"]),
    );
    let mixed = Tls::Certificates(vec![Certificate { cert: one.cert, key: two.key }]);
    let error = ServerConfigs::new(&mixed, BOTH).unwrap_err();
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
        ServerConfigs::new(&Tls::Certificates(vec![pair]), BOTH).unwrap_err().to_string()
    };
    assert!(case(&absent, &good.key).contains("absent.pem"));
    assert!(case(&empty, &good.key).contains("no CERTIFICATE section"));
    assert!(case(&good.cert, &empty).starts_with("read private key from"));
}
