//! Checks that no text makes the built-in rules slow.

use regex_automata::MatchKind;
use regex_automata::dfa::{StartKind, dense};
use regex_automata::util::syntax;

use super::waf;
use crate::Config;

#[test]
fn the_whole_automaton_of_every_built_in_lane_is_small() {
    let waf = waf(Config::default());
    let config = dense::Config::new()
        .match_kind(MatchKind::All)
        .start_kind(StartKind::Unanchored)
        .dfa_size_limit(Some(1 << 20));
    let lanes = waf.program.lanes();
    assert!(lanes.len() > 10, "{}", lanes.len());
    for patterns in lanes {
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        let built = dense::Builder::new()
            .configure(config.clone())
            .syntax(syntax)
            .thompson(regex_automata::nfa::thompson::Config::new().utf8(false))
            .build_many(&patterns);
        assert!(built.is_ok(), "too many states together: {patterns:#?}");
    }
}
