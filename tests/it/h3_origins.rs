//! Origins of HTTP/3: how they are found, when TCP serves instead, and origins that end
//! connections, refuse requests, or break the rules.

use crate::h2_origins::never_complete;
use crate::support::origin::AUTHORITY;
use crate::support::raw_h2::{Outcome, RawH2, get};
use crate::support::raw_h3::varint;
use crate::support::raw_h3_origin::{
    Arrival, RawH3Origin, Step, data, frame, go_away, section, status, whole,
};
use crate::support::{Body, Origin, Protocol, Setup, Speaks, Weir, until};

const NO_ERROR: u64 = 0x100;
const REJECTED: u64 = 0x10b;
const CANCELLED: u64 = 0x10c;
const VERSION_FALLBACK: u64 = 0x110;

async fn before(origin: &RawH3Origin) -> Weir {
    let setup = Setup::addresses([origin.address()]).workers(1);
    setup.upstream(&origin.upstream()).upstream("timeouts: { first_byte: 2s }").start().await
}

/// The answer to a POST without a body, which is not idempotent.
async fn post(weir: &Weir) -> (u16, String) {
    let answer = weir.client(Protocol::H2).await.post("/", Body::empty()).await;
    (answer.status.as_u16(), answer.text().await)
}

/// The version that Via names: that of the origin's connection.
async fn version(weir: &Weir) -> String {
    let answer = weir.client(Protocol::H2).await.get("/who").await;
    assert_eq!(answer.status, 200);
    answer.header("via").to_owned()
}

#[tokio::test]
async fn tcp_serves_where_quic_does_not_work_and_quic_is_not_tried_each_time() {
    let origin = Origin::speaking(Speaks::H2).await;
    let upstream = origin.upstream().unwrap();
    let upstream = format!("protocol: h3\n    {upstream}");
    let weir = Setup::addresses([origin.address()]).workers(1).upstream(&upstream).start().await;
    assert_eq!(version(&weir).await, "2 weir");
    let started = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(version(&weir).await, "2 weir");
    }
    // None of them waited for QUIC's head start.
    assert!(started.elapsed() < std::time::Duration::from_secs(4));
    assert_eq!((origin.requests(), origin.connections()), (21, 1));
}

