//! Networks, and the search for the most specific network of an address.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// Parses a network in CIDR notation (RFC 4632 §3.1, RFC 4291 §2.3), or a single address.
/// IPv4-mapped forms become IPv4.
pub(crate) fn parse(text: &str) -> Result<IpNet, String> {
    let net = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().map_err(|_| {
            format!("{text:?} is not an address or network such as 192.0.2.0/24 or 2001:db8::/32")
        })?,
    };
    if net != net.trunc() {
        return Err(format!("{text:?} has bits after its prefix; the network is {}", net.trunc()));
    }
    Ok(canonical(net))
}

/// Turns `::ffff:192.0.2.0/120` into 192.0.2.0/24 (RFC 4291 §2.5.5.2).
fn canonical(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    match mapped.map(|(address, prefix)| Ipv4Net::new(address, prefix)) {
        Some(Ok(v4)) => IpNet::V4(v4),
        _ => net,
    }
}

/// Values of networks. Two networks are nested or disjoint. Their borders cut the addresses into
/// ranges, and each range has one most specific network. A lookup finds the range by bisection.
#[derive(Debug)]
pub(crate) struct Networks<T> {
    v4: Vec<(u32, Option<T>)>,
    v6: Vec<(u128, Option<T>)>,
}

impl<T: Copy> Networks<T> {
    /// Builds the ranges. If a network comes twice, the later value counts.
    pub(crate) fn new(nets: impl IntoIterator<Item = (IpNet, T)>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (net, value) in nets {
            match net {
                IpNet::V4(net) => v4.push(Span {
                    first: net.network().to_bits(),
                    last: net.broadcast().to_bits(),
                    value,
                }),
                IpNet::V6(net) => v6.push(Span {
                    first: net.network().to_bits(),
                    last: net.broadcast().to_bits(),
                    value,
                }),
            }
        }
        Networks {
            v4: stretches(v4, 0, |last| last.checked_add(1)),
            v6: stretches(v6, 0, |last| last.checked_add(1)),
        }
    }

    /// Returns the value of the most specific network with the address.
    pub(crate) fn find(&self, address: IpAddr) -> Option<T> {
        match address.to_canonical() {
            IpAddr::V4(address) => of(&self.v4, address.to_bits()),
            IpAddr::V6(address) => of(&self.v6, address.to_bits()),
        }
    }
}

/// The addresses of a network.
#[derive(Debug, Clone, Copy)]
struct Span<A, T> {
    first: A,
    last: A,
    value: T,
}

/// Cuts the addresses into ranges: the first address of each, and its value.
fn stretches<A: Ord + Copy, T: Copy>(
    mut spans: Vec<Span<A, T>>,
    zero: A,
    after: impl Fn(A) -> Option<A>,
) -> Vec<(A, Option<T>)> {
    // The wider network comes first. The sort is stable, so the later one of two equal networks
    // stays later.
    spans.sort_by(|a, b| a.first.cmp(&b.first).then(b.last.cmp(&a.last)));
    let mut cuts = vec![(zero, None)];
    let mut open: Vec<Span<A, T>> = Vec::new();
    for span in spans {
        close(&mut open, &mut cuts, &after, |last| last < span.first);
        push(&mut cuts, span.first, Some(span.value));
        open.push(span);
    }
    close(&mut open, &mut cuts, &after, |_| true);
    cuts
}

/// Closes the open networks with a last address that `is_past`. After each, the network around it
/// goes on.
fn close<A: Ord + Copy, T: Copy>(
    open: &mut Vec<Span<A, T>>,
    cuts: &mut Vec<(A, Option<T>)>,
    after: &impl Fn(A) -> Option<A>,
    is_past: impl Fn(A) -> bool,
) {
    while let Some(span) = open.pop_if(|span| is_past(span.last)) {
        if let Some(next) = after(span.last) {
            push(cuts, next, open.last().map(|outer| outer.value));
        }
    }
}

/// Adds a cut. It replaces the previous cut at the same address.
fn push<A: Ord + Copy, T>(cuts: &mut Vec<(A, Option<T>)>, first: A, value: Option<T>) {
    match cuts.last_mut() {
        Some(last) if last.0 == first => last.1 = value,
        _ => cuts.push((first, value)),
    }
}

