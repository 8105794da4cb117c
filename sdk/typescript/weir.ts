// The module "weir" for plugins in TypeScript and JavaScript.

import { exactUnsigned, octets, shown, string, unsigned } from "./check";
import { telling } from "./telling";

/** The description of a plugin. */
export interface About {
  name: string;
  version?: string;
  summary?: string;
  /** A JSON Schema of the configuration. */
  configSchema?: object;
}

/** A JSON value. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** A value, or null, for each requested input. */
export type Values = (Uint8Array | null)[];

/** The requested inputs. */
export class Inputs {
  readonly names: string[] = [];

  /**
   * Requests an input by its name in the host, such as "header:x-user". Returns its index among the
   * values.
   */
  input(name: string): number {
    return this.names.push(string(name, "the name of an input")) - 1;
  }
}

/** A refused configuration. The user sees the message. */
export class Refused extends Error {}

/** Refuses the configuration unless a condition holds. */
export function ensure(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Refused(what);
}

/** Checks that a value is an object with only these keys, each of the given type. */
export function keys(value: Json, types: Record<string, "string" | "number" | "boolean" | "object">, what = "the configuration"): {
  [key: string]: Json;
} {
  ensure(typeof value === "object" && value !== null && !Array.isArray(value), `${what} must be an object`);
  for (const [key, item] of Object.entries(value)) {
    const names = Object.keys(types);
    ensure(names.includes(key), `${what} has no key "${key}"; there are ${names.join(", ")}`);
    ensure(typeof item === types[key] && item !== null, `${what}: ${key} must be of type ${types[key]}`);
  }
  return value;
}

// Balancers.

/** A server that a balancer may choose. */
export interface Endpoint {
  id: number;
  address: string;
  weight: number;
  zone: string;
  labels: [string, string][];
}

/** The outcome of a request. */
export interface Outcome {
  endpoint: number;
  status: number;
  durationUs: bigint;
}

/** The values that a balancer needs from the host. */
export class BalancerNeeds extends Inputs {
  sequence = false;
  loads = false;
  outcomes = false;
}

/** A request that needs an endpoint. */
export interface Pick {
  /** Counts the requests of the upstream over all workers. */
  sequence: bigint;
  /** Counts the retries of the request. */
  attempt: number;
  inputs: Values;
  /** The requests in flight at each endpoint of the last update, in its order. */
  loads: ArrayLike<number>;
}

/** The load that marks an endpoint that the request has already tried. */
export const TRIED = 2147483647;

export interface Balancer {
  /** Replaces the endpoints. */
  update(endpoints: Endpoint[]): void;
  /** Chooses an endpoint by its id, or none. */
  pick(pick: Pick): number | undefined;
  /** Receives the outcomes of requests, if `needs.outcomes` is set. */
  observe?(outcomes: Outcome[]): void;
}

/** Returns the exports of a balancer. src/plugin must export them under these names. */
export function balancer(about: About, create: (config: Json, needs: BalancerNeeds) => Balancer) {
  let plugin: Balancer;
  return {
    describe: () => manifest(about),
    configure(config: string) {
      const needs = new BalancerNeeds();
      plugin = refusing(() => create(JSON.parse(config), needs));
      const { sequence, loads, outcomes } = needs;
      return { inputs: needs.names, sequence: !!sequence, loads: !!loads, outcomes: !!outcomes };
    },
    update: (endpoints: Endpoint[]) => telling(() => plugin.update(endpoints)),
    pick: (sequence: number | bigint, attempt: number, inputs: Values, loads: ArrayLike<number>) =>
      telling(() => {
        const picked = plugin.pick({ sequence: exactUnsigned(sequence, "the sequence"), attempt, inputs, loads });
        return picked == null ? undefined : unsigned(picked, "the endpoint's id", MOST_32);
      }),
    observe: (outcomes: (Omit<Outcome, "durationUs"> & { durationUs: number | bigint })[]) =>
      telling(() => {
        const exact = (duration: number | bigint) => exactUnsigned(duration, "the duration");
        plugin.observe?.(outcomes.map((outcome) => ({ ...outcome, durationUs: exact(outcome.durationUs) })));
      }),
  };
}

