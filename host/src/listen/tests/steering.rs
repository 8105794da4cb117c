use super::*;

/// Connects many times, moves each connection to another port, and asks again.
async fn move_connections(server: Server) {
    let mut moved = Vec::new();
    for _ in 0..24 {
        let endpoint = quic_client();
        let mut h3 = H3::connect(&endpoint, server.address).await;
        assert_eq!(h3.get("/before").await.1, "/before");
        endpoint.rebind(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        for _ in 0..3 {
            assert_eq!(h3.get("/after").await.1, "/after");
        }
        moved.push((endpoint, h3));
    }
    let workers = server.log.threads.lock().unwrap().len();
    assert!(workers > 1, "connections reached {workers} worker");
    assert_eq!(server.counters.connections_total.get(), 24);
    assert_eq!(server.counters.connections_active.get(), 24);
    drop(moved);
}

#[test]
fn connections_survive_a_new_address_with_the_kernels_steering() {
    run(move_connections(Server::start(&listener(), 4)));
}

#[test]
fn connections_survive_a_new_address_by_handing_over() {
    run(move_connections(Server::start_unsteered(&listener(), 4)));
}

#[test]
fn one_client_socket_reaches_many_workers() {
    // With GRO the kernel merges datagrams of one sender, so they must be sorted one by one.
    run(async {
        for server in [Server::start(&listener(), 3), Server::start_unsteered(&listener(), 3)] {
            let endpoint = quic_client();
            let mut connections = Vec::new();
            for _ in 0..48 {
                connections.push(H3::connect(&endpoint, server.address).await);
            }
            for _ in 0..3 {
                let all = connections.iter_mut().map(|h3| h3.get("/big/30000"));
                for (status, body) in futures_util::future::join_all(all).await {
                    assert_eq!((status.as_u16(), body.len()), (200, 30_000));
                }
            }
            assert_eq!(server.log.threads.lock().unwrap().len(), 3);
        }
    });
}

#[test]
fn a_retry_leads_back_to_its_worker() {
    run(async {
        let mut config = listener();
        config.quic.retry = Retry::Always;
        let server = Server::start(&config, 4);
        for _ in 0..12 {
            let endpoint = quic_client();
            assert_eq!(H3::connect(&endpoint, server.address).await.get("/x").await.1, "/x");
        }
    });
}
