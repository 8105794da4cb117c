//! The demands on the claims of a token, and the fields that claims become.

use serde_json::Value;
use weir_sdk::{Edit, Header};

use crate::config::{Config, Expiry, SECOND, Texts, milliseconds};
use crate::reply::Refusal;
use crate::token::{Claims, Token};

/// The demands of the configuration.
#[derive(Debug)]
pub(crate) struct Demands {
    issuers: Texts,
    audiences: Texts,
    /// In seconds.
    leeway: f64,
    expiry: Expiry,
    typ: Option<String>,
    claims: Vec<(String, Texts)>,
    scopes: Vec<String>,
}

/// The times between which a token is valid, in seconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Times {
    pub(crate) end: f64,
    pub(crate) start: f64,
}

impl Times {
    /// Returns an error if a token is not valid now. The times include the leeway.
    pub(crate) fn check(self, now: f64) -> Result<(), Refusal> {
        if now >= self.end {
            return Err(Refusal::Invalid("the token has expired"));
        }
        if now < self.start {
            return Err(Refusal::Invalid("the token is not valid yet"));
        }
        Ok(())
    }
}

impl Demands {
    pub(crate) fn new(config: &Config) -> Result<Demands, String> {
        for (at, scope) in config.scopes.iter().enumerate() {
            if scope.is_empty() || !scope.bytes().all(is_scope) {
                return Err(format!("scopes[{at}]: {scope:?} is not a scope (RFC 6749 §3.3)"));
            }
        }
        for (name, values) in &config.claims {
            if name.is_empty() || values.list().is_empty() {
                return Err(format!("claims.{name}: there must be a name and a value"));
            }
        }
        let leeway = milliseconds("leeway", &config.leeway, 0, 600 * SECOND)?;
        Ok(Demands {
            issuers: config.issuer.clone(),
            audiences: config.audience.clone(),
            leeway: std::time::Duration::from_millis(leeway).as_secs_f64(),
            expiry: config.expiry,
            typ: config.typ.as_deref().map(short_type),
            claims: config.claims.clone().into_iter().collect(),
            scopes: config.scopes.clone(),
        })
    }

    /// Makes the checks that need no signature.
    pub(crate) fn check(&self, token: &Token<'_>, now: f64) -> Result<Times, Refusal> {
        if self.typ.is_some() && token.typ.as_deref().map(short_type) != self.typ {
            return Err(Refusal::Invalid("the token is of another type"));
        }
        let times = self.times(&token.claims)?;
        times.check(now)?;
        let issuer = token.claims.get("iss").and_then(Value::as_str);
        if !self.issuers.list().is_empty() && !issuer.is_some_and(|iss| self.issuers.has(iss)) {
            return Err(Refusal::Invalid("the token is of another issuer"));
        }
        if !self.is_for_us(token.claims.get("aud")) {
            return Err(Refusal::Invalid("the token is for another audience"));
        }
        Ok(times)
    }

    /// Returns an error if the claims or scopes of a valid token are not enough.
    pub(crate) fn allow(&self, claims: &Claims) -> Result<(), Refusal> {
        let has = |(name, wanted): &(String, Texts)| {
            claim(claims, name).is_some_and(|value| texts(value).any(|text| wanted.has(&text)))
        };
        if !self.claims.iter().all(has) || !self.scopes.iter().all(|scope| granted(claims, scope)) {
            return Err(Refusal::Insufficient(self.scopes.join(" ")));
        }
        Ok(())
    }

    fn times(&self, claims: &Claims) -> Result<Times, Refusal> {
        let time = |name: &str| match claims.get(name) {
            None => Ok(None),
            // A NumericDate (RFC 7519 §2) is a number, perhaps with a fraction.
            Some(value) => value
                .as_f64()
                .map(Some)
                .ok_or(Refusal::Invalid("the token has a time that is not a number")),
        };
        let (end, start, made) = (time("exp")?, time("nbf")?, time("iat")?);
        if end.is_none() && self.expiry == Expiry::Required {
            return Err(Refusal::Invalid("the token has no end"));
        }
        let start = start.unwrap_or(f64::MIN).max(made.unwrap_or(f64::MIN));
        Ok(Times { end: end.unwrap_or(f64::MAX) + self.leeway, start: start - self.leeway })
    }

    fn is_for_us(&self, audience: Option<&Value>) -> bool {
        if self.audiences.has("*") {
            return true;
        }
        match audience {
            None => self.audiences.list().is_empty(),
            Some(Value::String(name)) => self.audiences.has(name),
            Some(Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).any(|name| self.audiences.has(name))
            }
            Some(_) => false,
        }
    }
}

