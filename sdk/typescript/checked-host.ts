// "weir:plugin/host@0.1.0" for plugins. The build replaces that module with this file.

import type * as declared from "weir:plugin/host@0.1.0";
import * as raw from "weir:plugin/host";
import { shown, string, unsigned } from "./check";

const LEVELS: unknown[] = ["debug", "info", "warn", "error"];
const MOST_RANDOM = 4096;

export const log: typeof declared.log = (level, message) => {
  if (!LEVELS.includes(level)) throw new TypeError(`log: the level must be one of ${LEVELS.join(", ")}; it is ${shown(level)}`);
  raw.log(level, String(message));
};

// A number of this size is a multiple of 256, so the last nanoseconds are lost. The number itself
// is exact.
export const now: typeof declared.now = () => BigInt(raw.now());

export const random: typeof declared.random = (len) => raw.random(unsigned(len, "random: len", MOST_RANDOM));

export const count: typeof declared.count = (metric, by) =>
  raw.count(string(metric, "count: metric"), unsigned(by, "count: by"));
