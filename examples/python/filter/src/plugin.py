"""The policy of a tenant's requests. examples/README.md describes it exactly."""

from weir import About, Refused, check_keys
from weir.filter import Changes, Filter, Needs, Reply, Values

MAX_BODY = 2147483647


class Plugin(Filter):
    about = About(
        name="tenants",
        summary="The policy of a tenant's requests",
        config_schema={
            "type": "object",
            "required": ["tenants"],
            "additionalProperties": False,
            "properties": {
                "tenants": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "prefix": {"type": "string", "pattern": "^/.*[^/]$", "description": "The prefix of the path"},
                            "plan": {"type": "string", "description": "The value of x-plan for the origin"},
                            "methods": {
                                "type": "array",
                                "items": {"type": "string"},
                                "description": "The methods that are allowed",
                            },
                            "max_body": {
                                "type": "integer",
                                "minimum": 0,
                                "maximum": MAX_BODY,
                                "description": "The largest content-length that is allowed",
                            },
                        },
                    },
                }
            },
        },
    )

    def __init__(self, config, needs: Needs) -> None:
        tenants = check_keys(config, {"tenants": dict}).get("tenants")
        if tenants is None:
            raise Refused("tenants: it must be there")
        for name, policy in tenants.items():
            check_policy(policy, f"tenants.{name}")
        # Header fields are bytes.
        self.tenants = {name.encode(): policy for name, policy in tenants.items()}
        needs.on_response = True
        self.tenant = needs.input("header:x-tenant")
        self.method = needs.input(":method")
        self.path = needs.input(":path")
        self.length = needs.input("header:content-length")

    def on_request(self, inputs: Values):
        tenant = inputs[self.tenant]
        policy = self.tenants.get(tenant)
        if policy is None:
            return refuse(403, "unknown tenant\n")
        methods = policy.get("methods")
        if methods is not None and inputs[self.method].decode() not in methods:
            return refuse(405, "method not allowed\n").header("allow", ", ".join(methods))
        most, length = policy.get("max_body"), inputs[self.length]
        if most is not None and length is not None and not fits(length, most):
            return refuse(413, "body too large\n")
        prefix, plan = policy.get("prefix"), policy.get("plan")
        if prefix is None and plan is None:
            return None
        changes = Changes(context=tenant)
        path = inputs[self.path].decode()
        if prefix is not None and path.startswith("/"):
            changes.path(prefix + path)
        if plan is not None:
            changes.set("x-plan", plan)
        return changes

    def on_response(self, status: int, inputs: Values, context: bytes):
        return Changes().set("x-tenant", context) if context else None


def check_policy(policy, what: str) -> None:
    check_keys(policy, {"prefix": str, "plan": str, "methods": list, "max_body": int}, what)
    prefix = policy.get("prefix", "/x")
    if not prefix.startswith("/") or prefix.endswith("/"):
        raise Refused(f"{what}.prefix: it must begin with a slash and not end with one")
    if not all(isinstance(method, str) for method in policy.get("methods", [])):
        raise Refused(f"{what}.methods: each must be a string")
    if not 0 <= policy.get("max_body", 0) <= MAX_BODY:
        raise Refused(f"{what}.max_body: it must be from 0 to {MAX_BODY}")


def refuse(status: int, body: str) -> Reply:
    return Reply(status, body).header("content-type", "text/plain")


def fits(length: bytes, most: int) -> bool:
    """Whether a content-length is a number and at most `most`."""
    # Python refuses to parse numbers of many thousand digits.
    return length.isdigit() and int(length.lstrip(b"0")[:11] or b"0") <= most
