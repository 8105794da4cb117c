use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn tickets() -> Tickets {
    Tickets::new().unwrap()
}

#[test]
fn a_ticket_from_before_the_export_opens_after_the_import() {
    let one = tickets();
    let ticket = one.encrypt(b"session").unwrap();
    let two = Tickets::import(&one.export()).unwrap();
    assert_eq!(two.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
    let back = two.encrypt(b"other").unwrap();
    assert_eq!(one.decrypt(&back).as_deref(), Some(&b"other"[..]));
}

#[test]
fn a_ticket_of_other_keys_does_not_open() {
    let ticket = tickets().encrypt(b"session").unwrap();
    assert_eq!(tickets().decrypt(&ticket), None);
}

#[test]
fn a_ticket_tells_nothing_and_no_two_are_alike() {
    let tickets = tickets();
    let (one, two) = (tickets.encrypt(b"session").unwrap(), tickets.encrypt(b"session").unwrap());
    assert_ne!(one, two);
    assert!(!one.windows(7).any(|bytes| bytes == b"session"));
}

#[test]
fn a_rotation_keeps_the_previous_key_and_drops_the_one_before() {
    let (tickets, start) = (tickets(), Instant::now());
    let hours = |hours: u64| start + Duration::from_secs(hours * 3600 + 1);
    let first = tickets.seal(b"1", start).unwrap();
    let second = tickets.seal(b"2", hours(6)).unwrap();
    assert_ne!(first[..NAME], second[..NAME], "a new key");
    assert_eq!(tickets.open(&first, hours(6)).as_deref(), Some(&b"1"[..]));
    assert_eq!(tickets.open(&second, hours(11)).as_deref(), Some(&b"2"[..]));

    let third = tickets.seal(b"3", hours(12)).unwrap();
    assert_eq!(tickets.open(&first, hours(12)), None);
    assert_eq!(tickets.open(&second, hours(12)).as_deref(), Some(&b"2"[..]));
    assert_eq!(tickets.open(&third, hours(12)).as_deref(), Some(&b"3"[..]));
    assert_eq!(tickets.keys().previous.as_ref().map(|key| &key.name[..]), Some(&second[..NAME]));
}

#[test]
fn a_key_that_nobody_used_for_long_is_not_kept() {
    let (tickets, start) = (tickets(), Instant::now());
    let ticket = tickets.seal(b"1", start).unwrap();
    assert_eq!(tickets.open(&ticket, start + LIFETIME + ROTATION), None);
    assert!(tickets.keys().previous.is_none());
}

#[test]
fn the_age_of_a_key_moves_with_it() {
    let (one, start) = (tickets(), Instant::now());
    let old = one.seal(b"1", start).unwrap();
    let late = start + ROTATION + Duration::from_secs(60);
    let new = one.seal(b"2", late).unwrap();
    let two = Tickets::import(&one.export_at(late)).unwrap();

    // The other process counts on from these ages with a clock of its own.
    let now = Instant::now();
    assert_eq!(two.open(&old, now).as_deref(), Some(&b"1"[..]));
    assert_eq!(two.seal(b"3", now).unwrap()[..NAME], new[..NAME]);
    assert_eq!(
        two.open(&old, now + ROTATION - Duration::from_secs(120)).as_deref(),
        Some(&b"1"[..])
    );
    assert_eq!(two.open(&old, now + ROTATION), None);
}

#[test]
fn a_form_of_another_version_or_length_is_refused() {
    let exported = tickets().export();
    let mut other = exported.to_vec();
    other[0] = 2;
    assert_eq!(Tickets::import(&other).unwrap_err(), TicketsError::Version(2));
    for length in 0..exported.len() {
        assert_eq!(Tickets::import(&exported[..length]).unwrap_err(), TicketsError::Length);
    }
    let three = [&exported[..], &exported[1..], &exported[1..]].concat();
    assert_eq!(Tickets::import(&three).unwrap_err(), TicketsError::Length);
}

#[test]
fn a_session_that_is_too_large_gets_no_ticket() {
    let tickets = tickets();
    let largest = tickets.encrypt(&[7; MAX_SESSION]).unwrap();
    assert_eq!(tickets.decrypt(&largest).unwrap().len(), MAX_SESSION);
    assert_eq!(tickets.encrypt(&[7; MAX_SESSION + 1]), None);
    assert_eq!(tickets.decrypt(&[largest, vec![0]].concat()), None);
}

#[test]
fn threads_that_rotate_at_once_agree_on_one_key() {
    let (tickets, due) = (tickets(), Instant::now() + ROTATION);
    let sealed = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| tickets.seal(b"1", due))).collect();
        threads.into_iter().map(|one| one.join().unwrap().unwrap()).collect::<Vec<_>>()
    });
    assert!(sealed.iter().all(|ticket| ticket[..NAME] == sealed[0][..NAME]));
    assert!(sealed.iter().all(|ticket| tickets.open(ticket, due).is_some()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn garbage_is_no_ticket(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(tickets().decrypt(&bytes), None);
    }

    #[test]
    fn a_changed_ticket_does_not_open(session in vec(any::<u8>(), 0..100),
        at in any::<prop::sample::Index>(), flip in 1..=u8::MAX)
    {
        let tickets = tickets();
        let mut ticket = tickets.encrypt(&session).unwrap();
        prop_assert_eq!(tickets.decrypt(&ticket), Some(session));
        let at = at.index(ticket.len());
        ticket[at] ^= flip;
        prop_assert_eq!(tickets.decrypt(&ticket), None);
        prop_assert_eq!(tickets.decrypt(&ticket[..at]), None);
    }

    #[test]
    fn garbage_of_any_length_is_imported_or_refused(mut bytes in vec(any::<u8>(), 1..200)) {
        bytes[0] = VERSION;
        let is_whole = bytes.len() == 1 + RECORD || bytes.len() == 1 + 2 * RECORD;
        let imported = Tickets::import(&bytes);
        prop_assert_eq!(imported.is_ok(), is_whole);
        if let Ok(tickets) = imported {
            let ticket = tickets.encrypt(b"session").unwrap();
            prop_assert!(tickets.decrypt(&ticket).is_some());
        }
    }

    #[test]
    fn two_keys_of_any_age_are_imported(keys in vec(any::<u8>(), 2 * RECORD)) {
        let tickets = Tickets::import(&[&[VERSION], &keys[..]].concat()).unwrap();
        let ticket = tickets.encrypt(b"session").unwrap();
        prop_assert!(tickets.decrypt(&ticket).is_some());
    }
}
