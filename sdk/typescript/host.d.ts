// The interfaces of the host. 64-bit numbers arrive as BigInt, and may be passed as BigInt or
// number.

/**
 * A whole number. QuickJS passes it to the host as a number, so a value beyond 2^53 - 1 is a
 * RangeError.
 */
type Whole = bigint | number;

declare module "weir:plugin/host@0.1.0" {
  export type Level = "debug" | "info" | "warn" | "error";
  /** Writes a line to the host's log. */
  export function log(level: Level, message: string): void;
  /**
   * Returns the time, in nanoseconds since the Unix epoch, with a resolution of 256 ns. `Date` has
   * no real clock here.
   */
  export function now(): bigint;
  /** Returns up to 4096 unpredictable bytes. `Math.random` repeats. */
  export function random(len: number): Uint8Array;
  /** Adds to one of the plugin's own counters. */
  export function count(metric: string, by: Whole): void;
}

declare module "weir:plugin/state@0.1.0" {
  /**
   * Adds to a counter and returns the sum. A sum beyond 2^53 - 1 is a RangeError, after the
   * addition. `get` always has the sum in decimal.
   */
  export function add(space: string, key: string, by: Whole, ttlMs: Whole): bigint;
  /** Returns the value of a key. The value of a counter is its sum in decimal. */
  export function get(space: string, key: string): Uint8Array | null;
  /** Sets a value and its time to live. */
  export function set(space: string, key: string, value: Uint8Array, ttlMs: Whole): void;
  /** Sets a value if the present value equals the expected one, in one atomic step. */
  export function replace(space: string, key: string, expected: Uint8Array | null, value: Uint8Array, ttlMs: Whole): boolean;
  /** Removes a key. */
  export function remove(space: string, key: string): void;
}

// The same modules as QuickJS has them. Only the SDK imports these.

declare module "weir:plugin/host" {
  export function log(level: string, message: string): void;
  export function now(): number;
  export function random(len: number): Uint8Array;
  export function count(metric: string, by: number): void;
}

declare module "weir:plugin/state" {
  export function add(space: string, key: string, by: number, ttlMs: number): number;
  export function get(space: string, key: string): Uint8Array | null;
  export function set(space: string, key: string, value: Uint8Array, ttlMs: number): void;
  export function replace(space: string, key: string, expected: Uint8Array | null, value: Uint8Array, ttlMs: number): boolean;
  export function remove(space: string, key: string): void;
}
