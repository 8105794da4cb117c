//! The location of clients, by databases of the MaxMind DB format.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use maxminddb::{MaxMindDbError, PathElement, Reader, path};
use serde::Deserialize;

/// The databases of a configuration. They are in memory: a mapped file that is cut short would end
/// the process.
#[derive(Default)]
pub struct GeoIp {
    readers: Vec<Reader<Vec<u8>>>,
    /// Each file with its version, to know whether it has changed.
    files: Vec<(PathBuf, Option<Version>)>,
}

/// The time of the last change and the length of a file.
type Version = (SystemTime, u64);

/// The reason why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GeoIpError {
    /// The file cannot be read.
    #[error("cannot read \"{path}\"")]
    Read {
        /// The file.
        path: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The file is of another format, or damaged.
    #[error("\"{path}\" is not a MaxMind DB")]
    Format {
        /// The file.
        path: String,
        /// The error of the reader.
        source: MaxMindDbError,
    },
}

fn version(file: &Path) -> Option<Version> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

impl GeoIp {
    /// Reads every file.
    ///
    /// # Errors
    /// [`GeoIpError`], with the index of the file.
    pub fn open(files: &[PathBuf]) -> Result<Self, (usize, GeoIpError)> {
        let open = |(index, file): (usize, &PathBuf)| {
            let path = || file.display().to_string();
            let bytes = std::fs::read(file)
                .map_err(|source| (index, GeoIpError::Read { path: path(), source }))?;
            Reader::from_source(bytes)
                .map_err(|source| (index, GeoIpError::Format { path: path(), source }))
        };
        // The versions are read first: a change during the reading is then found later.
        let files_read = files.iter().map(|file| (file.clone(), version(file))).collect();
        let readers = files.iter().enumerate().map(open).collect::<Result<_, _>>()?;
        Ok(Self { readers, files: files_read })
    }

    /// Returns whether these are the databases of `files`, and no file has changed.
    pub fn is_of(&self, files: &[PathBuf]) -> bool {
        files.len() == self.files.len()
            && files
                .iter()
                .zip(&self.files)
                .all(|(file, (known, at))| file == known && at.is_some() && version(file) == *at)
    }

    /// Returns the country of an address (ISO 3166-1 alpha-2), or else the country in which its
    /// network is registered.
    pub fn country(&self, address: IpAddr) -> Option<&str> {
        let at = |path: &[PathElement<'_>]| self.find::<&str>(address, path);
        at(&path!["country", "iso_code"]).or_else(|| at(&path!["registered_country", "iso_code"]))
    }

    /// Returns the number of the autonomous system of an address (RFC 6793).
    pub fn asn(&self, address: IpAddr) -> Option<u32> {
        self.find(address, &path!["autonomous_system_number"])
    }

    /// Returns the value at `path` in the first database that has the address.
    fn find<'a, T: Deserialize<'a>>(
        &'a self,
        address: IpAddr,
        path: &[PathElement<'_>],
    ) -> Option<T> {
        // Two faults count as an unknown address: an IPv6 address in a database of IPv4, and damage
        // deep in a file, which is found only here.
        self.readers
            .iter()
            .find_map(|reader| reader.lookup(address).ok()?.decode_path(path).ok()?)
    }
}

impl std::fmt::Debug for GeoIp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("GeoIp").field(&self.readers.len()).finish()
    }
}

#[cfg(test)]
#[path = "../../tests/support/mmdb.rs"]
mod mmdb;

#[cfg(test)]
mod tests {
    use super::mmdb::{Data, database};
    use super::*;

    fn open(databases: &[Vec<u8>]) -> Result<GeoIp, (usize, GeoIpError)> {
        let folder = tempfile::tempdir().unwrap();
        let write = |(index, bytes): (usize, &Vec<u8>)| {
            let path = folder.path().join(index.to_string());
            std::fs::write(&path, bytes).unwrap();
            path
        };
        GeoIp::open(&databases.iter().enumerate().map(write).collect::<Vec<_>>())
    }

    fn country(key: &'static str, code: &'static str) -> Data {
        Data::Map(vec![(key, Data::Map(vec![("iso_code", Data::Text(code))]))])
    }

    #[test]
    fn addresses_are_found_in_any_of_the_databases() {
        let countries = database(&[
            ("192.0.2.0/24", country("country", "DE")),
            ("198.51.100.0/24", country("registered_country", "FR")),
            ("2001:db8::/32", country("country", "JP")),
        ]);
        let systems = database(&[(
            "192.0.2.128/25",
            Data::Map(vec![("autonomous_system_number", Data::Number(64_500))]),
        )]);
        let geoip = open(&[systems, countries]).unwrap();
        let at = |address: &str| {
            let address = address.parse().unwrap();
            (geoip.country(address), geoip.asn(address))
        };
        assert_eq!(at("192.0.2.1"), (Some("DE"), None));
        assert_eq!(at("192.0.2.200"), (Some("DE"), Some(64_500)));
        assert_eq!(at("198.51.100.9"), (Some("FR"), None));
        assert_eq!(at("2001:db8::1"), (Some("JP"), None));
        assert_eq!(at("203.0.113.1"), (None, None));
        assert_eq!(GeoIp::default().country("192.0.2.1".parse().unwrap()), None);
    }

    #[test]
    fn what_is_no_database_is_told() {
        let (index, error) = open(&[database(&[]), b"text".to_vec()]).unwrap_err();
        assert_eq!(index, 1);
        assert!(error.to_string().ends_with("is not a MaxMind DB"), "{error}");
        let (index, error) = GeoIp::open(&["/nowhere".into()]).unwrap_err();
        assert_eq!((index, error.to_string().as_str()), (0, "cannot read \"/nowhere\""));
    }
}
