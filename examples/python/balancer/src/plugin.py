"""Consistent hashing with bounded loads. examples/README.md describes it exactly."""

from bisect import bisect_left
from math import ceil

from weir import About, Refused, check_keys
from weir.balancer import TRIED, Balancer, Endpoint, Needs, Pick


class Plugin(Balancer):
    about = About(
        name="bounded",
        summary="Consistent hashing with bounded loads",
        config_schema={
            "type": ["object", "null"],
            "additionalProperties": False,
            "properties": {
                "by": {"type": "string", "default": "client.address", "description": "The input that decides the endpoint"},
                "factor": {
                    "type": "number",
                    "minimum": 1,
                    "default": 1.25,
                    "description": "How much more than its share of the requests in flight an endpoint may have",
                },
            },
        },
    )

    def __init__(self, config, needs: Needs) -> None:
        config = check_keys({} if config is None else config, {"by": str, "factor": (int, float)})
        self.factor = config.get("factor", 1.25)
        if self.factor < 1:
            raise Refused("factor: it must be at least 1")
        needs.loads = True
        self.by = needs.input(config.get("by", "client.address"))
        self.client = needs.input("client.address")
        self.update([])

    def update(self, endpoints: list[Endpoint]) -> None:
        # Id, weight, and the index in the update, which is also the index of the load.
        self.members = [(e.id, e.weight, index) for index, e in enumerate(endpoints) if e.weight > 0]
        points = []
        for member, (_, weight, index) in enumerate(self.members):
            # Hashes the common part of the names of its points only once.
            common = fnv(f"{endpoints[index].address}#".encode())
            points += [(mix(fnv(b"%d" % number, common)), member) for number in range(40 * min(weight, 25))]
        points.sort()
        self.hashes = [point for point, _ in points]
        self.ring = [self.members[member] for _, member in points]

    def pick(self, pick: Pick) -> int | None:
        if not self.ring:
            return None
        key = pick.bytes(self.by)
        if key is None:
            key = pick.bytes(self.client) or b""
        start = bisect_left(self.hashes, mix(fnv(key))) % len(self.ring)
        loads = pick.loads
        total = weights = 0
        for _, weight, index in self.members:
            if loads[index] != TRIED:
                total += loads[index]
                weights += weight
        untried = None
        for n in range(len(self.ring) if weights else 0):
            id, weight, index = self.ring[(start + n) % len(self.ring)]
            if loads[index] == TRIED:
                continue
            if loads[index] < ceil(self.factor * (total + 1) * weight / weights):
                return id
            if untried is None:
                untried = id
        return self.ring[start][0] if untried is None else untried


def fnv(data: bytes, h: int = 2166136261) -> int:
    """FNV-1a, continued from an earlier result."""
    for byte in data:
        h = (h ^ byte) * 16777619 & 0xFFFFFFFF
    return h


def mix(h: int) -> int:
    """MurmurHash3's finalizer."""
    h = (h ^ h >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    h = (h ^ h >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return h ^ h >> 16
