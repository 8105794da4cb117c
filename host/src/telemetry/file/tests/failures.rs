use super::*;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::writer::Writer;

#[test]
fn a_full_disk_costs_lines_and_the_next_good_line_begins_anew() {
    let case = Case::new();
    let dropped = Metrics::new().access_dropped;
    let lost = |bytes: &[u8]| {
        let before = dropped.get();
        let (writer, guard) =
            Writer::start("test", case.sink(), Duration::ZERO, dropped.clone()).unwrap();
        writer.line(bytes);
        drop(guard);
        dropped.get() - before
    };
    case.world.get().room = 6;
    assert_eq!(lost(b"one\ntwo\nthree\n"), 2);
    assert_eq!(case.read("a.log"), "one\ntw");
    assert_eq!(lost(b"four\n"), 1);
    case.world.get().room = 100;
    assert_eq!(lost(b"five\nsix\n"), 0);
    assert_eq!(case.read("a.log"), "one\ntw\nfive\nsix\n");
}

#[test]
fn a_failure_is_told_once_and_the_sink_recovers() {
    let case = Case::new();
    let folder = case.path("logs");
    fs::create_dir(&folder).unwrap();
    let mut sink = case.sink_at(&folder.join("x.log"));
    sink.write_all(b"one\n").unwrap();
    fs::remove_dir_all(&folder).unwrap();
    case.world.wait(1);
    for _ in 0..3 {
        sink.write_all(b"two\n").unwrap_err();
        case.world.wait(120);
    }
    assert_eq!(case.world.get().told.len(), 1);
    assert!(case.world.get().told[0].starts_with("weir: cannot write to \""));
    assert!(case.world.get().told[0].contains("No such file or directory"));
    fs::create_dir(&folder).unwrap();
    sink.write_all(b"three\n").unwrap();
    assert_eq!(case.read("logs/x.log"), "three\n");
    case.world.get().room = 0;
    sink.write_all(b"four\n").unwrap_err();
    assert_eq!(case.world.get().told.len(), 2, "the next failure is told again");
    // A disk that takes a line now and then is not told each time.
    case.world.get().room = 5;
    sink.write_all(b"five\n").unwrap();
    sink.write_all(b"six\n").unwrap_err();
    assert_eq!(case.world.get().told.len(), 2);
}

#[test]
fn a_line_that_a_crash_cut_off_is_ended() {
    let case = Case::new();
    fs::write(case.path("a.log"), "one\ntw").unwrap();
    case.sink().write_all(b"three\n").unwrap();
    assert_eq!(case.read("a.log"), "one\ntw\nthree\n");
}

#[test]
fn a_file_that_cannot_be_rotated_keeps_its_lines() {
    let mut case = Case::new();
    case.rotate.size = 5;
    let mut sink = case.sink();
    sink.write_all(b"one\ntwo\n").unwrap();
    let taken = case.files().into_keys().next_back().unwrap();
    for number in 1..1000 {
        fs::write(case.path(&format!("{taken}.{number}")), "").unwrap();
    }
    for _ in 0..2 {
        sink.write_all(b"two\n").unwrap();
    }
    assert_eq!(case.read("a.log"), "two\ntwo\ntwo\n");
    assert_eq!(case.world.get().told.len(), 1);
    assert!(case.world.get().told[0].starts_with("weir: cannot rotate \""));
    case.world.wait(1);
    sink.write_all(b"three\n").unwrap();
    assert_eq!(case.read("a.log"), "three\n");
}

#[test]
fn a_device_is_not_opened() {
    let case = Case::new();
    let mut sink = case.sink_at(Path::new("/dev/null"));
    assert_eq!(sink.open().unwrap_err().to_string(), "not a regular file");
}
