//! Values with variables in them.

use weir_sdk::Input;

/// A value that is filled from inputs.
#[derive(Debug)]
pub(crate) struct Template {
    parts: Vec<Part>,
    has_variables: bool,
}

#[derive(Debug)]
enum Part {
    Text(Vec<u8>),
    Variable(Input),
}

impl Template {
    /// Reads a template; `input` asks for what a variable stands for, if it knows it.
    pub(crate) fn parse(
        text: &str,
        input: &mut impl FnMut(&str) -> Option<Input>,
    ) -> Result<Template, String> {
        if text.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return Err("a value has no line end in it".to_owned());
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
                return Err("a dollar that begins no ${variable} is written $$".to_owned());
            };
            let Some((variable, after)) = after.split_once('}') else {
                return Err("a ${ has no end".to_owned());
            };
            let found =
                input(variable).ok_or_else(|| format!("there is no ${{{variable}}} here"))?;
            parts.push(Part::Variable(found));
            rest = after;
        }
        parts.push(Part::Text(rest.as_bytes().to_vec()));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        let has_variables = parts.iter().any(|part| matches!(part, Part::Variable(_)));
        Ok(Template { parts, has_variables })
    }

    /// The value; `None` when it has variables and comes out empty.
    pub(crate) fn fill<'a>(&self, value: &impl Fn(Input) -> Option<&'a [u8]>) -> Option<Vec<u8>> {
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

/// Bytes that most values fit in.
const ROOM: usize = 64;

/// The input of a request that a variable stands for.
pub(crate) fn of_request(variable: &str) -> Option<String> {
    let name = match variable {
        "client.address" | "request.id" => variable.to_owned(),
        "path" | "method" | "authority" => format!(":{variable}"),
        "route" => "route.name".to_owned(),
        _ => match variable.split_once(':')? {
            ("header", name) if !name.is_empty() => format!("header:{}", name.to_ascii_lowercase()),
            ("cookie", name) if !name.is_empty() => variable.to_owned(),
            _ => return None,
        },
    };
    Some(name)
}

/// The input of a response that a variable stands for: those of its request, and its own fields.
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
