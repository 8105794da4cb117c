//! The PROXY protocol, versions 1 and 2: the preamble of a connection that names its client.
//!
//! The preamble is read byte for byte to its end and never beyond it, since TLS begins after it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The client and the address that it connected to. `None` for a connection of the proxy's own,
/// such as a health check.
pub(super) type Named = Option<(SocketAddr, SocketAddr)>;

/// Reads the preamble.
///
/// # Errors
/// The connection ends, or begins with anything else.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Named> {
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE { version_2(stream).await } else { version_1(start, stream).await }
}

async fn version_1(
    start: [u8; SIGNATURE.len()],
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Named> {
    if !start.starts_with(b"PROXY ") {
        return Err(malformed("no preamble of the PROXY protocol"));
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= LONGEST_LINE {
            return Err(malformed("a line that is too long"));
        }
        line.push(stream.read_u8().await?);
    }
    let line = line.get(..line.len() - 2).unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| malformed("a line that is not ASCII"))?;
    let mut words = line.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(None);
    }
    let mut ip = || words.next().and_then(|word| word.parse::<IpAddr>().ok());
    let (from, to) = (ip(), ip());
    let mut port = || words.next().and_then(port);
    let (from_port, to_port) = (port(), port());
    let (Some(from), Some(to), Some(from_port), Some(to_port), None) =
        (from, to, from_port, to_port, words.next())
    else {
        return Err(malformed("a line without two addresses and two ports"));
    };
    let is_of_family = match family {
        Some("TCP4") => from.is_ipv4() && to.is_ipv4(),
        Some("TCP6") => from.is_ipv6() && to.is_ipv6(),
        _ => false,
    };
    if !is_of_family {
        return Err(malformed("an unknown family, or addresses of another one"));
    }
    Ok(Some((SocketAddr::new(from, from_port), SocketAddr::new(to, to_port))))
}

/// Reads a port without sign and without leading zeros.
fn port(word: &str) -> Option<u16> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit());
    let has_zero = word.len() > 1 && word.starts_with('0');
    word.parse().ok().filter(|_| is_plain && !has_zero)
}

async fn version_2(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Named> {
    let (command, family) = (stream.read_u8().await?, stream.read_u8().await?);
    let length = usize::from(stream.read_u16().await?);
    if length > LONGEST_BLOCK {
        return Err(malformed("a block that is too long"));
    }
    let mut block = vec![0; length];
    stream.read_exact(&mut block).await?;
    match command {
        // The proxy's own connection. Addresses in it have no meaning.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(malformed("an unknown version or command")),
    }
    // Further values may follow the addresses.
    match family {
        0x11 => addresses::<4>(&block, |ip| Ipv4Addr::from(ip).into()),
        0x21 => addresses::<16>(&block, |ip| Ipv6Addr::from(ip).into()),
        // Another transport, or a Unix socket: the client has no address.
        _ => Ok(None),
    }
}

fn addresses<const N: usize>(block: &[u8], ip: impl Fn([u8; N]) -> IpAddr) -> io::Result<Named> {
    let short = || malformed("a block without addresses");
    let (from, rest) = block.split_first_chunk::<N>().ok_or_else(short)?;
    let (to, rest) = rest.split_first_chunk::<N>().ok_or_else(short)?;
    let (from_port, rest) = rest.split_first_chunk::<2>().ok_or_else(short)?;
    let (to_port, _) = rest.split_first_chunk::<2>().ok_or_else(short)?;
    let at = |address: [u8; N], port: [u8; 2]| {
        SocketAddr::new(ip(address).to_canonical(), u16::from_be_bytes(port))
    };
    Ok(Some((at(*from, *from_port), at(*to, *to_port))))
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The first bytes of version 2. Its length is below that of the shortest line of version 1.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1, its end included.
const LONGEST_LINE: usize = 107;

/// The longest block of version 2: addresses, and some further values.
const LONGEST_BLOCK: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a preamble, and returns the outcome and the rest.
    async fn parse(bytes: &[u8]) -> (io::Result<Named>, Vec<u8>) {
        let mut rest = bytes;
        let read = read(&mut rest).await;
        (read, rest.to_vec())
    }

    fn named(from: &str, to: &str) -> Named {
        Some((from.parse().unwrap(), to.parse().unwrap()))
    }

    fn block(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body].concat()
    }

    #[tokio::test]
    async fn lines_of_version_1_are_read_to_their_end() {
        for (line, expected) in [
            (
                &b"PROXY TCP4 192.0.2.7 198.51.100.1 5000 443\r\nrest"[..],
                named("192.0.2.7:5000", "198.51.100.1:443"),
            ),
            (
                b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 443\r\nrest",
                named("[2001:db8::7]:5000", "[2001:db8::1]:443"),
            ),
            (b"PROXY UNKNOWN\r\nrest", None),
            (b"PROXY UNKNOWN ff ff 1 2\r\nrest", None),
        ] {
            let (read, rest) = parse(line).await;
            assert_eq!(read.unwrap(), expected);
            assert_eq!(rest, b"rest");
        }
    }

    #[tokio::test]
    async fn malformed_lines_are_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
        for line in [
            "GET / HTTP/1.1\r\n\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 5000\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 5000 443 1\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 +5000 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 05000 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
            "PROXY TCP4 2001:db8::7 2001:db8::1 5000 443\r\n",
            "PROXY TCP6 192.0.2.7 198.51.100.1 5000 443\r\n",
            "PROXY UDP4 192.0.2.7 198.51.100.1 5000 443\r\n",
            "PROXY  TCP4 192.0.2.7 198.51.100.1 5000 443\r\n",
            "proxy TCP4 192.0.2.7 198.51.100.1 5000 443\r\n",
            "PROXY TCP4 192.0.2.7",
            &long,
        ] {
            assert!(parse(line.as_bytes()).await.0.is_err(), "{line}");
        }
    }

    #[tokio::test]
    async fn blocks_of_version_2_are_read_to_their_end() {
        let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0x13, 0x88, 1, 187];
        let with_more = [&v4[..], &[3, 0, 4, 1, 2, 3, 4]].concat();
        let mut v6 = [0; 36];
        v6[..2].copy_from_slice(&[0x20, 1]);
        v6[16..18].copy_from_slice(&[0x20, 1]);
        v6[33] = 9;
        for (bytes, expected) in [
            (block(0x21, 0x11, &v4), named("192.0.2.7:5000", "198.51.100.1:443")),
            (block(0x21, 0x11, &with_more), named("192.0.2.7:5000", "198.51.100.1:443")),
            (block(0x21, 0x21, &v6), named("[2001::]:9", "[2001::]:0")),
            (block(0x20, 0, &[]), None),
            (block(0x21, 0x31, &[0; 216]), None),
        ] {
            let (read, rest) = parse(&[&bytes[..], b"rest"].concat()).await;
            assert_eq!(read.unwrap(), expected);
            assert_eq!(rest, b"rest");
        }
        for bytes in [
            block(0x21, 0x11, &v4[..11]),
            block(0x22, 0x11, &v4),
            block(0x11, 0x11, &v4),
            block(0x21, 0x21, &v4),
            block(0x21, 0x11, &[0; 5000]),
            block(0x21, 0x11, &v4)[..20].to_vec(),
        ] {
            assert!(parse(&bytes).await.0.is_err());
        }
    }
}
