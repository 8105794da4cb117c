//! Replacement in a stream: the output does not depend on the borders of the pieces.

/// Texts and their replacements.
#[derive(Debug)]
pub(crate) struct Replacer {
    /// Sorted, the longest text first.
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether a byte begins a text.
    begins: [bool; 256],
}

impl Replacer {
    pub(crate) fn new(pairs: impl Iterator<Item = (String, String)>) -> Result<Replacer, String> {
        let mut pairs: Vec<_> =
            pairs.map(|(from, to)| (from.into_bytes(), to.into_bytes())).collect();
        if pairs.is_empty() {
            return Err("replace: is empty".to_owned());
        }
        let mut begins = [false; 256];
        for (at, (from, _)) in pairs.iter().enumerate() {
            let first = from.first().ok_or_else(|| format!("replace[{at}].from: is empty"))?;
            if let Some(begins) = begins.get_mut(usize::from(*first)) {
                *begins = true;
            }
        }
        pairs.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        Ok(Replacer { pairs, begins })
    }

    /// Replaces in the held bytes and the next piece. Returns the final output, and the bytes to
    /// hold: they can begin a text, or a longer text, and are seen again with the next piece.
    pub(crate) fn pass(&self, held: &[u8], piece: &[u8], end: bool) -> (Vec<u8>, Vec<u8>) {
        let joined;
        let input = if held.is_empty() {
            piece
        } else {
            joined = [held, piece].concat();
            &joined
        };
        let mut output = Vec::with_capacity(input.len() + 64);
        let mut rest = input;
        while let Some(at) = rest.iter().position(|byte| self.is_begin(*byte)) {
            let (before, from_here) = rest.split_at(at);
            output.extend_from_slice(before);
            rest = from_here;
            if !end && self.may_grow(rest) {
                return (output, rest.to_vec());
            }
            match self.pairs.iter().find(|(from, _)| rest.starts_with(from)) {
                Some((from, to)) => {
                    output.extend_from_slice(to);
                    rest = rest.get(from.len()..).unwrap_or_default();
                }
                None => {
                    output.extend(rest.first());
                    rest = rest.get(1..).unwrap_or_default();
                }
            }
        }
        output.extend_from_slice(rest);
        (output, Vec::new())
    }

    fn is_begin(&self, byte: u8) -> bool {
        self.begins.get(usize::from(byte)).copied().unwrap_or(false)
    }

    /// Whether `rest` is the beginning of a longer text.
    fn may_grow(&self, rest: &[u8]) -> bool {
        self.pairs.iter().any(|(from, _)| from.len() > rest.len() && from.starts_with(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replacer(pairs: &[(&str, &str)]) -> Replacer {
        let pairs = pairs.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned()));
        Replacer::new(pairs).unwrap()
    }

    fn stream(replacer: &Replacer, pieces: &[&[u8]]) -> Vec<u8> {
        let (mut output, mut held) = (Vec::new(), Vec::new());
        for piece in pieces {
            let (data, rest) = replacer.pass(&held, piece, false);
            output.extend(data);
            held = rest;
        }
        let (data, rest) = replacer.pass(&held, b"", true);
        assert!(rest.is_empty());
        output.extend(data);
        output
    }

    #[test]
    fn the_longest_text_at_the_first_place_wins() {
        let replacer = replacer(&[("ab", "1"), ("abc", "2"), ("bcd", "3")]);
        assert_eq!(stream(&replacer, &[b"abcd ab bcd abab"]), b"2d 1 3 11");
    }

    #[test]
    fn what_was_put_in_is_not_looked_at_again() {
        assert_eq!(stream(&replacer(&[("a", "aa")]), &[b"aba"]), b"aabaa");
    }

    #[test]
    fn however_the_stream_is_cut_the_same_comes_out() {
        let replacer = replacer(&[("aab", "X"), ("aabaab", "YY"), ("b", ""), ("ca", "c")]);
        let mut seed = 9_u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for _ in 0..2000 {
            let length = next(40);
            let input: Vec<u8> = (0..length).map(|_| b"abc"[next(3) as usize]).collect();
            let whole = stream(&replacer, &[&input]);
            let (mut pieces, mut rest) = (Vec::new(), &input[..]);
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(1 + next(rest.len() as u64) as usize);
                pieces.push(piece);
                rest = after;
            }
            assert_eq!(stream(&replacer, &pieces), whole, "{input:?} cut into {pieces:?}");
        }
    }

    #[test]
    fn what_is_held_back_is_bounded_by_the_longest_text() {
        let replacer = replacer(&[("aaaaaaaaab", "x")]);
        let (_, held) = replacer.pass(b"", &[b'a'; 10_000], false);
        assert!(held.len() < 10, "{}", held.len());
    }
}