// Filters.

/** A header field. */
export interface Header {
  name: string;
  value: Uint8Array;
}

export type Edit =
  | { tag: "set" | "append"; val: Header }
  | { tag: "remove" | "path" | "authority" | "upstream"; val: string }
  | { tag: "status"; val: number };

/** The message goes on with changes. The context comes back with the response. */
export class Changes {
  readonly edits: Edit[] = [];

  constructor(public context: Uint8Array = new Uint8Array()) {}

  /** Replaces every field of this name with one. */
  set(name: string, value: string | Uint8Array): this {
    return this.add({ tag: "set", val: field(name, value) });
  }

  /** Adds a field after the fields of the same name. */
  append(name: string, value: string | Uint8Array): this {
    return this.add({ tag: "append", val: field(name, value) });
  }

  /** Removes every field of this name. */
  remove(name: string): this {
    return this.add({ tag: "remove", val: string(name, "the name of a field") });
  }

  /** Sets the path and query of a request. */
  path(path: string): this {
    return this.add({ tag: "path", val: string(path, "the path") });
  }

  /** Sets the host and port that the origin sees. */
  authority(authority: string): this {
    return this.add({ tag: "authority", val: string(authority, "the authority") });
  }

  /** Sets the upstream that serves a request. */
  upstream(upstream: string): this {
    return this.add({ tag: "upstream", val: string(upstream, "the upstream") });
  }

  /** Sets the status of a response. */
  status(status: number): this {
    return this.add({ tag: "status", val: unsigned(status, "the status", MOST_16) });
  }

  private add(edit: Edit): this {
    this.edits.push(edit);
    return this;
  }
}

/** The plugin answers with a whole response. */
export class Reply {
  readonly headers: Header[] = [];
  readonly body: Uint8Array;

  constructor(
    readonly status: number,
    body: string | Uint8Array = "",
  ) {
    unsigned(status, "the status of a reply", MOST_16);
    this.body = bytes(body);
  }

  /** Adds a header field. */
  header(name: string, value: string | Uint8Array): this {
    this.headers.push(field(name, value));
    return this;
  }
}

/** Makes the host send a request. `onFetch` then decides. */
export class Fetch {
  headers: Header[] = [];
  method = "GET";
  authority = "";
  body: Uint8Array = new Uint8Array();
  timeoutMs = 0;
  context: Uint8Array = new Uint8Array();

  constructor(
    readonly upstream: string,
    readonly path: string,
  ) {}
}

/** The values that a filter needs from the host. */
export class FilterNeeds extends Inputs {
  /** The inputs of each response, for a filter with `onResponse`. */
  readonly response = new Inputs();
  /** Whether decisions depend only on the arguments of a call. The host may then remember them. */
  pure = false;
}

/** The answer to a fetch. */
export interface Answer {
  status: number;
  headers: Header[];
  body: Uint8Array;
}

/** A filter's decision on a message. `undefined` lets it go on unchanged. */
export type RequestDecision = undefined | Changes | Reply | Fetch;
export type ResponseDecision = undefined | Changes | Reply;

export interface Filter {
  onRequest(inputs: Values): RequestDecision;
  /** Decides after a fetch. The answer is undefined if there was none. */
  onFetch?(context: Uint8Array, answer: Answer | undefined): RequestDecision;
  onResponse?(status: number, inputs: Values, context: Uint8Array): ResponseDecision;
}

