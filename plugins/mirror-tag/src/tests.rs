use weir_sdk::bindings::filtering;
use weir_sdk::{Edit, Header};

use super::*;

fn config(share: &str, by: &str) -> Config {
    Config {
        share: share.to_owned(),
        by: by.to_owned(),
        salt: String::new(),
        header: header(),
        value: value(),
        methods: methods(),
        paths: Vec::new(),
    }
}

/// The filter with the names of its inputs.
struct Tested {
    filter: MirrorTag,
    inputs: Vec<String>,
}

/// The outcome of a request.
#[derive(Debug, PartialEq, Eq)]
enum Became {
    Marked,
    Cleaned,
    Next,
}

fn tested(config: Config) -> Tested {
    let mut needs = FilterNeeds::default();
    let filter = MirrorTag::new(config, &mut needs).unwrap();
    Tested { filter, inputs: filtering::FilterNeeds::from(needs).inputs }
}

impl Tested {
    fn request(&mut self, values: &[(&str, &str)]) -> Became {
        let values = [values, &[(":method", "GET")]].concat();
        let value = |name: &String| values.iter().find(|(known, _)| known == name);
        let names = self.inputs.iter();
        let inputs: Vec<_> =
            names.map(|name| value(name).map(|(_, value)| value.as_bytes().to_vec())).collect();
        match self.filter.on_request(&Request { inputs: &inputs }) {
            RequestDecision::Next => Became::Next,
            RequestDecision::Edit(changes) => match &changes.edits[..] {
                [Edit::Set(Header { name, value })] => {
                    assert_eq!(
                        (name, &value[..]),
                        (&self.filter.header, self.filter.value.as_bytes())
                    );
                    Became::Marked
                }
                [Edit::Remove(name)] => {
                    assert_eq!(name, &self.filter.header);
                    Became::Cleaned
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn is_marked(&mut self, values: &[(&str, &str)]) -> bool {
        self.request(values) == Became::Marked
    }
}

fn clients(many: u32) -> impl Iterator<Item = String> {
    (0..many).map(|at| format!("192.0.{}.{}", at / 256, at % 256))
}

#[test]
fn the_share_is_as_asked_for() {
    for (share, wanted) in [("5%", 500), ("50%", 5000), ("0.5%", 50), ("0%", 0), ("100%", 10_000)] {
        let mut by_client = tested(config(share, "client"));
        let mut by_chance = tested(config(share, "random"));
        let marked = clients(10_000)
            .filter(|client| by_client.is_marked(&[("client.address", client)]))
            .count();
        let by_luck = (0..10_000).filter(|_| by_chance.is_marked(&[])).count();
        for count in [marked, by_luck] {
            // Six standard deviations of a binomial distribution.
            let near = 6.0 * (wanted as f64 * (1.0 - wanted as f64 / 10_000.0)).sqrt();
            let away = (count as f64 - wanted as f64).abs();
            assert!(away <= near, "{share}: {count}");
        }
    }
}

#[test]
fn one_key_is_always_marked_or_never_and_a_larger_share_keeps_it() {
    let (mut small, mut again, mut large) = (
        tested(config("10%", "cookie:sid")),
        tested(config("10%", "cookie:sid")),
        tested(config("20%", "cookie:sid")),
    );
    let mut marked = 0;
    for at in 0..1000 {
        let sid = at.to_string();
        let request = [("cookie:sid", sid.as_str())];
        let first = small.is_marked(&request);
        assert_eq!(again.is_marked(&request), first);
        assert!(large.is_marked(&request) || !first, "{sid}");
        marked += u32::from(first);
    }
    assert!((50..150).contains(&marked), "{marked}");
}

#[test]
fn another_salt_chooses_others() {
    let salted = |salt: &str| {
        let mut tested = tested(Config { salt: salt.to_owned(), ..config("50%", "client") });
        clients(1000).map(|c| tested.is_marked(&[("client.address", &c)])).collect::<Vec<_>>()
    };
    let both = salted("a").iter().zip(salted("b")).filter(|(a, b)| **a && *b).count();
    assert!((150..350).contains(&both), "{both}");
}

#[test]
fn an_ipv6_client_is_its_network() {
    let mut tested = tested(config("50%", "client"));
    let mut differ = 0;
    for at in 0..200 {
        let mut of = |host: &str| {
            tested.is_marked(&[("client.address", &format!("2001:db8:{at:x}::{host}"))])
        };
        let (a, b) = (of("1"), of("ffff:2"));
        assert_eq!(a, b);
        differ += u32::from(a);
    }
    assert!((50..150).contains(&differ), "{differ}");
}

#[test]
fn what_lacks_the_key_is_not_marked() {
    for by in ["header:x-user", "cookie:sid", "client"] {
        assert_eq!(tested(config("100%", by)).request(&[]), Became::Next, "{by}");
    }
    assert!(!tested(config("100%", "client")).is_marked(&[("client.address", "nonsense")]));
    assert!(tested(config("100%", "header:X-User")).is_marked(&[("header:x-user", "")]));
}

#[test]
fn what_a_client_claims_is_removed() {
    let claimed = ("header:x-mirror", "1");
    let mut none = tested(config("0%", "random"));
    assert_eq!(none.request(&[claimed]), Became::Cleaned);
    assert_eq!(none.request(&[]), Became::Next);
    let mut all = tested(config("100%", "random"));
    assert_eq!(all.request(&[claimed]), Became::Marked);
    assert_eq!(all.request(&[claimed, (":method", "POST")]), Became::Cleaned);
}

#[test]
fn only_safe_methods_are_marked_unless_told_otherwise() {
    let mut safe = tested(config("100%", "random"));
    for (method, is_marked) in
        [("GET", true), ("HEAD", true), ("POST", false), ("OPTIONS", false), ("get", false)]
    {
        assert_eq!(safe.is_marked(&[(":method", method)]), is_marked, "{method}");
    }
    let mut post = tested(Config { methods: vec!["POST".to_owned()], ..config("100%", "random") });
    assert!(post.is_marked(&[(":method", "POST")]));
    assert!(!post.is_marked(&[(":method", "GET")]));
}

#[test]
fn only_paths_below_a_prefix_are_marked() {
    let paths = vec!["/shop".to_owned(), "/api/".to_owned()];
    let mut some = tested(Config { paths, ..config("100%", "random") });
    for path in ["/shop", "/shop/cart?x", "/shop?x=/", "/api", "/api/a"] {
        assert!(some.is_marked(&[(":path", path)]), "{path}");
    }
    for path in ["/", "/shops", "/x/shop", "/?/shop", "/apis"] {
        assert!(!some.is_marked(&[(":path", path)]), "{path}");
    }
    let mut all = tested(Config { paths: vec!["/".to_owned()], ..config("100%", "random") });
    assert!(all.is_marked(&[(":path", "/any")]));
}

#[test]
fn name_and_value_are_as_configured() {
    let config = Config {
        header: "X-Shadow".to_owned(),
        value: "blue green".to_owned(),
        ..config("100%", "random")
    };
    let mut tested = tested(config);
    assert!(tested.is_marked(&[]));
    assert_eq!(tested.filter.header, "x-shadow");
}

#[test]
fn shares_are_read() {
    assert_eq!(share("0%"), Some(0));
    assert_eq!(share("100%"), Some(1 << 64));
    assert_eq!(share("50%"), Some(1 << 63));
    assert_eq!(share("12.5%"), Some(1 << 61));
    assert_eq!(share("0.0001%"), Some((1 << 64) / 1_000_000));
    for text in ["", "%", "5", "-1%", "101%", "100.0001%", "5.%", ".5%", "0.00001%", "5 %", "1e1%"]
    {
        assert_eq!(share(text), None, "{text}");
    }
}

#[test]
fn mistakes_are_named() {
    let good = || config("5%", "client");
    let texts = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    let wrong = [
        (config("5", "client"), "share:"),
        (config("5%", "clients"), "by:"),
        (config("5%", "header:"), "by:"),
        (config("5%", "header:a b"), "by:"),
        (config("5%", "cookie:a=b"), "by:"),
        (Config { salt: "a".repeat(65), ..good() }, "salt:"),
        (Config { header: "Host".to_owned(), ..good() }, "header:"),
        (Config { header: "x a".to_owned(), ..good() }, "header:"),
        (Config { value: String::new(), ..good() }, "value:"),
        (Config { value: "a\nb".to_owned(), ..good() }, "value:"),
        (Config { value: " a".to_owned(), ..good() }, "value:"),
        (Config { methods: texts(&["GET", "post"]), ..good() }, "methods[1]:"),
        (Config { methods: Vec::new(), ..good() }, "methods:"),
        (Config { paths: texts(&["/a", "b"]), ..good() }, "paths[1]:"),
        (Config { paths: texts(&["/a?b"]), ..good() }, "paths[0]:"),
        (Config { paths: texts(&["/a"; 65]), ..good() }, "paths: at most"),
    ];
    for (config, place) in wrong {
        let error = MirrorTag::new(config, &mut FilterNeeds::default()).unwrap_err();
        assert!(error.starts_with(place), "{place} {error:?}");
    }
}
