/** The head view: a map of one head at any length, block by block. */

import { rgb, scaleOf } from "./colour";
import { check, make, shown, visible } from "./dom";
import { legend } from "./legend";
import type { State } from "./state";

const CELL = 7;

/** The pooled map, without the first token's column where it is to be hidden. */
export function map(state: State): Float32Array {
  const { site, head, compare, hideFirst } = state.look;
  const [first, second] = state.host.captures;
  let found = state.capture.pooled(site, head);
  if (compare === "difference" && first.side === second.side) {
    const before = first.pooled(site, head);
    found = found.map((value, i) => value - before[i]);
  }
  return hideFirst ? found.map((value, i) => (i % state.capture.side ? value : 0)) : found;
}

export function headView(state: State): HTMLElement {
  const title = make("h2");
  const canvas = make("canvas", { role: "img", tabindex: "0" });
  const said = make("p", { class: "said", "aria-live": "polite" });
  const scale = make("div");
  const bar = make("div", { class: "bar" }, check("hide the first token, here and below", state.look.hideFirst, (hideFirst) => state.set({ hideFirst })));

  const at = (event: MouseEvent): [number, number] => {
    const box = canvas.getBoundingClientRect();
    const place = (part: number, size: number): number => Math.min(state.capture.side - 1, Math.max(0, Math.floor((part / size) * state.capture.side)));
    return [place(event.clientY - box.top, box.height), place(event.clientX - box.left, box.width)];
  };
  canvas.addEventListener("mousemove", (event) => {
    const [query, key] = at(event);
    said.textContent = describe(state, query, key);
  });
  canvas.addEventListener("click", (event) => state.set({ token: state.capture.block(at(event)[0])[1], mode: "reads" }));

  const draw = (): void => {
    const { side, sites } = state.capture;
    const found = map(state);
    const range = scaleOf(found, { signed: state.look.compare === "difference", log: state.look.log, dark: state.look.dark });
    title.textContent = `${sites[state.look.site].name}, head ${state.look.head}`;
    scale.replaceChildren(legend(range, "mean weight of a block of keys in a block of queries"));
    canvas.width = canvas.height = side;
    canvas.style.width = canvas.style.height = `${Math.max(side * CELL, 256)}px`;
    canvas.setAttribute("aria-label", `map of ${title.textContent}: queries downwards, keys to the right, ${side} by ${side} blocks`);
    const pen = canvas.getContext("2d");
    if (!pen) return;
    const image = pen.createImageData(side, side);
    found.forEach((value, i) => image.data.set([...rgb(value, range), 255], 4 * i));
    pen.putImageData(image, 0, 0);
  };
  state.onChange(draw);
  draw();
  return make("section", { "aria-label": "head" }, title, bar, scale, canvas, said);
}

function describe(state: State, query: number, key: number): string {
  const { capture } = state;
  const words = (block: number): string => {
    const [from, to] = capture.block(block);
    const text = capture.tokens.slice(from, Math.min(to, from + 5) + 1).map(visible).join(" ");
    return from === to ? `token ${from} (${text})` : `tokens ${from} to ${to} (${text}${to > from + 5 ? " …" : ""})`;
  };
  return `${words(query)} read ${words(key)}: ${shown(map(state)[query * capture.side + key])}`;
}
