mod failures;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use tempfile::TempDir;

use super::*;

/// A world with a clock that stands still, and a disk of a given size.
#[derive(Clone)]
struct Small(Arc<Mutex<Inside>>);

struct Inside {
    now: SystemTime,
    /// The bytes that the disk still takes.
    room: usize,
    told: Vec<String>,
}

impl Small {
    fn get(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap()
    }

    fn wait(&self, seconds: u64) {
        self.get().now += Duration::from_secs(seconds);
    }
}

impl World for Small {
    fn now(&mut self) -> SystemTime {
        self.get().now
    }

    fn append(&mut self, file: &File, bytes: &[u8]) -> io::Result<usize> {
        let mut inside = self.get();
        let taken = bytes.len().min(inside.room);
        if taken == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        inside.room -= taken;
        System.append(file, &bytes[..taken])
    }

    fn tell(&mut self, text: &str) {
        self.get().told.push(text.to_owned());
    }
}

/// A folder with one log file in it.
struct Case {
    folder: TempDir,
    world: Small,
    reopen: Reopen,
    rotate: Rotation,
}

impl Case {
    fn new() -> Self {
        let now = SystemTime::now();
        let inside = Inside { now, room: usize::MAX, told: Vec::new() };
        Self {
            folder: tempfile::tempdir().unwrap(),
            world: Small(Arc::new(Mutex::new(inside))),
            reopen: Reopen::default(),
            rotate: Rotation { size: 1 << 20, age: None, keep: 1 << 30 },
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn sink(&self) -> FileSink<Small> {
        self.sink_at(&self.path("a.log"))
    }

    fn sink_at(&self, path: &Path) -> FileSink<Small> {
        let file = LogFile { path: path.to_owned(), rotate: self.rotate.clone() };
        FileSink::within(self.world.clone(), &file, &self.reopen)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Returns the contents of all files whose names begin with that of the log, by name.
    fn files(&self) -> BTreeMap<String, String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("a.log")).map(|n| (n.clone(), self.read(&n))).collect()
    }

    /// Returns the contents of the rotated files, the oldest first.
    fn rotated(&self) -> Vec<String> {
        self.files().into_iter().skip(1).map(|(_, text)| text).collect()
    }
}

#[test]
fn a_file_is_made_for_its_owner_and_group_and_an_existing_one_continues() {
    let case = Case::new();
    case.sink().write_all(b"one\n").unwrap();
    case.sink().write_all(b"two\n").unwrap();
    assert_eq!(case.read("a.log"), "one\ntwo\n");
    let mode = fs::metadata(case.path("a.log")).unwrap().permissions().mode();
    assert_eq!(mode & 0o137, 0, "{mode:o}");
}

#[test]
fn a_line_that_does_not_fit_begins_a_new_file() {
    let mut case = Case::new();
    case.rotate.size = 10;
    let mut sink = case.sink();
    sink.write_all(b"1234\n1234\n5\n").unwrap();
    assert_eq!(case.read("a.log"), "5\n");
    assert_eq!(case.rotated(), ["1234\n1234\n"]);
    sink.write_all(b"a line of more than ten bytes\n6\n").unwrap();
    assert_eq!(case.read("a.log"), "6\n");
    let names: Vec<String> = case.files().into_keys().collect();
    assert_eq!(case.rotated(), ["1234\n1234\n", "5\n", "a line of more than ten bytes\n"]);
    // The clock stands still, so all files are of one second.
    let time = names[1].strip_prefix("a.log.").unwrap();
    assert_eq!(time.len(), "2026-01-02T03-04-05".len());
    assert_eq!(names, ["a.log", &names[1], &format!("{}.1", names[1]), &format!("{}.2", names[1])]);
}

#[test]
fn a_restart_continues_the_size_and_the_age_of_a_file() {
    let mut case = Case::new();
    case.rotate.size = 11;
    case.rotate.age = Some(Duration::from_secs(3600));
    case.sink().write_all(b"12345\n").unwrap();
    case.sink().write_all(b"12345\n").unwrap();
    assert_eq!(case.rotated(), ["12345\n"]);
    case.world.wait(3500);
    case.sink().write_all(b"67\n").unwrap();
    assert_eq!(case.read("a.log"), "12345\n67\n");
    case.world.wait(3610);
    case.sink().write_all(b"8\n").unwrap();
    assert_eq!(case.read("a.log"), "8\n");
    assert_eq!(case.rotated(), ["12345\n", "12345\n67\n"]);
}

#[test]
fn an_old_file_makes_room_and_an_empty_one_has_no_age() {
    let mut case = Case::new();
    case.rotate.age = Some(Duration::from_secs(3600));
    fs::write(case.path("a.log"), "").unwrap();
    case.world.wait(7200);
    let mut sink = case.sink();
    sink.write_all(b"one\n").unwrap();
    case.world.wait(3599);
    sink.write_all(b"two\n").unwrap();
    assert_eq!(case.rotated(), [""; 0]);
    case.world.wait(1);
    sink.write_all(b"three\n").unwrap();
    assert_eq!(case.rotated(), ["one\ntwo\n"]);
    assert_eq!(case.read("a.log"), "three\n");
}

#[test]
fn all_files_together_stay_within_the_bound_and_others_survive() {
    let mut case = Case::new();
    (case.rotate.size, case.rotate.keep) = (10, 30);
    let foreign = [
        "a.log.1",
        "a.log.2020-01-01T00-00-00.gz",
        "a.log.2020-01-01",
        "b.log.2020-01-01T00-00-00",
        "a.logs",
    ];
    for name in foreign {
        fs::write(case.path(name), "1234567890").unwrap();
    }
    fs::create_dir(case.path("a.log.2020-01-01T00-00-00")).unwrap();
    symlink("a.log.1", case.path("a.log.2020-01-01T00-00-01")).unwrap();
    // An earlier run left this file.
    fs::write(case.path("a.log.2020-01-01T00-00-02"), "x".repeat(25)).unwrap();
    let mut sink = case.sink();
    let mut most = 0;
    for number in 0..20 {
        sink.write_all(format!("{number:04}\n").as_bytes()).unwrap();
        case.world.wait(1);
        let names = fs::read_dir(case.folder.path()).unwrap().map(|entry| entry.unwrap());
        let own = names.filter(|entry| {
            let name = entry.file_name().into_string().unwrap();
            let is_file = entry.file_type().unwrap().is_file();
            name.starts_with("a.log") && is_file && !foreign.contains(&name.as_str())
        });
        let total: u64 = own.map(|entry| entry.metadata().unwrap().len()).sum();
        assert!(total <= 30, "{total} bytes");
        most = most.max(total);
    }
    assert_eq!(most, 30, "no more is deleted than must be");
    assert!(!case.path("a.log.2020-01-01T00-00-02").exists());
    for name in foreign {
        assert_eq!(case.read(name), "1234567890", "{name}");
    }
    assert!(case.path("a.log.2020-01-01T00-00-00").is_dir());
    assert!(case.path("a.log.2020-01-01T00-00-01").is_symlink());
    assert_eq!(case.read("a.log"), "0018\n0019\n");
}

#[test]
fn a_file_that_was_moved_or_deleted_is_followed_within_a_second() {
    let case = Case::new();
    let mut sink = case.sink();
    sink.write_all(b"one\n").unwrap();
    fs::rename(case.path("a.log"), case.path("moved")).unwrap();
    sink.write_all(b"two\n").unwrap();
    assert_eq!(case.read("moved"), "one\ntwo\n", "the path is not looked at for each line");
    case.world.wait(1);
    sink.write_all(b"three\n").unwrap();
    assert_eq!(case.read("a.log"), "three\n");
    fs::remove_file(case.path("a.log")).unwrap();
    case.world.wait(1);
    sink.write_all(b"four\n").unwrap();
    assert_eq!(case.read("a.log"), "four\n");
    assert_eq!(case.read("moved"), "one\ntwo\n");
}

#[test]
fn a_file_that_was_cut_or_that_another_process_filled_has_its_real_size() {
    let mut case = Case::new();
    case.rotate.size = 10;
    let mut sink = case.sink();
    sink.write_all(b"12345678\n").unwrap();
    fs::write(case.path("a.log"), "").unwrap();
    case.world.wait(1);
    sink.write_all(b"12345678\n").unwrap();
    assert_eq!(case.rotated(), [""; 0]);
    fs::write(case.path("a.log"), "").unwrap();
    case.world.wait(1);
    sink.write_all(b"1\n").unwrap();
    let mut other = File::options().append(true).open(case.path("a.log")).unwrap();
    other.write_all(b"1234567\n").unwrap();
    case.world.wait(1);
    sink.write_all(b"2\n").unwrap();
    assert_eq!(case.rotated(), ["1\n1234567\n"]);
}

#[test]
fn a_request_to_reopen_needs_no_second() {
    let case = Case::new();
    let mut sinks = [case.sink(), case.sink_at(&case.path("b.log"))];
    for sink in &mut sinks {
        sink.write_all(b"one\n").unwrap();
    }
    for name in ["a", "b"] {
        fs::rename(case.path(&format!("{name}.log")), case.path(name)).unwrap();
    }
    case.reopen.ask();
    for sink in &mut sinks {
        sink.write_all(b"two\n").unwrap();
        sink.write_all(b"three\n").unwrap();
    }
    for name in ["a", "b"] {
        assert_eq!(case.read(name), "one\n");
        assert_eq!(case.read(&format!("{name}.log")), "two\nthree\n");
    }
}

#[test]
fn a_link_stays_and_its_file_is_rotated_beside_itself() {
    let mut case = Case::new();
    case.rotate.size = 6;
    fs::create_dir(case.path("data")).unwrap();
    symlink("data/real.log", case.path("link.log")).unwrap();
    let mut sink = case.sink_at(&case.path("link.log"));
    sink.write_all(b"one\ntwo\n").unwrap();
    assert!(case.path("link.log").is_symlink());
    assert_eq!(case.read("data/real.log"), "two\n");
    assert_eq!(fs::read_dir(case.path("data")).unwrap().count(), 2);
    assert_eq!(fs::read_dir(case.folder.path()).unwrap().count(), 2);
}

#[test]
fn a_file_that_another_process_has_rotated_is_not_rotated_again() {
    let mut case = Case::new();
    case.rotate.size = 10;
    let (mut old, mut new) = (case.sink(), case.sink());
    old.write_all(b"1234\n").unwrap();
    new.write_all(b"5678\n").unwrap();
    old.write_all(b"90\n").unwrap();
    new.write_all(b"new\n").unwrap();
    old.write_all(b"old\n").unwrap();
    assert_eq!(case.rotated(), ["1234\n5678\n90\n"]);
    assert_eq!(case.read("a.log"), "new\nold\n");
}

#[test]
fn two_processes_write_and_rotate_one_file_and_lose_no_line() {
    let mut case = Case::new();
    case.rotate.size = 500;
    std::thread::scope(|scope| {
        for name in ["old", "new"] {
            let case = &case;
            scope.spawn(move || {
                let file = LogFile { path: case.path("a.log"), rotate: case.rotate.clone() };
                let mut sink = FileSink::new(&file, &case.reopen);
                for number in 0..1000 {
                    sink.write_all(format!("{name} {number}\n").as_bytes()).unwrap();
                }
            });
        }
    });
    let text: String = case.files().into_values().collect();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let names = ["old", "new"].into_iter();
    let all = names.flat_map(|name| (0..1000).map(move |number| format!("{name} {number}")));
    let mut all: Vec<String> = all.collect();
    all.sort_unstable();
    assert_eq!(lines, all);
    assert!(case.files().len() > 10);
}
