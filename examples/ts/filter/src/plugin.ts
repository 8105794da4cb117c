// The policy of a tenant's requests. examples/README.md describes it exactly.
import { type Filter, type Json, type Values, Changes, FilterNeeds, Reply, ensure, filter, keys, text } from "weir";

const MAX_BODY = 2147483647;

interface Policy {
  prefix?: string;
  plan?: string;
  methods?: string[];
  max_body?: number;
}

class Tenants implements Filter {
  constructor(
    private readonly policies: Map<string, Policy>,
    private readonly tenant: number,
    private readonly method: number,
    private readonly path: number,
    private readonly length: number,
  ) {}

  onRequest(inputs: Values) {
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

  onResponse(_status: number, _inputs: Values, context: Uint8Array) {
    return context.length > 0 ? new Changes().set("x-tenant", context) : undefined;
  }
}

function create(json: Json, needs: FilterNeeds): Filter {
  const { tenants } = keys(json, { tenants: "object" });
  ensure(tenants !== undefined && !Array.isArray(tenants), "tenants: it must be an object");
  // A map, because every object has a `constructor`.
  const policies = new Map<string, Policy>();
  for (const [name, policy] of Object.entries(tenants as { [name: string]: Json })) {
    policies.set(name, check(policy, `tenants.${name}`));
  }
  return new Tenants(
    policies,
    needs.input("header:x-tenant"),
    needs.input(":method"),
    needs.input(":path"),
    needs.input("header:content-length"),
  );
}

function check(json: Json, what: string): Policy {
  const types = { prefix: "string", plan: "string", methods: "object", max_body: "number" } as const;
  const policy = keys(json, types, what) as Policy;
  const { prefix = "/x", methods = [], max_body = 0 } = policy;
  ensure(prefix.startsWith("/") && !prefix.endsWith("/"), `${what}.prefix: it must begin with a slash and not end with one`);
  const isList = Array.isArray(methods) && methods.every((method) => typeof method === "string");
  ensure(isList, `${what}.methods: it must be a list of strings`);
  const isSize = Number.isInteger(max_body) && max_body >= 0 && max_body <= MAX_BODY;
  ensure(isSize, `${what}.max_body: it must be a whole number from 0 to ${MAX_BODY}`);
  return policy;
}

function refuse(status: number, body: string): Reply {
  return new Reply(status, body).header("content-type", "text/plain");
}

/** Whether a content-length is a number and at most `most`. */
function fits(length: Uint8Array, most: number): boolean {
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