fn of<A: Ord + Copy, T: Copy>(cuts: &[(A, Option<T>)], address: A) -> Option<T> {
    let after = cuts.partition_point(|(first, _)| *first <= address);
    cuts.get(after.checked_sub(1)?)?.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(nets: &[(&str, u8)]) -> Networks<u8> {
        Networks::new(nets.iter().map(|(net, value)| (parse(net).unwrap(), *value)))
    }

    fn find(networks: &Networks<u8>, address: &str) -> Option<u8> {
        networks.find(address.parse().unwrap())
    }

    #[test]
    fn the_most_specific_network_is_found() {
        let networks = networks(&[
            ("10.1.2.3", 4),
            ("10.0.0.0/8", 1),
            ("10.1.2.0/24", 3),
            ("10.1.0.0/16", 2),
            ("10.1.2.255/32", 5),
            ("2001:db8::/32", 6),
            ("2001:db8:1::/48", 7),
        ]);
        for (address, value) in [
            ("9.255.255.255", None),
            ("10.0.0.0", Some(1)),
            ("10.1.0.0", Some(2)),
            ("10.1.2.0", Some(3)),
            ("10.1.2.3", Some(4)),
            ("10.1.2.4", Some(3)),
            ("10.1.2.255", Some(5)),
            ("10.1.3.0", Some(2)),
            ("10.2.0.0", Some(1)),
            ("10.255.255.255", Some(1)),
            ("11.0.0.0", None),
            ("::ffff:10.1.2.3", Some(4)),
            ("2001:db8::1", Some(6)),
            ("2001:db8:1::1", Some(7)),
            ("2001:db8:2::", Some(6)),
            ("2001:db9::", None),
            ("::", None),
        ] {
            assert_eq!(find(&networks, address), value, "{address}");
        }
    }

    #[test]
    fn the_ends_of_the_address_space_are_no_border() {
        let all =
            networks(&[("0.0.0.0/0", 1), ("255.255.255.255", 2), ("0.0.0.0", 3), ("::/0", 4)]);
        assert_eq!(find(&all, "255.255.255.255"), Some(2));
        assert_eq!(find(&all, "255.255.255.254"), Some(1));
        assert_eq!(find(&all, "0.0.0.0"), Some(3));
        assert_eq!(find(&all, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), Some(4));
        // IPv4 is not part of IPv6, mapped or not.
        let v6 = networks(&[("::/0", 4)]);
        assert_eq!(find(&v6, "192.0.2.1"), None);
        assert_eq!(find(&v6, "::ffff:192.0.2.1"), None);
    }

    #[test]
    fn the_later_of_the_same_network_counts() {
        let twice = networks(&[("10.0.0.0/8", 1), ("10.0.0.0/8", 2), ("10.1.0.0/16", 3)]);
        assert_eq!(find(&twice, "10.0.0.1"), Some(2));
        assert_eq!(find(&twice, "10.2.0.1"), Some(2));
        assert_eq!(find(&twice, "10.1.0.1"), Some(3));
    }

    #[test]
    fn it_finds_what_a_search_of_all_finds() {
        // Pseudo-random networks of a small part of the addresses, so that many are nested.
        let mut seed = 7_u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed >> 8
        };
        let nets: Vec<(Ipv4Net, u32)> = (0..2000)
            .map(|value| {
                let prefix = u8::try_from(16 + next() % 17).unwrap();
                let address = 0x0a00_0000 | (next() & 0xffff);
                (Ipv4Net::new(address.into(), prefix).unwrap().trunc(), value)
            })
            .collect();
        let networks = Networks::new(nets.iter().map(|(net, value)| (IpNet::V4(*net), *value)));
        for _ in 0..2000 {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 | (next() & 0x1_ffff));
            let all = nets.iter().filter(|(net, _)| net.contains(&address));
            let best = all.max_by_key(|(net, _)| net.prefix_len()).map(|(_, value)| *value);
            assert_eq!(networks.find(address.into()), best, "{address}");
        }
    }

    #[test]
    fn networks_are_read_strictly() {
        assert_eq!(parse("::ffff:192.0.2.0/120").unwrap().to_string(), "192.0.2.0/24");
        assert_eq!(parse("::ffff:192.0.2.1").unwrap().to_string(), "192.0.2.1/32");
        assert!(parse("::ffff:0:0/95").unwrap_err().contains("bits after"));
        assert_eq!(parse("2001:DB8::1").unwrap().to_string(), "2001:db8::1/128");
        let error = parse("10.0.0.1/8").unwrap_err();
        assert!(error.contains("10.0.0.0/8"), "{error}");
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "example.com",
            "10.0.0.0/",
            "10.00.0.1",
            " 10.0.0.1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
