//! A token in the compact form of RFC 7515 §3.1, with claims (RFC 7519).

use base64ct::{Base64UrlUnpadded, Encoding as _};
use serde_json::{Map, Value};

use crate::key::Algorithm;

pub(crate) type Claims = Map<String, Value>;

/// A token with an unchecked signature.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) id: Option<String>,
    pub(crate) typ: Option<String>,
    pub(crate) claims: Claims,
    /// The signed bytes.
    pub(crate) message: &'a [u8],
    pub(crate) signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Parses a token. The error names the fault.
    pub(crate) fn parse(text: &'a str) -> Result<Token<'a>, &'static str> {
        let (message, signature) = text.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, payload) = message.split_once('.').ok_or(MALFORMED)?;
        let header = object(header)?;
        // `crit` lists extensions that must be understood. This filter supports none (RFC 7515
        // §4.1.11).
        if header.contains_key("crit") {
            return Err("the token has critical extensions");
        }
        let name = header.get("alg").and_then(Value::as_str).ok_or(MALFORMED)?;
        let algorithm = Algorithm::named(name).ok_or("the token's algorithm is not accepted")?;
        let text = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= LONGEST_NAME => Ok(Some(text.clone())),
            Some(_) => Err(MALFORMED),
        };
        Ok(Token {
            algorithm,
            id: text("kid")?,
            typ: text("typ")?,
            claims: object(payload)?,
            message: message.as_bytes(),
            signature: Base64UrlUnpadded::decode_vec(signature).map_err(|_| MALFORMED)?,
        })
    }
}

/// Whether the length and the letters of a text fit a token.
pub(crate) fn is_plausible(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.len() <= LONGEST && text.bytes().all(is_letter)
}

fn object(part: &str) -> Result<Claims, &'static str> {
    let bytes = Base64UrlUnpadded::decode_vec(part).map_err(|_| MALFORMED)?;
    serde_json::from_slice(&bytes).map_err(|_| MALFORMED)
}

pub(crate) const MALFORMED: &str = "the token is malformed";

/// The longest token, in bytes. Many servers refuse a longer header field.
const LONGEST: usize = 8 << 10;

/// The longest name in the header, in bytes.
const LONGEST_NAME: usize = 256;
