//! [`Function`]: the functions of the worlds that requests lead to. Calls are counted, timed and left out by function.

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
    /// `handle`, of a standard component.
    Handle,
}

impl Function {
    /// How many there are.
    pub const COUNT: usize = 9;

    /// Each of them.
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

    /// Its name in WIT, and in metrics and traces.
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

    /// What there is one of for each function.
    pub fn of<T>(self, each: &[T; Self::COUNT]) -> &T {
        #[allow(clippy::indexing_slicing, reason = "there are as many as functions")]
        &each[self as usize]
    }
}
