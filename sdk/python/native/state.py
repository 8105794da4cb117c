"""A stand-in for the host's state, for tests in Python."""

from typing import Dict, Optional, Tuple

from wit_world.imports import host

entries: Dict[Tuple[str, str], Tuple[bytes, int]] = {}
"""Values, and the ends of their lives in microseconds since the Unix epoch; 0 for none. Clear it
between tests."""

MOST = 2**53 - 1


def add(space: str, key: str, by: int, ttl_ms: int) -> int:
    old, until = live(space, key) or (b"0", end(ttl_ms))
    sum = int(old) if old.lstrip(b"-").isdigit() else 0
    sum = max(-MOST, min(MOST, sum + by))
    entries[space, key] = (str(sum).encode(), until)
    return sum


def get(space: str, key: str) -> Optional[bytes]:
    found = live(space, key)
    return found and found[0]


def set(space: str, key: str, value: bytes, ttl_ms: int) -> None:
    entries[space, key] = (value, end(ttl_ms))


def replace(space: str, key: str, expected: Optional[bytes], value: bytes, ttl_ms: int) -> bool:
    is_expected = get(space, key) == expected
    if is_expected:
        set(space, key, value, ttl_ms)
    return is_expected


def remove(space: str, key: str) -> None:
    entries.pop((space, key), None)


def live(space: str, key: str) -> Optional[Tuple[bytes, int]]:
    found = entries.get((space, key))
    return found if found and (found[1] == 0 or found[1] > host.now_us()) else None


def end(ttl_ms: int) -> int:
    return host.now_us() + ttl_ms * 1000 if ttl_ms else 0
