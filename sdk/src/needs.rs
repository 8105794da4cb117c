//! Inputs: requested once by name, read by a handle for each request.

use crate::{Pick, Request, Response};

/// The handle of a requested input of a request; it reads the input's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Input(pub(crate) usize);

/// The handle of a requested input of a response; it reads the input's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseInput(pub(crate) usize);

/// The names of requested inputs. A name that is requested twice crosses the boundary once.
#[derive(Debug, Default)]
pub(crate) struct Names(Vec<String>);

impl Names {
    /// Adds a name and returns the place of its value.
    pub(crate) fn add(&mut self, name: String) -> usize {
        let known = self.0.iter().position(|known| *known == name);
        known.unwrap_or_else(|| {
            self.0.push(name);
            self.0.len() - 1
        })
    }

    pub(crate) fn raw(names: Vec<String>) -> Self {
        Self(names)
    }

    pub(crate) fn header(&mut self, name: &str) -> usize {
        self.add(format!("header:{}", name.to_ascii_lowercase()))
    }

    /// Returns values for a unit test: none for each name.
    pub(crate) fn values(&self) -> Values {
        Values { all: vec![None; self.0.len()] }
    }
}

impl From<Names> for Vec<String> {
    fn from(names: Names) -> Self {
        names.0
    }
}

/// The values of inputs, for unit tests: those of the requested names, at first none.
///
/// ```
/// use weir_sdk::FilterNeeds;
///
/// let mut needs = FilterNeeds::default();
/// let (tenant, path) = (needs.header("x-tenant"), needs.path());
/// let values = needs.request().with(tenant, "acme");
/// assert_eq!(values.request().text(tenant), Some("acme"));
/// assert_eq!(values.request().text(path), None);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Values {
    all: Vec<Option<Vec<u8>>>,
}

impl Values {
    /// Sets the value of an input of a request.
    #[must_use]
    pub fn with(self, input: Input, value: impl Into<Vec<u8>>) -> Self {
        self.set(input.0, value.into())
    }

    /// Sets the value of an input of a response.
    #[must_use]
    pub fn with_response(self, input: ResponseInput, value: impl Into<Vec<u8>>) -> Self {
        self.set(input.0, value.into())
    }

    /// The request with these values.
    pub fn request(&self) -> Request<'_> {
        Request { inputs: &self.all }
    }

    /// The response with these values, and the context of the decision on its request.
    pub fn response<'a>(&'a self, status: u16, context: &'a [u8]) -> Response<'a> {
        Response { status, inputs: &self.all, context }
    }

    /// The first request of an upstream with these values, and no loads.
    pub fn pick(&self) -> Pick<'_> {
        Pick { inputs: &self.all, ..Pick::default() }
    }

    fn set(mut self, at: usize, value: Vec<u8>) -> Self {
        if self.all.len() <= at {
            self.all.resize(at + 1, None);
        }
        if let Some(own) = self.all.get_mut(at) {
            *own = Some(value);
        }
        self
    }
}

pub(crate) fn bytes(inputs: &[Option<Vec<u8>>], at: usize) -> Option<&[u8]> {
    inputs.get(at)?.as_deref()
}

pub(crate) fn text(inputs: &[Option<Vec<u8>>], at: usize) -> Option<&str> {
    std::str::from_utf8(bytes(inputs, at)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_crosses_once() {
        let mut names = Names::default();
        let (a, b) = (names.header("X-User"), names.header("x-user"));
        assert_eq!(a, b);
        let path = names.add(":path".to_owned());
        let inputs = [None, Some(b"/\xff".to_vec())];
        assert_eq!(bytes(&inputs, a), None);
        assert_eq!(bytes(&inputs, path), Some(&b"/\xff"[..]));
        assert_eq!(text(&inputs, path), None);
        assert_eq!(Vec::from(names), ["header:x-user", ":path"]);
    }
}
