"""The functions that the bindings call."""

import json
from typing import List, Optional, Union

import wit_world
from componentize_py_types import Err
from plugin import Plugin
from weir import Refused, telling, whole
from weir.balancer import Needs, Pick
from wit_world.imports import balancing, types

plugin: Optional[Plugin] = None


def made(config: str, needs: Needs) -> Union[Plugin, Err]:
    try:
        return Plugin(json.loads(config), needs)
    except (Refused, ValueError) as error:
        return Err(str(error))


def picked(pick: Pick) -> Optional[int]:
    picked = plugin.pick(pick)
    return None if picked is None else whole(picked, "the endpoint's id", 0, 2**31 - 1)


class WitWorld(wit_world.WitWorld):
    def describe(self) -> types.Manifest:
        about = Plugin.about
        return types.Manifest(about.name, about.version, about.summary, about.schema_text())

    def configure(self, config: str) -> balancing.BalancerNeeds:
        global plugin
        needs = Needs()
        plugin = telling(made, config, needs)
        if isinstance(plugin, Err):
            raise plugin
        return balancing.BalancerNeeds(needs.names, needs.sequence, needs.loads, needs.outcomes)

    def update(self, endpoints: List[balancing.Endpoint]) -> None:
        telling(plugin.update, endpoints)

    def pick(self, sequence: int, attempt: int, inputs: List[Optional[bytes]], loads: List[int]) -> Optional[int]:
        return telling(picked, Pick(sequence, attempt, inputs, loads))

    def observe(self, outcomes: List[balancing.Outcome]) -> None:
        telling(plugin.observe, outcomes)
