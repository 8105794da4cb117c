//! Security headers: sets the response header fields with which browsers protect visitors.
//!
//! The default fields are Strict-Transport-Security (over https), X-Content-Type-Options,
//! X-Frame-Options, Referrer-Policy, Cross-Origin-Opener-Policy and Cross-Origin-Resource-Policy.
//! Their default values fit most sites. The fields are built when the configuration is read.

mod config;
#[cfg(test)]
mod tests;

use config::{Config, Field};
use weir_sdk::parse::field_name;
use weir_sdk::{
    Changes, Edit, Filter, FilterNeeds, Header, Refused, Response, ResponseDecision, ResponseInput,
};

#[derive(Debug)]
struct SecurityHeaders {
    fields: Vec<(Field, Option<ResponseInput>)>,
    remove: Vec<String>,
    /// The scheme, if a field is sent over https only.
    scheme: Option<ResponseInput>,
}

#[weir_sdk::filter]
impl Filter for SecurityHeaders {
    type Config = Config;

    fn new(mut config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        let fields = config::fields(&mut config)?;
        let remove = removed(&config.remove, &fields)?;
        let scheme = fields.iter().any(|field| field.is_of_tls);
        let scheme = scheme.then(|| needs.response_input(":scheme"));
        let mut with_input = |field: Field| {
            let said = (!config.replaces.0).then(|| needs.response_header(field.name));
            (field, said)
        };
        let fields: Vec<_> = fields.into_iter().map(&mut with_input).collect();
        if !fields.is_empty() || !remove.is_empty() {
            needs.on_response();
        }
        needs.pure();
        Ok(SecurityHeaders { fields, remove, scheme })
    }

    fn on_response(&mut self, response: &Response<'_>) -> ResponseDecision {
        let is_tls = self.scheme.is_some_and(|scheme| response.bytes(scheme) == Some(b"https"));
        let mut edits = Vec::with_capacity(self.fields.len() + self.remove.len());
        for (field, said) in &self.fields {
            let is_kept = said.is_some_and(|said| response.bytes(said).is_some());
            if !is_kept && (is_tls || !field.is_of_tls) {
                edits.push(Edit::Set(Header::new(field.name, field.value.as_bytes())));
            }
        }
        edits.extend(self.remove.iter().map(|name| Edit::Remove(name.clone())));
        if edits.is_empty() {
            return ResponseDecision::Next;
        }
        Changes { edits, context: Vec::new() }.into()
    }
}

/// Returns the names to remove, in lower case. A name that is also set is a mistake.
fn removed(names: &[String], fields: &[Field]) -> Result<Vec<String>, String> {
    if names.len() > MAX_REMOVED {
        return Err(format!("remove: at most {MAX_REMOVED}"));
    }
    let mut removed = Vec::with_capacity(names.len());
    for (at, name) in names.iter().enumerate() {
        if name.len() > 256 {
            return Err(format!("remove[{at}]: more than 256 bytes"));
        }
        let name = field_name(name).map_err(|what| format!("remove[{at}]: {what}"))?;
        if fields.iter().any(|field| field.name == name) {
            return Err(format!("remove[{at}]: {name} is also set"));
        }
        removed.push(name);
    }
    Ok(removed)
}

const MAX_REMOVED: usize = 32;
