//! [`FilterInstance`] is a running copy of a plugin of the world `filter` or `body-filter`.

use std::sync::Arc;

use crate::bindings::{body_filter, filter, filtering};
use crate::error::PluginError;
use crate::instance::Sandbox;
use crate::plugin::{Kind, Plugin, World, check_inputs};

pub use crate::bindings::bodies::{BodyDecision, Piece};
pub use crate::bindings::filtering::{
    Attribute, Changes, Edit, Fetch, HeaderResult as Header, ReplyResult as Reply, RequestDecision,
    ResponseDecision,
};

/// Returns the message for a decision that names an upstream that the plugin may not reach.
pub fn not_allowed(upstream: &str) -> String {
    format!("it names the upstream {upstream:?}, which is not among its allow.upstreams")
}

impl Plugin {
    /// Makes a fresh instance of a filter and configures it. `config` is JSON text, `{}` for none.
    /// Takes about 10 µs plus the time of the guest.
    ///
    /// # Errors
    ///
    /// [`PluginError::Refused`] if the plugin does not accept the configuration.
    /// [`PluginError::Invalid`] if the plugin is no filter or asks for more than the bounds allow.
    /// Otherwise the error of the call of `configure`.
    pub fn filter(&self, config: &str) -> Result<FilterInstance, PluginError> {
        let mut sandbox = self.sandbox();
        let (guest, needs) = match &self.world {
            World::Filter(world) => {
                let guest = sandbox.set_up("instantiate", |store| world.instantiate(store))?;
                let needs = sandbox.set_up("configure", |s| guest.call_configure(s, config))?;
                (Guest::Plain(guest), needs)
            }
            World::BodyFilter(world) => {
                let guest = sandbox.set_up("instantiate", |store| world.instantiate(store))?;
                let needs = sandbox.set_up("configure", |s| guest.call_configure(s, config))?;
                (Guest::WithBodies(guest), needs)
            }
            World::Balancer(_) | World::Standard(_) => return Err(self.is_no(Kind::Filter)),
        };
        let filtering::FilterNeeds { on_request, on_response, pure, inputs, response_inputs } =
            needs.map_err(|message| self.refused(message))?;
        check_inputs(&self.name, &inputs)?;
        check_inputs(&self.name, &response_inputs)?;
        let needs = FilterNeeds { on_request, on_response, pure, inputs, response_inputs };
        Ok(FilterInstance { sandbox, guest, needs })
    }
}

/// The data that a filter asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterNeeds {
    /// Whether the host must call [`FilterInstance::on_request`].
    pub on_request: bool,
    /// Whether the host must call [`FilterInstance::on_response`].
    pub on_response: bool,
    /// Whether its decisions depend on nothing but its inputs, so that the host may store them.
    pub pure: bool,
    /// Names of the inputs of a request: at most 64, each of at most 256 bytes. The host defines
    /// the names.
    pub inputs: Vec<String>,
    /// Names of the inputs of a response, with the same bounds.
    pub response_inputs: Vec<String>,
}

/// One instance of a filter, for one worker.
///
/// After an error from any call the state of the instance is unknown: drop it and make another.
pub struct FilterInstance {
    sandbox: Sandbox,
    guest: Guest,
    needs: FilterNeeds,
}

/// A guest of one of the two worlds. `body-filter` has all functions of `filter`.
enum Guest {
    Plain(filter::Filter),
    WithBodies(body_filter::BodyFilter),
}

impl FilterInstance {
    /// Notes the request number for the following calls. The lines that the guest logs carry it.
    #[inline]
    pub fn serve(&mut self, request: u64) {
        self.sandbox.serve(Some(request));
    }

    /// The data that the plugin asks for.
    pub fn needs(&self) -> &FilterNeeds {
        &self.needs
    }

    /// Decides on a request. Costs 0.3 to 0.9 µs with two inputs.
    ///
    /// # Errors
    ///
    /// The error of the call of the guest, or [`PluginError::Invalid`] if the decision is beyond
    /// its bounds.
    #[inline]
    pub fn on_request(&mut self, inputs: &[Option<&[u8]>]) -> Result<RequestDecision, PluginError> {
        let guest = &self.guest;
        let decision = self.sandbox.call("on-request", |store| match guest {
            Guest::Plain(guest) => guest.call_on_request(store, inputs),
            Guest::WithBodies(guest) => guest.call_on_request(store, inputs),
        })?;
        self.check_request("on-request", decision)
    }

