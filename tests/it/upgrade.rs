//! Upgrades of the binary while it serves: clients of all protocols notice nothing, and a new
//! process that cannot serve changes nothing.

mod failures;
pub(crate) mod load;
mod moved;
mod program;
mod systemd;

use crate::support::body::Pattern;
use crate::support::{Answer, Api, Body, Origin, Protocol, Setup, Weir, processes, within};
use load::Load;

pub(crate) const MIB: u64 = 1 << 20;

/// Upgrades by the signal. Returns the ids of the process that drains and of the one that serves.
pub(crate) async fn upgrade(weir: &mut Weir) -> (u32, u32) {
    let before = weir.pid();
    weir.signal("USR2");
    (before, weir.succeeded().await)
}

#[tokio::test]
async fn an_upgrade_under_load_fails_no_request() {
    let origin = Origin::start().await;
    let mut weir = Setup::to([&origin]).start().await;
    let load = Load::start(&weir).await;
    load.go_on().await;
    let (before, after) = upgrade(&mut weir).await;
    assert_ne!(before, after);
    load.go_on().await;
    // The old process drains; its kept connections move.
    assert!(weir.exit().await.success());
    load.go_on().await;
    load.stop(1).await.nothing_lost(&origin);
    weir.signal("TERM");
    processes::ended(after).await;
}

/// A download with its first bytes.
pub(crate) async fn begun(weir: &Weir, protocol: Protocol, length: u64) -> (Answer, Pattern, u64) {
    let mut answer = weir.client(protocol).await.get(&format!("/pattern/{length}")).await;
    assert_eq!(answer.status, 200, "{protocol:?}");
    let first = answer.chunk().await.unwrap().unwrap();
    let mut pattern = Pattern::new();
    assert!(pattern.goes_on(&first), "{protocol:?}");
    (answer, pattern, first.len() as u64)
}

/// Reads a download to its end. Returns its length.
pub(crate) async fn finish((mut answer, mut pattern, mut length): (Answer, Pattern, u64)) -> u64 {
    while let Some(chunk) = within("the download", answer.chunk()).await {
        let chunk = chunk.unwrap();
        assert!(pattern.goes_on(&chunk), "after {length} bytes");
        length += chunk.len() as u64;
    }
    length
}

#[tokio::test]
async fn downloads_that_began_before_end_whole() {
    let origin = Origin::start().await;
    let mut weir = Setup::to([&origin]).start().await;
    let mut downloads = Vec::new();
    for protocol in Protocol::ALL {
        downloads.push(begun(&weir, protocol, 16 * MIB).await);
    }
    upgrade(&mut weir).await;
    weir.logged("draining: a new process serves").await;
    for protocol in Protocol::ALL {
        assert_eq!(weir.get(protocol, "/who").await, (200, "origin".to_owned()), "{protocol:?}");
    }
    assert!(weir.is_running());
    for download in downloads {
        assert_eq!(finish(download).await, 16 * MIB);
    }
    assert!(weir.exit().await.success());
}

#[tokio::test]
async fn an_event_stream_goes_on() {
    let origin = Origin::start().await;
    let mut weir = Setup::to([&origin]).start().await;
    let client = weir.client(Protocol::H3).await;
    let mut events = client.get("/events").await;
    let mut count = 0;
    let mut next = async || {
        let event = within("an event", events.chunk()).await.unwrap().unwrap();
        assert_eq!(event, format!("event {count}\n"));
        count += 1;
        origin.release();
    };
    next().await;
    next().await;
    upgrade(&mut weir).await;
    next().await;
    weir.logged("draining: a new process serves").await;
    for round in 0..20 {
        if round % 5 == 0 {
            // The packets of another port reach the old process too.
            client.rebind();
        }
        next().await;
    }
    drop(events);
    assert!(weir.exit().await.success());
    origin.until_cancelled(1).await;
}

#[tokio::test]
async fn the_first_of_four_processes_still_gets_its_packets() {
    let origin = Origin::start().await;
    let mut weir = Setup::to([&origin]).start().await;
    let mut uploads = Vec::new();
    for protocol in Protocol::ALL {
        let (sender, body) = Body::channel();
        let client = weir.client(protocol).await;
        sender.send("before").await;
        let mut answer = client.post("/echo", body).await;
        assert_eq!(answer.chunk().await.unwrap().unwrap(), "before");
        uploads.push((client, sender, answer));
    }
    let mut left = Vec::new();
    for number in 0..3 {
        left.push(upgrade(&mut weir).await.0);
        for (_, sender, answer) in &mut uploads {
            let text = format!("after {number}");
            assert!(sender.send(text.clone()).await);
            assert_eq!(within("the echo", answer.chunk()).await.unwrap().unwrap(), text);
        }
    }
    // The processes between have no requests. The first one has.
    processes::ended(left[2]).await;
    processes::ended(left[1]).await;
    assert!(weir.is_running());
    for (_client, sender, answer) in uploads {
        assert!(sender.send("last").await);
        drop(sender);
        assert_eq!(answer.text().await, "last");
    }
    assert!(weir.exit().await.success());
    assert_eq!(weir.get(Protocol::H3, "/who").await.0, 200);
}

