"""Balancers: derive a class from `Balancer`, and name it `Plugin` in src/plugin.py."""

from dataclasses import dataclass
from typing import Any, ClassVar, List, Optional

from weir import About, Inputs
from wit_world.imports.balancing import Endpoint, Outcome

TRIED = 2147483647
"""The load that marks an endpoint that the request has already tried."""


class Needs(Inputs):
    """The values that a balancer needs from the host."""

    sequence = False
    loads = False
    outcomes = False


@dataclass(slots=True)
class Pick:
    """A request that needs an endpoint. `inputs` has a value, or None, for each requested input."""

    sequence: int
    attempt: int
    inputs: List[Optional[bytes]]
    loads: List[int]


class Balancer:
    """The base class of a plugin. The configuration is parsed JSON; `weir.Refused` refuses it."""

    about: ClassVar[About]

    def __init__(self, config: Any, needs: Needs) -> None:
        pass

    def update(self, endpoints: List[Endpoint]) -> None:
        """Replaces the endpoints."""
        raise NotImplementedError

    def pick(self, pick: Pick) -> Optional[int]:
        """Chooses an endpoint by its id, or none."""
        raise NotImplementedError

    def observe(self, outcomes: List[Outcome]) -> None:
        """Receives the outcomes of requests, if `needs.outcomes` is set."""
