// What crosses to the host, checked here: there a value of the wrong type is a trap that says nothing.

/** What QuickJS made of a number of 64 bits. One that a number cannot hold exactly is an error, never a neighbour of it. */
export function exact(value: number | bigint, name: string): bigint {
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    throw new RangeError(`${name} is beyond what JavaScript's numbers hold exactly, 2^53 - 1`);
  }
  return BigInt(value);
}

/** As `exact`; the largest numbers without a sign come as negative ones. */
export function exactUnsigned(value: number | bigint, name: string): bigint {
  return exact(value < 0 ? Infinity : value, name);
}

/** A number of 64 bits as QuickJS hands it over. */
export function whole(value: unknown, name: string): number {
  const isWhole = typeof value === "bigint" || Number.isInteger(value);
  if (!isWhole) throw new TypeError(`${name} must be a whole number, a BigInt or a number; it is ${shown(value)}`);
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new RangeError(`${name} is beyond 2^53 - 1: ${value}`);
  return number;
}

/** As `whole`, for a number without a sign. */
export function unsigned(value: unknown, name: string, most = Number.MAX_SAFE_INTEGER): number {
  const number = whole(value, name);
  if (number < 0 || number > most) throw new RangeError(`${name} must be from 0 to ${most}; it is ${value}`);
  return number;
}

export function string(value: unknown, name: string): string {
  if (typeof value !== "string") throw new TypeError(`${name} must be a string; it is ${shown(value)}`);
  return value;
}

export function octets(value: unknown, name: string): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new TypeError(`${name} must be a Uint8Array; it is ${shown(value)}`);
  return value;
}

/** A value in an error, or its type where that says more. */
export function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  return typeof value === "object" && value !== null ? "an object" : typeof value === "function" ? "a function" : String(value);
}