    /// Continues a decision on a request after a fetch.
    ///
    /// # Errors
    ///
    /// As for [`FilterInstance::on_request`].
    pub fn on_fetch(
        &mut self,
        context: &[u8],
        answer: Result<Answer<'_>, &str>,
    ) -> Result<RequestDecision, PluginError> {
        let headers: Vec<_> = answer.iter().flat_map(|answer| answer.headers).collect();
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| filtering::HeaderParam { name, value }).collect();
        let answer = answer.map(|answer| filtering::ReplyParam {
            status: answer.status,
            headers: &headers,
            body: answer.body,
        });
        let guest = &self.guest;
        let decision = self.sandbox.call("on-fetch", |store| match guest {
            Guest::Plain(guest) => guest.call_on_fetch(store, context, answer),
            Guest::WithBodies(guest) => guest.call_on_fetch(store, context, answer),
        })?;
        self.check_request("on-fetch", decision)
    }

    /// Decides on a response.
    ///
    /// # Errors
    ///
    /// As for [`FilterInstance::on_request`].
    #[inline]
    pub fn on_response(
        &mut self,
        status: u16,
        inputs: &[Option<&[u8]>],
        context: &[u8],
    ) -> Result<ResponseDecision, PluginError> {
        let guest = &self.guest;
        let decision = self.sandbox.call("on-response", |store| match guest {
            Guest::Plain(guest) => guest.call_on_response(store, status, inputs, context),
            Guest::WithBodies(guest) => guest.call_on_response(store, status, inputs, context),
        })?;
        match &decision {
            ResponseDecision::Next => {}
            ResponseDecision::Edit(changes) => self.check_changes("on-response", changes)?,
            ResponseDecision::Reply(reply) => self.check_reply("on-response", reply)?,
        }
        Ok(decision)
    }

    /// Decides on a piece of a request's body.
    ///
    /// # Errors
    ///
    /// As for [`FilterInstance::on_request`].
    pub fn on_request_body(
        &mut self,
        context: &[u8],
        data: &[u8],
        end: bool,
    ) -> Result<BodyDecision, PluginError> {
        let Guest::WithBodies(guest) = &self.guest else { return Err(self.sees_no_bodies()) };
        let decision = self.sandbox.call_with("on-request-body", TRANSFER_OF_BODIES, |store| {
            guest.call_on_request_body(store, context, data, end)
        })?;
        self.check_body("on-request-body", decision)
    }

    /// Decides on a piece of a response's body.
    ///
    /// # Errors
    ///
    /// As for [`FilterInstance::on_request`].
    pub fn on_response_body(
        &mut self,
        context: &[u8],
        data: &[u8],
        end: bool,
    ) -> Result<BodyDecision, PluginError> {
        let Guest::WithBodies(guest) = &self.guest else { return Err(self.sees_no_bodies()) };
        let decision = self.sandbox.call_with("on-response-body", TRANSFER_OF_BODIES, |store| {
            guest.call_on_response_body(store, context, data, end)
        })?;
        self.check_body("on-response-body", decision)
    }

    /// Bytes of linear memory that the instance holds now.
    pub fn memory(&self) -> usize {
        self.sandbox.memory()
    }

    fn check_request(
        &self,
        call: &'static str,
        decision: RequestDecision,
    ) -> Result<RequestDecision, PluginError> {
        match &decision {
            RequestDecision::Next => {}
            RequestDecision::Edit(changes) => self.check_changes(call, changes)?,
            RequestDecision::Reply(reply) => self.check_reply(call, reply)?,
            RequestDecision::Fetch(fetch) => {
                self.bound(call, "headers of a fetch", fetch.headers.len(), MAX_EDITS)?;
                self.bound(call, "bytes of a fetch's context", fetch.context.len(), MAX_CONTEXT)?;
                self.bound(call, "bytes of a fetch's body", fetch.body.len(), MAX_BODY)?;
            }
        }
        Ok(decision)
    }

    fn check_changes(&self, call: &'static str, changes: &Changes) -> Result<(), PluginError> {
        self.bound(call, "edits", changes.edits.len(), MAX_EDITS)?;
        self.bound(call, "bytes of context", changes.context.len(), MAX_CONTEXT)?;
        let wants_body = changes.edits.iter().any(|edit| matches!(edit, Edit::Body));
        if wants_body && matches!(self.guest, Guest::Plain(_)) {
            return Err(self.sees_no_bodies());
        }
        Ok(())
    }

    fn check_reply(&self, call: &'static str, reply: &Reply) -> Result<(), PluginError> {
        self.bound(call, "headers of a reply", reply.headers.len(), MAX_EDITS)?;
        self.bound(call, "bytes of a reply's body", reply.body.len(), MAX_BODY)
    }

    fn check_body(
        &self,
        call: &'static str,
        decision: BodyDecision,
    ) -> Result<BodyDecision, PluginError> {
        match &decision {
            BodyDecision::Keep | BodyDecision::Stop => {}
            BodyDecision::Replace(piece) => {
                self.bound(call, "bytes of a piece", piece.data.len(), MAX_PIECE)?;
                self.bound(call, "bytes of a piece's context", piece.context.len(), MAX_BODY)?;
            }
            BodyDecision::Reply(reply) => self.check_reply(call, reply)?,
        }
        Ok(decision)
    }

    fn bound(
        &self,
        call: &'static str,
        what: &'static str,
        is: usize,
        most: usize,
    ) -> Result<(), PluginError> {
        if is > most {
            let what = format!("{call} returned {is} {what}; the bound is {most}");
            return Err(PluginError::invalid(self.sandbox.plugin(), what));
        }
        Ok(())
    }

    fn sees_no_bodies(&self) -> PluginError {
        let plugin: &Arc<str> = self.sandbox.plugin();
        PluginError::invalid(plugin, "it asked for a body; only a body-filter may ask for one")
    }
}

/// The answer to a [`Fetch`].
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Its status.
    pub status: u16,
    /// Its header fields.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Its body.
    pub body: &'a [u8],
}

/// Edits of one decision, and fields of one message.
const MAX_EDITS: usize = 256;

/// Bytes of context that the host keeps for a request.
const MAX_CONTEXT: usize = 16 << 10;

/// Bytes of the body of a reply or a fetch, and of the data that a filter keeps back for the next
/// piece of a body.
const MAX_BODY: usize = 256 << 10;

/// Bytes of one piece of a body that a filter returns: eight times the largest piece that it gets.
const MAX_PIECE: usize = 512 << 10;

/// Bytes that a call for a piece of a body may return: the piece, the data kept back for the next
/// piece, and their frame.
const TRANSFER_OF_BODIES: usize = 1 << 20;
