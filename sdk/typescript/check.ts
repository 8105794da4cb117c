// Checks of values that go to the host. In the host a value of the wrong type is a trap without a
// message.

/**
 * Converts a 64-bit number from QuickJS. A number that JavaScript cannot hold exactly is an error,
 * and never becomes a close number.
 */
export function exact(value: number | bigint, name: string): bigint {
  if (typeof value === "number" && !Number.isSafeInteger(value)) {
    throw new RangeError(`${name} is beyond what JavaScript's numbers hold exactly, 2^53 - 1`);
  }
  return BigInt(value);
}

/** Converts like `exact`. The largest unsigned numbers arrive as negative numbers. */
export function exactUnsigned(value: number | bigint, name: string): bigint {
  return exact(value < 0 ? Infinity : value, name);
}

/** Converts a 64-bit number for QuickJS. */
export function whole(value: unknown, name: string): number {
  const isWhole = typeof value === "bigint" || Number.isInteger(value);
  if (!isWhole) throw new TypeError(`${name} must be a whole number, a BigInt or a number; it is ${shown(value)}`);
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new RangeError(`${name} is beyond 2^53 - 1: ${value}`);
  return number;
}

/** Converts like `whole`, for an unsigned number. */
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

/** Returns a value for an error message, or its type if that is clearer. */
export function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  return typeof value === "object" && value !== null ? "an object" : typeof value === "function" ? "a function" : String(value);
}
