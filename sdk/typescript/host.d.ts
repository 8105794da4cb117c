// The interfaces that the host offers. Numbers of 64 bits come as BigInt, and are given as BigInt or as number.

/** A whole number; QuickJS hands it to the host as a number, so one beyond 2^53 - 1 is a RangeError. */
type Whole = bigint | number;

declare module "weir:plugin/host@0.1.0" {
  export type Level = "debug" | "info" | "warn" | "error";
  /** Writes a line to the host's log. */
  export function log(level: Level, message: string): void;
  /** The time, in nanoseconds since the Unix epoch, to 256 of them. `Date` has none that means anything. */
  export function now(): bigint;
  /** Up to 4096 bytes that nobody can predict. `Math.random` repeats. */
  export function random(len: number): Uint8Array;
  /** Adds to a counter of the plugin's own. */
  export function count(metric: string, by: Whole): void;
}

declare module "weir:plugin/state@0.1.0" {
  /**
   * Adds to a counter and returns the sum. A sum beyond 2^53 - 1 is a RangeError, after the addition; `get` has the sum
   * in decimal, whatever it is.
   */
  export function add(space: string, key: string, by: Whole, ttlMs: Whole): bigint;
  /** The value of a key; a counter's is its sum in decimal. */
  export function get(space: string, key: string): Uint8Array | null;
  /** Sets a value and its time to live. */
  export function set(space: string, key: string, value: Uint8Array, ttlMs: Whole): void;
  /** Sets a value if the present one is the expected, in one step. */
  export function replace(space: string, key: string, expected: Uint8Array | null, value: Uint8Array, ttlMs: Whole): boolean;
  /** Removes a key. */
  export function remove(space: string, key: string): void;
}

// The same as QuickJS has them. The SDK alone imports these.

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
