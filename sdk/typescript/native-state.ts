// A stand-in for the host's state, for unit tests with Node.

import { nowUs } from "weir:plugin/host";

/** Values, and the ends of their lives in microseconds since the Unix epoch. Clear it between tests. */
export const entries = new Map<string, { value: Uint8Array; end: number }>();

export function add(space: string, key: string, by: number, ttlMs: number): number {
  const old = live(space, key);
  const sum = Number(old ? new TextDecoder().decode(old.value) : 0) || 0;
  const value = Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, sum + by));
  entries.set(name(space, key), { value: new TextEncoder().encode(String(value)), end: old?.end ?? end(ttlMs) });
  return value;
}

export const get = (space: string, key: string): Uint8Array | null => live(space, key)?.value.slice() ?? null;

export function set(space: string, key: string, value: Uint8Array, ttlMs: number): void {
  entries.set(name(space, key), { value: value.slice(), end: end(ttlMs) });
}

export function replace(space: string, key: string, expected: Uint8Array | null, value: Uint8Array, ttlMs: number): boolean {
  const old = get(space, key);
  const isExpected = old === null || expected === null ? old === expected : Buffer.compare(old, expected) === 0;
  if (isExpected) set(space, key, value, ttlMs);
  return isExpected;
}

export function remove(space: string, key: string): void {
  entries.delete(name(space, key));
}

const name = (space: string, key: string): string => JSON.stringify([space, key]);

function live(space: string, key: string) {
  const found = entries.get(name(space, key));
  return found && found.end > nowUs() ? found : undefined;
}

const end = (ttlMs: number): number => (ttlMs === 0 ? Infinity : nowUs() + ttlMs * 1000);
