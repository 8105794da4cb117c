//! [`Lingering`]: users of series that stay until the series have been read.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts that are over, whose series the next scrapes still read: the failures of a generation that
/// was rolled back within seconds would otherwise never be seen. `T` removes its series when it is
/// dropped.
#[derive(Debug)]
pub(super) struct Lingering<T>(Mutex<VecDeque<(T, u8)>>);

impl<T> Default for Lingering<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Lingering<T> {
    pub(super) fn add(&self, part: T) {
        let mut all = self.lock();
        all.push_back((part, SCRAPES));
        let surplus = all.len().saturating_sub(MOST);
        let gone: Vec<_> = all.drain(..surplus).collect();
        // A drop takes another lock.
        drop(all);
        drop(gone);
    }

    /// Notes that all series were read.
    pub(super) fn scraped(&self) {
        let mut all = self.lock();
        all.iter_mut().for_each(|(_, left)| *left -= 1);
        let over = all.iter().take_while(|(_, left)| *left == 0).count();
        let gone: Vec<_> = all.drain(..over).collect();
        drop(all);
        drop(gone);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(T, u8)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Scrapes that still read the series.
const SCRAPES: u8 = 2;

/// Parts that linger while nobody reads the metrics.
const MOST: usize = 32;

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_part_stays_for_two_scrapes() {
        let (lingering, part, later) = (Lingering::default(), Rc::new(()), Rc::new(()));
        lingering.add(Rc::clone(&part));
        lingering.scraped();
        lingering.add(Rc::clone(&later));
        assert_eq!(Rc::strong_count(&part), 2);
        lingering.scraped();
        assert_eq!((Rc::strong_count(&part), Rc::strong_count(&later)), (1, 2));
        lingering.scraped();
        assert_eq!(Rc::strong_count(&later), 1);
    }

    #[test]
    fn few_linger_without_scrapes() {
        let (lingering, part) = (Lingering::default(), Rc::new(()));
        (0..100).for_each(|_| lingering.add(Rc::clone(&part)));
        assert_eq!(Rc::strong_count(&part), 1 + MOST);
    }
}
