//! A token bucket, stored as one number: the time at which it is full.

/// The arithmetic of all buckets. Times are in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    /// The time for one token.
    token: u64,
    /// The time for all tokens.
    whole: u64,
}

/// The decision on a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The request passes: the tokens left, and the time until the bucket is full.
    Pass { left: u64, full_in: u64 },
    /// The request must wait: the time until there is a token, and until the bucket is full.
    Wait { retry_in: u64, full_in: u64 },
}

impl Bucket {
    pub(crate) fn new(requests: u64, per: u64, burst: u64) -> Result<Bucket, String> {
        let token = per.checked_div(requests).filter(|token| *token > 0);
        let token = token.ok_or("requests: must be from 1 to 1,000,000,000 in a second")?;
        let whole = token.checked_mul(burst).filter(|whole| (1..u64::MAX / 4).contains(whole));
        let whole = whole.ok_or("burst: must be at least 1, and filled within centuries")?;
        Ok(Bucket { token, whole })
    }

    /// Takes a token from a bucket that is full at `full_at`. Returns the new time at which it is
    /// full, or `None` if nothing changed.
    pub(crate) fn take(&self, full_at: Option<u64>, now: u64) -> (Verdict, Option<u64>) {
        // A time beyond a whole bucket comes from another configuration, or from a clock that was
        // set back.
        let full_at = full_at.unwrap_or(now).clamp(now, now.saturating_add(self.whole));
        let then = full_at.saturating_add(self.token);
        let missing = then - now;
        match self.whole.checked_sub(missing) {
            Some(rest) => (Verdict::Pass { left: rest / self.token, full_in: missing }, Some(then)),
            None => {
                let (retry_in, full_in) = (missing - self.whole, full_at - now);
                (Verdict::Wait { retry_in, full_in }, None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_then_the_rate() {
        let bucket = Bucket::new(10, SECOND, 5).unwrap();
        let (mut full_at, mut passed) = (None, Vec::new());
        for tick in 0..200 {
            let now = SECOND + tick * SECOND / 100;
            if let (Verdict::Pass { .. }, then) = bucket.take(full_at, now) {
                full_at = then;
                passed.push(tick);
            }
        }
        // Five at once, then one per 100 ms. 2 s give 20 more, and the first of them began to fill
        // at 0.
        assert_eq!(passed[..5], [0, 1, 2, 3, 4]);
        assert_eq!(passed.len(), 5 + 19);
        assert!(passed[5..].windows(2).all(|pair| pair[1] - pair[0] == 10), "{passed:?}");
    }

    #[test]
    fn who_waits_as_told_passes() {
        let bucket = Bucket::new(3, 60 * SECOND, 1).unwrap();
        let (_, full_at) = bucket.take(None, 5);
        let (Verdict::Wait { retry_in, .. }, None) = bucket.take(full_at, 6) else { panic!() };
        assert!(matches!(bucket.take(full_at, 6 + retry_in - 1).0, Verdict::Wait { .. }));
        assert!(matches!(bucket.take(full_at, 6 + retry_in).0, Verdict::Pass { .. }));
    }

    #[test]
    fn a_date_from_the_future_does_not_block_for_ever() {
        let bucket = Bucket::new(1, SECOND, 2).unwrap();
        let (verdict, _) = bucket.take(Some(u64::MAX), SECOND);
        assert_eq!(verdict, Verdict::Wait { retry_in: SECOND, full_in: 2 * SECOND });
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Bucket::new(0, SECOND, 1).is_err());
        assert!(Bucket::new(u64::MAX, SECOND, 1).is_err());
        assert!(Bucket::new(1, SECOND, 0).is_err());
        assert!(Bucket::new(1, 3_600 * SECOND, u64::MAX).is_err());
    }
}
