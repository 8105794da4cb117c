//! An independent HTTP/3 client, h3i, that breaks the rules: `weir-h3i PORT`.
//!
//! Every case has its own connection. It prints a line of JSON for each case: its name, the part
//! that ended (the connection, a stream, or nothing: an answer), and the code. The line also has
//! the result that RFC 9114, 9204, 9218 or 9297 requires. `illegal.py` does the same with aioquic;
//! the cases here use h3i's own frames, headers and streams.

use h3i::actions::h3::{
    Action, ExpectedStreamSendResult, StreamEvent, StreamEventType, WaitType, send_headers_frame,
    send_headers_frame_literal,
};
use h3i::client::connection_summary::ConnectionSummary;
use h3i::client::sync_client;
use h3i::config::Config;
use h3i::frame::H3iFrame;
use h3i::quiche::ConnectionError;
use h3i::quiche::h3::frame::Frame;
use h3i::quiche::h3::{Header, WireErrorCode};

/// A server's reaction to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Connection(u64),
    Stream(u64),
    Answer,
    Nothing,
}

struct Case {
    name: String,
    expected: End,
    actions: Vec<Action>,
}

fn main() {
    let port = std::env::args().nth(1).expect("usage: weir-h3i PORT");
    for Case { name, expected, mut actions } in cases() {
        actions.push(Action::FlushPackets);
        let finished = StreamEvent { stream_id: REQUEST, event_type: StreamEventType::Finished };
        actions.push(WaitType::StreamEvent(finished).into());
        let error_code = WireErrorCode::NoError as u64;
        let error = ConnectionError { is_app: true, error_code, reason: Vec::new() };
        actions.push(Action::ConnectionClose { error });
        let config = Config::new()
            .with_host_port(format!("localhost:{port}"))
            .with_connect_to(format!("127.0.0.1:{port}"))
            .verify_peer(false)
            .with_idle_timeout(10_000)
            .build()
            .expect("a configuration");
        let summary = sync_client::connect(config, actions, None).expect("a connection");
        println!(
            r#"{{"case": {name:?}, "expected": {}, "end": {}}}"#,
            expected.json(),
            End::of(&summary).json()
        );
    }
}

impl End {
    fn of(summary: &ConnectionSummary) -> Self {
        if let Some(error) = summary.conn_close_details.peer_error() {
            return Self::Connection(error.error_code);
        }
        let frames = summary.stream_map.stream(REQUEST);
        let reset = frames.iter().find_map(|frame| match frame {
            H3iFrame::ResetStream(reset) => Some(Self::Stream(reset.error_code)),
            _ => None,
        });
        let is_answered = frames.iter().any(|frame| matches!(frame, H3iFrame::Headers(_)));
        match reset {
            Some(reset) => reset,
            None if is_answered && !summary.conn_close_details.timed_out => Self::Answer,
            None => Self::Nothing,
        }
    }

