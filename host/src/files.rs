//! Text files that people write. All are read in one way: as UTF-8, within a bound, and without the
//! byte order mark that some editors put first. The mark would become part of the first word, such
//! as the first user of a list or the first line of a certificate.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Reads a text file of at most `most` bytes.
///
/// # Errors
/// The file cannot be read, is larger, or is not UTF-8.
pub(crate) fn text(path: &Path, most: u64) -> io::Result<String> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    String::from_utf8(read(path, most)?).map_err(|error| invalid(error.utf8_error()))
}

/// Reads the certificates of a PEM file. There may be none.
///
/// # Errors
/// The file cannot be read, or a section of it is damaged.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let pem = read(path, MAX_PEM).map_err(pem::Error::Io)?;
    CertificateDer::pem_slice_iter(&pem).collect()
}

/// Reads the first private key of a PEM file.
///
/// # Errors
/// The file cannot be read, has no key, or a section of it is damaged.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, pem::Error> {
    PrivateKeyDer::from_pem_slice(&read(path, MAX_PEM).map_err(pem::Error::Io)?)
}

/// Reads a file of at most `most` bytes, and removes its mark. A PEM file may have text around its
/// sections that is not UTF-8.
///
/// # Errors
/// The file cannot be read, is larger, or has a UTF-16 mark.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let message = format!("it is larger than {most} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    if bytes.starts_with(&UTF16_LITTLE) || bytes.starts_with(&UTF16_BIG) {
        let message = "it is text in UTF-16; store it in UTF-8";
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    if bytes.starts_with(MARK.as_bytes()) {
        bytes.drain(..MARK.len());
    }
    Ok(bytes)
}

/// Returns the text without a byte order mark before it.
pub(crate) fn unmarked(text: &str) -> &str {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// The byte order mark, three bytes in UTF-8.
const MARK: &str = "\u{feff}";

const UTF16_LITTLE: [u8; 2] = [0xff, 0xfe];
const UTF16_BIG: [u8; 2] = [0xfe, 0xff];

/// The most bytes of a PEM file. A bundle of all public authorities has 250 KiB.
const MAX_PEM: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_mark_is_no_part_of_the_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (written, read) in [("\u{feff}ann:1\n", "ann:1\n"), ("ann:1", "ann:1"), ("", "")] {
            fs::write(&path, written).unwrap();
            assert_eq!(text(&path, 100).unwrap(), read);
        }
        // One mark belongs to the file. A second one belongs to the text.
        fs::write(&path, "\u{feff}\u{feff}a").unwrap();
        assert_eq!(text(&path, 100).unwrap(), "\u{feff}a");
        assert_eq!(unmarked("\u{feff}a\u{feff}"), "a\u{feff}");
    }

    #[test]
    fn pem_begins_after_a_mark_and_may_have_other_bytes_around_it() {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert"), folder.path().join("key"));
        fs::write(&cert, ["\u{feff}".as_bytes(), made.cert.pem().as_bytes(), b"\xe9"].concat())
            .unwrap();
        fs::write(&key, format!("\u{feff}{}", made.signing_key.serialize_pem())).unwrap();
        assert_eq!(certificates(&cert).unwrap(), [made.cert.der().clone()]);
        assert_eq!(private_key(&key).unwrap().secret_der(), made.signing_key.serialize_der());
    }

    #[test]
    fn text_that_is_not_utf_8_or_too_large_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let refused = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            text(&path, 8).unwrap_err().to_string()
        };
        assert!(refused(b"\xff\xfea\0").contains("UTF-16; store it in UTF-8"));
        assert!(refused(b"\xfe\xff\0a").contains("UTF-16"));
        assert!(refused(b"a\xe9b").contains("utf-8"));
        assert_eq!(refused(b"123456789"), "it is larger than 8 bytes");
    }
}
