// The module "weir" for plugins in TypeScript and JavaScript.

import { octets, shown, string, unsigned } from "./check";
import { telling } from "./telling";

export { type Level, count, isSecret, log, nowUs, random } from "./host";
export * as state from "./state";

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

/** The handle of a requested input of a request. */
export type Input = number & { readonly of: "request" };

/** The handle of a requested input of a response. */
export type ResponseInput = number & { readonly of: "response" };

/** The values of the requested inputs, with handles of one kind. */
export class Values<Handle extends number = Input> {
  constructor(private readonly inputs: (Uint8Array | null)[]) {}

  /** Returns the value of an input, if there is one. */
  bytes(input: Handle): Uint8Array | undefined {
    return this.inputs[input] ?? undefined;
  }

  /** Returns the value of an input, if there is one and it is valid UTF-8. */
  text(input: Handle): string | undefined {
    return text(this.inputs[input]);
  }
}

/** The requested inputs, with handles of one kind. */
export class Inputs<Handle extends number = Input> {
  readonly names: string[] = [];

  /** Requests an input by its name in the host, such as "header:x-user". Returns its handle. */
  input(name: string): Handle {
    return (this.names.push(string(name, "the name of an input")) - 1) as Handle;
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

/** Returns the values of a request for a test: these by the names of inputs, and null for the others. */
export function values(needs: { inputs: string[] }, given: { [name: string]: string | Uint8Array }): (Uint8Array | null)[] {
  return needs.inputs.map((name) => (name in given ? bytes(given[name]) : null));
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
  durationUs: number;
}

/** The values that a balancer needs from the host. */
export class BalancerNeeds extends Inputs {
  sequence = false;
  loads = false;
  outcomes = false;
}

/** A request that needs an endpoint. */
export class Pick extends Values {
  constructor(
    /** Counts the requests of the upstream over all workers. */
    readonly sequence: number,
    /** Counts the retries of the request. */
    readonly attempt: number,
    inputs: (Uint8Array | null)[],
    /** The requests in flight at each endpoint of the last update, in its order. */
    readonly loads: ArrayLike<number>,
  ) {
    super(inputs);
  }
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
    pick: (sequence: number | bigint, attempt: number, inputs: (Uint8Array | null)[], loads: ArrayLike<number>) =>
      telling(() => {
        const picked = plugin.pick(new Pick(Number(sequence), attempt, inputs, loads));
        return picked == null ? undefined : unsigned(picked, "the endpoint's id", MOST_32);
      }),
    observe: (outcomes: (Omit<Outcome, "durationUs"> & { durationUs: number | bigint })[]) =>
      telling(() => plugin.observe?.(outcomes.map((outcome) => ({ ...outcome, durationUs: Number(outcome.durationUs) })))),
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
  | { tag: "status"; val: number }
  | { tag: "attribute"; val: { name: string; value: string } };

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

  /** Notes a value about the request, for its access record and its span. */
  attribute(name: string, value: string): this {
    const val = { name: string(name, "the name of an attribute"), value: string(value, "the value of an attribute") };
    return this.add({ tag: "attribute", val });
  }

  /** Sets the context to a value as JSON. `Response.recall` returns it. */
  remember(value: Json): this {
    this.context = bytes(JSON.stringify(value));
    return this;
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

/** The parts of a fetch beside its upstream and path. */
export interface FetchOptions {
  /** The method; GET if it is left out. */
  method?: string;
  /** Host and port; the client's own if it is left out. */
  authority?: string;
  headers?: { [name: string]: string | Uint8Array };
  body?: string | Uint8Array;
  /** The time for the whole answer: 0 or nothing means 5,000, at most 60,000. */
  timeoutMs?: number;
  /** Comes back with the answer. */
  context?: string | Uint8Array;
}

/** Makes the host send a request. `onFetch` then decides. */
export class Fetch {
  readonly headers: Header[];
  readonly method: string;
  readonly authority: string;
  readonly body: Uint8Array;
  readonly timeoutMs: number;
  context: Uint8Array;

  constructor(
    readonly upstream: string,
    readonly path: string,
    options: FetchOptions = {},
  ) {
    const { method = "GET", authority = "", headers = {}, body = "", timeoutMs = 0, context = "" } = options;
    string(upstream, "the upstream of a fetch");
    string(path, "the path of a fetch");
    this.method = string(method, "the method of a fetch");
    this.authority = string(authority, "the authority of a fetch");
    this.headers = Object.entries(headers).map(([name, value]) => field(name, value));
    this.body = bytes(body);
    this.timeoutMs = unsigned(timeoutMs, "timeoutMs", MOST_32);
    this.context = bytes(context);
  }

  /** Sets the context to a value as JSON. `recall` returns it. */
  remember(value: Json): this {
    this.context = bytes(JSON.stringify(value));
    return this;
  }
}

/** Lets a message go on unchanged. */
export const next = (): undefined => undefined;

/** Makes an empty set of changes. */
export const edit = (): Changes => new Changes();

/** Makes a whole response. */
export const reply = (status: number, body: string | Uint8Array = ""): Reply => new Reply(status, body);

/** Makes the host send a request. */
export const fetch = (upstream: string, path: string, options?: FetchOptions): Fetch => new Fetch(upstream, path, options);

/** Returns the value that `remember` kept, if there is one. */
export function recall(context: Uint8Array): Json | undefined {
  try {
    return JSON.parse(text(context) ?? "");
  } catch {
    return undefined;
  }
}

/** The values that a filter needs from the host. */
export class FilterNeeds extends Inputs {
  /** The inputs of each response, for a filter with `onResponse`. */
  readonly response = new Inputs<ResponseInput>();
  /** Whether decisions depend only on the arguments of a call. The host may then remember them. */
  pure = false;
}

/** The answer to a fetch. */
export class Answer {
  constructor(
    readonly status: number,
    readonly headers: Header[],
    readonly body: Uint8Array,
  ) {}

  /** Returns the first value of a header field, if there is one. The name is in lower case. */
  header(name: string): string | undefined {
    return text(this.headers.find((header) => header.name === name)?.value);
  }
}

/** A request, with the values of the requested inputs. */
export class Request extends Values {}

/** A response, with the values of the requested inputs of the response. */
export class Response extends Values<ResponseInput> {
  constructor(
    readonly status: number,
    inputs: (Uint8Array | null)[],
    /** The context of the decision on the request. */
    readonly context: Uint8Array,
  ) {
    super(inputs);
  }

  /** Returns the value that `remember` kept, if there is one. */
  recall(): Json | undefined {
    return recall(this.context);
  }
}

/** A filter's decision on a message. `undefined` lets it go on unchanged. */
export type RequestDecision = undefined | Changes | Reply | Fetch;
export type ResponseDecision = undefined | Changes | Reply;

export interface Filter {
  onRequest(request: Request): RequestDecision;
  /** Decides after a fetch. The answer is undefined if there was none, and `failure` the reason. */
  onFetch?(context: Uint8Array, answer: Answer | undefined, failure: string): RequestDecision;
  onResponse?(response: Response): ResponseDecision;
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
    onRequest: (inputs: (Uint8Array | null)[]) => telling(() => ofRequest(plugin.onRequest(new Request(inputs)))),
    onFetch: (context: Uint8Array, answer: { tag: "ok"; val: Answer } | { tag: "err"; val: string }) =>
      telling(() => {
        if (answer.tag === "err") return ofRequest(plugin.onFetch?.(context, undefined, answer.val));
        const { status, headers, body } = answer.val;
        return ofRequest(plugin.onFetch?.(context, new Answer(status, headers, body), ""));
      }),
    onResponse: (status: number, inputs: (Uint8Array | null)[], context: Uint8Array) =>
      telling(() => ofResponse(plugin.onResponse?.(new Response(status, inputs, context)))),
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
export function text(value: Uint8Array | null | undefined): string | undefined {
  if (value === null || value === undefined) return undefined;
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

/** Checks the header fields, which a plugin can add itself. */
function checked<T extends Reply | Fetch>(made: T): T {
  for (const { name, value } of made.headers) field(name, octets(value, `the value of the field ${name}`));
  if (made instanceof Fetch) octets(made.context, "the context");
  return made;
}

const MOST_16 = 65535;
/** QuickJS reads larger numbers as negative. */
const MOST_32 = 2147483647;
