"""Balancers: derive a class from `Balancer`, and name it `Plugin` in src/plugin.py."""

from typing import Any, ClassVar, List, Mapping, Optional, Sequence, Union

from weir import About, Input, Inputs, Values
from wit_world.imports.balancing import Endpoint, Outcome

TRIED = 2147483647
"""The load that marks an endpoint that the request has already tried."""


class Needs(Inputs):
    """The values that a balancer needs from the host."""

    sequence = False
    loads = False
    outcomes = False

    def pick(
        self,
        values: Mapping[Input, Union[str, bytes]],
        sequence: int = 0,
        attempt: int = 0,
        loads: Sequence[int] = (),
    ) -> "Pick":
        """Returns a request for a test: these values, and None for the other inputs."""
        return Pick(sequence, attempt, self.test(values), list(loads))


class Pick(Values[Input]):
    """A request that needs an endpoint, with the values of the requested inputs."""

    __slots__ = ("sequence", "attempt", "loads")

    def __init__(self, sequence: int, attempt: int, inputs: List[Optional[bytes]], loads: List[int]) -> None:
        self.sequence = sequence
        """Counts the requests of the upstream over all workers."""
        self.attempt = attempt
        """Counts the retries of the request."""
        self.inputs = inputs
        self.loads = loads
        """The requests in flight at each endpoint of the last update, in its order."""


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
