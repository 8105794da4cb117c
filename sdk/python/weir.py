"""The code that plugins for Weir share.

The bindings of componentize-py make a new object for each call. The plugin's own object is made
once, by the configuration, and kept here.
"""

import json
from collections import deque
from dataclasses import dataclass
from typing import Any, Callable, Generic, Iterator, List, Mapping, NewType, Optional, TypeVar, Union, cast

from wit_world.imports import host
from wit_world.imports.host import Level


@dataclass
class About:
    """The description of a plugin. config_schema is a JSON Schema, as a dict, or None."""

    name: str
    version: str = "0.1.0"
    summary: str = ""
    config_schema: Optional[dict] = None

    def schema_text(self) -> str:
        return json.dumps(self.config_schema) if self.config_schema else ""


MOST_WHOLE = 2**53 - 1
"""The largest number of 64 bits that crosses to the host, and negated the least."""


class Refused(Exception):
    """A refused configuration. The user sees the message."""


Input = NewType("Input", int)
"""The handle of a requested input of a request."""

ResponseInput = NewType("ResponseInput", int)
"""The handle of a requested input of a response."""

Handle = TypeVar("Handle", bound=int)
T = TypeVar("T")


class InputsOf(Generic[Handle]):
    """The requested inputs, with handles of one kind."""

    def __init__(self) -> None:
        self.names: List[str] = []

    def input(self, name: str) -> Handle:
        """Requests an input by its name in the host, such as "header:x-user". Returns its handle."""
        self.names.append(text(name, "the name of an input"))
        return cast(Handle, len(self.names) - 1)

    def test(self, values: Mapping[Handle, Union[str, bytes]]) -> List[Optional[bytes]]:
        """Returns the values of all inputs for a test: these, and None for the others."""
        all: List[Optional[bytes]] = [None] * len(self.names)
        for handle, value in values.items():
            all[handle] = octets(value, "a value")
        return all


class Inputs(InputsOf[Input]):
    """The requested inputs of a request."""


class Values(Generic[Handle]):
    """The values of the requested inputs."""

    __slots__ = ("inputs",)

    def __init__(self, inputs: List[Optional[bytes]]) -> None:
        self.inputs = inputs

    def bytes(self, handle: Handle) -> Optional[bytes]:
        """Returns the value of an input, or None."""
        return self.inputs[handle]

    def text(self, handle: Handle) -> Optional[str]:
        """Returns the value of an input, or None without one or for invalid UTF-8."""
        value = self.inputs[handle]
        if value is None:
            return None
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None


def telling(call: Callable[..., T], *values: Any) -> T:
    """Calls a plugin, and logs an exception with its place: the host learns only of the trap."""
    try:
        return call(*values)
    except Exception as error:
        # The innermost places come first. The source lines are not available here.
        where = " ".join(reversed(deque(places(error), 8)))
        host.log(Level.ERROR, f"uncaught {type(error).__name__}: {error} {where}")
        raise


def places(error: Exception) -> Iterator[str]:
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        file = code.co_filename.rsplit("/", 1)[-1]
        if code is not telling.__code__:
            yield f"at {file}:{trace.tb_lineno} in {code.co_name}"
        trace = trace.tb_next


def octets(value: Any, what: str) -> bytes:
    """Returns bytes, from text or bytes. Checks the type here, where the place is known."""
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"{what} must be str or bytes, not {type(value).__name__}")
    return bytes(value)


def text(value: Any, what: str) -> str:
    """Checks that a value is text."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be str, not {type(value).__name__}")
    return value


def whole(value: Any, what: str, least: int, most: int) -> int:
    """Checks that a value is a whole number in a range."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what} must be int, not {type(value).__name__}")
    if not least <= value <= most:
        raise OverflowError(f"{what} must be from {least} to {most}, not {value}")
    return value


def log(message: str, level: Level = Level.INFO) -> None:
    """Writes a line to the host's log."""
    host.log(level, str(message))


def now_us() -> int:
    """Returns microseconds since the Unix epoch. The module time has no real clock here."""
    return host.now_us()


def random(length: int) -> bytes:
    """Returns up to 4096 unpredictable bytes. The module random repeats."""
    return host.random(whole(length, "the length", 0, 4096))


def count(metric: str, by: int = 1) -> None:
    """Adds to one of the plugin's own counters."""
    host.count(text(metric, "the metric"), whole(by, "the number", 0, MOST_WHOLE))


def check_keys(value: Any, keys: dict, what: str = "the configuration") -> dict:
    """Checks that a value is an object with only these keys, each of the given types."""
    if not isinstance(value, dict):
        raise Refused(f"{what} must be an object")
    for key, item in value.items():
        if key not in keys:
            raise Refused(f"{what} has no key {key!r}; there are {', '.join(keys)}")
        # A boolean is an int to Python.
        if isinstance(item, bool) and keys[key] is not bool or not isinstance(item, keys[key]):
            raise Refused(f"{what}: {key} is of the wrong type")
    return value
