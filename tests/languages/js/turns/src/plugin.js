// The same as tests/guests/turns.
import { balancer, log } from "weir";

class Turns {
  constructor(command) {
    this.command = command;
  }

  update() {}

  pick(pick) {
    if (pick.bytes(this.command) !== undefined) throw new Error("broken on purpose");
    tell("pick", pick.sequence);
    return 0;
  }

  observe(outcomes) {
    for (const outcome of outcomes) tell("observe", outcome.durationUs);
  }
}

function tell(what, value) {
  // Adding a number to a BigInt fails.
  log("info", `${what} ${value + 0}`);
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
