"""Lets requests with a known tenant pass, and marks them as checked for the origin."""

from weir import About, Refused, check_keys
from weir.filter import Changes, Filter, Needs, Reply, Request, Response


class Plugin(Filter):
    about = About(
        name="@NAME@",
        summary="Requests that name a tenant",
        config_schema={
            "type": ["object", "null"],
            "additionalProperties": False,
            "properties": {
                "header": {"type": "string", "default": "x-tenant", "description": "The header field that names the tenant"},
                "tenants": {
                    "type": "array",
                    "items": {"type": "string"},
                    "description": "The tenants that may pass. If left out, all may",
                },
            },
        },
    )

    def __init__(self, config, needs: Needs) -> None:
        config = check_keys({} if config is None else config, {"header": str, "tenants": list})
        tenants = config.get("tenants", [])
        if not all(isinstance(tenant, str) for tenant in tenants):
            raise Refused("tenants: each must be a string")
        self.tenants = set(tenants)
        # Each request comes with only the inputs that are requested here.
        self.tenant = needs.input("header:" + config.get("header", "x-tenant"))
        needs.on_response = True

    def on_request(self, request: Request):
        tenant = request.text(self.tenant)
        if tenant is None or self.tenants and tenant not in self.tenants:
            return Reply(403, "unknown tenant\n").header("content-type", "text/plain")
        # The value comes back with the response to this request.
        return Changes().set("x-checked", "1").remember(tenant)

    def on_response(self, response: Response):
        return Changes().set("x-tenant", response.recall()).remove("server")