/// A Weir whose old process has answers of all protocols under way, and that old process.
async fn left_with_answers(origin: &Origin, grace: &str) -> (Weir, u32, Vec<Answer>) {
    let mut weir = Setup::to([origin]).grace(grace).start().await;
    let mut answers = Vec::new();
    for protocol in Protocol::ALL {
        let mut answer = weir.client(protocol).await.get("/hold-body").await;
        assert_eq!(answer.chunk().await.unwrap().unwrap(), "first");
        answers.push(answer);
    }
    let (old, _) = upgrade(&mut weir).await;
    weir.logged("draining: a new process serves").await;
    (weir, old, answers)
}

#[tokio::test]
async fn an_old_process_that_is_asked_to_end_finishes_its_requests() {
    let origin = Origin::start().await;
    let (mut weir, old, answers) = left_with_answers(&origin, "60s").await;
    processes::terminate(old);
    weir.logged("ending: the process was asked to").await;
    origin.release();
    for answer in answers {
        assert_eq!(answer.text().await, "last");
    }
    assert!(weir.exit().await.success());
    assert_eq!(weir.get(Protocol::H3, "/who").await.0, 200);
}

#[tokio::test]
async fn an_old_process_that_is_asked_twice_ends_at_once() {
    let origin = Origin::start().await;
    let (mut weir, old, answers) = left_with_answers(&origin, "60s").await;
    processes::terminate(old);
    weir.logged("ending: the process was asked to").await;
    processes::terminate(old);
    assert!(!weir.exit().await.success());
    for mut answer in answers {
        assert!(answer.bytes().await.is_err(), "a body that was cut off looks whole");
    }
}

#[tokio::test]
async fn the_grace_period_of_an_upgrade_bounds_the_old_process() {
    let origin = Origin::start().await;
    let (mut weir, _, answers) = left_with_answers(&origin, "60s, upgrade_grace: 300ms").await;
    assert!(weir.exit().await.success());
    for mut answer in answers {
        assert!(answer.bytes().await.is_err(), "a body that was cut off looks whole");
    }
    assert_eq!(weir.get(Protocol::H3, "/who").await.0, 200);
}

#[tokio::test]
async fn the_new_process_serves_the_admin_api_and_the_metrics_at_once() {
    let origin = Origin::start().await;
    let setup = Setup::to([&origin]).top(&Api::config("127.0.0.1:0"));
    let mut weir = setup.start().await;
    let api = Api::of(&weir);
    let old = api.pid().await;
    assert_eq!(old, weir.pid());
    let (ok, text) = api.command(&["upgrade"]).await;
    assert!(ok && text.contains("see weir status"), "{text}");
    let new = weir.succeeded().await;
    assert_eq!(api.pid().await, new);
    assert_eq!(api.get("/api/status").await["upgrade"]["state"], "none");
    assert!(weir.metrics().await.contains("process_start_time_seconds"));
    assert!(weir.exit().await.success());
    assert_eq!(api.pid().await, new);
    // Until its end the old process has taken connections too.
    let requests = weir.metric("http_requests_total", &[]).await;
    assert_eq!(weir.get(Protocol::H2, "/who").await.0, 200);
    let has_counted = |count| count >= requests + 1.0;
    weir.until_metric("http_requests_total", &[], has_counted).await;
}

#[tokio::test]
async fn the_file_of_the_admin_socket_stays_in_place() {
    let origin = Origin::start().await;
    let setup = Setup::to([&origin]);
    let file = setup.directory().join("admin.sock");
    let address = format!("unix:{}", file.display());
    let mut weir = setup.top(&Api::config(&address)).start().await;
    let api = Api::at(&address);
    assert_eq!(api.pid().await, weir.pid());
    let (_, new) = upgrade(&mut weir).await;
    assert_eq!(api.pid().await, new);
    assert!(weir.exit().await.success());
    assert_eq!(api.pid().await, new);
    let (ok, text) = api.command(&["status"]).await;
    assert!(ok && text.contains(&new.to_string()), "{text}");
    weir.signal("TERM");
    processes::ended(new).await;
    assert!(!file.exists(), "the last process removes the file");
}

#[tokio::test]
async fn a_signal_opens_the_log_files_anew() {
    let origin = Origin::start().await;
    let setup = Setup::to([&origin]).log("level: info, access_file: { path: access.log }");
    let [file, moved] = ["access.log", "access.log.1"].map(|name| setup.directory().join(name));
    let mut weir = setup.start().await;
    let records = |path: &std::path::Path| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().filter(|line| line.contains("/who")).count()
    };
    let until = async |path: &std::path::Path, wanted: usize| {
        let found = async || (records(path) == wanted).then_some(());
        crate::support::until(format!("record {wanted}"), found).await;
    };
    for expected in [1, 2] {
        assert_eq!(weir.get(Protocol::H1, "/who").await.0, 200);
        until(&file, 1).await;
        std::fs::rename(&file, &moved).unwrap();
        weir.signal("HUP");
        weir.logged("the configuration was reloaded").await;
        assert_eq!(weir.get(Protocol::H1, "/who").await.0, 200);
        until(&file, 1).await;
        assert_eq!(records(&moved), 1, "the record went to the old file");
        std::fs::remove_file(&file).unwrap();
        weir.signal("HUP");
        weir.logged("the configuration was reloaded").await;
        if expected == 1 {
            // The new process writes to the same files, and obeys the same signal. The old one
            // would take requests until its end, and the signal does not reach it.
            let (old, _) = upgrade(&mut weir).await;
            processes::ended(old).await;
        }
    }
}
