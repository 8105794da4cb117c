// Sends each request to the endpoints of one zone while it has any, in turn.
import { balancer, keys } from "weir";

class Plugin {
  ids = [];

  constructor(zone) {
    this.zone = zone;
  }

  /** Called with the healthy endpoints whenever they change, so there is nothing to search for in `pick`. */
  update(endpoints) {
    const here = endpoints.filter((endpoint) => endpoint.zone === this.zone);
    this.ids = (here.length > 0 ? here : endpoints).map((endpoint) => endpoint.id);
  }

  pick({ sequence, attempt }) {
    if (this.ids.length === 0) return undefined;
    const turn = sequence + BigInt(attempt);
    return this.ids[Number(turn % BigInt(this.ids.length))];
  }
}

function create(json, needs) {
  const { zone = "" } = keys(json ?? {}, { zone: "string" });
  // A number for each request, the same over all workers.
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
