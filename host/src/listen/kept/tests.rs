use quinn_udp::RecvMeta;

use super::*;
use crate::listen::adopt::{AdoptError, Inherited, adopt};
use crate::listen::bind;
use crate::listen::handover::tests::{datagram, taken};
use crate::listen::steer::GENERATIONS;
use crate::listen::tests::listener;

/// Hands the sockets of one "process" to another with `workers` workers.
fn succeed(kept: &Kept, workers: usize) -> (Vec<Sockets>, Feed) {
    let Offered { package, descriptors, feed } = kept.offer("web").unwrap();
    let text = serde_json::to_string(&package).unwrap();
    let package = serde_json::from_str(&text).unwrap();
    let inherited = Inherited::from_package(package, descriptors).unwrap();
    (adopt(&listener(), inherited, workers).unwrap(), feed.unwrap())
}

fn start(workers: usize) -> (Vec<Sockets>, Kept) {
    let sockets = bind(&listener(), workers, false).unwrap();
    let kept = Kept::of(&sockets).unwrap().unwrap();
    (sockets, kept)
}

/// Receives a buffer on worker 0, and returns the bytes that stay there.
fn receive(group: &Group, buffer: &mut [u8], stride: usize) -> Vec<u8> {
    let mut meta = RecvMeta::default();
    (meta.len, meta.stride) = (buffer.len(), stride);
    meta.addr = "192.0.2.1:99".parse().unwrap();
    group.receive(0, buffer, &mut meta);
    buffer[..meta.len].to_vec()
}

/// Reads all that waits in a feed.
fn deliver(feed: &Feed) -> usize {
    let mut buffer = vec![0; relay::BUFFER];
    let mut messages = 0;
    while let Ok(length) = feed.inlet.recv(&mut buffer) {
        if let Some((meta, datagrams)) = relay::decode(&buffer[..length]) {
            feed.group.deliver(&meta, datagrams);
            messages += 1;
        }
    }
    messages
}

#[test]
fn any_number_of_workers_takes_the_sockets_of_any_other() {
    for (old, new) in [(3, 3), (4, 1), (3, 2), (1, 4), (2, 5)] {
        let (sockets, kept) = start(old);
        let (adopted, _feed) = succeed(&kept, new);
        assert_eq!(adopted.len(), new);
        let listening: usize = adopted.iter().map(|sockets| sockets.tcp.len()).sum();
        assert_eq!(listening, old.max(new), "{old} to {new}");
        assert!(adopted.iter().all(|sockets| !sockets.tcp.is_empty()));
        for (worker, sockets) in adopted.iter().enumerate() {
            assert_eq!((sockets.worker, sockets.address), (worker, kept.address));
            assert_eq!(sockets.udp.as_ref().unwrap().local_addr().unwrap(), kept.address);
        }
        assert!(adopted[0].group.sockets().len() >= old.max(new));
        assert_eq!(adopted[0].group.steering.generation, 1);
        drop(sockets);
    }
}

#[test]
fn packets_of_the_old_process_pass_back_in_runs() {
    let (_sockets, kept) = start(2);
    let old = Arc::clone(&kept.group);
    let (adopted, feed) = succeed(&kept, 3);
    let new = Arc::clone(&adopted[0].group);
    let parts = [(&old, 1, b'a'), (&old, 0, b'b'), (&new, 0, b'c'), (&old, 1, b'd')];
    let mut buffer: Vec<u8> = parts
        .iter()
        .flat_map(|(group, worker, mark)| datagram(group, *worker, 60, *mark))
        .collect();
    let own = receive(&new, &mut buffer, 60);
    assert_eq!((own.len(), own[59]), (60, b'c'));
    assert_eq!(deliver(&feed), 2, "runs of one process are one message");
    let marks = [1, 0, 1].map(|worker| {
        let (meta, bytes) = taken(&old, worker).unwrap();
        assert_eq!(meta.addr, "192.0.2.1:99".parse().unwrap());
        bytes[59]
    });
    assert_eq!(&marks, b"abd");
}