/// Returns a claim by its name, or by the path to a nested claim, with dots between the names.
pub(crate) fn claim<'a>(claims: &'a Claims, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let mut names = path.split('.');
    let first = claims.get(names.next()?)?;
    names.try_fold(first, |value, name| value.get(name))
}

/// Returns the texts of a value. A list gives the texts of its elements.
pub(crate) fn texts(value: &Value) -> impl Iterator<Item = String> {
    let values = match value {
        Value::Array(values) => values.as_slice(),
        one => std::slice::from_ref(one),
    };
    values.iter().filter_map(text)
}

/// Returns the edit that shows a claim to the origin as a field, and removes fields of this name
/// from the client.
pub(crate) fn field(claims: &Claims, path: &str, name: &str) -> Edit {
    let value = claim(claims, path).map(value_of_field).unwrap_or_default();
    if value.is_empty() {
        return Edit::Remove(name.to_owned());
    }
    Edit::Set(Header::new(name, value))
}

fn value_of_field(value: &Value) -> String {
    match value {
        Value::Array(_) => {
            texts(value).map(|text| encoded(&text, ',')).collect::<Vec<_>>().join(",")
        }
        one => text(one).map(|text| encoded(&text, '%')).unwrap_or_default(),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Encodes a text for a field. It percent-encodes (RFC 3986 §2.1) `%`, the separator, and all bytes
/// outside visible ASCII, but not a space inside the text.
fn encoded(text: &str, separator: char) -> String {
    let last = text.len().saturating_sub(1);
    let mut result = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        let letter = char::from(byte);
        let is_inner_space = letter == ' ' && at != 0 && at != last;
        let is_plain = letter.is_ascii_graphic() && letter != '%' && letter != separator;
        if is_plain || is_inner_space {
            result.push(letter);
        } else {
            result.push_str(&format!("%{byte:02X}"));
        }
    }
    result
}

/// Whether a token has a scope in `scope`, separated by spaces (RFC 8693 §4.2), or in `scp`, also
/// as a list.
fn granted(claims: &Claims, scope: &str) -> bool {
    let values = ["scope", "scp"].into_iter().filter_map(|name| claims.get(name));
    values.flat_map(texts).any(|text| text.split(' ').any(|own| own == scope))
}

/// Returns a type in lower case without the optional prefix (RFC 7515 §4.1.9).
fn short_type(typ: &str) -> String {
    let typ = typ.to_ascii_lowercase();
    typ.strip_prefix("application/").map(str::to_owned).unwrap_or(typ)
}

fn is_scope(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: Value) -> Claims {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn claims_are_found_by_name_then_by_path() {
        let all = claims(json!({ "a": { "b": { "c": 1 } }, "a.b": 2, "https://x.example/r": 3 }));
        assert_eq!(claim(&all, "a.b"), Some(&json!(2)));
        assert_eq!(claim(&all, "a.b.c"), Some(&json!(1)));
        assert_eq!(claim(&all, "https://x.example/r"), Some(&json!(3)));
        assert_eq!(claim(&all, "a.x.c"), None);
        assert_eq!(claim(&all, ""), None);
    }

    #[test]
    fn fields_hold_no_more_than_they_may() {
        let of = |value: Value| value_of_field(&value);
        assert_eq!(of(json!("ann")), "ann");
        assert_eq!(of(json!("Doe, Ann")), "Doe, Ann");
        assert_eq!(of(json!("a\r\nx-admin: 1")), "a%0D%0Ax-admin: 1");
        assert_eq!(of(json!(" Köln 50%\u{0}")), "%20K%C3%B6ln 50%25%00");
        assert_eq!(of(json!(["a", "b,c", 3, true, null, ["x"], {}])), "a,b%2Cc,3,true");
        for nothing in [json!(null), json!({}), json!([]), json!("")] {
            assert_eq!(of(nothing), "");
        }
    }

    #[test]
    fn scopes_are_whole_words() {
        for granting in [
            json!({ "scope": "a read" }),
            json!({ "scp": ["x", "read"] }),
            json!({ "scp": "read" }),
        ] {
            assert!(granted(&claims(granting), "read"));
        }
        for other in [json!({}), json!({ "scope": "reads" }), json!({ "scope": { "read": 1 } })] {
            assert!(!granted(&claims(other), "read"));
        }
    }

    #[test]
    fn types_are_compared_without_case_and_prefix() {
        assert_eq!(short_type("application/AT+JWT"), "at+jwt");
        assert_eq!(short_type("at+jwt"), "at+jwt");
    }
}
