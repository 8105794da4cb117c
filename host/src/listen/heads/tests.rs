use super::*;

/// Maximum number of bytes of a section in these tests.
const SECTION: usize = 4096;

/// Scans `text` in pieces of `size` bytes. The error holds the position of the refused byte within
/// the whole text.
fn scan(text: &str, size: usize) -> Result<Part, (usize, bool)> {
    let mut scanner = Scanner::new(SECTION);
    for (piece, bytes) in text.as_bytes().chunks(size).enumerate() {
        let scanned = scanner.scan(bytes);
        scanned.map_err(|refusal| (piece * size + refusal.at, refusal.is_head))?;
    }
    Ok(scanner.part)
}

/// Scans `text` and asserts that the size of the pieces makes no difference.
fn verdict(text: &str) -> Result<Part, (usize, bool)> {
    let whole = scan(text, text.len());
    for size in [1, 2, 3, 7, 64] {
        assert_eq!(scan(text, size), whole, "{size}: {text:?}");
    }
    whole
}

#[test]
fn messages_are_followed_from_head_to_head() {
    let sized = "POST / HTTP/1.1\r\nHost: a\r\ncontent-LENGTH:\t 3 \r\n\r\na\nb";
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
        2;ext=\"x\"\r\n\n\n\r\n0A \r\n0123456789\r\n000\r\nX-T: 1\r\n\r\n";
    let bare = "\r\nGET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
    let long = format!("GET /{} HTTP/1.1\r\nX: {}\r\n\r\n", "p".repeat(300), "v".repeat(300));
    let all = format!("{sized}{chunked}{bare}{long}{chunked}{sized}");
    assert_eq!(verdict(&all), Ok(Part::Head));
    // A bad head is found at its position within the other messages.
    let bad = "GET / HTTP/1.1\r\nX: a\n";
    assert_eq!(verdict(&format!("{all}{bad}")), Err((all.len() + bad.len() - 1, true)));
}

#[test]
fn an_ambiguous_head_is_refused_at_the_line_that_makes_it_so() {
    for (start, line) in [
        ("GET / HTTP/1.1", "\n"),
        ("GET / HTTP/1.1\r\n", "Host: a\n"),
        ("GET / HTTP/1.1\r\nHost: a\r\n", "\n"),
        ("", "\n"),
        ("POST / HTTP/1.1\r\nContent-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"),
        ("POST / HTTP/1.1\r\nTRANSFER-encoding: chunked\r\nX: a\r\n", "content-length:3\r\n"),
        ("POST / HTTP/1.1\r\nContent-Length: 3\r\n", "Content-Length: 3\r\n"),
        ("POST / HTTP/1.1\r\n", "Content-Length: +3\r\n"),
        ("POST / HTTP/1.1\r\n", "Content-Length: 3, 3\r\n"),
        ("POST / HTTP/1.1\r\n", "Content-Length: 18446744073709551616\r\n"),
        ("POST / HTTP/1.1\r\n", "Content-Length: \r\n"),
    ] {
        let text = format!("{start}{line}");
        assert_eq!(verdict(&text), Err((text.len() - 1, true)), "{text:?}");
    }
    let hidden = format!("POST / HTTP/1.1\r\nContent-Length:{}3\r\n", " ".repeat(64));
    assert_eq!(verdict(&hidden), Err((hidden.len() - 1, true)));
}

#[test]
fn framing_that_hyper_would_not_read_alike_is_refused_in_bodies() {
    let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in
        ["2\n", "+2\r\n", "\r\n", "10000000000000000\r\n", "2;a\n", "0\r\nX: a\n", "0\r\n\n"]
    {
        let text = format!("{head}{body}");
        assert_eq!(verdict(&text), Err((text.len() - 1, false)), "{body:?}");
    }
    let padded = format!("{head}{}1\r\n", "0".repeat(64));
    assert_eq!(verdict(&padded), Err((padded.len() - 1, false)));
}

/// Returns the number of bytes of `endless`, after `start`, that pass.
fn taken(start: &str, endless: &str) -> usize {
    let mut scanner = Scanner::new(SECTION);
    scanner.scan(start.as_bytes()).unwrap();
    let piece = endless.repeat(100);
    for read in 0..1000 {
        if let Err(refusal) = scanner.scan(piece.as_bytes()) {
            return read * piece.len() + refusal.at;
        }
    }
    panic!("no end of {endless:?} after {start:?}");
}

#[test]
fn whatever_has_no_end_is_refused_before_it_does() {
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let trailers = format!("{chunked}0\r\n");
    for (start, endless, most) in [
        (chunked, "0", SIZE_LINE),
        (chunked, "1;x", SIZE_LINE),
        (&*format!("{chunked}1;a=b"), "\r", SIZE_LINE),
        (&trailers, "x", SECTION),
        (&trailers, "X: y\r\n", SECTION),
        ("", "x", SECTION),
        ("GET / HTTP/1.1\r\n", "X: y\r\n", SECTION),
        ("", "\r\n", 2 * usize::from(EMPTY_LINES)),
    ] {
        let taken = taken(start, endless);
        // Bytes of the same read may pass.
        assert!(taken <= most + 300, "{taken} bytes of {endless:?} after {start:?}");
    }
}

#[test]
fn content_has_no_bound_here_and_each_message_its_own() {
    let chunk = format!("{:x};ext\r\n{}\r\n", SECTION * 10, "\n".repeat(SECTION * 10));
    let text = format!(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\nX: {}\r\n\r\n",
        chunk.repeat(3),
        "y".repeat(SECTION / 2)
    );
    assert_eq!(scan(&text.repeat(4), 100), Ok(Part::Head));
    let small = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(SECTION);
    assert_eq!(scan(&small, 1000), Ok(Part::Head));
}