/** Returns the exports of a filter. src/plugin must export them under these names. */
export function filter(about: About, create: (config: Json, needs: FilterNeeds) => Filter) {
  let plugin: Filter;
  return {
    describe: () => manifest(about),
    configure(config: string) {
      const needs = new FilterNeeds();
      plugin = refusing(() => create(JSON.parse(config), needs));
      return {
        onRequest: true,
        onResponse: plugin.onResponse !== undefined,
        pure: !!needs.pure,
        inputs: needs.names,
        responseInputs: needs.response.names,
      };
    },
    onRequest: (inputs: Values) => telling(() => ofRequest(plugin.onRequest(inputs))),
    onFetch: (context: Uint8Array, answer: { tag: "ok"; val: Answer } | { tag: "err"; val: string }) =>
      telling(() => ofRequest(plugin.onFetch?.(context, answer.tag === "ok" ? answer.val : undefined))),
    onResponse: (status: number, inputs: Values, context: Uint8Array) =>
      telling(() => ofResponse(plugin.onResponse?.(status, inputs, context))),
  };
}

// Text.

/** Returns the UTF-8 of a text. QuickJS has no TextEncoder. */
export function bytes(value: string | Uint8Array): Uint8Array {
  if (typeof value !== "string") return octets(value, "a value");
  const out: number[] = [];
  for (const letter of value) {
    const code = letter.codePointAt(0) ?? 0;
    if (code < 0x80) out.push(code);
    else if (code < 0x800) out.push(0xc0 | (code >> 6), 0x80 | (code & 63));
    else if (code < 0x10000) out.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    else out.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
  }
  return Uint8Array.from(out);
}

/** Returns the text of UTF-8, or undefined without a value or for invalid UTF-8. */
export function text(value: Uint8Array | null): string | undefined {
  if (value === null) return undefined;
  if (value.every((byte) => byte < 0x80)) {
    let ascii = "";
    // Works in parts, because the number of arguments of a call is limited.
    for (let at = 0; at < value.length; at += 4096) ascii += String.fromCharCode(...value.subarray(at, at + 4096));
    return ascii;
  }
  try {
    return decodeURIComponent(Array.from(value, (byte) => "%" + byte.toString(16).padStart(2, "0")).join(""));
  } catch {
    return undefined;
  }
}

function manifest(about: About) {
  const { name, version = "0.1.0", summary = "", configSchema } = about;
  const schema = configSchema ? JSON.stringify(configSchema) : "";
  return { name: string(name, "the name"), version: string(version, "the version"), summary: string(summary, "the summary"), configSchema: schema };
}

function field(name: string, value: string | Uint8Array): Header {
  return { name: string(name, "the name of a field"), value: bytes(value) };
}

// The ends of a call, and its results.

function refusing<T>(create: () => T): T {
  return telling(create, (error) => error instanceof Refused || error instanceof SyntaxError);
}

function ofRequest(made: RequestDecision) {
  if (made instanceof Fetch) return { tag: "fetch", val: checked(made) };
  return ofResponse(made);
}

function ofResponse(made: ResponseDecision) {
  if (made === undefined) return { tag: "next" };
  if (made instanceof Reply) return { tag: "reply", val: checked(made) };
  if (made instanceof Changes) {
    return { tag: "edit", val: { edits: made.edits, context: octets(made.context, "the context") } };
  }
  const what = (made as unknown) instanceof Promise ? "a promise, and nothing waits for it" : shown(made);
  throw new TypeError(`this is no decision here: ${what}`);
}

/** Checks the values that a plugin can set itself. */
function checked<T extends Reply | Fetch>(made: T): T {
  for (const { name, value } of made.headers) field(name, octets(value, `the value of the field ${name}`));
  octets(made.body, "the body");
  if (made instanceof Fetch) {
    for (const key of ["upstream", "method", "path", "authority"] as const) string(made[key], `${key} of a fetch`);
    unsigned(made.timeoutMs, "timeoutMs", MOST_32);
    octets(made.context, "the context");
  }
  return made;
}

const MOST_16 = 65535;
/** QuickJS reads larger numbers as negative. */
const MOST_32 = 2147483647;
