/** Colour-blind-safe scales: lightness alone carries the value, or blue against orange for differences. */

type Colour = [number, number, number];

const LIGHT: Colour[] = [[247, 251, 255], [198, 219, 239], [107, 174, 214], [33, 113, 181], [8, 48, 107]];
const DARK: Colour[] = [[18, 20, 28], [46, 62, 104], [108, 110, 114], [188, 174, 108], [254, 232, 56]];
const SIGNED: Colour[] = [[33, 102, 172], [146, 197, 222], [247, 247, 247], [253, 184, 99], [179, 88, 6]];

export interface Scale {
  low: number;
  high: number;
  signed: boolean;
  log: boolean;
  dark: boolean;
}

const FLOOR = 1e-4;

/** Position of a value on its scale, 0 to 1. */
export function position(value: number, { low, high, log }: Scale): number {
  if (high <= low) return 0;
  if (log) {
    const bottom = Math.max(low, high * FLOOR);
    return clamp(Math.log(Math.max(value, bottom) / bottom) / Math.log(high / bottom));
  }
  return clamp((value - low) / (high - low));
}

export function colour(value: number, scale: Scale): string {
  const [r, g, b] = rgb(value, scale);
  return `rgb(${r},${g},${b})`;
}

export function rgb(value: number, scale: Scale): Colour {
  const stops = scale.signed ? SIGNED : scale.dark ? DARK : LIGHT;
  const at = position(value, scale) * (stops.length - 1);
  const i = Math.min(Math.floor(at), stops.length - 2);
  const part = at - i;
  return stops[i].map((from, c) => Math.round(from + (stops[i + 1][c] - from) * part)) as Colour;
}

/** Black or white, whichever can be read on a colour. */
export function ink([r, g, b]: Colour): string {
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#111" : "#fff";
}

/** The scale of some values: from 0 (or their lowest) to their highest; symmetric about 0 for differences. */
export function scaleOf(values: ArrayLike<number>, options: { signed?: boolean; log?: boolean; dark?: boolean } = {}): Scale {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < values.length; i++) {
    if (values[i] < low) low = values[i];
    if (values[i] > high) high = values[i];
  }
  const { signed = false, log = false, dark = false } = options;
  if (signed) {
    const most = Math.max(Math.abs(low), Math.abs(high));
    return { low: -most, high: most, signed, log: false, dark };
  }
  return { low: Math.min(low, 0), high, signed, log, dark };
}

const clamp = (x: number): number => Math.min(1, Math.max(0, x));
