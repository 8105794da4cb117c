"""An independent HTTP/3 client (aioquic) that breaks the rules: illegal.py PORT.

Every case has its own connection. It prints a line of JSON for each case: its name, the part that
ended (the connection, a stream, or nothing: a status), and the code. The line also has the result
that RFC 9114, 9204, 9218, 9220 or 9297 requires.
"""

import asyncio
import json
import ssl
import sys

import pylsqpack
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, ErrorCode, FrameType, Setting, StreamType, encode_frame, encode_settings
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StopSendingReceived, StreamDataReceived, StreamReset

GREASE = 0x1F * 7 + 0x21
PRIORITY_UPDATE = 0xF0700
REQUEST = [(b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", b"/echo")]
GET = [(b":method", b"GET"), *REQUEST[1:3], (b":path", b"/who")]


class Client(QuicConnectionProtocol):
    """Sends given bytes on streams, and waits for the outcome."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.end = self._loop.create_future()
        self.requests = set()

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.ended("connection", event.error_code)
        elif isinstance(event, StreamReset) and event.stream_id in self.requests:
            self.ended("stream", event.error_code)
        elif isinstance(event, StreamDataReceived) and event.stream_id in self.requests and event.end_stream:
            self.ended("answer", 0)

    def ended(self, *end):
        if not self.end.done():
            self.end.set_result(end)

    def uni(self, kind, data=b"", fin=False):
        stream = self._quic.get_next_available_stream_id(is_unidirectional=True)
        self._quic.send_stream_data(stream, bytes([kind]) + data, fin)
        return stream

    def control(self, data=b"", settings=None, fin=False):
        first = encode_frame(FrameType.SETTINGS, encode_settings(settings or {}))
        return self.uni(StreamType.CONTROL, first + data, fin)

    def request(self, data, fin=True):
        stream = self._quic.get_next_available_stream_id()
        self.requests.add(stream)
        self._quic.send_stream_data(stream, data, fin)
        return stream


def headers(fields):
    return encode_frame(FrameType.HEADERS, pylsqpack.Encoder().encode(0, fields)[1])


def data(body):
    return encode_frame(FrameType.DATA, body)


def with_field(*field):
    return headers(REQUEST + [field])


CASES = []


def case(name, expected, act):
    CASES.append((name, expected, act))


def closes(name, code, act):
    case(name, ("connection", int(code)), act)


def resets(name, code, act):
    case(name, ("stream", int(code)), act)


def answers(name, act):
    case(name, ("answer", 0), act)


def on_control(frame):
    return lambda client: client.control(frame)


def on_request(*frames):
    def act(client):
        client.control()
        client.request(b"".join(frames))

    return act


E = ErrorCode
for kind in ("DATA", "HEADERS", "PUSH_PROMISE", "SETTINGS"):
    closes(f"{kind} on the control stream", E.H3_FRAME_UNEXPECTED, on_control(encode_frame(FrameType[kind], b"")))
for kind in (0x2, 0x6, 0x8, 0x9):
    closes(f"HTTP/2's {kind} on the control stream", E.H3_FRAME_UNEXPECTED, on_control(encode_frame(kind, b"")))
    closes(f"HTTP/2's {kind} in a request", E.H3_FRAME_UNEXPECTED, on_request(headers(GET), encode_frame(kind, b"")))
for kind in ("CANCEL_PUSH", "SETTINGS", "PUSH_PROMISE", "GOAWAY", "MAX_PUSH_ID"):
    closes(
        f"{kind} in a request", E.H3_FRAME_UNEXPECTED, on_request(headers(GET), encode_frame(FrameType[kind], b"\0"))
    )
closes(
    "PRIORITY_UPDATE in a request",
    E.H3_FRAME_UNEXPECTED,
    on_request(headers(GET), encode_frame(PRIORITY_UPDATE, b"\0u=1")),
)
closes("no SETTINGS", E.H3_MISSING_SETTINGS, lambda c: c.uni(0, encode_frame(FrameType.GOAWAY, b"\0")))
closes("GREASE before SETTINGS", E.H3_MISSING_SETTINGS, lambda c: c.uni(0, encode_frame(GREASE, b"\0")))
for setting in (0x2, 0x3, 0x4, 0x5):
    closes(f"HTTP/2's setting {setting}", E.H3_SETTINGS_ERROR, lambda c, s=setting: c.control(settings={s: 1}))
for setting in (Setting.ENABLE_CONNECT_PROTOCOL, Setting.H3_DATAGRAM):
    closes(f"{setting.name} of 2", E.H3_SETTINGS_ERROR, lambda c, s=setting: c.control(settings={s: 2}))
closes(
    "a setting twice",
    E.H3_SETTINGS_ERROR,
    lambda c: c.uni(0, encode_frame(FrameType.SETTINGS, encode_settings({6: 100}) * 2)),
)
closes("SETTINGS cut short", E.H3_FRAME_ERROR, lambda c: c.uni(0, encode_frame(FrameType.SETTINGS, b"\x06")))
closes("a second control stream", E.H3_STREAM_CREATION_ERROR, lambda c: (c.control(), c.control()))
for kind in (StreamType.QPACK_ENCODER, StreamType.QPACK_DECODER):
    closes(f"a second {kind.name}", E.H3_STREAM_CREATION_ERROR, lambda c, k=kind: (c.control(), c.uni(k), c.uni(k)))
    closes(f"an ended {kind.name}", E.H3_CLOSED_CRITICAL_STREAM, lambda c, k=kind: (c.control(), c.uni(k, fin=True)))
closes("an ended control stream", E.H3_CLOSED_CRITICAL_STREAM, lambda c: c.control(fin=True))
closes("a push stream", E.H3_STREAM_CREATION_ERROR, lambda c: (c.control(), c.uni(StreamType.PUSH, b"\0")))
closes("a MAX_PUSH_ID that falls", E.H3_ID_ERROR, on_control(b"\x0d\x01\x05\x0d\x01\x04"))
closes("a GOAWAY that rises", E.H3_ID_ERROR, on_control(b"\x07\x01\x04\x07\x01\x08"))
closes("a CANCEL_PUSH of nothing", E.H3_ID_ERROR, on_control(b"\x03\x01\x00"))
closes("a long MAX_PUSH_ID", E.H3_FRAME_ERROR, on_control(b"\x0d\x02\x05\x00"))
closes("an empty GOAWAY", E.H3_FRAME_ERROR, on_control(b"\x07\x00"))
closes("the priority of no request", E.H3_ID_ERROR, on_control(encode_frame(PRIORITY_UPDATE, b"\x02u=1")))
closes("the priority of a push", E.H3_ID_ERROR, on_control(encode_frame(PRIORITY_UPDATE + 1, b"\x00u=1")))
closes("an empty PRIORITY_UPDATE", E.H3_FRAME_ERROR, on_control(encode_frame(PRIORITY_UPDATE, b"")))
closes("DATA before HEADERS", E.H3_FRAME_UNEXPECTED, on_request(data(b"x"), headers(GET)))
closes("DATA after trailers", E.H3_FRAME_UNEXPECTED, on_request(headers(REQUEST), headers([(b"x", b"y")]), data(b"x")))
closes(
    "HEADERS after trailers",
    E.H3_FRAME_UNEXPECTED,
    on_request(headers(REQUEST), headers([(b"x", b"y")]), headers([(b"x", b"y")])),
)
closes("HEADERS cut short", E.H3_FRAME_ERROR, on_request(headers(GET)[:-1]))
closes("DATA cut short", E.H3_FRAME_ERROR, on_request(headers(REQUEST), data(b"body")[:-1]))
closes("a type alone", E.H3_FRAME_ERROR, on_request(b"\x01"))
closes("an invalid section", E.QPACK_DECOMPRESSION_FAILED, on_request(encode_frame(FrameType.HEADERS, b"\0\0\xff\x24")))
closes("an empty section", E.QPACK_DECOMPRESSION_FAILED, on_request(encode_frame(FrameType.HEADERS, b"")))
closes(
    "a table past its limit",
    E.QPACK_ENCODER_STREAM_ERROR,
    lambda c: (c.control(), c.uni(StreamType.QPACK_ENCODER, b"\x3f\xff\xff\x7f")),
)
closes(
    "an acknowledgment of nothing",
    E.QPACK_DECODER_STREAM_ERROR,
    lambda c: (c.control(), c.uni(StreamType.QPACK_DECODER, b"\x80")),
)
resets("nothing at all", E.H3_REQUEST_INCOMPLETE, on_request(b""))
resets("GREASE alone", E.H3_REQUEST_INCOMPLETE, on_request(encode_frame(GREASE, b"x")))
for number, (name, _) in enumerate(GET):
    without = GET[:number] + GET[number + 1 :]
    resets(f"no {name.decode()}", E.H3_MESSAGE_ERROR, on_request(headers(without)))
    resets(f"{name.decode()} twice", E.H3_MESSAGE_ERROR, on_request(headers(GET + [GET[number]])))
    late = without + [(b"x", b"y"), GET[number]]
    resets(f"{name.decode()} late", E.H3_MESSAGE_ERROR, on_request(headers(late)))
for field in (
    (b":status", b"200"),
    (b":unknown", b"x"),
    (b":protocol", b"websocket"),
    (b"connection", b"close"),
    (b"keep-alive", b"1"),
    (b"proxy-connection", b"close"),
    (b"transfer-encoding", b"chunked"),
    (b"upgrade", b"websocket"),
    (b"te", b"gzip"),
    (b"Upper", b"x"),
    (b"a b", b"x"),
    (b"x", b"a\r\nb: c"),
    (b"x", b"a\0b"),
    (b"host", b"other"),
    (b"content-length", b"x"),
):
    resets(f"the field {field}", E.H3_MESSAGE_ERROR, on_request(with_field(*field)))
for length, body in ((b"3", b"ab"), (b"1", b"ab"), (b"1", b"")):
    resets(
        f"content-length {length} with {body}",
        E.H3_MESSAGE_ERROR,
        on_request(with_field(b"content-length", length), data(body)),
    )
resets("a path in trailers", E.H3_MESSAGE_ERROR, on_request(headers(REQUEST), data(b"x"), headers([(b":path", b"/")])))
resets("HEADERS of a GiB", E.H3_EXCESSIVE_LOAD, lambda c: (c.control(), c.request(b"\x01\xc0\0\0\0\x40\0\0\0", False)))
answers("a proper request", on_request(headers(GET)))
answers("trailers", on_request(headers(REQUEST), data(b"x"), headers([(b"x", b"y")])))
answers("GREASE in a request", on_request(encode_frame(GREASE, b"x"), headers(GET), encode_frame(GREASE, b"")))
answers(
    "GREASE elsewhere",
    lambda c: (c.control(encode_frame(GREASE, b"x"), {GREASE: 7}), c.uni(0x21, b"x"), c.request(headers(GET))),
)
answers("an early GOAWAY", lambda c: (c.control(b"\x07\x01\x00"), c.request(headers(GET))))
answers(
    "a priority before its request",
    lambda c: (c.control(encode_frame(PRIORITY_UPDATE, b"\x00u=1, i")), c.request(headers(GET))),
)


async def main(port):
    for name, expected, act in CASES:
        configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_NONE)
        configuration.server_name = "localhost"
        async with connect("127.0.0.1", port, configuration=configuration, create_protocol=Client) as client:
            act(client)
            client.transmit()
            try:
                end = await asyncio.wait_for(client.end, 10)
            except asyncio.TimeoutError:
                end = ("nothing", 0)
        print(json.dumps({"case": name, "expected": expected, "end": end}), flush=True)


asyncio.run(main(int(sys.argv[1])))
