use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use proptest::prelude::*;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::*;

const SOON: Duration = Duration::from_secs(20);

/// A pipe whose writing ends can be counted: the reading end ends when all are closed.
struct Counted {
    reader: io::PipeReader,
    writer: Option<OwnedFd>,
}

impl Counted {
    fn new() -> Self {
        let (reader, writer) = io::pipe().unwrap();
        Self { reader, writer: Some(writer.into()) }
    }

    fn ends(&self, count: usize) -> Vec<OwnedFd> {
        let writer = self.writer.as_ref().unwrap();
        (0..count).map(|_| writer.try_clone().unwrap()).collect()
    }

    /// Counts the descriptors of this process for the pipe, without the own writing end.
    fn open(&self) -> usize {
        let pipe = std::fs::read_link(format!("/proc/self/fd/{}", self.reader.as_raw_fd()));
        let pipe = pipe.unwrap();
        let entries = std::fs::read_dir("/proc/self/fd").unwrap();
        let targets = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| *target == pipe).count() - 2
    }

    /// Asserts that no writing end is left, also not in the buffer of a socket.
    fn assert_closed(mut self) {
        assert_eq!(self.open(), 0);
        drop(self.writer.take());
        assert_eq!(self.reader.read(&mut [0]).unwrap(), 0);
    }
}

fn pair() -> (Channel, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Channel::new(ours).unwrap(), theirs)
}

fn channels() -> (Channel, Channel) {
    let (ours, theirs) = pair();
    (ours, Channel::new(theirs).unwrap())
}

fn package(descriptors: usize) -> Package {
    let listener = ListenerPackage {
        address: "192.0.2.1:443".parse().unwrap(),
        name: "web".into(),
        tcp: descriptors,
        udp: 0,
        steering: SteeringPackage { secret: Hidden(vec![1, 2, 3]) },
        generation: 3,
        relays: Vec::new(),
    };
    Package {
        configuration: "version: 1\n".repeat(50_000),
        listeners: vec![listener],
        ..Package::default()
    }
}

fn header(version: u32, descriptors: u32, length: u64) -> Vec<u8> {
    let numbers = [version.to_be_bytes(), descriptors.to_be_bytes()];
    [&b"WEIR-UPG"[..], numbers.as_flattened(), &length.to_be_bytes()].concat()
}

