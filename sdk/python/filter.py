"""Filters: derive a class from `Filter`, and name it `Plugin` in src/plugin.py."""

from typing import Any, ClassVar, List, Optional, Union

from weir import About, Inputs, octets, text, whole
from wit_world.imports import filtering
from wit_world.imports.filtering import Fetch, Header

Values = List[Optional[bytes]]
"""A value, or None, for each requested input."""


class Needs(Inputs):
    """The values that a filter needs from the host."""

    on_request = True
    on_response = False
    pure = False
    """Promises that decisions depend only on a call's arguments: the host may remember them."""

    def __init__(self) -> None:
        super().__init__()
        self.response = Inputs()
        """The inputs of each response."""


class Changes:
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


class Reply:
    """The plugin answers with a whole response."""

    def __init__(self, status: int, body: Union[str, bytes] = b"") -> None:
        self.status = whole(status, "the status", 0, 65535)
        self.headers: List[Header] = []
        self.body = octets(body, "the body")

    def header(self, name: str, value: Union[str, bytes]) -> "Reply":
        """Adds a header field."""
        self.headers.append(field(name, value))
        return self


class Filter:
    """The base class of a plugin. A decision is `None` to go on unchanged, `Changes`, `Reply`, or
    for a request also `Fetch`. The configuration is parsed JSON; `weir.Refused` refuses it."""

    about: ClassVar[About]

    def __init__(self, config: Any, needs: Needs) -> None:
        pass

    def on_request(self, inputs: Values) -> Union[None, Changes, Reply, Fetch]:
        """Decides on a request."""

    def on_fetch(self, context: bytes, answer: Optional[filtering.Reply]) -> Union[None, Changes, Reply, Fetch]:
        """Decides after a fetch. The answer is None if there was none."""

    def on_response(self, status: int, inputs: Values, context: bytes) -> Union[None, Changes, Reply]:
        """Decides on a response, if `needs.on_response` is set."""


def field(name: str, value: Union[str, bytes]) -> Header:
    return Header(text(name, "the name of a field"), octets(value, "the value of a field"))
