/** The model view: layers × heads by any measure. */

import type { Capture } from "./capture";
import { colour, scaleOf } from "./colour";
import { check, choice, make, shown } from "./dom";
import { legend } from "./legend";
import type { State } from "./state";

/** One number for each head of the captures compared. */
export function values(state: State): Float32Array {
  const { measure, compare } = state.look;
  const [first, second] = state.host.captures;
  if (compare !== "difference") return state.capture.measure(measure);
  const before = first.measure(measure);
  return second.measure(measure).map((value, i) => value - before[i]);
}

/** Order of the heads of each layer, as columns. */
export function order(state: State, found: Float32Array): number[][] {
  const { heads, sites } = state.capture;
  return sites.map((_, site) => {
    const own = Array.from({ length: heads }, (_, head) => head);
    const value = (head: number): number => found[site * heads + head];
    return state.look.sort === "value" ? own.sort((a, b) => value(b) - value(a)) : own;
  });
}

export function modelView(state: State): HTMLElement {
  const { captures } = state.host;
  const shared = captures[0].measures.filter((name) => captures.every((each) => each.measures.includes(name)));
  const grid = make("div", { role: "grid", class: "grid", "aria-label": "heads by layer", tabindex: "0" });
  const bar = make("div", { class: "bar" });
  const scale = make("div");
  bar.append(
    choice("measure", shared, state.look.measure, (measure) => state.set({ measure })),
    choice("heads in order of", ["layer", "value"], state.look.sort, (sort) => state.set({ sort: sort as "layer" | "value" })),
    check("logarithmic", state.look.log, (log) => state.set({ log })),
  );
  if (captures.length > 1)
    bar.append(
      choice("show", ["first", "second", "difference"], state.look.compare, (compare) =>
        state.set({ compare: compare as State["look"]["compare"] }),
      ),
    );

  grid.addEventListener("click", (event) => {
    const cell = (event.target as HTMLElement).closest<HTMLElement>("[data-head]");
    if (!cell) return;
    const [site, head] = [Number(cell.dataset.site), Number(cell.dataset.head)];
    state.set({ site, head });
    if (event.shiftKey) state.toggleHead(state.capture.sites[site].name, head);
  });
  grid.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (step) {
      const { site, head } = state.look;
      const rows = order(state, values(state));
      const column = rows[site].indexOf(head) + step[1];
      const row = site + step[0];
      if (rows[row]?.[column] !== undefined) state.set({ site: row, head: rows[row][column] });
      event.preventDefault();
    }
    if (event.key === "Enter") state.toggleHead(state.capture.sites[state.look.site].name, state.look.head);
  });

  const draw = (): void => {
    const found = values(state);
    const range = scaleOf(found, { signed: state.look.compare === "difference", log: state.look.log, dark: state.look.dark });
    scale.replaceChildren(legend(range, state.look.measure));
    grid.replaceChildren(...order(state, found).map((heads, site) => row(state, found, range, heads, site)));
  };
  state.onChange(draw);
  draw();
  const hint = make("p", { class: "hint" }, "Click a head to look at it; shift-click, or Enter, to select it for an edit.");
  return make("section", { "aria-label": "model" }, make("h2", {}, "Model"), bar, scale, grid, hint);
}

function row(
  state: State,
  found: Float32Array,
  range: ReturnType<typeof scaleOf>,
  heads: number[],
  site: number,
): HTMLElement {
  const capture: Capture = state.capture;
  const line = make("div", { role: "row", class: "line" }, make("span", { class: "name", role: "rowheader" }, capture.sites[site].name));
  const picked = new Set(state.selection.heads.filter(([name]) => name === capture.sites[site].name).map(([, head]) => head));
  for (const head of heads) {
    const value = found[site * capture.heads + head];
    const here = site === state.look.site && head === state.look.head;
    const label = `${capture.sites[site].name}, head ${head}: ${state.look.measure} ${shown(value)}`;
    const cell = make("span", {
      role: "gridcell",
      class: `cell${here ? " here" : ""}${picked.has(head) ? " picked" : ""}`,
      "data-site": String(site),
      "data-head": String(head),
      "data-value": String(value),
      "aria-label": label,
      "aria-selected": String(here),
      title: label,
      style: `background:${colour(value, range)}`,
    });
    line.append(cell);
  }
  return line;
}
