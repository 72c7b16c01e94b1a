/** Pictures of what is shown: the model view, a head's map, the flow; as SVG or PNG. */

import { colour, scaleOf } from "./colour";
import { button, choice, make } from "./dom";
import { map } from "./head";
import { order, values } from "./model";
import type { State } from "./state";

const CELL = 16;
const SHARPNESS = 2;

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

/** The same picture in pixels. */
export async function raster(svg: string): Promise<Blob> {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = make("canvas", { width: String(SHARPNESS * image.width), height: String(SHARPNESS * image.height) });
  canvas.getContext("2d")!.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("this browser makes no PNG.")))));
}

/** A choice of what to save, and a button for each format. */
export function exports(state: State, root: HTMLElement): HTMLElement {
  const drawn = (): SVGElement | null => root.querySelector<SVGElement>(".flow svg");
  const pictures: Record<string, () => string> = {
    heads: () => modelSvg(state),
    map: () => headSvg(state),
    flow: () => drawn()!.outerHTML,
  };
  const said = make("span", { role: "status" });
  let chosen = "heads";
  const save = (format: "svg" | "png") => async (): Promise<void> => {
    said.textContent = "";
    if (chosen === "flow" && !drawn()?.childElementCount) {
      said.textContent = "open the flow view to save it.";
      return;
    }
    const svg = pictures[chosen]();
    download(`${chosen}.${format}`, format === "svg" ? new Blob([svg], { type: "image/svg+xml" }) : await raster(svg));
  };
  return make("span", {}, choice("save", Object.keys(pictures), chosen, (name) => (chosen = name)), " ", button("SVG", save("svg")), " ", button("PNG", save("png")), " ", said);
}

function download(name: string, content: Blob): void {
  const url = URL.createObjectURL(content);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}
