"""The same as tests/guests/turns."""

from typing import List

from weir import About, log
from weir.balancer import Balancer, Endpoint, Needs, Outcome, Pick


class Plugin(Balancer):
    about = About(name="turns", summary="Logs what it is told")

    def __init__(self, config, needs: Needs) -> None:
        needs.sequence = True
        needs.outcomes = True
        self.command = needs.input("header:x-do")

    def update(self, endpoints: List[Endpoint]) -> None:
        pass

    def pick(self, pick: Pick) -> int:
        if pick.bytes(self.command) is not None:
            raise RuntimeError("broken on purpose")
        log(f"pick {pick.sequence}")
        return 0

    def observe(self, outcomes: List[Outcome]) -> None:
        for outcome in outcomes:
            log(f"observe {outcome.duration_us}")
