//! Writes databases of the MaxMind DB format, version 2.0, for a handful of networks.

use std::net::IpAddr;

/// A value of the data section.
pub(crate) enum Data {
    Text(&'static str),
    Short(u16),
    Number(u32),
    Long(u64),
    Map(Vec<(&'static str, Data)>),
    /// An empty array.
    Nothing,
}

/// A database of IPv4 and IPv6 networks.
pub(crate) fn database(networks: &[(&str, Data)]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut nodes = vec![[Record::Nothing; 2]];
    for (network, value) in networks {
        let (address, length) = network.split_once('/').unwrap();
        let (bits, length) = match address.parse().unwrap() {
            // IPv4 is at ::/96.
            IpAddr::V4(address) => {
                (u128::from(u32::from(address)), length.parse::<u32>().unwrap() + 96)
            }
            IpAddr::V6(address) => (u128::from(address), length.parse().unwrap()),
        };
        let mut node = 0;
        for depth in 0..length {
            let bit = usize::from(bits >> (127 - depth) & 1 == 1);
            if depth + 1 == length {
                nodes[node][bit] = Record::Data(data.len());
            } else if let Record::Node(next) = nodes[node][bit] {
                node = next;
            } else {
                nodes.push([Record::Nothing; 2]);
                let next = nodes.len() - 1;
                nodes[node][bit] = Record::Node(next);
                node = next;
            }
        }
        write(value, &mut data);
    }
    let mut file = Vec::new();
    for record in nodes.iter().flatten() {
        let number = match record {
            Record::Nothing => nodes.len(),
            Record::Node(node) => *node,
            Record::Data(at) => nodes.len() + 16 + at,
        };
        file.extend_from_slice(&u32::try_from(number).unwrap().to_be_bytes()[1..]);
    }
    file.extend_from_slice(&[0; 16]);
    file.extend_from_slice(&data);
    file.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let node_count = Data::Number(u32::try_from(nodes.len()).unwrap());
    let metadata = Data::Map(vec![
        ("node_count", node_count),
        ("record_size", Data::Short(24)),
        ("ip_version", Data::Short(6)),
        ("database_type", Data::Text("Test")),
        ("languages", Data::Nothing),
        ("binary_format_major_version", Data::Short(2)),
        ("binary_format_minor_version", Data::Short(0)),
        ("build_epoch", Data::Long(0)),
        ("description", Data::Map(Vec::new())),
    ]);
    write(&metadata, &mut file);
    file
}

#[derive(Clone, Copy)]
enum Record {
    Nothing,
    Node(usize),
    Data(usize),
}

fn write(value: &Data, out: &mut Vec<u8>) {
    match value {
        Data::Text(text) => {
            out.push(2 << 5 | u8::try_from(text.len()).unwrap());
            out.extend_from_slice(text.as_bytes());
        }
        Data::Short(number) => {
            out.push(5 << 5 | 2);
            out.extend_from_slice(&number.to_be_bytes());
        }
        // Types past 7 are written as extended ones.
        Data::Long(number) => {
            out.extend_from_slice(&[8, 9 - 7]);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Data::Number(number) => {
            out.push(6 << 5 | 4);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Data::Nothing => out.extend_from_slice(&[0, 11 - 7]),
        Data::Map(members) => {
            out.push(7 << 5 | u8::try_from(members.len()).unwrap());
            for (name, member) in members {
                write(&Data::Text(name), out);
                write(member, out);
            }
        }
    }
}
