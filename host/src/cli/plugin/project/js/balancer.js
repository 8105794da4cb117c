// Spreads requests in turn over one zone's endpoints, or over all if the zone has none.
import { balancer, keys } from "weir";

class Plugin {
  ids = [];

  constructor(zone) {
    this.zone = zone;
  }

  /** Weir calls this with the healthy endpoints at each change. `pick` has nothing to search. */
  update(endpoints) {
    const here = endpoints.filter((endpoint) => endpoint.zone === this.zone);
    this.ids = (here.length > 0 ? here : endpoints).map((endpoint) => endpoint.id);
  }

  pick({ sequence, attempt }) {
    if (this.ids.length === 0) return undefined;
    return this.ids[(sequence + attempt) % this.ids.length];
  }
}

function create(json, needs) {
  const { zone = "" } = keys(json ?? {}, { zone: "string" });
  // A number for each request, counted over all workers.
  needs.sequence = true;
  return new Plugin(zone);
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
