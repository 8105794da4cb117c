//! A DNS server for tests, on a loopback socket.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::SRV;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::sync::watch;

/// An answer to one question.
#[derive(Clone)]
pub(super) enum Reply {
    /// Records with this TTL. Over UDP an answer beyond 512 bytes is cut (RFC 1035 §4.2.1).
    Records(u32, Vec<RData>),
    /// An error.
    Code(ResponseCode),
    /// No answer.
    Silence,
}

/// A server that answers as it is told. It answers other questions with NXDOMAIN.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    replies: Replies,
    /// Questions that were answered, or left without an answer.
    asked: watch::Receiver<usize>,
    threads: Vec<JoinHandle<()>>,
}

type Replies = Arc<Mutex<HashMap<(String, RecordType), Reply>>>;

impl Server {
    pub(super) fn start() -> Self {
        let (listener, socket) = sockets();
        let (address, replies) = (socket.local_addr().unwrap(), Replies::default());
        let (count, asked) = watch::channel(0);
        let (over_udp, over_tcp) = (Arc::clone(&replies), Arc::clone(&replies));
        let threads = vec![
            std::thread::spawn(move || serve(&socket, &over_udp, &count)),
            std::thread::spawn(move || serve_streams(&listener, &over_tcp)),
        ];
        Self { address, replies, asked, threads }
    }

    pub(super) fn set(&self, name: &str, kind: RecordType, reply: Reply) {
        self.replies.lock().unwrap().insert((name.to_owned(), kind), reply);
    }

    /// Answers with these addresses for ever, and with no other type.
    pub(super) fn set_addresses(&self, name: &str, ttl: u32, addresses: &[&str]) {
        let addresses: Vec<IpAddr> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        let (v4, v6): (Vec<IpAddr>, _) = addresses.into_iter().partition(IpAddr::is_ipv4);
        let records = |ips: Vec<IpAddr>| ips.into_iter().map(RData::from).collect();
        self.set(name, RecordType::A, Reply::Records(ttl, records(v4)));
        self.set(name, RecordType::AAAA, Reply::Records(ttl, records(v6)));
    }

    /// Answers with records of (priority, weight, port, target).
    pub(super) fn set_services(&self, name: &str, ttl: u32, all: &[(u16, u16, u16, &str)]) {
        let service = |(priority, weight, port, target): &(u16, u16, u16, &str)| {
            RData::SRV(SRV::new(*priority, *weight, *port, Name::from_ascii(target).unwrap()))
        };
        self.set(name, RecordType::SRV, Reply::Records(ttl, all.iter().map(service).collect()));
    }

    /// Gives both types of addresses the same reply.
    pub(super) fn set_both(&self, name: &str, reply: &Reply) {
        self.set(name, RecordType::A, reply.clone());
        self.set(name, RecordType::AAAA, reply.clone());
    }

    /// Waits for this many more questions.
    pub(super) async fn asked(&self, more: usize) {
        let mut asked = self.asked.clone();
        let enough = *asked.borrow() + more;
        let wait = asked.wait_for(|count| *count >= enough);
        tokio::time::timeout(PATIENCE, wait).await.unwrap().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"", self.address).unwrap();
        TcpStream::connect(self.address).unwrap().write_all(&[0; 2]).unwrap();
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// Binds both protocols to one free port.
fn sockets() -> (TcpListener, UdpSocket) {
    let pair = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = UdpSocket::bind(listener.local_addr().unwrap()).ok()?;
        Some((listener, socket))
    };
    std::iter::repeat_with(pair).take(100).flatten().next().unwrap()
}

/// Answers one question on each connection. An empty one ends it.
fn serve_streams(listener: &TcpListener, replies: &Replies) {
    for stream in listener.incoming() {
        let (mut stream, mut length) = (stream.unwrap(), [0; 2]);
        stream.read_exact(&mut length).unwrap();
        if length == [0; 2] {
            return;
        }
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut question).unwrap();
        if let Some(answer) = answer(&Message::from_vec(&question).unwrap(), replies) {
            let answer = answer.to_vec().unwrap();
            let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
            stream.write_all(&[&length, answer.as_slice()].concat()).unwrap();
        }
    }
}

/// An empty datagram ends it.
fn serve(socket: &UdpSocket, replies: &Replies, count: &watch::Sender<usize>) {
    let mut buffer = [0; 4096];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).unwrap();
        if length == 0 {
            return;
        }
        let question = Message::from_vec(&buffer[..length]).unwrap();
        if let Some(answer) = answer(&question, replies) {
            let whole = answer.to_vec().unwrap();
            let cut = || answer.truncate().to_vec().unwrap();
            let sent = if whole.len() > 512 { cut() } else { whole };
            socket.send_to(&sent, client).unwrap();
        }
        count.send_modify(|count| *count += 1);
    }
}

fn answer(question: &Message, replies: &Replies) -> Option<Message> {
    let query = question.queries[0].clone();
    let name = query.name().to_ascii().to_ascii_lowercase();
    let reply = replies.lock().unwrap().get(&(name, query.query_type())).cloned();
    let mut answer = Message::response(question.metadata.id, OpCode::Query);
    answer.metadata.recursion_available = true;
    match reply.unwrap_or(Reply::Code(ResponseCode::NXDomain)) {
        Reply::Records(ttl, records) => {
            let record = |data| Record::from_rdata(query.name().clone(), ttl, data);
            answer.add_answers(records.into_iter().map(record).collect::<Vec<_>>());
        }
        Reply::Code(code) => answer.metadata.response_code = code,
        Reply::Silence => return None,
    }
    answer.add_query(query);
    Some(answer)
}

/// Runs a future on a thread's own runtime, as the control thread does.
pub(super) fn run<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build_local(Default::default()).unwrap().block_on(future)
}

/// Longer than any step of a test takes on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