    fn json(self) -> String {
        match self {
            Self::Connection(code) => format!(r#"["connection", {code}]"#),
            Self::Stream(code) => format!(r#"["stream", {code}]"#),
            Self::Answer => r#"["answer", 0]"#.to_owned(),
            Self::Nothing => r#"["nothing", 0]"#.to_owned(),
        }
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name: &str, expected, actions| {
        cases.push(Case { name: name.to_owned(), expected, actions });
    };
    connections(&mut case);
    sections(&mut case);
    messages(&mut case);
    proper(&mut case);
    cases
}

/// Violations that end the connection (RFC 9114 §4.1, §5.2, §6.2, §7.2, RFC 9218 §7.2).
fn connections(case: &mut dyn FnMut(&str, End, Vec<Action>)) {
    use WireErrorCode as Code;
    let mut closes = |name: &str, code: Code, actions: Vec<Action>| {
        case(name, End::Connection(code as u64), actions);
    };
    let mut on_control = |name: &str, code: Code, frames: Vec<Frame>| {
        let frames = frames.into_iter().map(|frame| send(CONTROL, frame));
        closes(name, code, control().into_iter().chain(frames).collect());
    };
    let section = || vec![0, 0, 0xd1];
    let data = || Frame::Data { payload: b"x".to_vec() };
    let push = || Frame::PushPromise { push_id: 0, header_block: section() };
    let headers = || Frame::Headers { header_block: section() };
    let priority = |id, value: &[u8]| Frame::PriorityUpdateRequest {
        prioritized_element_id: id,
        priority_field_value: value.to_vec(),
    };
    on_control("DATA on the control stream", Code::FrameUnexpected, vec![data()]);
    on_control("HEADERS on the control stream", Code::FrameUnexpected, vec![headers()]);
    on_control("PUSH_PROMISE on the control stream", Code::FrameUnexpected, vec![push()]);
    on_control("SETTINGS twice", Code::FrameUnexpected, vec![settings(vec![])]);
    for raw_type in [0x2, 0x6, 0x8, 0x9] {
        let frame = Frame::Unknown { raw_type, payload: vec![] };
        on_control(&format!("HTTP/2's {raw_type:#x}"), Code::FrameUnexpected, vec![frame]);
    }
    let falls = [5, 4].map(|push_id| Frame::MaxPushId { push_id });
    on_control("a MAX_PUSH_ID that falls", Code::IdError, falls.into());
    let rises = [4, 8].map(|id| Frame::GoAway { id });
    on_control("a GOAWAY that rises", Code::IdError, rises.into());
    on_control("a CANCEL_PUSH of nothing", Code::IdError, vec![Frame::CancelPush { push_id: 0 }]);
    on_control("the priority of no request", Code::IdError, vec![priority(2, b"u=1")]);
    let push_priority =
        Frame::PriorityUpdatePush { prioritized_element_id: 0, priority_field_value: vec![] };
    on_control("the priority of a push", Code::IdError, vec![push_priority]);

    for (name, sent) in [
        ("a long MAX_PUSH_ID", &[0x0d, 0x02, 0x05, 0x00][..]),
        ("an empty GOAWAY", &[0x07, 0x00]),
        ("an empty PRIORITY_UPDATE", &[0x80, 0x0f, 0x07, 0x00, 0x00]),
        ("SETTINGS cut short", &[0x04, 0x01, 0x06]),
    ] {
        let start = if sent[0] == 0x04 {
            vec![open(CONTROL, h3i::HTTP3_CONTROL_STREAM_TYPE_ID, false)]
        } else {
            control()
        };
        closes(name, Code::FrameError, [start, vec![bytes(CONTROL, sent, false)]].concat());
    }
    closes(
        "no SETTINGS",
        Code::MissingSettings,
        vec![
            open(CONTROL, h3i::HTTP3_CONTROL_STREAM_TYPE_ID, false),
            send(CONTROL, Frame::GoAway { id: 0 }),
        ],
    );
    for setting in [(0x2, 1), (0x3, 1), (0x4, 1), (0x5, 1), (0x8, 2), (0x33, 2)] {
        closes(
            &format!("the setting {setting:x?}"),
            Code::SettingsError,
            vec![
                open(CONTROL, h3i::HTTP3_CONTROL_STREAM_TYPE_ID, false),
                send(CONTROL, settings(vec![setting])),
            ],
        );
    }
    closes(
        "a setting twice",
        Code::SettingsError,
        vec![
            open(CONTROL, h3i::HTTP3_CONTROL_STREAM_TYPE_ID, false),
            send(CONTROL, settings(vec![(0x6, 100), (0x6, 100)])),
        ],
    );
    for (name, kind) in [
        ("control", h3i::HTTP3_CONTROL_STREAM_TYPE_ID),
        ("encoder", h3i::QPACK_ENCODER_STREAM_TYPE_ID),
        ("decoder", h3i::QPACK_DECODER_STREAM_TYPE_ID),
    ] {
        let two = with_control([open(6, kind, false), open(10, kind, false)]);
        closes(&format!("two {name} streams"), Code::StreamCreationError, two);
        if kind != h3i::HTTP3_CONTROL_STREAM_TYPE_ID {
            let ended = with_control([open(6, kind, true)]);
            closes(&format!("an ended {name} stream"), Code::ClosedCriticalStream, ended);
            let reset = with_control([
                open(6, kind, false),
                Action::FlushPackets,
                Action::ResetStream { stream_id: 6, error_code: 0x100 },
            ]);
            closes(&format!("a reset {name} stream"), Code::ClosedCriticalStream, reset);
        }
    }
    // The control stream is open once a request has been answered.
    let answered = StreamEvent { stream_id: REQUEST, event_type: StreamEventType::Finished };
    closes(
        "a stopped control stream",
        Code::ClosedCriticalStream,
        with_control([
            send_headers_frame(REQUEST, true, get(&[])),
            WaitType::StreamEvent(answered).into(),
            Action::StopSending { stream_id: SERVER_CONTROL, error_code: 0x100 },
            Action::FlushPackets,
            WaitType::StreamEvent(StreamEvent { stream_id: REQUEST + 4, ..answered }).into(),
        ]),
    );
    closes(
        "a push stream",
        Code::StreamCreationError,
        with_control([open(6, h3i::HTTP3_PUSH_STREAM_TYPE_ID, false), bytes(6, &[0], false)]),
    );

    let mut in_request = |name: &str, frames: Vec<Action>| {
        closes(name, Code::FrameUnexpected, control().into_iter().chain(frames).collect());
    };
    let head = || send_headers_frame(REQUEST, false, post(&[]));
    let trailers = || send_headers_frame(REQUEST, false, vec![Header::new(b"x", b"y")]);
    in_request("DATA before HEADERS", vec![send(REQUEST, data())]);
    in_request("DATA after trailers", vec![head(), trailers(), send(REQUEST, data())]);
    in_request("HEADERS after trailers", vec![head(), trailers(), trailers()]);
    for (name, frame) in [
        ("CANCEL_PUSH", Frame::CancelPush { push_id: 0 }),
        ("SETTINGS", settings(vec![])),
        ("PUSH_PROMISE", push()),
        ("GOAWAY", Frame::GoAway { id: 0 }),
        ("MAX_PUSH_ID", Frame::MaxPushId { push_id: 0 }),
        ("PRIORITY_UPDATE", priority(0, b"u=1")),
    ] {
        in_request(&format!("{name} in a request"), vec![head(), send(REQUEST, frame)]);
    }
    let mut cut = |name: &str, sent: &[u8]| {
        closes(name, Code::FrameError, with_control([head(), bytes(REQUEST, sent, true)]));
    };
    cut("a type alone", &[0x00]);
    cut("a cut length", &[0x00, 0x40]);
    cut("DATA cut short", &[0x00, 0x04, b'x']);
    cut("trailers cut short", &[0x01, 0x04, 0x00, 0x00]);
}

/// Sections that cannot be decoded, and QPACK's streams (RFC 9204 §2.2, §4, §6).
fn sections(case: &mut dyn FnMut(&str, End, Vec<Action>)) {
    for (name, header_block) in [
        ("an empty section", vec![]),
        ("a line past the static table", vec![0, 0, 0xff, 0x24]),
        ("an insertion that cannot be", vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0]),
        ("a cut literal", vec![0, 0, 0x51, 0x05, b'/']),
        ("a base below nothing", vec![0, 0x80, 0xd1]),
        ("the end of string inside one", vec![0, 0, 0x51, 0x84, 0xff, 0xff, 0xff, 0xff]),
    ] {
        let actions = with_control([send(REQUEST, Frame::Headers { header_block })]);
        case(name, End::Connection(DECOMPRESSION_FAILED), actions);
    }
    for (name, kind, code, sent) in [
        (
            "a table past its limit",
            h3i::QPACK_ENCODER_STREAM_TYPE_ID,
            0x201,
            &[0x3f, 0xff, 0xff, 0x7f][..],
        ),
        ("a duplicate of nothing", h3i::QPACK_ENCODER_STREAM_TYPE_ID, 0x201, &[0x00]),
        (
            "a name past the static table",
            h3i::QPACK_ENCODER_STREAM_TYPE_ID,
            0x201,
            &[0xff, 0x24, 0x00],
        ),
        ("an acknowledgment of nothing", h3i::QPACK_DECODER_STREAM_TYPE_ID, 0x202, &[0x80]),
        ("an increment of nothing", h3i::QPACK_DECODER_STREAM_TYPE_ID, 0x202, &[0x00]),
        ("an increment past all", h3i::QPACK_DECODER_STREAM_TYPE_ID, 0x202, &[0x3f, 0x7f]),
    ] {
        case(
            name,
            End::Connection(code),
            with_control([open(6, kind, false), bytes(6, sent, false)]),
        );
    }
}

/// Malformed messages (RFC 9114 §4.1.2, §4.2, §4.3).
fn messages(case: &mut dyn FnMut(&str, End, Vec<Action>)) {
    let malformed = End::Stream(WireErrorCode::MessageError as u64);
    let mut head = |name: &str, fields: Vec<Header>| {
        // The names stay as they are: h3i would write them in lower case.
        let actions = with_control([send_headers_frame_literal(REQUEST, true, fields)]);
        case(name, malformed, actions);
    };
    for (index, name) in [":method", ":scheme", ":authority", ":path"].iter().enumerate() {
        let mut without = get(&[]);
        let field = without.remove(index);
        let mut late = without.clone();
        head(&format!("no {name}"), without);
        late.extend([Header::new(b"x", b"y"), field.clone()]);
        head(&format!("{name} after a field"), late);
        head(&format!("{name} twice"), [get(&[]), vec![field]].concat());
    }
    for (name, value) in [
        (":status", "200"),
        (":unknown", "x"),
        (":protocol", "websocket"),
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip, trailers"),
        ("Upper", "x"),
        ("a b", "x"),
        ("a:b", "x"),
        ("", "x"),
        ("x", "a\r\nb: c"),
        ("x", "a\0b"),
        ("x", "a\nb"),
        ("host", "elsewhere"),
        ("content-length", "x"),
        ("content-length", "+1"),
        ("content-length", "1"),
    ] {
        head(&format!("the field {name:?} of {value:?}"), get(&[(name, value)]));
    }
    head("a user in the authority", replaced(2, ":authority", "user@localhost"));
    head("an empty path", replaced(3, ":path", ""));
    head("a path without a slash", replaced(3, ":path", "who"));
    head("CONNECT with a path", replaced(0, ":method", "CONNECT"));
    for (length, body) in [("3", "ab"), ("1", "ab")] {
        let actions = with_control([
            send_headers_frame(REQUEST, false, post(&[("content-length", length)])),
            finish(REQUEST, Frame::Data { payload: body.into() }),
        ]);
        case(&format!("content-length {length} with {body:?}"), malformed, actions);
    }
    for field in [(":path", "/"), ("connection", "close"), ("Upper", "x")] {
        let fields = vec![Header::new(field.0.as_bytes(), field.1.as_bytes())];
        let actions = with_control([
            send_headers_frame(REQUEST, false, post(&[])),
            send(REQUEST, Frame::Data { payload: b"x".to_vec() }),
            send_headers_frame_literal(REQUEST, true, fields),
        ]);
        case(&format!("{} in trailers", field.0), malformed, actions);
    }
    let incomplete = End::Stream(WireErrorCode::RequestIncomplete as u64);
    case("nothing at all", incomplete, with_control([bytes(REQUEST, &[], true)]));
    let grease = Frame::Unknown { raw_type: GREASE, payload: b"x".to_vec() };
    case("GREASE alone", incomplete, with_control([finish(REQUEST, grease)]));
    let load = End::Stream(WireErrorCode::ExcessiveLoad as u64);
    let gib = [0x01, 0xc0, 0, 0, 0, 0x40, 0, 0, 0];
    case("HEADERS of a GiB", load, with_control([bytes(REQUEST, &gib, false)]));
}

/// Unusual messages that a server must accept (RFC 9114 §4.1, §7.2.8, §9, RFC 9218 §7).
fn proper(case: &mut dyn FnMut(&str, End, Vec<Action>)) {
    let grease = || Frame::Unknown { raw_type: GREASE, payload: b"x".to_vec() };
    let mut answers = |name: &str, actions: Vec<Action>| case(name, End::Answer, actions);
    let request = || send_headers_frame(REQUEST, true, get(&[]));
    answers("a request", with_control([request()]));
    answers("a request before the control stream", [vec![request()], control()].concat());
    answers(
        "names as literals",
        with_control([send_headers_frame_literal(REQUEST, true, get(&[]))]),
    );
    answers(
        "trailers",
        with_control([
            send_headers_frame(REQUEST, false, post(&[("te", "trailers")])),
            send(REQUEST, Frame::Data { payload: b"x".to_vec() }),
            send_headers_frame(REQUEST, true, vec![Header::new(b"x", b"y")]),
        ]),
    );
    answers(
        "GREASE in a request",
        with_control([
            send(REQUEST, grease()),
            send_headers_frame(REQUEST, false, post(&[])),
            finish(REQUEST, grease()),
        ]),
    );
    answers(
        "GREASE elsewhere",
        vec![
            open(CONTROL, h3i::HTTP3_CONTROL_STREAM_TYPE_ID, false),
            send(CONTROL, settings(vec![(GREASE, 7)])),
            send(CONTROL, grease()),
            open(6, GREASE, false),
            bytes(6, b"x", true),
            request(),
        ],
    );
    answers("an early GOAWAY", with_control([send(CONTROL, Frame::GoAway { id: 0 }), request()]));
    let priority = Frame::PriorityUpdateRequest {
        prioritized_element_id: REQUEST,
        priority_field_value: b"u=1, i".to_vec(),
    };
    answers("a priority before its request", with_control([send(CONTROL, priority), request()]));
}

/// A control stream with a correct start.
fn control() -> Vec<Action> {
    vec![open(CONTROL, h3i::HTTP3_CONTROL_STREAM_TYPE_ID, false), send(CONTROL, settings(vec![]))]
}

fn with_control<const N: usize>(actions: [Action; N]) -> Vec<Action> {
    control().into_iter().chain(actions).collect()
}

fn settings(additional: Vec<(u64, u64)>) -> Frame {
    Frame::Settings {
        max_field_section_size: None,
        qpack_max_table_capacity: None,
        qpack_blocked_streams: None,
        connect_protocol_enabled: None,
        h3_datagram: None,
        grease: None,
        additional_settings: Some(additional),
        raw: None,
    }
}

fn open(stream_id: u64, stream_type: u64, fin_stream: bool) -> Action {
    Action::OpenUniStream { stream_id, fin_stream, stream_type, expected_result: SENT }
}

fn send(stream_id: u64, frame: Frame) -> Action {
    Action::SendFrame { stream_id, fin_stream: false, frame, expected_result: SENT }
}

fn finish(stream_id: u64, frame: Frame) -> Action {
    Action::SendFrame { stream_id, fin_stream: true, frame, expected_result: SENT }
}

fn bytes(stream_id: u64, bytes: &[u8], fin_stream: bool) -> Action {
    Action::StreamBytes { stream_id, fin_stream, bytes: bytes.to_vec(), expected_result: SENT }
}

fn get(more: &[(&str, &str)]) -> Vec<Header> {
    head("GET", "/who", more)
}

fn post(more: &[(&str, &str)]) -> Vec<Header> {
    head("POST", "/echo", more)
}

fn head(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<Header> {
    let pseudo =
        [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)];
    let all = pseudo.iter().chain(more);
    all.map(|(name, value)| Header::new(name.as_bytes(), value.as_bytes())).collect()
}

/// A GET with one field replaced.
fn replaced(index: usize, name: &str, value: &str) -> Vec<Header> {
    let mut fields = get(&[]);
    fields[index] = Header::new(name.as_bytes(), value.as_bytes());
    fields
}

/// The first request's stream, our control stream and the server's.
const REQUEST: u64 = 0;
const CONTROL: u64 = 2;
const SERVER_CONTROL: u64 = 3;

/// A reserved type, for frames, streams and settings (RFC 9114 §7.2.8).
const GREASE: u64 = 0x1f * 7 + 0x21;

/// RFC 9204 §6.
const DECOMPRESSION_FAILED: u64 = 0x200;

const SENT: ExpectedStreamSendResult = ExpectedStreamSendResult::Ok;
