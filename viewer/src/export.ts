/** Pictures of what is shown: PNG of a head's map, SVG of the model view. */

import { colour, scaleOf } from "./colour";
import { map } from "./head";
import { order, values } from "./model";
import type { State } from "./state";

const CELL = 16;

/** The model view as SVG, one square a head. */
export function modelSvg(state: State): string {
  const { sites, heads } = state.capture;
  const found = values(state);
  const range = scaleOf(found, { signed: state.look.compare === "difference", log: state.look.log, dark: state.look.dark });
  const squares = order(state, found).flatMap((row, site) =>
    row.map((head, column) => {
      const value = found[site * heads + head];
      const place = `x="${column * CELL}" y="${site * CELL}" width="${CELL}" height="${CELL}"`;
      return `<rect ${place} fill="${colour(value, range)}"><title>${sites[site].name} head ${head}: ${value}</title></rect>`;
    }),
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${heads * CELL}" height="${sites.length * CELL}">${squares.join("")}</svg>`;
}

/** The map of the head that is looked at as SVG, one square a block. */
export function headSvg(state: State): string {
  const { side } = state.capture;
  const found = map(state);
  const range = scaleOf(found, { signed: state.look.compare === "difference", log: state.look.log, dark: state.look.dark });
  const squares = Array.from(found, (value, i) => `<rect x="${i % side}" y="${Math.floor(i / side)}" width="1.02" height="1.02" fill="${colour(value, range)}"/>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${side} ${side}" width="${8 * side}" height="${8 * side}">${squares.join("")}</svg>`;
}

export function download(name: string, type: string, content: string | Blob): void {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}
