// Spreads requests in turn over one zone's endpoints, or over all if the zone has none.
import { type Balancer, type BalancerNeeds, type Endpoint, type Json, type Pick, balancer, keys } from "weir";

class Plugin implements Balancer {
  private ids: number[] = [];

  constructor(private readonly zone: string) {}

  /** Weir calls this with the healthy endpoints at each change. `pick` has nothing to search. */
  update(endpoints: Endpoint[]): void {
    const here = endpoints.filter((endpoint) => endpoint.zone === this.zone);
    this.ids = (here.length > 0 ? here : endpoints).map((endpoint) => endpoint.id);
  }

  pick({ sequence, attempt }: Pick): number | undefined {
    if (this.ids.length === 0) return undefined;
    return this.ids[(sequence + attempt) % this.ids.length];
  }
}

function create(json: Json, needs: BalancerNeeds): Balancer {
  const { zone = "" } = keys(json ?? {}, { zone: "string" });
  // A number for each request, counted over all workers.
  needs.sequence = true;
  return new Plugin(zone as string);
}

export const { describe, configure, update, pick, observe } = balancer(
  {
    name: "@NAME@",
    summary: "Endpoints of one zone first",
    configSchema: {
      type: ["object", "null"],
      additionalProperties: false,
      properties: { zone: { type: "string", description: "The zone that comes first" } },
    },
  },
  create,
);
