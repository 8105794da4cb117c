"""What plugins for Weir have in common.

The bindings that componentize-py generates make a new object for each call. A plugin's own object is made once, when it is configured,
and kept here.
"""

import json
from dataclasses import dataclass
from typing import Any, List, Optional

from wit_world.imports import host
from wit_world.imports.host import Level


@dataclass
class About:
    """What a plugin says about itself; config_schema is a JSON Schema, as a dict, or None."""

    name: str
    version: str = "0.1.0"
    summary: str = ""
    config_schema: Optional[dict] = None

    def schema_text(self) -> str:
        return json.dumps(self.config_schema) if self.config_schema else ""


class Refused(Exception):
    """A configuration that a plugin does not take; the message is shown to the user."""


class Inputs:
    """The inputs that were asked for."""

    def __init__(self) -> None:
        self.names: List[str] = []

    def input(self, name: str) -> int:
        """Asks for an input by the host's name for it, such as "header:x-user", and returns its place among the values."""
        self.names.append(name)
        return len(self.names) - 1


def log(message: str, level: Level = Level.INFO) -> None:
    """Writes a line to the host's log."""
    host.log(level, message)


def now() -> int:
    """The time, in nanoseconds since the Unix epoch. The module time has none that means anything."""
    return host.now()


def random(length: int) -> bytes:
    """Up to 4096 bytes that nobody can predict. The module random repeats."""
    return host.random(length)


def count(metric: str, by: int = 1) -> None:
    """Adds to a counter of the plugin's own."""
    host.count(metric, by)


def check_keys(value: Any, keys: dict, what: str = "the configuration") -> dict:
    """An object with no keys but these, each of the types that are named for it."""
    if not isinstance(value, dict):
        raise Refused(f"{what} must be an object")
    for key, item in value.items():
        if key not in keys:
            raise Refused(f"{what} has no key {key!r}; there are {', '.join(keys)}")
        # A boolean is an int to Python.
        if isinstance(item, bool) and keys[key] is not bool or not isinstance(item, keys[key]):
            raise Refused(f"{what}: {key} is of the wrong type")
    return value
