"""Unit tests: `python3 -m unittest`. Breakpoints work here. `weir plugin build` writes build/."""

import sys
import unittest

sys.path[:0] = ["src", "build/native", "build/weir"]

from plugin import Plugin  # noqa: E402
from weir.filter import Changes, Needs, Reply  # noqa: E402


class PluginTest(unittest.TestCase):
    def test_a_request_without_a_tenant_is_refused(self) -> None:
        needs = Needs()
        plugin = Plugin({"tenants": ["acme"]}, needs)
        self.assertIsInstance(plugin.on_request(needs.request({})), Reply)
        self.assertIsInstance(plugin.on_request(needs.request({plugin.tenant: "other"})), Reply)
        decision = plugin.on_request(needs.request({plugin.tenant: "acme"}))
        self.assertEqual(decision, Changes().set("x-checked", "1").remember("acme"))