fn send_with(stream: &UnixStream, bytes: &[u8], descriptors: &[OwnedFd]) {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<_> = descriptors.iter().map(|descriptor| descriptor.as_fd()).collect();
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    sendmsg(stream, &[io::IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
}

#[tokio::test]
async fn the_messages_of_an_upgrade_arrive_in_order() {
    let (old, new) = channels();
    let pipe = Counted::new();
    for count in [0, 1, 249, 250, 251, 600] {
        let ends = pipe.ends(count);
        let (sent, received) =
            tokio::join!(old.offer(package(count), &ends, SOON), new.receive_offer(SOON));
        sent.unwrap();
        let (offer, descriptors) = received.unwrap();
        assert_eq!(descriptors.len(), count);
        assert_eq!(offer.configuration.len(), 550_000);
        assert_eq!(offer.listeners[0].steering.secret, Hidden(vec![1, 2, 3]));
        for descriptor in &descriptors {
            let flags = rustix::io::fcntl_getfd(descriptor).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
        let mut writer =
            File::from(descriptors.into_iter().next().unwrap_or_else(|| pipe.ends(1).remove(0)));
        writer.write_all(b"x").unwrap();
        (&pipe.reader).read_exact(&mut [0]).unwrap();
    }
    new.send(&Message::Ready, SOON).await.unwrap();
    old.receive("ready", SOON).await.unwrap();
    let begun = vec![vec![Begun { generation: 1, ids: vec!["AAAA".into()] }]];
    old.send(&Message::Commit(Commit { begun, shared: serde_json::Value::Null }), SOON)
        .await
        .unwrap();
    let Message::Commit(commit) = new.receive("commit", SOON).await.unwrap() else { panic!() };
    assert_eq!(commit.begun[0][0].ids, ["AAAA"]);
    new.send(&Message::Serving, SOON).await.unwrap();
    old.receive("serving", SOON).await.unwrap();
    drop(new);
    assert!(matches!(old.receive("ready", SOON).await, Err(ChannelError::Ended)));
    pipe.assert_closed();
}

#[tokio::test]
async fn a_reason_and_a_wrong_message_are_told() {
    let (old, new) = channels();
    new.send(&Message::Failed { reason: "no certificate".into() }, SOON).await.unwrap();
    let error = old.receive("ready", SOON).await.unwrap_err();
    assert_eq!(error.to_string(), "the new process cannot serve: no certificate");
    new.send(&Message::Serving, SOON).await.unwrap();
    let error = old.receive("ready", SOON).await.unwrap_err();
    assert_eq!(error.to_string(), "the message is serving instead of ready");
    let error = old.receive("ready", Duration::from_millis(1)).await.unwrap_err();
    assert!(matches!(error, ChannelError::Late));
}

#[tokio::test]
async fn an_offer_with_a_wrong_number_of_descriptors_is_not_sent() {
    let (old, _new) = channels();
    let pipe = Counted::new();
    let ends = pipe.ends(2);
    let error = old.offer(package(3), &ends, SOON).await.unwrap_err();
    assert!(matches!(error, ChannelError::Descriptors { expected: 3, received: 2 }));
    let error = old.offer(package(MAX_DESCRIPTORS + 1), &ends, SOON).await.unwrap_err();
    assert!(matches!(error, ChannelError::Descriptors { .. }));
}

/// Sends one damaged message, closes the connection, and returns the error of the receiver.
async fn damaged(send: impl FnOnce(&UnixStream, &Counted)) -> String {
    let (channel, stream) = pair();
    let pipe = Counted::new();
    send(&stream, &pipe);
    drop(stream);
    let error = channel.receive_offer(SOON).await.unwrap_err();
    drop(channel);
    pipe.assert_closed();
    error.to_string()
}

#[tokio::test]
async fn every_damage_is_told_and_leaves_no_descriptor_open() {
    let body = |descriptors| {
        serde_json::to_vec(&Message::Offer(Box::new(Package {
            configuration: String::new(),
            ..package(descriptors)
        })))
        .unwrap()
    };
    let start = |count: u32, body: &[u8]| [&header(1, count, body.len() as u64), body].concat();

    let error = damaged(|mut stream, _| stream.write_all(&header(2, 0, 0)).unwrap()).await;
    assert!(error.contains("version 2 of the upgrade protocol, and this one 1"), "{error}");
    let error = damaged(|mut stream, _| stream.write_all(&[b'x'; 24]).unwrap()).await;
    assert_eq!(error, "the other process sends no message of an upgrade");
    let error = damaged(|mut stream, _| stream.write_all(&header(1, 0, 65 << 20)).unwrap()).await;
    assert_eq!(error, "a message of 68157440 bytes is too long");
    let error = damaged(|mut stream, _| stream.write_all(&header(1, 4097, 2)).unwrap()).await;
    assert_eq!(error, "4097 descriptors came instead of 4096");
    for cut in [1, 23, 24, 100] {
        let whole = start(0, &body(0));
        let error = damaged(|mut stream, _| stream.write_all(&whole[..cut]).unwrap()).await;
        assert_eq!(error, "the other process has ended within a message");
    }
    let error = damaged(|mut stream, _| stream.write_all(&start(0, b"{}")).unwrap()).await;
    assert_eq!(error, "a message is damaged");
    let error = damaged(|_, _| ()).await;
    assert_eq!(error, "the other process has ended");

    // Descriptors: with the head, too few, too many, another number than stated, none at all, and
    // fewer than the package needs.
    let error = damaged(|stream, pipe| send_with(stream, &start(0, &body(0)), &pipe.ends(3))).await;
    assert_eq!(error, "descriptors came with a message that has none");
    for (stated, byte, count) in [(2, 2, 1), (2, 2, 3), (2, 1, 2), (300, 250, 249)] {
        let error = damaged(|mut stream, pipe| {
            stream.write_all(&start(stated, &body(stated as usize))).unwrap();
            send_with(stream, &[byte], &pipe.ends(count));
        })
        .await;
        assert!(error.contains("descriptors came instead of"), "{error}");
    }
    let error = damaged(|mut stream, _| stream.write_all(&start(2, &body(2))).unwrap()).await;
    assert_eq!(error, "the other process has ended within a message");
    let error = damaged(|mut stream, pipe| {
        stream.write_all(&start(2, &body(3))).unwrap();
        send_with(stream, &[2], &pipe.ends(2));
    })
    .await;
    assert_eq!(error, "2 descriptors came instead of 3");
    let error = damaged(|mut stream, pipe| {
        stream.write_all(&start(2, b"{}")).unwrap();
        send_with(stream, &[2], &pipe.ends(2));
    })
    .await;
    assert_eq!(error, "a message is damaged");
}

/// A piece of a stream: bytes, with a number of descriptors.
fn pieces() -> impl Strategy<Value = Vec<(Vec<u8>, usize)>> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..60),
        (0..3u32, 0..5u32, 0..40u64).prop_map(|(v, d, l)| header(v, d, l)),
        Just(br#"{"type":"ready"}"#.to_vec()),
        (1..5u8).prop_map(|count| vec![count]),
    ];
    prop::collection::vec((bytes, 0..4usize), 0..8)
}

proptest! {
    #[test]
    fn garbage_never_panics_and_leaves_no_descriptor_open(pieces in pieces()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (channel, stream) = pair();
            let pipe = Counted::new();
            for (bytes, count) in &pieces {
                if *count > 0 {
                    send_with(&stream, bytes, &pipe.ends(*count));
                } else {
                    (&stream).write_all(bytes).unwrap();
                }
            }
            drop(stream);
            let mut offers = 0;
            while let Ok((package, descriptors)) = channel.receive_offer(SOON).await {
                assert_eq!(package.descriptors(), descriptors.len());
                offers += 1;
                assert!(offers <= pieces.len());
            }
            drop(channel);
            pipe.assert_closed();
        });
    }
}

