"""The functions that the bindings call."""

import json
from typing import List, Optional, Union

import wit_world
from componentize_py_types import Err, Ok, Result
from plugin import Plugin
from weir import Refused, telling
from weir.filter import Answer, Changes, Fetch, Needs, Reply, Request, Response
from wit_world.imports import filtering, types

plugin: Optional[Plugin] = None


def of_request(decision) -> filtering.RequestDecision:
    if decision is None:
        return filtering.RequestDecision_Next()
    if isinstance(decision, Changes):
        return filtering.RequestDecision_Edit(filtering.Changes(decision.edits, decision.context))
    if isinstance(decision, Reply):
        return filtering.RequestDecision_Reply(filtering.Reply(decision.status, decision.headers, decision.body))
    if isinstance(decision, Fetch):
        return filtering.RequestDecision_Fetch(
            filtering.Fetch(
                decision.upstream,
                decision.method,
                decision.path,
                decision.authority,
                decision.headers,
                decision.body,
                decision.timeout_ms,
                decision.context,
            )
        )
    raise no_decision(decision)


def of_response(decision) -> filtering.ResponseDecision:
    if decision is None:
        return filtering.ResponseDecision_Next()
    if isinstance(decision, Changes):
        return filtering.ResponseDecision_Edit(filtering.Changes(decision.edits, decision.context))
    if isinstance(decision, Reply):
        return filtering.ResponseDecision_Reply(filtering.Reply(decision.status, decision.headers, decision.body))
    raise no_decision(decision)


def no_decision(value) -> TypeError:
    return TypeError(f"this is no decision here: {value!r}")


def made(config: str, needs: Needs) -> Union[Plugin, Err]:
    try:
        return Plugin(json.loads(config), needs)
    except (Refused, ValueError) as error:
        return Err(str(error))


class WitWorld(wit_world.WitWorld):
    def describe(self) -> types.Manifest:
        about = Plugin.about
        return types.Manifest(about.name, about.version, about.summary, about.schema_text())

    def configure(self, config: str) -> filtering.FilterNeeds:
        global plugin
        needs = Needs()
        plugin = telling(made, config, needs)
        if isinstance(plugin, Err):
            raise plugin
        return filtering.FilterNeeds(needs.on_request, needs.on_response, needs.pure, needs.names, needs.response.names)

    def on_request(self, inputs: List[Optional[bytes]]) -> filtering.RequestDecision:
        return telling(lambda: of_request(plugin.on_request(Request(inputs))))

    def on_fetch(self, context: bytes, answer: Result[filtering.Reply, str]) -> filtering.RequestDecision:
        came = isinstance(answer, Ok)
        reply, failure = (Answer(answer.value), "") if came else (None, answer.value)
        return telling(lambda: of_request(plugin.on_fetch(context, reply, failure)))

    def on_response(self, status: int, inputs: List[Optional[bytes]], context: bytes) -> filtering.ResponseDecision:
        return telling(lambda: of_response(plugin.on_response(Response(status, inputs, context))))
