//! Inputs: requested once by name, read by a handle for each request.

/// The handle of a requested input; it reads the input's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Input(usize);

/// The names of requested inputs. A name that is requested twice crosses the boundary once.
#[derive(Debug, Default)]
pub(crate) struct Names(Vec<String>);

impl Names {
    pub(crate) fn add(&mut self, name: String) -> Input {
        let known = self.0.iter().position(|known| *known == name);
        Input(known.unwrap_or_else(|| {
            self.0.push(name);
            self.0.len() - 1
        }))
    }

    pub(crate) fn raw(names: Vec<String>) -> Self {
        Self(names)
    }

    pub(crate) fn header(&mut self, name: &str) -> Input {
        self.add(format!("header:{}", name.to_ascii_lowercase()))
    }
}

impl From<Names> for Vec<String> {
    fn from(names: Names) -> Self {
        names.0
    }
}

pub(crate) fn bytes(inputs: &[Option<Vec<u8>>], input: Input) -> Option<&[u8]> {
    inputs.get(input.0)?.as_deref()
}

pub(crate) fn text(inputs: &[Option<Vec<u8>>], input: Input) -> Option<&str> {
    std::str::from_utf8(bytes(inputs, input)?).ok()
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
