// The policy of a tenant's requests. examples/README.md describes it exactly.
import { Changes, Reply, ensure, filter, keys, text } from "weir";

const MAX_BODY = 2147483647;

class Tenants {
  constructor(policies, needs) {
    this.policies = policies;
    this.tenant = needs.input("header:x-tenant");
    this.method = needs.input(":method");
    this.path = needs.input(":path");
    this.length = needs.input("header:content-length");
  }

  onRequest(inputs) {
    const tenant = inputs[this.tenant];
    const policy = this.policies.get(text(tenant) ?? "");
    if (tenant === null || policy === undefined) return refuse(403, "unknown tenant\n");
    const { prefix, plan, methods, max_body } = policy;
    if (methods && !methods.includes(text(inputs[this.method]) ?? "")) {
      return refuse(405, "method not allowed\n").header("allow", methods.join(", "));
    }
    const length = inputs[this.length];
    if (max_body !== undefined && length && !fits(length, max_body)) return refuse(413, "body too large\n");
    if (prefix === undefined && plan === undefined) return undefined;
    const changes = new Changes(tenant);
    const path = text(inputs[this.path]) ?? "";
    if (prefix !== undefined && path.startsWith("/")) changes.path(prefix + path);
    if (plan !== undefined) changes.set("x-plan", plan);
    return changes;
  }

  onResponse(_status, _inputs, context) {
    return context.length > 0 ? new Changes().set("x-tenant", context) : undefined;
  }
}

function create(json, needs) {
  const { tenants } = keys(json, { tenants: "object" });
  ensure(tenants !== undefined && !Array.isArray(tenants), "tenants: it must be an object");
  // A map, because every object has a `constructor`.
  const policies = new Map();
  for (const [name, policy] of Object.entries(tenants)) {
    policies.set(name, check(policy, `tenants.${name}`));
  }
  return new Tenants(policies, needs);
}

function check(json, what) {
  const types = { prefix: "string", plan: "string", methods: "object", max_body: "number" };
  const policy = keys(json, types, what);
  const { prefix = "/x", methods = [], max_body = 0 } = policy;
  ensure(prefix.startsWith("/") && !prefix.endsWith("/"), `${what}.prefix: it must begin with a slash and not end with one`);
  const isList = Array.isArray(methods) && methods.every((method) => typeof method === "string");
  ensure(isList, `${what}.methods: it must be a list of strings`);
  const isSize = Number.isInteger(max_body) && max_body >= 0 && max_body <= MAX_BODY;
  ensure(isSize, `${what}.max_body: it must be a whole number from 0 to ${MAX_BODY}`);
  return policy;
}

function refuse(status, body) {
  return new Reply(status, body).header("content-type", "text/plain");
}

/** Whether a content-length is a number and at most `most`. */
function fits(length, most) {
  const digits = text(length) ?? "";
  return /^[0-9]+$/.test(digits) && Number(digits) <= most;
}

export const { describe, configure, onRequest, onFetch, onResponse } = filter(
  {
    name: "tenants",
    summary: "The policy of a tenant's requests",
    configSchema: {
      type: "object",
      required: ["tenants"],
      additionalProperties: false,
      properties: {
        tenants: {
          type: "object",
          additionalProperties: {
            type: "object",
            additionalProperties: false,
            properties: {
              prefix: { type: "string", pattern: "^/.*[^/]$", description: "The prefix of the path" },
              plan: { type: "string", description: "The value of x-plan for the origin" },
              methods: { type: "array", items: { type: "string" }, description: "The methods that are allowed" },
              max_body: {
                type: "integer",
                minimum: 0,
                maximum: MAX_BODY,
                description: "The largest content-length that is allowed",
              },
            },
          },
        },
      },
    },
  },
  create,
);
