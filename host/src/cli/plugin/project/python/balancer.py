"""Spreads requests in turn over one zone's endpoints, or over all if the zone has none."""

from weir import About, check_keys
from weir.balancer import Balancer, Endpoint, Needs, Pick


class Plugin(Balancer):
    about = About(
        name="@NAME@",
        summary="Endpoints of one zone first",
        config_schema={
            "type": ["object", "null"],
            "additionalProperties": False,
            "properties": {"zone": {"type": "string", "description": "The zone that comes first"}},
        },
    )

    def __init__(self, config, needs: Needs) -> None:
        self.zone = check_keys({} if config is None else config, {"zone": str}).get("zone", "")
        # A number for each request, counted over all workers.
        needs.sequence = True
        self.ids: list[int] = []

    def update(self, endpoints: list[Endpoint]) -> None:
        """Weir calls this with the healthy endpoints at each change. `pick` has nothing to search."""
        here = [endpoint.id for endpoint in endpoints if endpoint.zone == self.zone]
        self.ids = here or [endpoint.id for endpoint in endpoints]

    def pick(self, pick: Pick) -> int | None:
        if not self.ids:
            return None
        return self.ids[(pick.sequence + pick.attempt) % len(self.ids)]
