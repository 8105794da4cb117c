"""Unit tests: `python3 -m unittest`. Breakpoints work here. `weir plugin build` writes build/."""

import sys
import unittest

sys.path[:0] = ["src", "build/native", "build/weir"]

from plugin import Plugin  # noqa: E402
from weir.balancer import Endpoint, Needs  # noqa: E402


class PluginTest(unittest.TestCase):
    def test_endpoints_of_the_zone_take_turns(self) -> None:
        needs = Needs()
        plugin = Plugin({"zone": "a"}, needs)
        self.assertIsNone(plugin.pick(needs.pick({})))
        plugin.update([Endpoint(n, f"10.0.0.{n}:80", 1, "a" if n else "b", []) for n in range(3)])
        picks = [plugin.pick(needs.pick({}, sequence=n)) for n in range(4)]
        self.assertEqual(picks, [1, 2, 1, 2])
