use tokio::task::JoinHandle;

use super::*;

/// A "process" that serves a listener, and the sockets that it can hand over.
struct Process {
    server: Server,
    kept: Kept,
    /// The packets that the next process passes back.
    feed: Option<JoinHandle<()>>,
}

fn start(sockets: Vec<Sockets>) -> Process {
    let kept = Kept::of(&sockets).unwrap().unwrap();
    Process { kept, server: Server::with(&listener(), sockets), feed: None }
}

fn feed(feed: Feed) -> JoinHandle<()> {
    #[allow(clippy::disallowed_methods, reason = "ends with the test's runtime")]
    tokio::task::spawn_local(feed.run())
}

/// Replaces a process by one with `workers` workers.
async fn replace(old: &mut Process, workers: usize) -> Process {
    let offered = old.kept.offer("").unwrap();
    let inherited = Inherited::from_package(offered.package, offered.descriptors).unwrap();
    let sockets = adopt(&listener(), inherited, workers).unwrap();
    old.feed = Some(feed(offered.feed.unwrap()));
    let begun = old.kept.stop_reading().await;
    let kept = Kept::of(&sockets).unwrap().unwrap();
    kept.take_over(&begun);
    Process { kept, server: Server::with(&listener(), sockets), feed: None }
}

fn connections(process: &Process) -> u64 {
    process.server.counters.connections_total.get()
}

#[test]
fn connections_outlive_two_upgrades_with_other_numbers_of_workers() {
    run(async {
        let first = start(bind(&listener(), 2, false).unwrap());
        let address = first.server.address;
        let endpoint = quic_client();
        let mut clients = Vec::new();
        let mut processes = vec![first];
        for workers in [3, 1, 0] {
            for _ in 0..6 {
                clients.push(H3::connect(&endpoint, address).await);
            }
            for h3 in &mut clients {
                assert_eq!(h3.get("/big/40000").await.1.len(), 40_000);
            }
            if workers > 0 {
                let next = replace(processes.last_mut().unwrap(), workers).await;
                processes.push(next);
            }
        }
        // Each process has the connections of its time, also after the clients have moved.
        endpoint.rebind(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        for h3 in &mut clients {
            assert_eq!(h3.get("/moved").await.1, "/moved");
        }
        let counts: Vec<_> = processes.iter().map(connections).collect();
        assert_eq!(counts, [6, 6, 6]);
        assert_eq!(processes[2].kept.sweep(), 2);
    });
}

#[test]
fn the_old_process_drains_while_the_new_one_serves() {
    run(async {
        let mut old = start(bind(&listener(), 2, false).unwrap());
        let address = old.server.address;
        let endpoint = quic_client();
        let mut h3 = H3::connect(&endpoint, address).await;
        let mut slow = h3.open(get("/slow")).await;
        slow.finish().await.unwrap();
        let log = Arc::clone(&old.server.log);
        until(|| log.begun.load(Ordering::Relaxed) == 1).await;

        let new = replace(&mut old, 2).await;
        let Process { server, kept, feed } = old;
        server.listening.share();
        drop(kept);
        server.drain.cancel();
        assert_eq!(H3::connect(&endpoint, address).await.get("/new").await.1, "/new");
        log.release.cancel();
        assert_eq!(answer(&mut slow).await.unwrap().1, "slow");
        server.drained().await;
        assert_eq!(connections(&new), 1);
        assert_eq!(new.kept.sweep(), 1);
        // The end of the process closes its end of the relay.
        feed.unwrap().abort();
        until(|| new.kept.sweep() == 0).await;
    });
}

#[test]
fn a_process_goes_on_when_its_successor_fails() {
    run(async {
        let mut old = start(bind(&listener(), 3, false).unwrap());
        let address = old.server.address;
        let endpoint = quic_client();
        let mut h3 = H3::connect(&endpoint, address).await;
        let new = replace(&mut old, 2).await;
        new.server.drained().await;
        drop(new.kept);
        old.kept.resume_reading();
        for _ in 0..8 {
            assert_eq!(H3::connect(&endpoint, address).await.get("/old").await.1, "/old");
        }
        assert_eq!(h3.get("/still").await.1, "/still");
        assert_eq!(connections(&old), 9);
    });
}

#[test]
fn one_activated_socket_serves_many_workers() {
    run(async {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).unwrap();
        let inherited = Inherited::activated(address, vec![tcp], vec![udp]);
        let process = start(adopt(&listener(), inherited, 3).unwrap());
        let endpoint = quic_client();
        let mut clients = Vec::new();
        for _ in 0..24 {
            clients.push(H3::connect(&endpoint, address).await);
        }
        for h3 in &mut clients {
            assert_eq!(h3.get("/big/30000").await.1.len(), 30_000);
        }
        assert_eq!(process.server.log.threads.lock().unwrap().len(), 3);
        // The worker that reads the socket may end first: another one reads it then.
        drop(clients);
        process.server.drained().await;
    });
}
