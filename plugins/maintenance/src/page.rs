//! The answer: HTML for people, problem details (RFC 9457) for programs. Made when the
//! configuration is read.

use weir_sdk::Reply;

/// Both forms of the answer.
#[derive(Debug)]
pub(crate) struct Page {
    html: String,
    json: String,
}

impl Page {
    /// Makes both forms. `html`, if given, replaces the page with title and text.
    pub(crate) fn new(title: &str, text: &str, html: Option<String>) -> Page {
        let html = html.unwrap_or_else(|| {
            let (title, text) = (escaped_html(title), escaped_html(text));
            format!(
                "<!doctype html>\n<meta charset=\"utf-8\">\n\
                 <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
                 <title>{title}</title>\n\
                 <style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:20vh auto;padding:0 1rem;\
                 color-scheme:light dark}}</style>\n\
                 <h1>{title}</h1>\n<p>{text}</p>\n"
            )
        });
        let (title, text) = (escaped_json(title), escaped_json(text));
        let json = format!("{{\"title\":\"{title}\",\"status\":503,\"detail\":\"{text}\"}}\n");
        Page { html, json }
    }

    pub(crate) fn html(&self) -> Reply {
        reply("text/html; charset=utf-8", &self.html)
    }

    pub(crate) fn json(&self) -> Reply {
        reply("application/problem+json", &self.json)
    }
}

fn reply(content_type: &str, body: &str) -> Reply {
    Reply::new(503)
        .header("content-type", content_type)
        .header("cache-control", "no-store")
        .body(body)
}

fn escaped_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            c => escaped.push(c),
        }
    }
    escaped
}

fn escaped_json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => escaped.extend(['\\', c]),
            '\n' => escaped.push_str("\\n"),
            c if c.is_control() => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn title_and_text_are_text() {
        let page = Page::new("Down & <out>", "say \"x\"\\\n\u{1}", None);
        assert!(page.html.contains("<h1>Down &amp; &lt;out&gt;</h1>"), "{}", page.html);
        assert_eq!(
            page.json,
            "{\"title\":\"Down & <out>\",\"status\":503,\"detail\":\"say \\\"x\\\"\\\\\\n\\u0001\"}\n"
        );
    }

    #[test]
    fn a_page_of_its_own_is_sent_as_it_is() {
        let page = Page::new("t", "x", Some("<b>own</b>".to_owned()));
        assert_eq!(page.html().body, b"<b>own</b>");
        assert_eq!(page.json().field("content-type"), Some("application/problem+json"));
    }
}