#[tokio::test]
async fn a_handshake_that_was_begun_stays_with_the_process_that_began_it() {
    let (_sockets, kept) = start(2);
    let (adopted, feed) = succeed(&kept, 2);
    let new_kept = Kept::of(&adopted).unwrap().unwrap();
    let (old, new) = (&kept.group, &new_kept.group);
    let initial = |mark: u8| {
        // The last byte of the client's id leads to worker 0 or 1 of either process.
        let mut packet = [&[0xc0, 0, 0, 0, 1, 8][..], &[mark; 8], &[0]].concat();
        packet.resize(100, mark);
        packet
    };
    let worker = old.steering.worker(&initial(7)).unwrap();
    // Worker 0 receives it. The place is that of the steering, and the id is noted in any case.
    receive(old, &mut initial(7), 100);
    let begun = kept.stop_reading().await;
    new_kept.take_over(&begun);

    assert_eq!(receive(new, &mut initial(7), 100).len(), 0);
    assert_eq!(deliver(&feed), 1);
    assert!(taken(old, worker).is_some());
    let fresh = receive(new, &mut initial(8), 100).len();
    let worker = new.steering.worker(&initial(8)).unwrap();
    assert_eq!(fresh, if worker == 0 { 100 } else { 0 });
    assert_eq!(deliver(&feed), 0, "a new connection is the new process's own");
}

#[test]
fn each_process_reaches_all_older_ones_until_they_end() {
    let (_sockets, first) = start(1);
    let (second, first_feed) = succeed(&first, 2);
    let second = Kept::of(&second).unwrap().unwrap();
    let (third, second_feed) = succeed(&second, 1);
    let third = Kept::of(&third).unwrap().unwrap();
    assert_eq!((second.sweep(), third.sweep()), (1, 2));
    for (kept, feed) in [(&first, &first_feed), (&second, &second_feed)] {
        let mut packet = datagram(&kept.group, 0, 50, b'x');
        assert_eq!(receive(&third.group, &mut packet, 50).len(), 0);
        assert_eq!(deliver(feed), 1);
    }
    drop(first_feed);
    assert_eq!((second.sweep(), third.sweep()), (0, 1));
    // Nothing answers for the first process any more: the third sends a stateless reset.
    let mut packet = datagram(&first.group, 0, 50, b'x');
    assert_eq!(receive(&third.group, &mut packet, 50).len(), 50);
}

#[test]
fn generations_wrap_and_are_bounded() {
    let (_sockets, mut kept) = start(1);
    let mut feeds = Vec::new();
    for generation in 1..GENERATIONS {
        let (adopted, feed) = succeed(&kept, 1);
        kept = Kept::of(&adopted).unwrap().unwrap();
        assert_eq!(kept.group.steering.generation, generation);
        feeds.push(feed);
    }
    assert!(matches!(kept.offer("web"), Err(OfferError::TooMany)));
    feeds.remove(0);
    let (adopted, _feed) = succeed(&kept, 1);
    assert_eq!(adopted[0].group.steering.generation, 0);
}

#[test]
fn a_package_that_does_not_fit_its_descriptors_is_refused() {
    let (_sockets, kept) = start(2);
    let offered = || kept.offer("web").unwrap();
    let refused = |package, descriptors| Inherited::from_package(package, descriptors).err();

    let mut missing = offered();
    missing.descriptors.pop();
    let error = refused(missing.package, missing.descriptors);
    assert!(matches!(error, Some(AdoptError::Count { expected: 5, received: 4, .. })), "{error:?}");

    let mut swapped = offered();
    swapped.descriptors.swap(0, 3);
    let error = refused(swapped.package, swapped.descriptors);
    assert!(matches!(error, Some(AdoptError::Kind { expected: "TCP", .. })), "{error:?}");

    let mut elsewhere = offered();
    elsewhere.package.address.set_port(1);
    let error = refused(elsewhere.package, elsewhere.descriptors);
    assert!(matches!(error, Some(AdoptError::Kind { .. })), "{error:?}");

    for damage in [9, GENERATIONS - 1] {
        let mut damaged = offered();
        damaged.package.generation = damage;
        damaged.package.relays = vec![0];
        let inherited = Inherited::from_package(damaged.package, damaged.descriptors).unwrap();
        let error = adopt(&listener(), inherited, 2).err();
        assert!(matches!(error, Some(AdoptError::Steering(_))), "{error:?}");
    }
}
