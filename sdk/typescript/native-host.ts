// Stand-ins for the host's functions, for unit tests with Node.

/** The sums of `count`. */
export const counters = new Map<string, number>();

/** Returns the time, in microseconds since the Unix epoch. A test may replace it. */
export const clock = { nowUs: () => Date.now() * 1000 };

export function log(level: string, message: string): void {
  console.error(level, message);
}

export const nowUs = (): number => clock.nowUs();

export const random = (len: number): Uint8Array => crypto.getRandomValues(new Uint8Array(len));

export function count(metric: string, by: number): void {
  counters.set(metric, (counters.get(metric) ?? 0) + by);
}
