//! [`Function`]: the functions of the worlds that requests lead to. Calls are counted, timed and
//! suspended by function.

/// A function that a plugin exports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// `on-request`
    Request,
    /// `on-fetch`
    Fetch,
    /// `on-response`
    Response,
    /// `on-request-body`
    RequestBody,
    /// `on-response-body`
    ResponseBody,
    /// `pick`
    Pick,
    /// `update`, which comes before a `pick` when the endpoints have changed. A failure counts as
    /// one of that `pick`.
    Update,
    /// `observe`
    Observe,
    /// `handle` of a standard component.
    Handle,
}

impl Function {
    /// The number of functions.
    pub const COUNT: usize = 9;

    /// All functions.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Request,
        Self::Fetch,
        Self::Response,
        Self::RequestBody,
        Self::ResponseBody,
        Self::Pick,
        Self::Update,
        Self::Observe,
        Self::Handle,
    ];

    /// Returns the name in WIT, in metrics and in traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "on-request",
            Self::Fetch => "on-fetch",
            Self::Response => "on-response",
            Self::RequestBody => "on-request-body",
            Self::ResponseBody => "on-response-body",
            Self::Pick => "pick",
            Self::Update => "update",
            Self::Observe => "observe",
            Self::Handle => "handle",
        }
    }

    /// Returns the element of `each` for this function.
    pub fn of<T>(self, each: &[T; Self::COUNT]) -> &T {
        #[allow(clippy::indexing_slicing, reason = "there are as many as functions")]
        &each[self as usize]
    }
}
