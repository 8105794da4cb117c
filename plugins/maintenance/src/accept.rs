//! The format that a client prefers (RFC 9110 §12.5.1).

/// Whether the client prefers JSON to HTML. A tie, or no preference, gives HTML.
pub(crate) fn prefers_json(accept: Option<&str>) -> bool {
    let Some(accept) = accept else { return false };
    let (mut html, mut json) = (Wish::default(), Wish::default());
    for range in accept.split(',') {
        let mut parts = range.split(';');
        let media = parts.next().unwrap_or_default().trim();
        let Some(quality) = quality(parts) else { continue };
        html.hear(is_html(media), media.eq_ignore_ascii_case("text/*"), media, quality);
        json.hear(is_json(media), media.eq_ignore_ascii_case("application/*"), media, quality);
    }
    json.quality() > html.quality()
}

/// The qualities for one format, by how closely the range names it. The closest range counts.
#[derive(Default)]
struct Wish {
    exact: Option<u16>,
    kind: Option<u16>,
    any: Option<u16>,
}

impl Wish {
    fn hear(&mut self, is_exact: bool, is_kind: bool, media: &str, quality: u16) {
        let heard = match (is_exact, is_kind) {
            (true, _) => &mut self.exact,
            (_, true) => &mut self.kind,
            _ if media == "*/*" => &mut self.any,
            _ => return,
        };
        *heard = (*heard).max(Some(quality));
    }

    fn quality(&self) -> u16 {
        self.exact.or(self.kind).or(self.any).unwrap_or(0)
    }
}

fn is_html(media: &str) -> bool {
    ["text/html", "application/xhtml+xml"].iter().any(|html| media.eq_ignore_ascii_case(html))
}

fn is_json(media: &str) -> bool {
    let Some((kind, subtype)) = media.split_once('/') else { return false };
    let suffix = subtype.rsplit('+').next().unwrap_or_default();
    kind.eq_ignore_ascii_case("application") && suffix.eq_ignore_ascii_case("json")
}

/// Parses the quality from the parameters of a range, in thousandths. Returns 1000 without a
/// quality, and `None` for a malformed one.
fn quality<'a>(mut parameters: impl Iterator<Item = &'a str>) -> Option<u16> {
    let weight = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let Some(weight) = weight else { return Some(1000) };
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    let is_fraction = fraction.len() <= 3 && fraction.bytes().all(|b| b.is_ascii_digit());
    let thousandths = format!("{fraction:0<3}").parse::<u16>().ok().filter(|_| is_fraction)?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_get_json_and_people_html() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        for accept in [
            browser,
            "*/*",
            "",
            "text/html, application/json",
            "application/json;q=0.5, text/html;q=0.6",
            "application/json;q=0, */*",
            "application/json;q=0.1, text/*;q=0.2",
            "image/png",
            "application/xml",
            "json",
        ] {
            assert!(!prefers_json(Some(accept)), "{accept}");
        }
        assert!(!prefers_json(None));
        for accept in [
            "application/json",
            "application/json, */*;q=0.8",
            "APPLICATION/JSON , text/html ; q = 0.9",
            "application/problem+json",
            "application/vnd.api+json;version=2",
            "application/*",
            "text/html;q=0.4, application/json;q=0.41",
            "application/json, text/plain, */*;q=0.1",
            "text/html;q=0, */*",
            "application/*;q=0.1, application/json, text/html;q=0.5",
        ] {
            assert!(prefers_json(Some(accept)), "{accept}");
        }
    }

    #[test]
    fn nonsense_is_not_heard() {
        for accept in [
            "application/json;q=2",
            "application/json;q=1.1",
            "application/json;q=0.1234",
            "application/json;q=",
            "application/json;q=.5",
            "application/json;q=-1",
            "application/json;q=1.é",
            ";;;,,,===/",
        ] {
            assert!(!prefers_json(Some(accept)), "{accept}");
        }
        assert_eq!(quality(["q=0.05"].into_iter()), Some(50));
        assert_eq!(quality(["q=1.000"].into_iter()), Some(1000));
        assert_eq!(quality(["q=0."].into_iter()), Some(0));
    }
}
