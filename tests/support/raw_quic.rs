//! QUIC datagrams without a library: first packets of clients that stop there, and a relay that
//! sees both directions.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::UdpSocket;

use super::{Weir, client, spawn, within};

/// The first answer of a server to an unknown client (RFC 9000 §17.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The server continues the handshake.
    Initial,
    /// The server wants a proof of the client's address.
    Retry,
    /// Another long header.
    Other(u8),
}

/// Returns the first datagrams of this many clients, which all stop there.
pub(crate) async fn first_packets(count: usize) -> Vec<Vec<u8>> {
    let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    let clients: Vec<_> =
        (0..count).map(|_| spawn(async move { drop(client::quic(address).await) })).collect();
    // By connection id: a client repeats unanswered packets.
    let mut packets = BTreeMap::new();
    let mut buffer = [0; 2048];
    while packets.len() < count {
        let length = within("a first packet", nobody.recv(&mut buffer)).await.unwrap();
        let packet = &buffer[..length];
        let id = &packet[6..6 + usize::from(packet[5])];
        packets.entry(id.to_vec()).or_insert_with(|| packet.to_vec());
    }
    clients.iter().for_each(tokio::task::JoinHandle::abort);
    packets.into_values().collect()
}

/// Sends a first packet from a new address and returns the answer.
pub(crate) async fn knock(weir: &Weir, packet: &[u8]) -> Reply {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(packet, weir.address()).await.unwrap();
    let mut buffer = [0; 2048];
    within("a reply", socket.recv(&mut buffer)).await.unwrap();
    assert_eq!(buffer[0] & 0x80, 0x80, "a long header");
    assert_eq!(buffer[1..5], [0, 0, 0, 1], "QUIC version 1");
    match buffer[0] >> 4 & 3 {
        0 => Reply::Initial,
        3 => Reply::Retry,
        other => Reply::Other(other),
    }
}

/// A relay between one client and Weir.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    largest: Arc<AtomicUsize>,
}

impl Relay {
    pub(crate) async fn start(weir: &Weir) -> Self {
        let (inside, outside) = (bound().await, bound().await);
        let address = inside.local_addr().unwrap();
        outside.connect(weir.address()).await.unwrap();
        let largest = Arc::new(AtomicUsize::new(0));
        let seen = largest.clone();
        spawn(async move {
            let (mut up, mut down) = ([0; 2048], [0; 2048]);
            let mut client = None;
            loop {
                tokio::select! {
                    Ok((length, from)) = inside.recv_from(&mut up) => {
                        client = Some(from);
                        let _ = outside.send(&up[..length]).await;
                    }
                    Ok(length) = outside.recv(&mut down) => {
                        seen.fetch_max(length, Ordering::SeqCst);
                        if let Some(client) = client {
                            let _ = inside.send_to(&down[..length], client).await;
                        }
                    }
                }
            }
        });
        Self { address, largest }
    }

    /// Bytes of the largest datagram that Weir has sent.
    pub(crate) fn largest(&self) -> usize {
        self.largest.load(Ordering::SeqCst)
    }
}

async fn bound() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}
