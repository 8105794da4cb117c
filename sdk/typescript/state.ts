// Values that all instances of a plugin share, on every worker and across swaps. A space is "" for
// the plugin's own, or a name in its `allow.state`. A time to live is in milliseconds, or 0 for none.

import * as raw from "weir:plugin/state";
import { octets, string, unsigned, whole } from "./check";

/** Adds to a counter and returns the sum. */
export function add(space: string, key: string, by: number, ttlMs = 0): number {
  return Number(raw.add(string(space, "add: space"), string(key, "add: key"), whole(by, "add: by"), unsigned(ttlMs, "add: ttlMs")));
}

/** Returns the value of a key, if there is one. The value of a counter is its sum in decimal. */
export function get(space: string, key: string): Uint8Array | undefined {
  return raw.get(string(space, "get: space"), string(key, "get: key")) ?? undefined;
}

/** Sets a value and its time to live. */
export function set(space: string, key: string, value: Uint8Array, ttlMs = 0): void {
  raw.set(string(space, "set: space"), string(key, "set: key"), octets(value, "set: value"), unsigned(ttlMs, "set: ttlMs"));
}

/**
 * Sets a value if the present value equals the expected one, in one atomic step. `undefined` expects
 * that there is none. Returns whether it set the value.
 */
export function replace(space: string, key: string, expected: Uint8Array | undefined, value: Uint8Array, ttlMs = 0): boolean {
  return raw.replace(
    string(space, "replace: space"),
    string(key, "replace: key"),
    expected == null ? null : octets(expected, "replace: expected"),
    octets(value, "replace: value"),
    unsigned(ttlMs, "replace: ttlMs"),
  );
}

/** Removes a key. */
export function remove(space: string, key: string): void {
  raw.remove(string(space, "remove: space"), string(key, "remove: key"));
}
