// What ends a call, told: the host learns of a trap, and no more.

import { log } from "weir:plugin/host@0.1.0";
import { shown } from "./check";

/**
 * Calls a plugin, and has what it throws written to the log, with the places of its own code that led there. A refusal is no
 * failure: its message is the error of a result.
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

/** The plugin's own frames, in its own files. The bundle is one file, and its build says where each of its lines is from. */
function stack(error: Error): string {
  const frames = (error.stack ?? "").split("\n").flatMap((frame) => {
    const [, name, line] = /at (\S+) \(.*?:(\d+)(?::\d+)?\)/.exec(frame) ?? [];
    const place = globalThis.weirPlaces?.[Number(line) - 1];
    return place ? [`at ${place[0]}:${place[1]} in ${name}`] : [];
  });
  return frames.slice(0, 8).join(" ");
}

declare global {
  /** The file and the line of each line of the bundle, by the build; 0 where it is not the plugin's. */
  var weirPlaces: (0 | [string, number])[] | undefined;
}
