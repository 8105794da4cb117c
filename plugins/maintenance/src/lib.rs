//! Maintenance: answers with a page while a site is down.
//!
//! The site is down by configuration, in time windows, or by a value in the shared state, which
//! another plugin can set. Some paths, some clients, and requests with a secret are
//! still served.

mod accept;
mod except;
mod page;
#[cfg(test)]
mod tests;
mod time;

use except::{Except, Exceptions};
use page::Page;
use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::{
    Changes, Filter, FilterNeeds, Input, Refused, Request, RequestDecision, host, state,
};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Config {
    /// Whether the site is down now.
    enabled: bool,
    /// Times at which the site is down, at most 64.
    #[schemars(length(max = 64))]
    windows: Vec<Window>,
    /// A value in the state that takes the site down.
    switch: Option<Switch>,
    /// The time after which clients may try again, such as `30s`, `5m`, `2h` or `1d`, up to 366
    /// days. In a window it is the time to the end of the window.
    #[schemars(regex(pattern = "^[0-9]{1,8}[smhd]$"))]
    retry_after: String,
    /// The format of the answer: `auto` for the format that the Accept field prefers, `html`, or
    /// `json`.
    format: Format,
    /// The title of the page, at most 256 bytes.
    #[schemars(length(max = 256))]
    title: String,
    /// The text of the page, at most 4 KiB.
    #[schemars(length(max = 4096))]
    text: String,
    /// A whole HTML page in place of the one with title and text, at most 64 KiB. JSON still has
    /// title and text.
    #[schemars(length(max = 65_536))]
    html: Option<String>,
    /// The requests that are served during maintenance.
    except: Except,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            enabled: false,
            windows: Vec::new(),
            switch: None,
            retry_after: "5m".to_owned(),
            format: Format::Auto,
            title: "Down for maintenance".to_owned(),
            text: "We are working on it and will be back soon.".to_owned(),
            html: None,
            except: Except::default(),
        }
    }
}

/// A time at which the site is down.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Window {
    /// The beginning, in UTC in the format of RFC 3339: `2027-03-01T02:00:00Z`.
    #[schemars(regex(pattern = "^[0-9-]{10}T[0-9:]{8}Z$"))]
    from: String,
    /// The end, in the same format. The site is up again from this second on.
    #[schemars(regex(pattern = "^[0-9-]{10}T[0-9:]{8}Z$"))]
    until: String,
}

/// A value in the state. The site is down while the value is other than `0`, `off`, `false` and
/// empty.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Switch {
    /// The space, named in `allow.state`.
    #[schemars(length(min = 1, max = 256))]
    space: String,
    /// The key, at most 1 KiB.
    #[schemars(length(min = 1, max = 1024))]
    key: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// The format that the client prefers.
    Auto,
    /// HTML.
    Html,
    /// Problem details (RFC 9457).
    Json,
}

#[derive(Debug)]
struct Maintenance {
    enabled: bool,
    /// Beginnings and ends in seconds since the Unix epoch.
    windows: Vec<(u64, u64)>,
    switch: Option<Switch>,
    /// In seconds.
    retry_after: u64,
    format: Format,
    page: Page,
    exceptions: Exceptions,
    /// The Accept field, if the client's preference counts.
    accept: Option<Input>,
}

#[weir_sdk::filter]
impl Filter for Maintenance {
    type Config = Config;

    fn new(config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
        let retry_after = time::span(&config.retry_after).ok_or_else(|| {
            format!("retry_after: {:?} is not a time such as 30s, 5m, 2h or 1d", config.retry_after)
        })?;
        let windows = windows(&config.windows)?;
        if let Some(switch) = &config.switch {
            check(switch)?;
            // Finds a space that is not allowed now, not with the first request.
            state::get(&switch.space, &switch.key);
        }
        let texts = [
            ("title", config.title.len(), 256),
            ("text", config.text.len(), 4096),
            ("html", config.html.as_deref().map_or(0, str::len), 64 * 1024),
        ];
        if let Some((key, _, most)) = texts.iter().find(|(_, bytes, most)| bytes > most) {
            return Err(format!("{key}: must be at most {most} bytes").into());
        }
        let exceptions = Exceptions::new(config.except, needs)?;
        needs.on_request();
        Ok(Maintenance {
            enabled: config.enabled,
            windows,
            switch: config.switch,
            retry_after,
            format: config.format,
            page: Page::new(&config.title, &config.text, config.html),
            exceptions,
            accept: (config.format == Format::Auto).then(|| needs.header("accept")),
        })
    }

    fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
        match self.down_for() {
            Some(seconds) if !self.exceptions.has(request) => self.answer(request, seconds),
            _ => match self.exceptions.field(request) {
                Some(name) => Changes::new().remove(name).into(),
                None => RequestDecision::Next,
            },
        }
    }
}

impl Maintenance {
    /// Returns the seconds after which clients may try again, if the site is down.
    fn down_for(&self) -> Option<u64> {
        if self.enabled || self.switch.as_ref().is_some_and(is_on) {
            return Some(self.retry_after);
        }
        if self.windows.is_empty() {
            return None;
        }
        left(&self.windows, host::now().as_secs())
    }

    fn answer(&self, request: &Request<'_>, seconds: u64) -> RequestDecision {
        host::count("answered", 1);
        let is_json = match self.format {
            Format::Json => true,
            Format::Html => false,
            Format::Auto => {
                accept::prefers_json(self.accept.and_then(|accept| request.text(accept)))
            }
        };
        let reply = if is_json { self.page.json() } else { self.page.html() };
        let reply = reply.header("retry-after", seconds.to_string());
        match self.format {
            Format::Auto => reply.header("vary", "Accept").into(),
            Format::Html | Format::Json => reply.into(),
        }
    }
}

/// Returns the seconds until the last of the open windows ends.
fn left(windows: &[(u64, u64)], now: u64) -> Option<u64> {
    let open = windows.iter().filter(|(from, until)| (*from..*until).contains(&now));
    open.map(|(_, until)| until - now).max()
}

fn is_on(switch: &Switch) -> bool {
    let value = state::get(&switch.space, &switch.key);
    value.is_some_and(|value| !OFF.contains(&&value[..]))
}

fn windows(windows: &[Window]) -> Result<Vec<(u64, u64)>, String> {
    if windows.len() > 64 {
        return Err("windows: at most 64".to_owned());
    }
    let window = |(at, window): (usize, &Window)| {
        let read = |key: &str, text: &str| {
            time::seconds(text).ok_or_else(|| {
                format!("windows[{at}].{key}: {text:?} is not a time such as 2027-03-01T02:00:00Z")
            })
        };
        let (from, until) = (read("from", &window.from)?, read("until", &window.until)?);
        match from < until {
            true => Ok((from, until)),
            false => Err(format!("windows[{at}].until: must be later than from")),
        }
    };
    windows.iter().enumerate().map(window).collect()
}

fn check(switch: &Switch) -> Result<(), String> {
    if switch.space.is_empty() || switch.space.len() > 256 {
        return Err("switch.space: must be 1 to 256 bytes".to_owned());
    }
    if switch.key.is_empty() || switch.key.len() > 1024 {
        return Err("switch.key: must be 1 to 1024 bytes".to_owned());
    }
    Ok(())
}

/// Values of the switch for a site that is up.
const OFF: [&[u8]; 4] = [b"", b"0", b"off", b"false"];
