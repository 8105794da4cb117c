// The same as tests/guests/turns.
import { log } from "weir:plugin/host@0.1.0";
import { balancer } from "weir";

class Turns {
  constructor(command) {
    this.command = command;
  }

  update() {}

  pick(pick) {
    if (pick.inputs[this.command] !== null) throw new Error("broken on purpose");
    tell("pick", pick.sequence);
    return 0;
  }

  observe(outcomes) {
    for (const outcome of outcomes) tell("observe", outcome.durationUs);
  }
}

function tell(what, value) {
  // Adding a BigInt works only with another BigInt.
  log("info", `${what} ${value + 0n}`);
}

function create(_config, needs) {
  needs.sequence = true;
  needs.outcomes = true;
  return new Turns(needs.input("header:x-do"));
}

export const { describe, configure, update, pick, observe } = balancer(
  { name: "turns", summary: "Logs what it is told" },
  create,
);
