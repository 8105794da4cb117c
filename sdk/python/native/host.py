"""Stand-ins for the host's functions, for tests in Python."""

import os
import sys
import time
from collections import Counter
from enum import Enum


class Level(Enum):
    DEBUG = 0
    INFO = 1
    WARN = 2
    ERROR = 3


counters: Counter = Counter()
"""The sums of `count`."""


def clock() -> int:
    """Returns microseconds since the Unix epoch. A test may replace it."""
    return time.time_ns() // 1000


def log(level: Level, message: str) -> None:
    print(level.name.lower(), message, file=sys.stderr)


def now_us() -> int:
    return clock()


def random(len: int) -> bytes:
    return os.urandom(len)


def count(metric: str, by: int) -> None:
    counters[metric] += by
