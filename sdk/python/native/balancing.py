"""The types of balancers, for tests in Python."""

from dataclasses import dataclass, field
from typing import List, Tuple


@dataclass
class Endpoint:
    id: int
    address: str
    weight: int = 1
    zone: str = ""
    labels: List[Tuple[str, str]] = field(default_factory=list)


@dataclass
class Outcome:
    endpoint: int
    status: int
    duration_us: int
