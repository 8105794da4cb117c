// Lets requests with a known tenant pass, and marks them as checked for the origin.
import { type Filter, type FilterNeeds, type Input, type Json, type Request, type Response, edit, ensure, filter, keys, reply } from "weir";

class Plugin implements Filter {
  constructor(
    private readonly tenants: string[],
    private readonly tenant: Input,
  ) {}

  onRequest(request: Request) {
    const tenant = request.text(this.tenant);
    if (tenant === undefined || (this.tenants.length > 0 && !this.tenants.includes(tenant))) {
      return reply(403, "unknown tenant\n").header("content-type", "text/plain");
    }
    // The value comes back with the response to this request.
    return edit().set("x-checked", "1").remember(tenant);
  }

  onResponse(response: Response) {
    return edit().set("x-tenant", String(response.recall())).remove("server");
  }
}

function create(json: Json, needs: FilterNeeds): Filter {
  const { header = "x-tenant", tenants = [] } = keys(json ?? {}, { header: "string", tenants: "object" });
  const isList = Array.isArray(tenants) && tenants.every((tenant) => typeof tenant === "string");
  ensure(isList, "tenants: it must be a list of strings");
  // Each request comes with only the inputs that are requested here.
  return new Plugin(tenants as string[], needs.input(`header:${header}`));
}

export const { describe, configure, onRequest, onFetch, onResponse } = filter(
  {
    name: "@NAME@",
    summary: "Requests that name a tenant",
    configSchema: {
      type: ["object", "null"],
      additionalProperties: false,
      properties: {
        header: { type: "string", default: "x-tenant", description: "The header field that names the tenant" },
        tenants: {
          type: "array",
          items: { type: "string" },
          description: "The tenants that may pass. If left out, all may",
        },
      },
    },
  },
  create,
);
