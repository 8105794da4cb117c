// "weir:plugin/state@0.1.0" for plugins. The build replaces that module with this file.

import type * as declared from "weir:plugin/state@0.1.0";
import * as raw from "weir:plugin/state";
import { exact, octets, string, unsigned, whole } from "./check";

export const add: typeof declared.add = (space, key, by, ttlMs) => {
  const sum = raw.add(string(space, "add: space"), string(key, "add: key"), whole(by, "add: by"), unsigned(ttlMs, "add: ttlMs"));
  return exact(sum, "add: the sum");
};

export const get: typeof declared.get = (space, key) => raw.get(string(space, "get: space"), string(key, "get: key"));

export const set: typeof declared.set = (space, key, value, ttlMs) =>
  raw.set(string(space, "set: space"), string(key, "set: key"), octets(value, "set: value"), unsigned(ttlMs, "set: ttlMs"));

export const replace: typeof declared.replace = (space, key, expected, value, ttlMs) =>
  raw.replace(
    string(space, "replace: space"),
    string(key, "replace: key"),
    expected == null ? null : octets(expected, "replace: expected"),
    octets(value, "replace: value"),
    unsigned(ttlMs, "replace: ttlMs"),
  );

export const remove: typeof declared.remove = (space, key) =>
  raw.remove(string(space, "remove: space"), string(key, "remove: key"));