#[tokio::test]
async fn auto_learns_of_http3_from_alt_svc() {
    let origin = Origin::speaking(Speaks::H2AndH3).await;
    let weir = Setup::to([&origin]).workers(1).start().await;
    assert_eq!(version(&weir).await, "2 weir");
    until("HTTP/3", async || (version(&weir).await == "3 weir").then_some(())).await;
    for protocol in Protocol::ALL {
        let answer = weir.client(protocol).await.get("/who").await;
        assert_eq!(answer.header("via"), "3 weir", "{protocol:?}");
        // The alternative of the origin is none of Weir's.
        assert_ne!(answer.header("alt-svc"), format!("h3=\":{}\"", origin.address().port()));
    }
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn an_alternative_that_does_not_answer_costs_no_request() {
    // Nobody reads this socket.
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let alternative = format!("h3=\":{}\"", nobody.local_addr().unwrap().port());
    let origin = Origin::telling(Speaks::H2, alternative).await;
    let weir = Setup::to([&origin]).workers(1).start().await;
    for _ in 0..10 {
        assert_eq!(version(&weir).await, "2 weir");
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn probes_go_over_quic() {
    let origin = Origin::speaking(Speaks::H3).await;
    let health = "health: { path: /health, interval: 50ms, healthy_after: 1, unhealthy_after: 1 }";
    let weir = Setup::to([&origin]).upstream(health).start().await;
    until("probes", async || (origin.probes() > 2).then_some(())).await;
    assert_eq!(weir.get(Protocol::H3, "/who").await.0, 200);
    origin.set_healthy(false);
    until("503", async || (weir.get(Protocol::H3, "/who").await.0 == 503).then_some(())).await;
    origin.set_healthy(true);
    until("200", async || (weir.get(Protocol::H3, "/who").await.0 == 200).then_some(())).await;
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_refused_over_quic_too() {
    let origin = Origin::speaking(Speaks::H3).await;
    let other = crate::support::tls::Certificate::new();
    let upstream = format!("protocol: h3\n    tls: {{ ca: {} }}", other.cert());
    let weir = Setup::addresses([origin.address()]).upstream(&upstream).start().await;
    assert_eq!(weir.get(Protocol::H3, "/who").await.0, 502);
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn an_origin_that_asks_for_a_certificate_gets_it_over_quic() {
    let own = crate::support::tls::Certificate::new();
    let origin = Origin::asking(Speaks::H3, &own).await;
    let (ca, cert, key) = (AUTHORITY.cert(), own.cert(), own.key());
    let upstream = format!("protocol: h3\n    tls: {{ ca: {ca}, cert: {cert}, key: {key} }}");
    let weir = Setup::addresses([origin.address()]).upstream(&upstream).start().await;
    assert_eq!(weir.get(Protocol::H3, "/who").await.0, 200);
}

#[tokio::test]
async fn a_refused_request_is_sent_again_whatever_its_method() {
    let origin = RawH3Origin::start(&[], |request, _| match request.before {
        0 => vec![Step::Stop(REJECTED), Step::Reset(REJECTED)],
        _ => whole("second"),
    });
    let weir = before(&origin).await;
    assert_eq!(post(&weir).await, (200, "second".to_owned()));
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn a_request_that_is_always_refused_is_answered_with_502() {
    let origin = RawH3Origin::start(&[], |_, _| vec![Step::Reset(REJECTED)]);
    let weir = before(&origin).await;
    assert_eq!(post(&weir).await.0, 502);
    assert_eq!(origin.requests(), 3, "three times in all");
}

#[tokio::test]
async fn requests_from_the_id_of_a_goaway_on_go_over_another_connection() {
    let origin = RawH3Origin::start(&[], |request, _| match (request.connection, request.stream) {
        (0, 0) => whole("first"),
        // The origin processes nothing from this request on, and says nothing on its stream.
        (0, id) => vec![go_away(id)],
        _ => whole("second"),
    });
    let weir = before(&origin).await;
    assert_eq!(post(&weir).await, (200, "first".to_owned()));
    assert_eq!(post(&weir).await, (200, "second".to_owned()));
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn after_a_goaway_an_answer_still_arrives_and_new_requests_go_elsewhere() {
    let origin = RawH3Origin::start(&[], |request, _| match request.connection {
        0 => [vec![go_away(request.stream + 4)], whole("last")].concat(),
        _ => whole("new"),
    });
    let weir = before(&origin).await;
    assert_eq!(post(&weir).await, (200, "last".to_owned()));
    assert_eq!(post(&weir).await, (200, "new".to_owned()));
    assert_eq!((origin.connections(), origin.requests()), (2, 2));
}

#[tokio::test]
async fn a_request_that_may_have_been_processed_is_not_sent_again() {
    for code in [NO_ERROR, CANCELLED, 0x102] {
        let answer = move |request: Arrival, _: &[u8]| match request.before {
            0 => vec![Step::Reset(code)],
            _ => whole("again"),
        };
        let origin = RawH3Origin::start(&[], answer);
        let weir = before(&origin).await;
        assert_eq!(post(&weir).await.0, 502, "{code:#x}");
        assert_eq!(origin.requests(), 1, "{code:#x}");
    }
}

#[tokio::test]
async fn a_connection_that_closes_is_replaced_for_requests_that_may_be_repeated() {
    let origin = RawH3Origin::start(&[], |request, _| match request.before {
        1 => vec![Step::Close(NO_ERROR)],
        _ => whole("x"),
    });
    let weir = before(&origin).await;
    assert_eq!(weir.get(Protocol::H2, "/").await.0, 200);
    assert_eq!(weir.get(Protocol::H2, "/").await.0, 200);
    assert_eq!((origin.connections(), origin.requests()), (2, 3));
}

#[tokio::test]
async fn a_request_that_needs_another_version_goes_over_tcp() {
    let origin = RawH3Origin::start(&[], |_, _| {
        vec![Step::Stop(VERSION_FALLBACK), Step::Reset(VERSION_FALLBACK)]
    });
    let weir = before(&origin).await;
    // Nothing listens there for TCP.
    assert_eq!(post(&weir).await.0, 502);
    assert_eq!(origin.requests(), 1);
}

#[tokio::test]
async fn interim_responses_pass_and_a_flood_of_them_does_not() {
    let origin = RawH3Origin::start(&[], |request, _| {
        let hint = |_| status("103", &[("link", "</a>; rel=preload")]);
        let count = if request.before == 0 { 1 } else { 17 };
        (0..count).map(hint).chain(whole("x")).collect()
    });
    let weir = before(&origin).await;
    let mut raw = RawH2::connect(&weir).await;
    raw.headers(1, &get("/"), true).await;
    assert_eq!(raw.outcome(1).await, Outcome::Status(103));
    assert_eq!(raw.outcome(1).await, Outcome::Status(200));
    assert_eq!(weir.get(Protocol::H1, "/").await.0, 502);
}

/// Answers that break a rule of messages: none of them reaches a client.
#[tokio::test]
async fn malformed_answers_are_answered_with_502() {
    let cases: [(&str, Vec<Step>); 15] = [
        ("101", vec![status("101", &[])]),
        ("no status", vec![section(&[("server", "x")])]),
        ("two statuses", vec![section(&[(":status", "200"), (":status", "200")])]),
        ("a status after a field", vec![section(&[("a", "b"), (":status", "200")])]),
        ("a path", vec![section(&[(":status", "200"), (":path", "/")])]),
        ("status of two digits", vec![status("20", &[])]),
        ("a connection field", vec![status("200", &[("connection", "close")])]),
        ("transfer-encoding", vec![status("200", &[("transfer-encoding", "chunked")])]),
        ("a name in capitals", vec![status("200", &[("Server", "x")])]),
        ("a line end in a value", vec![status("200", &[("server", "x\r\na: b")])]),
        ("two lengths", vec![status("200", &[("content-length", "1"), ("content-length", "2")])]),
        ("a length with a sign", vec![status("200", &[("content-length", "+1")])]),
        ("a body without a head", vec![data(b"x")]),
        ("a pushed response", vec![Step::Write(frame(5, &[0, 0, 0]))]),
        ("nothing", vec![]),
    ];
    for (name, mut steps) in cases {
        steps.push(Step::Finish);
        let origin = RawH3Origin::start(&[], move |_, _| steps.clone());
        let weir = before(&origin).await;
        for protocol in Protocol::ALL {
            assert_eq!(weir.get(protocol, "/").await.0, 502, "{name} {protocol:?}");
        }
    }
}

/// Acts that break a rule of connections: the connection ends with the code for it.
#[tokio::test]
async fn origins_that_break_the_rules_of_connections_are_closed() {
    let push = |id: u64| frame(5, &[varint(id), vec![0, 0]].concat());
    let cases: [(&str, u64, Vec<Step>); 13] = [
        ("a second SETTINGS", 0x105, vec![Step::Control(frame(4, &[]))]),
        ("DATA on the control stream", 0x105, vec![Step::Control(frame(0, b"x"))]),
        ("MAX_PUSH_ID of a server", 0x105, vec![Step::Control(frame(0xd, &[0]))]),
        ("a priority of a server", 0x105, vec![Step::Control(frame(0xf_0700, &[0]))]),
        ("a push that was not allowed", 0x108, vec![Step::Control(frame(3, &[0]))]),
        ("GOAWAY of no request", 0x108, vec![Step::Control(frame(7, &[1]))]),
        ("a GOAWAY that rises", 0x108, vec![go_away(8), go_away(12)]),
        ("a frame of HTTP/2", 0x105, vec![Step::Control(frame(6, &[]))]),
        ("a frame beyond measure", 0x107, vec![Step::Control(frame(7, &[0; 5000]))]),
        ("a push stream", 0x108, vec![Step::Uni(1, vec![0])]),
        ("a second control stream", 0x103, vec![Step::Uni(0, frame(4, &[]))]),
        ("a wrong instruction", 0x201, vec![Step::Uni(2, vec![0x3f, 0xff, 0xff, 0xff, 0x7f])]),
        ("a promise on a request", 0x105, vec![Step::Write(push(0))]),
    ];
    for (name, code, steps) in cases {
        let origin = RawH3Origin::start(&[], move |_, _| steps.clone());
        let weir = before(&origin).await;
        assert_eq!(weir.get(Protocol::H2, "/").await.0, 502, "{name}");
        until(name, async || origin.closed()).await;
        assert_eq!(origin.closed(), Some(code as usize), "{name}");
    }
}

#[tokio::test]
async fn a_control_stream_without_settings_ends_the_connection() {
    let origin = RawH3Origin::beginning([vec![0], frame(7, &[0])].concat(), |_, _| vec![]);
    let weir = before(&origin).await;
    assert_eq!(weir.get(Protocol::H2, "/").await.0, 502);
    until("the close", async || origin.closed()).await;
    assert_eq!(origin.closed(), Some(0x10a));
}

/// Frames and streams that carry nothing, without end.
#[tokio::test]
async fn floods_end_the_connection() {
    let padding = || frame(0x21, &[]).repeat(20_000);
    let cases: [(&str, Vec<Step>); 3] = [
        ("of frames on the control stream", vec![Step::Control(padding())]),
        ("of frames on a request", vec![Step::Write(padding())]),
        ("of settings", vec![Step::Control(frame(4, &[]).repeat(2000))]),
    ];
    for (name, steps) in cases {
        let origin = RawH3Origin::start(&[], move |_, _| steps.clone());
        let weir = before(&origin).await;
        assert_eq!(weir.get(Protocol::H3, "/").await.0, 502, "{name}");
        until(name, async || origin.closed()).await;
        assert!(weir.memory() < 400 << 20);
    }
}

#[tokio::test]
async fn heads_beyond_the_limits_are_answered_with_502() {
    let large = "x".repeat(100_000);
    let many: Vec<String> = (0..200).map(|number| format!("x-{number}")).collect();
    let origin = RawH3Origin::start(&[], move |request, _| {
        let head = match request.before % 3 {
            0 => status("200", &[("a", &large)]),
            1 => {
                let fields: Vec<_> = many.iter().map(|name| (name.as_str(), "1")).collect();
                status("200", &fields)
            }
            // A frame that promises more than any section has.
            _ => Step::Write([varint(1), varint(1 << 40), vec![0; 1000]].concat()),
        };
        vec![head, Step::Finish]
    });
    let setup = Setup::addresses([origin.address()]).workers(1).upstream(&origin.upstream());
    let weir = setup.upstream("limits: { header_bytes: 64KiB }").start().await;
    for protocol in Protocol::ALL {
        for _ in 0..3 {
            assert_eq!(weir.get(protocol, "/").await.0, 502, "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn a_body_that_is_cut_short_is_never_complete() {
    for (name, end) in [
        ("reset", Step::Reset(CANCELLED)),
        ("reset without an error", Step::Reset(NO_ERROR)),
        ("close", Step::Close(NO_ERROR)),
        ("short", Step::Finish),
    ] {
        let steps = vec![status("200", &[("content-length", "10")]), data(b"half"), end];
        let origin = RawH3Origin::start(&[], move |_, _| steps.clone());
        let weir = before(&origin).await;
        never_complete(&weir, name).await;
    }
}

#[tokio::test]
async fn an_early_answer_ends_a_request_that_the_origin_wants_no_more_of() {
    let origin = RawH3Origin::start(&[], |_, _| {
        let mut steps = vec![status("413", &[("content-length", "5")]), data(b"large")];
        steps.extend([Step::Finish, Step::Stop(NO_ERROR)]);
        steps
    });
    let weir = before(&origin).await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let answer = client.post("/", Body::repeat(50_000_000)).await;
        assert_eq!(answer.status, 413, "{protocol:?}");
    }
}

/// A request that goes on when its response has ended is cut, and must not look whole.
#[tokio::test]
async fn a_request_whose_response_ends_before_it_is_reset() {
    let origin = RawH3Origin::start(&[], |_, _| {
        let head = status("200", &[("content-length", "2")]);
        vec![head, data(b"ok"), Step::Finish, Step::Rest]
    });
    let weir = before(&origin).await;
    for (count, protocol) in Protocol::ALL.into_iter().enumerate() {
        let (sender, body) = Body::channel();
        let client = weir.client(protocol).await;
        sender.send("half").await;
        assert_eq!(client.post("/", body).await.text().await, "ok", "{protocol:?}");
        let reset = async || (origin.rests() == (0, count + 1)).then_some(());
        until(format!("the reset {protocol:?}"), reset).await;
        drop(sender);
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn quic_that_connects_and_serves_nothing_gives_way_to_tcp() {
    let closing = RawH3Origin::start(&[], |_, _| vec![Step::Close(CANCELLED)]);
    let alternative = format!("h3=\":{}\"", closing.address().port());
    let origin = Origin::telling(Speaks::H2, alternative).await;
    let weir = Setup::to([&origin]).workers(1).start().await;
    let client = weir.client(Protocol::H2).await;
    let found = async || {
        // The request that QUIC has lost is answered with 502, and later ones by TCP.
        let status = client.get("/who").await.status;
        (closing.requests() > 0 && status == 200).then_some(())
    };
    until("TCP after QUIC", found).await;
    for _ in 0..20 {
        assert_eq!(version(&weir).await, "2 weir");
    }
    assert_eq!(closing.connections(), 1);
}

/// A head that needs an insertion that never comes.
#[tokio::test]
async fn a_response_that_waits_for_qpack_ends_with_its_stream_or_connection() {
    for end in [Step::Reset(CANCELLED), Step::Close(NO_ERROR)] {
        // Required Insert Count 1, Base 0, and the first entry after the base.
        let head = Step::Write(frame(1, &[0x02, 0x80, 0x10]));
        let steps = vec![head, Step::Hold, end];
        let origin = RawH3Origin::start(&[], move |request, _| match request.before {
            0 => steps.clone(),
            _ => whole("x"),
        });
        let setup = Setup::addresses([origin.address()]).workers(1).upstream(&origin.upstream());
        let weir = setup.upstream("timeouts: { first_byte: 0s, idle: 0s }").start().await;
        let others = async {
            until("the request", async || (origin.requests() == 1).then_some(())).await;
            // The head has arrived before this answer.
            assert_eq!(weir.get(Protocol::H1, "/").await.0, 200);
            origin.release();
        };
        let (answer, ()) = tokio::join!(post(&weir), others);
        assert_eq!(answer.0, 502);
    }
}

#[tokio::test]
async fn a_host_that_the_alternative_does_not_serve_goes_back_to_tcp() {
    let wrong = RawH3Origin::start(&[], |_, _| vec![status("421", &[]), Step::Finish]);
    let alternative = format!("h3=\":{}\"", wrong.address().port());
    let origin = Origin::telling(Speaks::H2, alternative).await;
    let weir = Setup::to([&origin]).workers(1).start().await;
    let client = weir.client(Protocol::H2).await;
    until("421", async || (client.get("/who").await.status == 421).then_some(())).await;
    assert_eq!(version(&weir).await, "2 weir");
}
