// Checks of values that go to the host. In the host a value of the wrong type is a trap without a
// message.

/** Checks a whole number. The interface has none beyond 2^53 - 1. */
export function whole(value: unknown, name: string): number {
  if (!Number.isInteger(value)) throw new TypeError(`${name} must be a whole number; it is ${shown(value)}`);
  if (!Number.isSafeInteger(value)) throw new RangeError(`${name} is beyond 2^53 - 1: ${value}`);
  return value as number;
}

/** Checks an unsigned whole number. */
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
