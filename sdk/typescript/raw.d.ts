// The interfaces of the host as QuickJS has them. Only the SDK imports these.

declare module "weir:plugin/host" {
  export function log(level: string, message: string): void;
  export function nowUs(): number | bigint;
  export function random(len: number): Uint8Array;
  export function count(metric: string, by: number): void;
}

declare module "weir:plugin/state" {
  export function add(space: string, key: string, by: number, ttlMs: number): number | bigint;
  export function get(space: string, key: string): Uint8Array | null;
  export function set(space: string, key: string, value: Uint8Array, ttlMs: number): void;
  export function replace(space: string, key: string, expected: Uint8Array | null, value: Uint8Array, ttlMs: number): boolean;
  export function remove(space: string, key: string): void;
}
