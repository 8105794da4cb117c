"""The server for the tests in Python."""
from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports.types import Fields, IncomingBody, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam

PIECE = 4096


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        path = request.path_with_query()
        if path == "/raise":
            raise RuntimeError("as asked")
        content = request.consume()
        text = f"{len(read(content))} bytes to {path}, by Python\n".encode()
        response = OutgoingResponse(Fields.from_list([("x-language", b"python")]))
        body = response.body()
        ResponseOutparam.set(response_out, Ok(response))
        with body.write() as stream:
            stream.blocking_write_and_flush(text)
        if path != "/unfinished":
            OutgoingBody.finish(body, None)


def read(content: IncomingBody) -> bytes:
    data = bytearray()
    with content.stream() as stream:
        try:
            while True:
                data += stream.blocking_read(PIECE)
        except Exception:  # the end of the stream
            return bytes(data)
