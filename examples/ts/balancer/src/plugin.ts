// Consistent hashing with bounded loads. examples/README.md describes it exactly.
import { type Balancer, type Endpoint, type Input, type Json, type Pick, BalancerNeeds, TRIED, balancer, ensure, keys } from "weir";

interface Member {
  id: number;
  weight: number;
  /** The index in the update, which is also the index of the load. */
  index: number;
}

class Bounded implements Balancer {
  private members: Member[] = [];
  /** Sorted hashes, and the members that own them. */
  private hashes = new Uint32Array();
  private owners: Member[] = [];

  constructor(
    private readonly factor: number,
    private readonly by: Input,
    private readonly client: Input,
  ) {}

  update(endpoints: Endpoint[]): void {
    this.members = endpoints
      .map(({ id, weight }, index) => ({ id, weight, index }))
      .filter((member) => member.weight > 0);
    const points = this.members.flatMap((member) => {
      // Hashes the common part of the names of its points only once.
      const common = fnv(ascii(`${endpoints[member.index].address}#`));
      return Array.from({ length: 40 * Math.min(member.weight, 25) }, (_, number) => ({
        hash: mix(fnv(ascii(`${number}`), common)),
        member,
      }));
    });
    points.sort((a, b) => a.hash - b.hash || a.member.index - b.member.index);
    this.hashes = Uint32Array.from(points, (point) => point.hash);
    this.owners = points.map((point) => point.member);
  }

  pick(pick: Pick): number | undefined {
    if (this.owners.length === 0) return undefined;
    const { loads } = pick;
    const start = this.start(mix(fnv(pick.bytes(this.by) ?? pick.bytes(this.client) ?? [])));
    let total = 0;
    let weights = 0;
    for (const { index, weight } of this.members) {
      if (loads[index] === TRIED) continue;
      total += loads[index];
      weights += weight;
    }
    if (weights === 0) return this.owners[start].id;
    let untried: Member | undefined;
    for (let n = 0; n < this.owners.length; n++) {
      const member = this.owners[(start + n) % this.owners.length];
      const load = loads[member.index];
      if (load === TRIED) continue;
      if (load < Math.ceil((this.factor * (total + 1) * member.weight) / weights)) return member.id;
      untried ??= member;
    }
    return untried?.id;
  }

  /** The first point with at least this hash, or the first of all. */
  private start(hash: number): number {
    let low = 0;
    let high = this.hashes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.hashes[middle] < hash) low = middle + 1;
      else high = middle;
    }
    return low % this.hashes.length;
  }
}

function create(json: Json, needs: BalancerNeeds): Balancer {
  const { by = "client.address", factor = 1.25 } = keys(json ?? {}, { by: "string", factor: "number" });
  ensure((factor as number) >= 1, "factor: it must be at least 1");
  needs.loads = true;
  return new Bounded(factor as number, needs.input(by as string), needs.input("client.address"));
}

/** FNV-1a, continued from an earlier result. */
function fnv(bytes: ArrayLike<number>, h = 2166136261): number {
  for (let n = 0; n < bytes.length; n++) h = Math.imul(h ^ bytes[n], 16777619);
  return h;
}

/** MurmurHash3's finalizer. */
function mix(h: number): number {
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function ascii(text: string): number[] {
  return Array.from(text, (letter) => letter.charCodeAt(0));
}

export const { describe, configure, update, pick, observe } = balancer(
  {
    name: "bounded",
    summary: "Consistent hashing with bounded loads",
    configSchema: {
      type: ["object", "null"],
      additionalProperties: false,
      properties: {
        by: { type: "string", default: "client.address", description: "The input that decides the endpoint" },
        factor: {
          type: "number",
          minimum: 1,
          default: 1.25,
          description: "How much more than its share of the requests in flight an endpoint may have",
        },
      },
    },
  },
  create,
);
