// The same as tests/guests/turns.
import { type Balancer, type BalancerNeeds, type Input, type Json, type Outcome, type Pick, balancer, log } from "weir";

class Turns implements Balancer {
  constructor(private readonly command: Input) {}

  update(): void {}

  pick(pick: Pick): number {
    if (pick.bytes(this.command) !== undefined) throw new Error("broken on purpose");
    tell("pick", pick.sequence);
    return 0;
  }

  observe(outcomes: Outcome[]): void {
    for (const outcome of outcomes) tell("observe", outcome.durationUs);
  }
}

function tell(what: string, value: number): void {
  // Adding a number to a BigInt fails.
  log("info", `${what} ${value + 0}`);
}

function create(_config: Json, needs: BalancerNeeds): Balancer {
  needs.sequence = true;
  needs.outcomes = true;
  return new Turns(needs.input("header:x-do"));
}

export const { describe, configure, update, pick, observe } = balancer(
  { name: "turns", summary: "Logs what it is told" },
  create,
);
