"""What the bindings call."""

import json
from typing import List, Optional

import wit_world
from componentize_py_types import Err
from plugin import Plugin
from weir import Refused
from weir.balancer import Needs, Pick
from wit_world.imports import balancing, types

plugin: Optional[Plugin] = None


class WitWorld(wit_world.WitWorld):
    def describe(self) -> types.Manifest:
        about = Plugin.about
        return types.Manifest(about.name, about.version, about.summary, about.schema_text())

    def configure(self, config: str) -> balancing.Needs:
        global plugin
        needs = Needs()
        try:
            plugin = Plugin(json.loads(config), needs)
        except (Refused, ValueError) as error:
            raise Err(str(error))
        return balancing.Needs(needs.names, needs.sequence, needs.loads, needs.outcomes)

    def update(self, endpoints: List[balancing.Endpoint]) -> None:
        plugin.update(endpoints)

    def pick(self, sequence: int, attempt: int, inputs: List[Optional[bytes]], loads: List[int]) -> Optional[int]:
        return plugin.pick(Pick(sequence, attempt, inputs, loads))

    def observe(self, outcomes: List[balancing.Outcome]) -> None:
        plugin.observe(outcomes)
