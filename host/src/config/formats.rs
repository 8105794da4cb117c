//! Every format of a scalar: the one list of them, and the check of bounds.

use super::text::Kind;
use super::{addresses, names, source, udp, units};

/// The part of a [`Kind`] that `shape` and `reference` use.
pub(super) struct Format {
    /// [`Kind::FORMAT`].
    pub(super) name: &'static str,
    /// [`Kind::MEANING`].
    pub(super) meaning: &'static str,
    /// [`Kind::EXAMPLES`].
    pub(super) examples: &'static [&'static str],
    /// Reads a value and returns its size.
    pub(super) measure: fn(&str) -> Result<Option<f64>, String>,
}

impl Format {
    const fn of<K: Kind>() -> Self {
        Self {
            name: K::FORMAT,
            meaning: K::MEANING,
            examples: K::EXAMPLES,
            measure: |text| K::parse(text).map(|value| K::magnitude(&value)),
        }
    }

    /// Checks that a text is a value of this format, from `least` to `most`. Both bounds are
    /// written in the same format.
    pub(super) fn check(
        &self,
        text: &str,
        least: Option<&str>,
        most: Option<&str>,
    ) -> Result<(), String> {
        let Some(size) = (self.measure)(text)? else { return Ok(()) };
        let limit =
            |bound: Option<&str>| bound.and_then(|text| (self.measure)(text).ok().flatten());
        let is_small = limit(least).is_some_and(|least| size < least);
        if is_small || limit(most).is_some_and(|most| size > most) {
            return Err(range(text, least, most));
        }
        Ok(())
    }
}

/// Reads a value that is written as `K`, from `least` to `most`. The check is that of the
/// configuration.
///
/// # Errors
/// The fault of the text.
pub(super) fn within<K: Kind>(text: &str, (least, most): Bounds) -> Result<K::Value, String> {
    Format::of::<K>().check(text, Some(least), Some(most))?;
    K::parse(text)
}

/// The least value and the largest, as they are written.
pub(super) type Bounds = (&'static str, &'static str);

/// Describes a value that is out of its bounds.
pub(super) fn range(value: &str, least: Option<&str>, most: Option<&str>) -> String {
    match (least, most) {
        (Some(least), Some(most)) => format!("{value} is not between {least} and {most}"),
        (Some(least), None) => format!("{value} is less than {least}"),
        (None, Some(most)) => format!("{value} is more than {most}"),
        (None, None) => format!("{value} is out of range"),
    }
}

/// Returns the format of this name.
pub(super) fn format(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}

/// Every kind, in the order of the reference.
pub(super) const FORMATS: &[Format] = &[
    Format::of::<units::Duration>(),
    Format::of::<units::Timeout>(),
    Format::of::<units::Size>(),
    Format::of::<units::Percent>(),
    Format::of::<names::Name>(),
    Format::of::<addresses::SocketAddress>(),
    Format::of::<addresses::AdminAddress>(),
    Format::of::<addresses::HostPort>(),
    Format::of::<addresses::DnsName>(),
    Format::of::<addresses::DnsServer>(),
    Format::of::<addresses::Authority>(),
    Format::of::<addresses::CertificateName>(),
    Format::of::<addresses::ServerName>(),
    Format::of::<addresses::Network>(),
    Format::of::<addresses::Redirect>(),
    Format::of::<udp::UdpTarget>(),
    Format::of::<names::PluginSource>(),
    Format::of::<names::RegistryHost>(),
    Format::of::<names::Digest>(),
    Format::of::<names::Secret>(),
    Format::of::<addresses::HostPattern>(),
    Format::of::<names::PathPattern>(),
    Format::of::<names::RequestPath>(),
    Format::of::<names::Method>(),
    Format::of::<names::UpgradeToken>(),
    Format::of::<names::StatusRange>(),
    Format::of::<addresses::Collector>(),
    Format::of::<names::LogLevel>(),
    Format::of::<source::Include>(),
];
