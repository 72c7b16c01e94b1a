/** A capture as `saccade.viewer.pack` writes it: a JSON header, then little-endian arrays. */

import type { Plane } from "./space";

export type Numbers = Uint8Array | Uint16Array | Uint32Array | Float32Array;

export interface Tensor {
  data: Numbers;
  shape: number[];
}

export interface Site {
  name: string;
  layer: number;
}

const MAGIC = "SACCADE1";
const SHARES = 65535;
const LEVELS = 255;
const KINDS = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array } as const;

interface Header {
  model: string;
  tokens: string[];
  spans: Record<string, number[]>;
  sites: [string, number][];
  arrays: Record<string, { type: keyof typeof KINDS; shape: number[]; at: number }>;
}

/** Weights of one query row by key, and whether every key is there or only the largest. */
export interface Row {
  weights: Float32Array;
  exact: boolean;
}

export class Capture {
  readonly model: string;
  readonly tokens: string[];
  readonly spans: Record<string, number[]>;
  readonly sites: Site[];
  readonly heads: number;
  readonly side: number;
  readonly links: number;
  private readonly arrays: Record<string, Tensor>;

  constructor(buffer: ArrayBuffer) {
    const bytes = new Uint8Array(buffer);
    const magic = new TextDecoder().decode(bytes.subarray(0, MAGIC.length));
    if (magic !== MAGIC) throw new Error(`these bytes are no capture: they begin with "${magic}", not "${MAGIC}".`);
    const size = new DataView(buffer).getUint32(MAGIC.length, true);
    const start = MAGIC.length + 4;
    const header: Header = JSON.parse(new TextDecoder().decode(bytes.subarray(start, start + size)));
    this.arrays = Object.fromEntries(
      Object.entries(header.arrays).map(([name, { type, shape, at }]) => {
        const count = shape.reduce((a, b) => a * b, 1);
        return [name, { data: new KINDS[type](buffer, start + size + at, count), shape }];
      }),
    );
    this.model = header.model;
    this.tokens = header.tokens;
    this.spans = header.spans;
    this.sites = header.sites.map(([name, layer]) => ({ name, layer }));
    const [, heads, side] = this.arrays.pooled.shape;
    this.heads = heads;
    this.side = side;
    this.links = this.arrays.indices.shape[3];
  }

  /** Names of the measures of a head. */
  get measures(): string[] {
    return Object.keys(this.arrays)
      .filter((name) => name.startsWith("measure:"))
      .map((name) => name.slice("measure:".length));
  }

  /** A measure of every head, [sites · heads]. */
  measure(name: string): Float32Array {
    return this.arrays[`measure:${name}`].data as Float32Array;
  }

  /** Mean weight of a key block over a query block. */
  pooled(site: number, head: number): Float32Array {
    const size = this.side * this.side;
    const at = site * this.heads + head;
    const scale = this.arrays.scale.data[at] / LEVELS;
    return Float32Array.from(this.arrays.pooled.data.subarray(at * size, (at + 1) * size), (level) => level * scale);
  }

  /** First and last token of a block, by default of the pooled map (as torch.tensor_split cuts). */
  block(index: number, count: number = this.side): [number, number] {
    const n = this.tokens.length;
    const rest = n % count;
    const width = Math.floor(n / count);
    const start = index * width + Math.min(index, rest);
    return [start, start + width + (index < rest ? 1 : 0) - 1];
  }

  /** Mean weight that each key gets from all rows; of long texts, that of its block of keys. */
  received(site: number, head: number): Row {
    const cells = this.arrays.received.shape[2];
    const at = (site * this.heads + head) * cells;
    const weights = new Float32Array(this.tokens.length);
    for (let cell = 0; cell < cells; cell++) {
      const [from, to] = this.block(cell, cells);
      weights.fill(this.arrays.received.data[at + cell] / SHARES, from, to + 1);
    }
    return { weights, exact: cells === this.tokens.length };
  }

  /** The largest weights of a row; 0 where it was not kept. */
  reads(site: number, head: number, query: number): Row {
    const weights = new Float32Array(this.tokens.length);
    for (const [key, weight] of this.kept(site, head, query)) weights[key] = weight;
    return { weights, exact: false };
  }

  /** What each query row puts on a key, as far as it was among the row's largest. */
  readBy(site: number, head: number, key: number): Row {
    const weights = new Float32Array(this.tokens.length);
    for (let query = 0; query < weights.length; query++)
      for (const [at, weight] of this.kept(site, head, query)) if (at === key) weights[query] = weight;
    return { weights, exact: false };
  }

  /** Queries and keys of a head in a plane, where the capture holds them. */
  plane(site: number, head: number): Plane | undefined {
    const { space, share } = this.arrays;
    if (!space) return undefined;
    const size = 4 * space.shape[3];
    const at = site * this.heads + head;
    return { points: space.data.subarray(at * size, (at + 1) * size) as Uint16Array, share: share.data[at] };
  }

  /** Shares of the tokens in the last one after all layers, where the capture holds them. */
  get rollout(): Float32Array | undefined {
    return this.arrays.rollout?.data as Float32Array | undefined;
  }

  /** Its paths, where the capture holds them. */
  get paths(): Float32Array | undefined {
    return this.arrays.paths?.data as Float32Array | undefined;
  }

  private *kept(site: number, head: number, query: number): Generator<[number, number]> {
    const start = ((site * this.heads + head) * this.tokens.length + query) * this.links;
    for (let i = start; i < start + this.links; i++) {
      const weight = this.arrays.weights.data[i] / SHARES;
      if (weight > 0) yield [this.arrays.indices.data[i], weight];
    }
  }
}
