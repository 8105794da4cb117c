//! Countries and autonomous systems.

/// The facts that are known about a client.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) country: Option<Country>,
    pub(crate) asn: Option<u32>,
}

impl Origin {
    /// Parses both. A value that is not a country or not a number counts as unknown.
    pub(crate) fn new(country: Option<&str>, asn: Option<&str>) -> Self {
        Self {
            country: country.and_then(Country::new),
            asn: asn.and_then(|asn| asn.parse().ok()).filter(|asn| *asn > 0),
        }
    }
}

/// A country, with its two letters as a number below 676.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Country(u16);

impl Country {
    fn new(text: &str) -> Option<Self> {
        let [first, second] = text.as_bytes() else { return None };
        let letter = |byte: &u8| match byte.to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => Some(u16::from(letter - b'A')),
            _ => None,
        };
        Some(Self(letter(first)? * 26 + letter(second)?))
    }
}

/// Whether a list has a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Has,
    HasNot,
    /// The list needs a fact that is unknown, and may have the client.
    Unknown,
}

/// The countries and autonomous systems of a list. The list has every client of one of them.
#[derive(Debug)]
pub(crate) struct Places {
    /// One bit per country.
    countries: [u64; 11],
    has_countries: bool,
    /// Sorted.
    asns: Vec<u32>,
}

impl Places {
    /// Checks the names. Errors begin with `at`, the place of the list.
    pub(crate) fn new(at: &str, names: &[String], mut asns: Vec<u32>) -> Result<Self, String> {
        let mut countries = [0_u64; 11];
        for (index, name) in names.iter().enumerate() {
            let country = Country::new(name).ok_or_else(|| {
                format!("{at}.countries[{index}]: {name:?} is not the two letters of a country")
            })?;
            if let Some(bits) = countries.get_mut(usize::from(country.0 / 64)) {
                *bits |= 1 << (country.0 % 64);
            }
        }
        if asns.len() > ASNS {
            return Err(format!("{at}.asns: more than {ASNS}"));
        }
        if let Some(index) = asns.iter().position(|asn| *asn == 0) {
            return Err(format!("{at}.asns[{index}]: 0 is not an autonomous system (RFC 7607)"));
        }
        asns.sort_unstable();
        asns.dedup();
        Ok(Self { countries, has_countries: !names.is_empty(), asns })
    }

    pub(crate) fn has_countries(&self) -> bool {
        self.has_countries
    }

    pub(crate) fn has_asns(&self) -> bool {
        !self.asns.is_empty()
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.has_countries() && !self.has_asns()
    }

    pub(crate) fn has(&self, origin: &Origin) -> bool {
        let has_country = origin.country.is_some_and(|Country(number)| {
            let bits = self.countries.get(usize::from(number / 64));
            bits.is_some_and(|bits| bits >> (number % 64) & 1 == 1)
        });
        has_country || origin.asn.is_some_and(|asn| self.asns.binary_search(&asn).is_ok())
    }

    pub(crate) fn judge(&self, origin: &Origin) -> Verdict {
        let lacks_country = self.has_countries() && origin.country.is_none();
        let lacks_asn = self.has_asns() && origin.asn.is_none();
        match self.has(origin) {
            true => Verdict::Has,
            false if lacks_country || lacks_asn => Verdict::Unknown,
            false => Verdict::HasNot,
        }
    }
}

/// The most autonomous systems in a list.
const ASNS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn places(countries: &[&str], asns: &[u32]) -> Result<Places, String> {
        let countries: Vec<String> = countries.iter().map(|name| (*name).to_owned()).collect();
        Places::new("deny", &countries, asns.to_vec())
    }

    #[test]
    fn every_country_is_itself() {
        let letters = || b'A'..=b'Z';
        let all = letters().flat_map(|a| letters().map(move |b| String::from_utf8(vec![a, b])));
        let all: Vec<String> = all.map(Result::unwrap).collect();
        for name in &all {
            let one = places(&[name], &[]).unwrap();
            let found = all.iter().filter(|other| one.has(&Origin::new(Some(other), None)));
            assert_eq!(found.collect::<Vec<_>>(), [name]);
        }
    }

    #[test]
    fn what_is_no_country_or_number_is_not_known() {
        for country in ["", "D", "DEU", "D1", "--", "Ä"] {
            assert_eq!(Origin::new(Some(country), None).country, None, "{country}");
        }
        for asn in ["", "0", "AS1", "-1", "4294967296", "1.5", " 1"] {
            assert_eq!(Origin::new(None, Some(asn)).asn, None, "{asn}");
        }
        assert_eq!(Origin::new(Some("de"), None), Origin::new(Some("DE"), None));
        assert_eq!(Origin::new(None, Some("4294967295")).asn, Some(u32::MAX));
    }

    #[test]
    fn a_list_judges_by_what_it_asks() {
        let both = places(&["de", "FR"], &[64512, 7, 64512]).unwrap();
        for (country, asn, verdict) in [
            (Some("DE"), None, Verdict::Has),
            (None, Some("7"), Verdict::Has),
            (Some("US"), Some("64512"), Verdict::Has),
            (Some("US"), Some("8"), Verdict::HasNot),
            (Some("US"), None, Verdict::Unknown),
            (None, Some("8"), Verdict::Unknown),
            (None, None, Verdict::Unknown),
        ] {
            assert_eq!(both.judge(&Origin::new(country, asn)), verdict, "{country:?} {asn:?}");
        }
        let country = places(&["DE"], &[]).unwrap();
        assert_eq!(country.judge(&Origin::new(Some("US"), None)), Verdict::HasNot);
        let none = places(&[], &[]).unwrap();
        assert_eq!(none.judge(&Origin::default()), Verdict::HasNot);
    }

    #[test]
    fn mistakes_are_named() {
        for (countries, asns, hint) in [
            (vec!["DE", "GER"], vec![], "deny.countries[1]: "),
            (vec![""], vec![], "deny.countries[0]: "),
            (vec![], vec![1, 0], "deny.asns[1]: "),
            (vec![], vec![1; 10_001], "deny.asns: "),
        ] {
            let error = places(&countries, &asns).unwrap_err();
            assert!(error.starts_with(hint), "{error}");
        }
    }
}
