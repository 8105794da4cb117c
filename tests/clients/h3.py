"""An independent HTTP/3 client (aioquic): h3.py PORT SCENARIO. Prints a line of JSON per response, exits 1 on failure.

get       one GET of /who
post      a POST of 100,000 bytes to /echo
many      50 GETs at once on one connection
migrate   a GET, then the socket moves to another port, then ten more on the same connection
reset     ten requests to /hold that are reset, then a GET
"""

import asyncio
import json
import socket
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.answers = {}

    def quic_event_received(self, event):
        for http_event in self.http.handle_event(event):
            answer = self.answers.get(getattr(http_event, "stream_id", None))
            if answer is None:
                continue
            if isinstance(http_event, HeadersReceived) and not answer["headers"]:
                answer["headers"] = dict(http_event.headers)
            elif isinstance(http_event, DataReceived):
                answer["body"] += http_event.data
            if http_event.stream_ended and not answer["done"].done():
                answer["done"].set_result(None)

    def send(self, method, path, body=b""):
        stream = self._quic.get_next_available_stream_id()
        self.answers[stream] = {"headers": {}, "body": b"", "done": self._loop.create_future()}
        fields = [(b":method", method), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", path)]
        self.http.send_headers(stream, fields, end_stream=not body)
        if body:
            self.http.send_data(stream, body, end_stream=True)
        self.transmit()
        return stream

    async def answer(self, stream):
        answer = self.answers[stream]
        await asyncio.wait_for(answer["done"], 15)
        print(json.dumps({"status": int(answer["headers"][b":status"]), "bytes": len(answer["body"])}), flush=True)

    async def request(self, *args):
        await self.answer(self.send(*args))


async def main(port, scenario):
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_NONE)
    configuration.server_name = "localhost"
    async with connect("127.0.0.1", port, configuration=configuration, create_protocol=Client) as client:
        if scenario == "get":
            await client.request(b"GET", b"/who")
        elif scenario == "post":
            await client.request(b"POST", b"/echo", b"x" * 100_000)
        elif scenario == "many":
            await asyncio.gather(*[client.request(b"GET", b"/who") for _ in range(50)])
        elif scenario == "migrate":
            await client.request(b"GET", b"/who")
            moved = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            moved.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            moved.bind(("::", 0))
            old = client._transport
            client._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: Moved(client), sock=moved
            )
            client._quic.change_connection_id()
            for _ in range(10):
                await client.request(b"GET", b"/who")
            old.close()
        elif scenario == "reset":
            for _ in range(10):
                stream = client.send(b"POST", b"/hold", b"x")
                client._quic.reset_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
                client._quic.stop_stream(stream, ErrorCode.H3_REQUEST_CANCELLED)
                client.transmit()
            await client.request(b"GET", b"/who")
        else:
            raise SystemExit(f"unknown scenario {scenario}")


class Moved(asyncio.DatagramProtocol):
    """Passes datagrams of the new socket to the connection."""

    def __init__(self, client):
        self.client = client

    def datagram_received(self, data, addr):
        self.client.datagram_received(data, addr)


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
