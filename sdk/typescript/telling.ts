// Logs the errors that end a call: the host learns only of the trap.

import { log } from "./host";
import { shown } from "./check";

/**
 * Calls a plugin, and logs an exception with the places in the plugin's own code. A refusal is not
 * logged: its message becomes the error of a result.
 */
export function telling<T>(call: () => T, isRefusal: (error: unknown) => boolean = () => false): T {
  try {
    return call();
  } catch (error) {
    if (isRefusal(error)) throw (error as Error).message;
    const isError = error instanceof Error;
    log("error", `uncaught ${isError ? error : shown(error)} ${isError ? stack(error) : ""}`);
    throw error;
  }
}

/**
 * Returns the plugin's own frames, with its own files. The bundle is one file, and its build
 * records the origin of each line.
 */
function stack(error: Error): string {
  const frames = (error.stack ?? "").split("\n").flatMap((frame) => {
    const [, name, line] = /at (\S+) \(.*?:(\d+)(?::\d+)?\)/.exec(frame) ?? [];
    const place = globalThis.weirPlaces?.[Number(line) - 1];
    return place ? [`at ${place[0]}:${place[1]} in ${name}`] : [];
  });
  return frames.slice(0, 8).join(" ");
}

declare global {
  /** The file and line of each line of the bundle, from the build. 0 for lines of other code. */
  var weirPlaces: (0 | [string, number])[] | undefined;
}
