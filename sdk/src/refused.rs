//! [`Refused`] is the reason why a plugin does not accept its configuration.

use std::fmt;
use std::ops::Deref;

/// The reason why a plugin does not accept its configuration, for the user. `?` makes one of every
/// error and every text:
///
/// ```
/// use weir_sdk::Refused;
///
/// fn port(text: &str) -> Result<u16, Refused> {
///     let port: u16 = text.parse()?;
///     if port == 0 {
///         return Err("port: must not be 0".into());
///     }
///     Ok(port)
/// }
///
/// assert_eq!(&*port("0").unwrap_err(), "port: must not be 0");
/// assert_eq!(&*port("x").unwrap_err(), "invalid digit found in string");
/// ```
// Without `Display`, so that the conversion from every type with `Display` is possible.
pub struct Refused(String);

impl<E: fmt::Display> From<E> for Refused {
    fn from(reason: E) -> Self {
        Self(reason.to_string())
    }
}

impl From<Refused> for String {
    fn from(refused: Refused) -> Self {
        refused.0
    }
}

impl Deref for Refused {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
