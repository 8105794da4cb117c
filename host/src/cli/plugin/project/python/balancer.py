"""Sends each request to the endpoints of one zone while it has any, in turn."""

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
        # A number for each request, the same over all workers.
        needs.sequence = True
        self.ids: list[int] = []

    def update(self, endpoints: list[Endpoint]) -> None:
        """Called with the healthy endpoints whenever they change, so there is nothing to search for in `pick`."""
        here = [endpoint.id for endpoint in endpoints if endpoint.zone == self.zone]
        self.ids = here or [endpoint.id for endpoint in endpoints]

    def pick(self, pick: Pick) -> int | None:
        if not self.ids:
            return None
        return self.ids[(pick.sequence + pick.attempt) % len(self.ids)]
