// The same as tests/guests/ledger.
import { count, now } from "weir:plugin/host@0.1.0";
import { add, get, replace, set } from "weir:plugin/state@0.1.0";
import { Reply, bytes, filter, text } from "weir";

class Ledger {
  constructor(command) {
    this.command = command;
  }

  onRequest(inputs) {
    const command = text(inputs[this.command]);
    return command === undefined ? undefined : new Reply(200, answer(command.split(" ")));
  }
}

function answer([what, ...words]) {
  switch (what) {
    case "now":
      return exactly(now());
    case "add":
      return exactly(add("", words[0], BigInt(words[1]), BigInt(words[2])));
    case "add-numbers":
      return exactly(add("", words[0], Number(words[1]), Number(words[2])));
    case "get":
      return text(get("", words[0])) ?? "none";
    case "set":
      set("", words[0], bytes(words[1]), BigInt(words[2]));
      return "done";
    case "replace":
      return String(replace("", words[0], words[1] === "-" ? null : bytes(words[1]), bytes(words[2]), BigInt(words[3])));
    case "count":
      count(words[0], BigInt(words[1]));
      return "done";
    case "reply":
      return (new Reply("200"), "done");
    default:
      throw new Error("broken on purpose");
  }
}

/** Checks that the value has its documented type. */
function exactly(value) {
  if (typeof value !== "bigint") throw new TypeError(`this is no BigInt: ${value}`);
  return String(value);
}

function create(_config, needs) {
  return new Ledger(needs.input("header:x-do"));
}

export const { describe, configure, onRequest, onFetch, onResponse } = filter(
  { name: "ledger", summary: "Does with the host what a request says" },
  create,
);
