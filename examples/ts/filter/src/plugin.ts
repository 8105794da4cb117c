// The policy of a tenant's requests. examples/README.md describes it exactly.
import {
  type Answer,
  type Filter,
  type FilterNeeds,
  type Json,
  type Reply,
  type Request,
  type RequestDecision,
  type Response,
  bytes,
  count,
  edit,
  ensure,
  fetch,
  filter,
  isSecret,
  keys,
  next,
  reply,
  state,
  text,
} from "weir";

const MOST = 2147483647;

// The time for which a count and an answer of the directory count, in milliseconds.
const MINUTE = 60000;

// The names of tenants for which the directory may be asked.
const NAME = /^[0-9A-Za-z-]{1,64}$/;

interface Policy {
  prefix?: string;
  plan?: string;
  methods?: string[];
  max_body?: number;
}

interface Config {
  policies: Map<string, Policy>;
  directory?: string;
  quota?: number;
  key?: Uint8Array;
}

class Tenants implements Filter {
  private readonly tenant;
  private readonly key;
  private readonly method;
  private readonly path;
  private readonly length;

  constructor(
    private readonly config: Config,
    needs: FilterNeeds,
  ) {
    this.tenant = needs.input("header:x-tenant");
    this.key = needs.input("header:x-key");
    this.method = needs.input(":method");
    this.path = needs.input(":path");
    this.length = needs.input("header:content-length");
  }

  onRequest(request: Request): RequestDecision {
    const given = request.bytes(this.key);
    if (this.config.key !== undefined && given !== undefined) {
      if (!isSecret(given, this.config.key)) return refuse(403, "wrong key\n");
      return edit().remove("x-key").attribute("by", "key");
    }
    const tenant = request.text(this.tenant);
    if (tenant === undefined) return refuse(403, "unknown tenant\n");
    const policy = this.config.policies.get(tenant);
    if (policy !== undefined) return this.decide(tenant, policy, request);
    if (this.config.directory !== undefined && NAME.test(tenant)) return this.lookUp(tenant, this.config.directory);
    return refuse(403, "unknown tenant\n");
  }

  onFetch(context: Uint8Array, answer: Answer | undefined): RequestDecision {
    const tenant = text(context) ?? "";
    if (answer?.status === 200) {
      const plan = answer.header("x-plan") ?? "";
      state.set("", `tenant/${tenant}`, bytes("+" + plan), MINUTE);
      return this.decide(tenant, withPlan(plan));
    }
    if (answer?.status === 404) {
      state.set("", `tenant/${tenant}`, bytes("-"), MINUTE);
      return refuse(403, "unknown tenant\n");
    }
    count("undecided");
    return refuse(503, "no directory\n");
  }

  onResponse(response: Response) {
    const { context } = response;
    return context.length > 0 ? edit().set("x-tenant", context) : next();
  }

  /** Decides by what the directory said about the tenant in the last minute, or asks it. */
  private lookUp(tenant: string, directory: string): RequestDecision {
    const value = text(state.get("", `tenant/${tenant}`));
    if (value === undefined) return fetch(directory, `/tenants/${tenant}`, { timeoutMs: 2000, context: tenant });
    if (!value.startsWith("+")) return refuse(403, "unknown tenant\n");
    return this.decide(tenant, withPlan(value.slice(1)));
  }

  /** Decides by a policy. Without the request it is one of the directory, which has only a plan. */
  private decide(tenant: string, policy: Policy, request?: Request): RequestDecision {
    const { prefix, plan, methods, max_body } = policy;
    if (methods && !methods.includes(request?.text(this.method) ?? "")) {
      return refuse(405, "method not allowed\n").header("allow", methods.join(", "));
    }
    const length = request?.bytes(this.length);
    if (max_body !== undefined && length && !fits(length, max_body)) return refuse(413, "body too large\n");
    const { quota } = this.config;
    if (quota !== undefined && state.add("", `quota/${tenant}`, 1, MINUTE) > quota) {
      count("limited");
      return refuse(429, "too many requests\n").header("retry-after", "60");
    }
    if (prefix === undefined && plan === undefined) return next();
    const changes = edit();
    changes.context = bytes(tenant);
    const path = request?.text(this.path) ?? "";
    if (prefix !== undefined && path.startsWith("/")) changes.path(prefix + path);
    if (plan !== undefined) changes.set("x-plan", plan).attribute("plan", plan);
    return changes;
  }
}

function withPlan(plan: string): Policy {
  return plan === "" ? {} : { plan };
}

function create(json: Json, needs: FilterNeeds): Filter {
  const types = { tenants: "object", directory: "string", quota: "number", key: "string" } as const;
  const { tenants, directory, quota, key } = keys(json, types) as {
    tenants?: { [name: string]: Json };
    directory?: string;
    quota?: number;
    key?: string;
  };
  ensure(tenants !== undefined && !Array.isArray(tenants), "tenants: it must be an object");
  // A map, because every object has a `constructor`.
  const policies = new Map<string, Policy>();
  for (const [name, policy] of Object.entries(tenants)) policies.set(name, check(policy, `tenants.${name}`));
  const isQuota = quota === undefined || (Number.isInteger(quota) && quota >= 1 && quota <= MOST);
  ensure(isQuota, `quota: it must be a whole number from 1 to ${MOST}`);
  return new Tenants({ policies, directory, quota, key: key === undefined ? undefined : bytes(key) }, needs);
}

function check(json: Json, what: string): Policy {
  const types = { prefix: "string", plan: "string", methods: "object", max_body: "number" } as const;
  const policy = keys(json, types, what) as Policy;
  const { prefix = "/x", methods = [], max_body = 0 } = policy;
  ensure(prefix.startsWith("/") && !prefix.endsWith("/"), `${what}.prefix: it must begin with a slash and not end with one`);
  const isList = Array.isArray(methods) && methods.every((method) => typeof method === "string");
  ensure(isList, `${what}.methods: it must be a list of strings`);
  const isSize = Number.isInteger(max_body) && max_body >= 0 && max_body <= MOST;
  ensure(isSize, `${what}.max_body: it must be a whole number from 0 to ${MOST}`);
  return policy;
}

function refuse(status: number, body: string): Reply {
  return reply(status, body).header("content-type", "text/plain");
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
                maximum: MOST,
                description: "The largest content-length that is allowed",
              },
            },
          },
        },
        directory: { type: "string", description: "The upstream that knows the plans of further tenants" },
        quota: { type: "integer", minimum: 1, maximum: MOST, description: "The requests that a tenant may make in a minute" },
        key: {
          type: "string",
          minLength: 1,
          "x-weir-secret": true,
          description: "Requests with this value of x-key pass without a tenant",
        },
      },
    },
  },
  create,
);
