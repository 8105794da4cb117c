"""The policy of a tenant's requests. examples/README.md describes it exactly."""

import hmac
import re
from typing import Optional

from weir import About, Refused, check_keys, count, state
from weir.filter import Answer, Changes, Fetch, Filter, Needs, Reply, Request, Response

MOST = 2147483647

MINUTE = 60_000
"""The time for which a count and an answer of the directory count, in milliseconds."""

NAME = re.compile("[0-9A-Za-z-]{1,64}")
"""The names of tenants for which the directory may be asked."""


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
                                "maximum": MOST,
                                "description": "The largest content-length that is allowed",
                            },
                        },
                    },
                },
                "directory": {"type": "string", "description": "The upstream that knows the plans of further tenants"},
                "quota": {
                    "type": "integer",
                    "minimum": 1,
                    "maximum": MOST,
                    "description": "The requests that a tenant may make in a minute",
                },
                "key": {
                    "type": "string",
                    "minLength": 1,
                    "x-weir-secret": True,
                    "description": "Requests with this value of x-key pass without a tenant",
                },
            },
        },
    )

    def __init__(self, config, needs: Needs) -> None:
        config = check_keys(config, {"tenants": dict, "directory": str, "quota": int, "key": str})
        self.tenants = config.get("tenants")
        if self.tenants is None:
            raise Refused("tenants: it must be there")
        for name, policy in self.tenants.items():
            check_policy(policy, f"tenants.{name}")
        self.directory = config.get("directory")
        self.quota = config.get("quota")
        if self.quota is not None and not 1 <= self.quota <= MOST:
            raise Refused(f"quota: it must be from 1 to {MOST}")
        # Header fields are bytes.
        self.secret = config.get("key", "").encode()
        needs.on_response = True
        self.tenant = needs.input("header:x-tenant")
        self.key = needs.input("header:x-key")
        self.method = needs.input(":method")
        self.path = needs.input(":path")
        self.length = needs.input("header:content-length")

    def on_request(self, request: Request):
        given = request.bytes(self.key)
        if self.secret and given is not None:
            if not hmac.compare_digest(given, self.secret):
                return refuse(403, "wrong key\n")
            return Changes().remove("x-key").attribute("by", "key")
        tenant = request.text(self.tenant)
        policy = self.tenants.get(tenant)
        if policy is not None:
            return self.decide(tenant, policy, request)
        if tenant is not None and self.directory is not None and NAME.fullmatch(tenant):
            return self.look_up(tenant)
        return refuse(403, "unknown tenant\n")

    def on_fetch(self, context: bytes, answer: Optional[Answer], failure: str):
        tenant = context.decode()
        if answer is not None and answer.status == 200:
            plan = answer.header("x-plan") or b""
            state.set("", f"tenant/{tenant}", b"+" + plan, MINUTE)
            return self.decide(tenant, with_plan(plan.decode()))
        if answer is not None and answer.status == 404:
            state.set("", f"tenant/{tenant}", "-", MINUTE)
            return refuse(403, "unknown tenant\n")
        count("undecided")
        return refuse(503, "no directory\n")

    def on_response(self, response: Response):
        return Changes().set("x-tenant", response.context) if response.context else None

    def look_up(self, tenant: str):
        """Decides by what the directory said about the tenant in the last minute, or asks it."""
        value = state.get("", f"tenant/{tenant}")
        if value is None:
            return Fetch(self.directory, f"/tenants/{tenant}", timeout_ms=2000, context=tenant)
        if not value.startswith(b"+"):
            return refuse(403, "unknown tenant\n")
        return self.decide(tenant, with_plan(value[1:].decode()))

    def decide(self, tenant: str, policy: dict, request: Optional[Request] = None):
        """Decides by a policy. Without the request it is one of the directory, with only a plan."""
        methods, most = policy.get("methods"), policy.get("max_body")
        if methods is not None and request.text(self.method) not in methods:
            return refuse(405, "method not allowed\n").header("allow", ", ".join(methods))
        length = None if most is None else request.bytes(self.length)
        if length is not None and not fits(length, most):
            return refuse(413, "body too large\n")
        if self.quota is not None and state.add("", f"quota/{tenant}", 1, MINUTE) > self.quota:
            count("limited")
            return refuse(429, "too many requests\n").header("retry-after", "60")
        prefix, plan = policy.get("prefix"), policy.get("plan")
        if prefix is None and plan is None:
            return None
        changes = Changes(context=tenant)
        path = "" if prefix is None else request.text(self.path) or ""
        if path.startswith("/"):
            changes.path(prefix + path)
        if plan is not None:
            changes.set("x-plan", plan).attribute("plan", plan)
        return changes


def with_plan(plan: str) -> dict:
    return {"plan": plan} if plan else {}


def check_policy(policy, what: str) -> None:
    check_keys(policy, {"prefix": str, "plan": str, "methods": list, "max_body": int}, what)
    prefix = policy.get("prefix", "/x")
    if not prefix.startswith("/") or prefix.endswith("/"):
        raise Refused(f"{what}.prefix: it must begin with a slash and not end with one")
    if not all(isinstance(method, str) for method in policy.get("methods", [])):
        raise Refused(f"{what}.methods: each must be a string")
    if not 0 <= policy.get("max_body", 0) <= MOST:
        raise Refused(f"{what}.max_body: it must be from 0 to {MOST}")


def refuse(status: int, body: str) -> Reply:
    return Reply(status, body).header("content-type", "text/plain")


def fits(length: bytes, most: int) -> bool:
    """Whether a content-length is a number and at most `most`."""
    # Python refuses to parse numbers of many thousand digits.
    return length.isdigit() and int(length.lstrip(b"0")[:11] or b"0") <= most
