// The same as tests/guests/turns.
import { log } from "weir:plugin/host@0.1.0";
import { type Balancer, type BalancerNeeds, type Json, type Outcome, type Pick, balancer } from "weir";

class Turns implements Balancer {
  constructor(private readonly command: number) {}

  update(): void {}

  pick(pick: Pick): number {
    if (pick.inputs[this.command] !== null) throw new Error("broken on purpose");
    tell("pick", pick.sequence);
    return 0;
  }

  observe(outcomes: Outcome[]): void {
    for (const outcome of outcomes) tell("observe", outcome.durationUs);
  }
}

function tell(what: string, value: bigint): void {
  // Adding a BigInt works only with another BigInt.
  log("info", `${what} ${value + 0n}`);
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
