// The functions of the host. Numbers of 64 bits are whole numbers up to 2^53 - 1.

import * as raw from "weir:plugin/host";
import { octets, shown, string, unsigned } from "./check";

export type Level = "debug" | "info" | "warn" | "error";

/** Writes a line to the host's log: at most 4 KiB, and 20 lines a second. */
export function log(level: Level, message: string): void {
  if (!LEVELS.includes(level)) throw new TypeError(`log: the level must be one of ${LEVELS.join(", ")}; it is ${shown(level)}`);
  raw.log(level, String(message));
}

/** Returns the time, in microseconds since the Unix epoch. `Date` has no real clock here. */
export function nowUs(): number {
  return Number(raw.nowUs());
}

/** Returns up to 4096 unpredictable bytes. `Math.random` repeats. */
export function random(len: number): Uint8Array {
  return raw.random(unsigned(len, "random: len", MOST_RANDOM));
}

/** Adds to one of the plugin's own counters. */
export function count(metric: string, by = 1): void {
  raw.count(string(metric, "count: metric"), unsigned(by, "count: by"));
}

/** Whether bytes equal a secret. The time reveals nothing about the secret except its length. */
export function isSecret(given: Uint8Array | undefined, secret: Uint8Array): boolean {
  if (given === undefined) return false;
  octets(given, "the bytes");
  let differences = given.length ^ octets(secret, "the secret").length;
  for (let at = 0; at < secret.length; at++) differences |= (given[at] ?? 0) ^ secret[at];
  return differences === 0;
}

const LEVELS: unknown[] = ["debug", "info", "warn", "error"];
const MOST_RANDOM = 4096;
