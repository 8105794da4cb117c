//! Hashes of passwords: their cost, and the check of a password.

use std::hint::black_box;

use argon2::{Argon2, Params, Version};
use base64ct::{Base64Bcrypt, Base64Unpadded, Encoding as _};
use sha_crypt::{PasswordVerifier as _, ShaCrypt};
use sha2::{Sha256, Sha512};

/// A hash of a kind that this plugin can compute.
#[derive(Debug)]
pub(crate) enum Hash {
    Bcrypt {
        cost: u32,
        salt: [u8; 16],
        hash: Vec<u8>,
    },
    /// The whole text, which the library parses.
    ShaCrypt {
        rounds: u32,
        text: String,
    },
    Pbkdf2 {
        is_sha512: bool,
        rounds: u32,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
    Argon2id {
        params: Params,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
}

impl Hash {
    /// Parses a hash. The error names the fault and never shows the hash.
    pub(crate) fn parse(text: &str) -> Result<Hash, String> {
        let mut parts = text.split('$');
        // A hash begins with a dollar sign.
        let (Some(""), Some(kind)) = (parts.next(), parts.next()) else {
            return Err(WEAK.to_owned());
        };
        let parts: Vec<&str> = parts.collect();
        let hash = match (kind, &*parts) {
            ("2a" | "2b" | "2y", [cost, rest]) => bcrypt(cost, rest),
            ("5" | "6", rest) => sha_crypt(kind, rest, text),
            ("pbkdf2-sha256", [rounds, salt, hash]) => pbkdf2(false, rounds, salt, hash),
            ("pbkdf2-sha512", [rounds, salt, hash]) => pbkdf2(true, rounds, salt, hash),
            ("argon2id", [version, params, salt, hash]) => argon2id(version, params, salt, hash),
            ("2" | "2a" | "2b" | "2y" | "pbkdf2-sha256" | "pbkdf2-sha512" | "argon2id", _) => None,
            _ => return Err(WEAK.to_owned()),
        };
        hash.ok_or_else(|| format!("not a well-formed hash of the kind ${kind}$"))
    }

    /// Estimates the time of the computation in nanoseconds. The constants were measured with
    /// `weir plugin bench`, on one core at about 2.5 GHz.
    pub(crate) fn time(&self) -> u64 {
        match self {
            Hash::Bcrypt { cost, .. } => BCRYPT << cost,
            Hash::ShaCrypt { rounds, .. } => SHA_CRYPT * u64::from(*rounds),
            Hash::Pbkdf2 { rounds, .. } => PBKDF2 * u64::from(*rounds),
            Hash::Argon2id { params, .. } => {
                ARGON2_KIB * u64::from(params.m_cost()) * u64::from(params.t_cost())
            }
        }
    }

    /// Returns the bytes of memory that the computation takes.
    pub(crate) fn memory(&self) -> u64 {
        match self {
            Hash::Argon2id { params, .. } => u64::from(params.m_cost()) << 10,
            _ => 0,
        }
    }

    /// Whether the hash belongs to a password.
    pub(crate) fn is_of(&self, password: &[u8]) -> bool {
        match self {
            Hash::Bcrypt { cost, salt, hash } => {
                // bcrypt in C includes the zero that ends the string, and reads no more than 72
                // bytes. Other implementations do the same.
                let key = [password, &[0]].concat();
                let key = key.get(..72).unwrap_or(&key);
                // The text has 23 of the 24 bytes.
                let computed = bcrypt::bcrypt(*cost, *salt, key);
                is_same(computed.get(..23).unwrap_or_default(), hash)
            }
            Hash::ShaCrypt { text, .. } => {
                ShaCrypt::default().verify_password(password, text.as_str()).is_ok()
            }
            Hash::Pbkdf2 { is_sha512, rounds, salt, hash } => {
                let mut computed = vec![0; hash.len()];
                match is_sha512 {
                    true => pbkdf2::pbkdf2_hmac::<Sha512>(password, salt, *rounds, &mut computed),
                    false => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, *rounds, &mut computed),
                }
                is_same(&computed, hash)
            }
            Hash::Argon2id { params, salt, hash } => {
                let argon2 =
                    Argon2::new(argon2::Algorithm::Argon2id, Version::V0x13, params.clone());
                let mut computed = vec![0; hash.len()];
                argon2.hash_password_into(password, salt, &mut computed).is_ok()
                    && is_same(&computed, hash)
            }
        }
    }
}

fn bcrypt(cost: &str, rest: &str) -> Option<Hash> {
    let is_cost = cost.len() == 2 && cost.bytes().all(|b| b.is_ascii_digit());
    let cost = cost.parse().ok().filter(|cost| is_cost && (4..=31).contains(cost))?;
    let (salt, hash) = rest.split_at_checked(22)?;
    let salt = bcrypt_bytes(salt)?.try_into().ok()?;
    let hash = bcrypt_bytes(hash).filter(|hash| hash.len() == 23)?;
    Some(Hash::Bcrypt { cost, salt, hash })
}

/// Decodes the base64 of bcrypt. The last letter can have bits that belong to no byte. Some
/// programs do not clear these bits.
fn bcrypt_bytes(text: &str) -> Option<Vec<u8>> {
    const LETTERS: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let (rest, last) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let value = LETTERS.iter().position(|letter| last.as_bytes() == [*letter])?;
    let unused = match text.len() % 4 {
        2 => 0xf,
        3 => 0x3,
        _ => 0,
    };
    let last = char::from(*LETTERS.get(value & !unused)?);
    Base64Bcrypt::decode_vec(&format!("{rest}{last}")).ok()
}

fn sha_crypt(kind: &str, parts: &[&str], text: &str) -> Option<Hash> {
    let (rounds, salt, hash) = match parts {
        [rounds, salt, hash] => (rounds.strip_prefix("rounds=")?.parse().ok()?, salt, hash),
        [salt, hash] => (5000, salt, hash),
        _ => return None,
    };
    let length = if kind == "5" { 43 } else { 86 };
    let is_letter = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'/';
    let is_whole = hash.len() == length && hash.bytes().all(is_letter);
    let is_salt = (1..=16).contains(&salt.len()) && salt.bytes().all(is_letter);
    let is_good = is_whole && is_salt && (1000..=999_999_999).contains(&rounds);
    is_good.then(|| Hash::ShaCrypt { rounds, text: text.to_owned() })
}

/// Parses the form of PHC (`i=ROUNDS`) or of passlib (`ROUNDS`, and `.` for `+`).
fn pbkdf2(is_sha512: bool, rounds: &str, salt: &str, hash: &str) -> Option<Hash> {
    let parameter = |part: &str| part.strip_prefix("i=").unwrap_or(part).parse().ok();
    let rounds: u32 = rounds.split(',').find_map(parameter).filter(|rounds| *rounds >= 1000)?;
    let [salt, hash] = [salt, hash].map(|part| Base64Unpadded::decode_vec(&part.replace('.', "+")));
    let (salt, hash) = (salt.ok()?, hash.ok()?);
    let is_good = salt.len() >= 8 && (16..=64).contains(&hash.len());
    is_good.then_some(Hash::Pbkdf2 { is_sha512, rounds, salt, hash })
}

fn argon2id(version: &str, params: &str, salt: &str, hash: &str) -> Option<Hash> {
    let mut values = params.split(',');
    let mut value =
        |name: &str| values.next()?.strip_prefix(name)?.strip_prefix('=')?.parse::<u32>().ok();
    let (m, t, p) = (value("m")?, value("t")?, value("p")?);
    let [salt, hash] = [salt, hash].map(Base64Unpadded::decode_vec);
    let (salt, hash) = (salt.ok()?, hash.ok()?);
    let is_good = version == "v=19" && salt.len() >= 8 && (16..=64).contains(&hash.len());
    let params = Params::new(m, t, p, Some(hash.len())).ok()?;
    (is_good && values.next().is_none()).then_some(Hash::Argon2id { params, salt, hash })
}

/// Whether two hashes are equal. The time does not depend on the place of a difference.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let differences = a.iter().zip(b).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
    a.len() == b.len() && differences == 0
}

const WEAK: &str = "no hash, or a hash of a kind that is unknown or too weak (plain text, crypt, $1$, $apr1$, {SHA}): \
    `htpasswd -nbB NAME PASSWORD` makes a good one";

/// Nanoseconds of bcrypt at cost 0. Each step of the cost doubles the time.
const BCRYPT: u64 = 70_000;
/// Nanoseconds of a round of SHA-crypt with the longest password. A short password takes a quarter.
const SHA_CRYPT: u64 = 2500;
/// Nanoseconds of a round of PBKDF2.
const PBKDF2: u64 = 700;
/// Nanoseconds of Argon2id per KiB and pass.
const ARGON2_KIB: u64 = 800;
