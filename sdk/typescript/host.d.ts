// The interfaces that the host offers.

declare module "weir:plugin/host@0.1.0" {
  export type Level = "debug" | "info" | "warn" | "error";
  /** Writes a line to the host's log. */
  export function log(level: Level, message: string): void;
  /** The time, in nanoseconds since the Unix epoch. `Date` has none that means anything. */
  export function now(): bigint;
  /** Up to 4096 bytes that nobody can predict. `Math.random` repeats. */
  export function random(len: number): Uint8Array;
  /** Adds to a counter of the plugin's own. */
  export function count(metric: string, by: bigint): void;
}

declare module "weir:plugin/state@0.1.0" {
  /** Adds to a counter and returns the sum. */
  export function add(space: string, key: string, by: bigint, ttlMs: bigint): bigint;
  /** The value of a key. */
  export function get(space: string, key: string): Uint8Array | null;
  /** Sets a value and its time to live. */
  export function set(space: string, key: string, value: Uint8Array, ttlMs: bigint): void;
  /** Sets a value if the present one is the expected, in one step. */
  export function replace(space: string, key: string, expected: Uint8Array | null, value: Uint8Array, ttlMs: bigint): boolean;
  /** Removes a key. */
  export function remove(space: string, key: string): void;
}
