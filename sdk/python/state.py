"""Values that all instances of a plugin share, on every worker and over swaps.

A space is "" for the plugin's own, or a name in its `allow.state`. A time to live is in
milliseconds, or 0 for none. A value of a wrong type or size raises an exception here, and nothing
is done.
"""

from typing import Optional, Union

from weir import MOST_WHOLE, octets, text, whole
from wit_world.imports import state


def add(space: str, key: str, by: int = 1, ttl_ms: int = 0) -> int:
    """Adds to a counter and returns the sum."""
    by = whole(by, "by", -MOST_WHOLE, MOST_WHOLE)
    return state.add(text(space, "the space"), text(key, "the key"), by, milliseconds(ttl_ms))


def get(space: str, key: str) -> Optional[bytes]:
    """Returns the value of a key. The value of a counter is its sum in decimal."""
    return state.get(text(space, "the space"), text(key, "the key"))


def set(space: str, key: str, value: Union[str, bytes], ttl_ms: int = 0) -> None:
    """Sets a value and its time to live."""
    value = octets(value, "the value")
    state.set(text(space, "the space"), text(key, "the key"), value, milliseconds(ttl_ms))


def replace(
    space: str, key: str, expected: Union[None, str, bytes], value: Union[str, bytes], ttl_ms: int = 0
) -> bool:
    """Sets a value if the present one equals the expected one, in one atomic step.

    Returns whether it did.
    """
    expected = None if expected is None else octets(expected, "what is expected")
    value = octets(value, "the value")
    return state.replace(text(space, "the space"), text(key, "the key"), expected, value, milliseconds(ttl_ms))


def remove(space: str, key: str) -> None:
    """Removes a key."""
    state.remove(text(space, "the space"), text(key, "the key"))


def milliseconds(value: int) -> int:
    return whole(value, "ttl_ms", 0, MOST_WHOLE)
