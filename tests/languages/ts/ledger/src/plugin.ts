// The same as tests/guests/ledger.
import { type Filter, type FilterNeeds, type Input, type Json, type Request, Reply, bytes, count, filter, nowUs, random, state, text } from "weir";

class Ledger implements Filter {
  constructor(private readonly command: Input) {}

  onRequest(request: Request) {
    const command = request.text(this.command);
    return command === undefined ? undefined : new Reply(200, answer(command.split(" ")));
  }
}

function answer([what, ...words]: string[]): string {
  switch (what) {
    case "now":
      return exactly(nowUs());
    case "add":
      return exactly(state.add("", words[0], Number(words[1]), Number(words[2])));
    case "get":
      return text(state.get("", words[0])) ?? "none";
    case "set":
      state.set("", words[0], bytes(words[1]), Number(words[2]));
      return "done";
    case "replace":
      return String(state.replace("", words[0], words[1] === "-" ? undefined : bytes(words[1]), bytes(words[2]), Number(words[3])));
    case "remove":
      state.remove("", words[0]);
      return "done";
    case "random":
      return Array.from(random(16), (byte) => byte.toString(16).padStart(2, "0")).join("");
    case "count":
      count(words[0], Number(words[1]));
      return "done";
    case "reply":
      return (new Reply("200" as unknown as number), "done");
    default:
      throw new Error("broken on purpose");
  }
}

/** Checks that the value has its declared type. */
function exactly(value: number): string {
  if (!Number.isSafeInteger(value)) throw new TypeError(`this is no whole number: ${value}`);
  return String(value);
}

function create(_config: Json, needs: FilterNeeds): Filter {
  return new Ledger(needs.input("header:x-do"));
}

export const { describe, configure, onRequest, onFetch, onResponse } = filter(
  { name: "ledger", summary: "Does with the host what a request says" },
  create,
);
