"""Filters: derive a class from `Filter`, and name it `Plugin` in src/plugin.py."""

import json
from typing import Any, ClassVar, List, Mapping, Optional, Union

from weir import About, Input, Inputs, InputsOf, ResponseInput, Values, octets, text, whole
from wit_world.imports import filtering
from wit_world.imports.filtering import Header


class Request(Values[Input]):
    """A request, with the values of the requested inputs."""

    __slots__ = ()


class Response(Values[ResponseInput]):
    """A response, with the values of the requested inputs of the response."""

    __slots__ = ("status", "context")

    def __init__(self, status: int, inputs: List[Optional[bytes]], context: bytes) -> None:
        self.status = status
        self.inputs = inputs
        self.context = context
        """The context of the decision on the request."""

    def recall(self) -> Any:
        """Returns the value that `remember` kept, or None."""
        return recall(self.context)


class Answer:
    """The answer to a fetch."""

    __slots__ = ("status", "headers", "body")

    def __init__(self, reply: filtering.Reply) -> None:
        self.status: int = reply.status
        self.headers: List[Header] = reply.headers
        self.body: bytes = reply.body

    def header(self, name: str) -> Optional[bytes]:
        """Returns the first value of a header field, or None. The name is in lower case."""
        return next((header.value for header in self.headers if header.name == name), None)


def recall(context: bytes) -> Any:
    """Returns the value that `remember` kept, or None."""
    try:
        return json.loads(context)
    except ValueError:
        return None


class Needs(Inputs):
    """The values that a filter needs from the host."""

    on_request = True
    on_response = False
    pure = False
    """Promises that decisions depend only on a call's arguments: the host may remember them."""

    def __init__(self) -> None:
        super().__init__()
        self.response: InputsOf[ResponseInput] = InputsOf()
        """The inputs of each response."""

    def request(self, values: Mapping[Input, Union[str, bytes]]) -> Request:
        """Returns a request for a test: these values, and None for the other inputs."""
        return Request(self.test(values))


class Comparable:
    """Decisions are equal if all their parts are, for tests."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({vars(self)})"


class Changes(Comparable):
    """The message goes on with changes. The context comes back with the response."""

    def __init__(self, context: bytes = b"") -> None:
        self.edits: List[filtering.Edit] = []
        self.context = octets(context, "the context")

    def set(self, name: str, value: Union[str, bytes]) -> "Changes":
        """Replaces every field of this name with one."""
        self.edits.append(filtering.Edit_Set(field(name, value)))
        return self

    def append(self, name: str, value: Union[str, bytes]) -> "Changes":
        """Adds a field after the fields of the same name."""
        self.edits.append(filtering.Edit_Append(field(name, value)))
        return self

    def remove(self, name: str) -> "Changes":
        """Removes every field of this name."""
        self.edits.append(filtering.Edit_Remove(text(name, "the name of a field")))
        return self

    def path(self, path: str) -> "Changes":
        """Sets the path and query of a request."""
        self.edits.append(filtering.Edit_Path(text(path, "the path")))
        return self

    def authority(self, authority: str) -> "Changes":
        """Sets the host and port that the origin sees."""
        self.edits.append(filtering.Edit_Authority(text(authority, "the authority")))
        return self

    def upstream(self, upstream: str) -> "Changes":
        """Sets the upstream that serves a request."""
        self.edits.append(filtering.Edit_Upstream(text(upstream, "the upstream")))
        return self

    def status(self, status: int) -> "Changes":
        """Sets the status of a response."""
        self.edits.append(filtering.Edit_Status(whole(status, "the status", 0, 65535)))
        return self

    def attribute(self, name: str, value: str) -> "Changes":
        """Notes a value about the request, for its access record and its span."""
        note = filtering.Attribute(text(name, "the name of an attribute"), text(value, "the value of an attribute"))
        self.edits.append(filtering.Edit_Attribute(note))
        return self

    def remember(self, value: Any) -> "Changes":
        """Sets the context to a value as JSON. `Response.recall` returns it."""
        self.context = json.dumps(value).encode()
        return self


class Reply(Comparable):
    """The plugin answers with a whole response."""

    def __init__(self, status: int, body: Union[str, bytes] = b"") -> None:
        self.status = whole(status, "the status", 0, 65535)
        self.headers: List[Header] = []
        self.body = octets(body, "the body")

    def header(self, name: str, value: Union[str, bytes]) -> "Reply":
        """Adds a header field."""
        self.headers.append(field(name, value))
        return self


class Fetch(Comparable):
    """Makes the host send a request. `on_fetch` then decides. Without an authority, it is the
    client's own. The time for the whole answer is `timeout_ms`: 0 for 5 s, at most 60 s."""

    def __init__(
        self,
        upstream: str,
        path: str,
        *,
        method: str = "GET",
        authority: str = "",
        headers: Optional[Mapping[str, Union[str, bytes]]] = None,
        body: Union[str, bytes] = b"",
        timeout_ms: int = 0,
        context: Union[str, bytes] = b"",
    ) -> None:
        self.upstream = text(upstream, "the upstream")
        self.path = text(path, "the path")
        self.method = text(method, "the method")
        self.authority = text(authority, "the authority")
        self.headers = [field(name, value) for name, value in (headers or {}).items()]
        self.body = octets(body, "the body")
        self.timeout_ms = whole(timeout_ms, "timeout_ms", 0, 2**31 - 1)
        self.context = octets(context, "the context")

    def remember(self, value: Any) -> "Fetch":
        """Sets the context to a value as JSON. `weir.filter.recall` returns it."""
        self.context = json.dumps(value).encode()
        return self


class Filter:
    """The base class of a plugin. A decision is `None` to go on unchanged, `Changes`, `Reply`, or
    for a request also `Fetch`. The configuration is parsed JSON; `weir.Refused` refuses it."""

    about: ClassVar[About]

    def __init__(self, config: Any, needs: Needs) -> None:
        pass

    def on_request(self, request: Request) -> Union[None, Changes, Reply, Fetch]:
        """Decides on a request."""

    def on_fetch(self, context: bytes, answer: Optional[Answer], failure: str) -> Union[None, Changes, Reply, Fetch]:
        """Decides after a fetch. The answer is None if there was none, and `failure` the reason."""

    def on_response(self, response: Response) -> Union[None, Changes, Reply]:
        """Decides on a response, if `needs.on_response` is set."""


def field(name: str, value: Union[str, bytes]) -> Header:
    return Header(text(name, "the name of a field"), octets(value, "the value of a field"))