#[test]
fn later_versions_may_add_fields_and_leave_out_others() {
    let message =
        r#"{"type":"offer","body":{"weir_version":"9.9.9","colour":"red","listeners":[]}}"#;
    let Ok(Message::Offer(package)) = serde_json::from_str(message) else { panic!() };
    assert_eq!((package.weir_version.as_str(), package.descriptors()), ("9.9.9", 0));
}

#[test]
fn secrets_do_not_show() {
    let mut package = package(1);
    package.configuration.clear();
    package.keys.retry = Hidden(vec![201, 202]);
    let shown = format!("{package:?}");
    assert!(shown.contains("Hidden(2 bytes)") && !shown.contains("201"), "{shown}");
}

/// The name of the test below that plays the new process.
const PLAY: &str = "handoff::tests::the_new_process";

fn start(play: &str) -> Successor {
    let arguments = ["--exact", play, "--nocapture", "--test-threads=1"];
    let program = std::env::current_exe().unwrap();
    Successor::start(Some(&program), arguments.map(Into::into)).unwrap()
}

/// Plays the new process, if this process was started by the test below.
#[tokio::test]
async fn the_new_process() {
    let Some(invitation) = Invitation::from_env() else { return };
    let channel = Channel::new(invitation.connect().unwrap()).unwrap();
    let (package, descriptors) = channel.receive_offer(SOON).await.unwrap();
    assert!(std::env::var_os("LISTEN_FDS").is_none());
    File::from(descriptors.into_iter().next().unwrap()).write_all(b"hello").unwrap();
    let reason = package.listeners[0].name.clone();
    channel.send(&Message::Failed { reason }, SOON).await.unwrap();
}

#[tokio::test]
async fn a_new_process_connects_gets_the_sockets_and_is_reaped() {
    let mut successor = start(PLAY);
    let channel = successor.connect(SOON).await.unwrap();
    let mut pipe = Counted::new();
    let ends = [pipe.writer.take().unwrap()];
    channel.offer(package(1), &ends, SOON).await.unwrap();
    drop(ends);
    let error = channel.receive("ready", SOON).await.unwrap_err();
    assert_eq!(error.to_string(), "the new process cannot serve: web");
    let status = successor.ended().await;
    assert!(status.success(), "{status}");
    let mut hello = String::new();
    pipe.reader.read_to_string(&mut hello).unwrap();
    assert_eq!(hello, "hello");
}

#[tokio::test]
async fn a_process_that_ends_early_or_never_connects_is_told() {
    let program = |path: &str, argument: &str| {
        Successor::start(Some(path.as_ref()), [argument.into()]).unwrap()
    };
    let error = program("/bin/false", "").connect(SOON).await.unwrap_err();
    assert!(error.to_string().contains("exit status: 1"), "{error}");
    let mut stuck = program("/bin/sleep", "1000");
    let error = stuck.connect(Duration::from_millis(20)).await.unwrap_err();
    assert!(matches!(error, SpawnError::Late));
    stuck.kill();
    let error = Successor::start(Some("/no/such/program".as_ref()), []).unwrap_err();
    assert_eq!(error.to_string(), "start /no/such/program");
}
