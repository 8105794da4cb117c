//! Socket functions of Linux only: steering QUIC packets, and stopping new TCP handshakes before a
//! listener closes.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::AsRawFd;

use libc::{
    BPF_ABS, BPF_ADD, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_JMP, BPF_JSET, BPF_K,
    BPF_LD, BPF_LDX, BPF_MEM, BPF_MISC, BPF_MOD, BPF_MUL, BPF_RET, BPF_RSH, BPF_ST, BPF_TAX, BPF_W,
    BPF_X, BPF_XOR, sock_filter, sock_fprog,
};
use socket2::{SockFilter, SockRef};

use super::steer::{FOLD, Round, Steering};

/// Makes the kernel choose among the first `sockets` sockets of the group of `socket` by connection
/// id. The program replaces an earlier one.
///
/// The program returns an index into the group in the order of binding. The sockets must therefore
/// have been bound in the order of the workers. Works without privileges since Linux 4.5.
pub(super) fn attach(socket: &UdpSocket, steering: &Steering, sockets: usize) -> io::Result<()> {
    let mut program = program(steering, sockets);
    let argument = sock_fprog {
        len: u16::try_from(program.len()).unwrap_or(u16::MAX),
        filter: program.as_mut_ptr(),
    };
    #[allow(unsafe_code, reason = "no crate wraps SO_ATTACH_REUSEPORT_CBPF")]
    // SAFETY: `argument` is a `sock_fprog` of the given size. Its pointer and length are those of
    // `program`. Both outlive the call, in which the kernel copies the program and keeps no pointer
    // to it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const argument).cast(),
            size_of::<sock_fprog>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Drops every new SYN to a listening socket. Handshakes that have begun still complete.
///
/// Closing a listening socket resets the connections in its queue. With this filter, no connection
/// joins the queue while it is emptied. A new client retries its SYN and is refused once the socket
/// is closed.
///
/// The filter belongs to the socket, not to the descriptor. If another process has the socket too,
/// the filter would end that one's service. The caller therefore asks `Listening::is_shared`
/// before: if it is true, the caller neither attaches the filter nor empties the queue, but only
/// drops its descriptor, and the other process accepts what is in the queue.
pub(super) fn refuse_new_handshakes(listener: &TcpListener) -> io::Result<()> {
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    let filter = [
        op(BPF_LD | BPF_B | BPF_ABS, FLAGS),
        jump(BPF_JMP | BPF_JSET | BPF_K, SYN, 0, 1),
        op(BPF_RET | BPF_K, 0),
        op(BPF_RET | BPF_K, u32::MAX),
    ]
    .map(|op| SockFilter::new(op.code, op.jt, op.jf, op.k));
    SockRef::from(listener).attach_filter(&filter)
}

/// Returns [`Steering::worker`] as a program for the kernel. A datagram that is too short for a
/// load ends the program with 0: worker 0. With fewer sockets than workers, the kernel spreads the
/// packets over the sockets, and the workers hand them over.
fn program(steering: &Steering, sockets: usize) -> Vec<sock_filter> {
    const FIELD: u32 = 0;
    let targets = u32::try_from(sockets).unwrap_or(u32::MAX).clamp(1, steering.workers);
    let mut program = vec![
        // X = 1 or 6: the start of the connection id.
        op(BPF_LD | BPF_B | BPF_ABS, 0),
        op(BPF_LDX | BPF_W | BPF_IMM, 1),
        jump(BPF_JMP | BPF_JSET | BPF_K, 0x80, 0, 1),
        op(BPF_LDX | BPF_W | BPF_IMM, 6),
        // The worker's field stays in memory while the random part is mixed.
        op(BPF_LD | BPF_H | BPF_IND, 4),
        op(BPF_ST, FIELD),
        op(BPF_LD | BPF_W | BPF_IND, 0),
    ];
    for Round { add, multiply } in steering.secret.rounds {
        program.extend([
            op(BPF_ALU | BPF_ADD | BPF_K, add),
            op(BPF_ALU | BPF_MUL | BPF_K, multiply),
            op(BPF_MISC | BPF_TAX, 0),
            op(BPF_ALU | BPF_RSH | BPF_K, FOLD),
            op(BPF_ALU | BPF_XOR | BPF_X, 0),
        ]);
    }
    program.extend([
        op(BPF_LDX | BPF_W | BPF_MEM, FIELD),
        op(BPF_ALU | BPF_XOR | BPF_X, 0),
        op(BPF_ALU | BPF_AND | BPF_K, 0xffff),
        op(BPF_ALU | BPF_MOD | BPF_K, targets),
        op(BPF_RET | libc::BPF_A, 0),
    ]);
    program
}

fn op(code: u32, k: u32) -> sock_filter {
    jump(code, k, 0, 0)
}

fn jump(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    // All codes are below 0x100.
    sock_filter { code: code as u16, jt, jf, k }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use quinn_proto::ConnectionIdGenerator;

    use super::*;
    use crate::listen::steer::Ids;
    use crate::listen::tests::listener;
    use crate::listen::{Sockets, bind};

    /// Removes the program from a group, so that the kernel distributes by address.
    #[allow(unsafe_code, reason = "no crate wraps SO_DETACH_REUSEPORT_BPF")]
    pub(in crate::listen) fn detach(socket: &UdpSocket) {
        let zero: libc::c_int = 0;
        // SAFETY: the argument is an integer of the given size, which the kernel ignores.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_DETACH_REUSEPORT_BPF,
                (&raw const zero).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        assert_eq!(result, 0, "{}", io::Error::last_os_error());
    }

    #[test]
    fn the_kernel_computes_the_same_worker() {
        const WORKERS: usize = 5;
        let sockets = bind(&listener(), WORKERS, false).unwrap();
        let group = Arc::clone(&sockets[0].group);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = sockets[0].address();
        let received = |sockets: &[Sockets]| {
            let mut buffer = [0; 100];
            let deadline = std::time::Instant::now() + Duration::from_secs(5);
            loop {
                for (index, sockets) in sockets.iter().enumerate() {
                    if sockets.udp.as_ref().unwrap().recv(&mut buffer).is_ok() {
                        return index;
                    }
                }
                assert!(std::time::Instant::now() < deadline, "nothing received");
            }
        };
        for round in 0..200 {
            let id = Ids::new(Arc::clone(&group.steering), round % WORKERS).generate_cid();
            let short = [&[0x5a], &*id, &[0; 30]].concat();
            let long = [&[0xc3, 0, 0, 0, 1, 8], &*id, &[0; 30]].concat();
            // The client chose this id: any worker will do, but both sides must agree.
            let chosen = [&[0xc3, 0, 0, 0, 1, 18][..], &rand::random::<[u8; 18]>()].concat();
            for datagram in [short, long, chosen] {
                client.send_to(&datagram, address).unwrap();
                assert_eq!(received(&sockets), group.steering.worker(&datagram).unwrap());
            }
        }
        // The datagram is too short for an id: worker 0 answers or drops it.
        client.send_to(&[0xc3, 0, 0], address).unwrap();
        assert_eq!(received(&sockets), 0);
    }

    #[test]
    fn a_listener_that_refuses_handshakes_keeps_its_queue() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let queued = std::net::TcpStream::connect(address).unwrap();
        refuse_new_handshakes(&listener).unwrap();
        let late = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (_, client) = listener.accept().unwrap();
        assert_eq!(client, queued.local_addr().unwrap());
    }
}
