/** What is looked at: one object, and those who want to know when it changes. */

import type { Capture } from "./capture";

export type Mode = "reads" | "read by" | "received" | "rollout";

export interface Look {
  measure: string;
  sort: "layer" | "value";
  site: number;
  head: number;
  token: number;
  mode: Mode;
  log: boolean;
  hideFirst: boolean;
  compare: "first" | "second" | "difference";
  dark: boolean;
}

/** What a person picked out, as it goes back to Python. */
export interface Selection {
  tokens: number[];
  heads: [string, number][];
  action: "scale" | "mask" | "ablate";
  strength: number;
}

/** Where the viewer runs: what it can ask for, and whom it tells. */
export interface Host {
  captures: Capture[];
  rows?: (capture: number, site: string, query: number) => Promise<Float32Array>;
  space?: (capture: number, site: string) => Promise<ArrayBuffer>;
  neurons?: (capture: number, site: string, query: number, key: number) => Promise<Float32Array>;
  rollout?: (capture: number, query: number) => Promise<Float32Array>;
  paths?: (capture: number, query: number, by: string) => Promise<ArrayBuffer>;
  select?: (selection: Selection) => void;
}

export class State {
  selection: Selection = { tokens: [], heads: [], action: "scale", strength: 2 };
  private readonly listeners: (() => void)[] = [];

  constructor(
    readonly host: Host,
    readonly look: Look,
  ) {}

  /** The capture that is shown; in a difference, the second. */
  get capture(): Capture {
    return this.host.captures[this.index];
  }

  get index(): number {
    return this.look.compare === "first" ? 0 : 1;
  }

  onChange(listener: () => void): void {
    this.listeners.push(listener);
  }

  set(change: Partial<Look>): void {
    Object.assign(this.look, change);
    this.changed();
  }

  pick(change: Partial<Selection>): void {
    this.selection = { ...this.selection, ...change };
    this.host.select?.(this.selection);
    this.changed();
  }

  /** Add a head to the selection, or take it out. */
  toggleHead(site: string, head: number): void {
    const without = this.selection.heads.filter(([s, h]) => s !== site || h !== head);
    const heads: [string, number][] =
      without.length < this.selection.heads.length ? without : [...without, [site, head]];
    this.pick({ heads });
  }

  /** Add a token to the selection, or take it out. */
  toggleToken(token: number): void {
    const tokens = this.selection.tokens.includes(token)
      ? this.selection.tokens.filter((t) => t !== token)
      : [...this.selection.tokens, token].sort((a, b) => a - b);
    this.pick({ tokens });
  }

  private changed(): void {
    for (const listener of this.listeners) listener();
  }
}
