//! Values that contain variables.

/// A value with parts from inputs, of a request or of a response.
#[derive(Debug)]
pub(crate) struct Template<I> {
    parts: Vec<Part<I>>,
    has_variables: bool,
}

#[derive(Debug)]
enum Part<I> {
    Text(Vec<u8>),
    Variable(I),
}

impl<I: Copy> Template<I> {
    /// Parses a template. `input` requests the input of a variable, or returns `None` for an
    /// unknown one.
    pub(crate) fn parse(
        text: &str,
        input: &mut impl FnMut(&str) -> Option<I>,
    ) -> Result<Template<I>, String> {
        if text.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return Err("a value must not contain a line end or a null byte".to_owned());
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            let mut literal = before.as_bytes().to_vec();
            if let Some(after) = after.strip_prefix('$') {
                literal.push(b'$');
                parts.push(Part::Text(literal));
                rest = after;
                continue;
            }
            parts.push(Part::Text(literal));
            let Some(after) = after.strip_prefix('{') else {
                return Err(
                    "a dollar sign that does not begin a ${variable} is written $$".to_owned()
                );
            };
            let Some((variable, after)) = after.split_once('}') else {
                return Err("a ${ has no end".to_owned());
            };
            let found =
                input(variable).ok_or_else(|| format!("${{{variable}}} is not available here"))?;
            parts.push(Part::Variable(found));
            rest = after;
        }
        parts.push(Part::Text(rest.as_bytes().to_vec()));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        let has_variables = parts.iter().any(|part| matches!(part, Part::Variable(_)));
        Ok(Template { parts, has_variables })
    }

    /// Returns the value, or `None` if the template has variables and the result is empty.
    pub(crate) fn fill<'a>(&self, value: &impl Fn(I) -> Option<&'a [u8]>) -> Option<Vec<u8>> {
        let mut filled = Vec::with_capacity(ROOM);
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.extend_from_slice(text),
                Part::Variable(input) => filled.extend_from_slice(value(*input).unwrap_or(b"")),
            }
        }
        (!self.has_variables || !filled.is_empty()).then_some(filled)
    }
}

/// Bytes that hold most values.
const ROOM: usize = 64;

/// Returns the input of a request for a variable.
pub(crate) fn of_request(variable: &str) -> Option<String> {
    let name = match variable {
        "client.address" | "request.id" => variable.to_owned(),
        "path" | "method" | "authority" => format!(":{variable}"),
        "route" => "route.name".to_owned(),
        _ => match variable.split_once(':')? {
            ("header", name) if !name.is_empty() => format!("header:{}", name.to_ascii_lowercase()),
            ("cookie" | "path", name) if !name.is_empty() => variable.to_owned(),
            _ => return None,
        },
    };
    Some(name)
}

/// Returns the input of a response for a variable: the inputs of its request, and its own fields.
pub(crate) fn of_response(variable: &str) -> Option<String> {
    if let Some(name) = variable.strip_prefix("response.header:") {
        return (!name.is_empty()).then(|| format!("header:{}", name.to_ascii_lowercase()));
    }
    let of_request = of_request(variable)?;
    match of_request.strip_prefix("header:") {
        Some(name) => Some(format!("request-header:{name}")),
        None => Some(of_request),
    }
}
