/** The flow view: what reaches the pinned token, layer by layer, as a diagram of tokens and layers. */

import { choice, make, shown, visible } from "./dom";
import { position, scaleOf } from "./colour";
import type { State } from "./state";

export type Kind = "rollout" | "relevance";

/** A layered graph: level 0 is the input, level L the output; M tokens in each. */
export interface Paths {
  layers: number;
  tokens: number[];
  node: (level: number, at: number) => number;
  edge: (layer: number, above: number, below: number) => number;
}

const SVG = "http://www.w3.org/2000/svg";
const COLUMN = 44;
const LEFT = 110;
const TOP = 16;
const RIGHT = 64;
const WORDS = 84;
const HEIGHT = 420;
const RADIUS = 9;
const WIDEST = 9;
const FAINTEST = 0.12;

/** What `saccade.see.paths.Paths.tobytes` writes. */
export function read(found: Float32Array): Paths {
  const [layers, count] = found;
  const nodes = 2 + count;
  const edges = nodes + (layers + 1) * count;
  return {
    layers,
    tokens: Array.from(found.subarray(2, nodes)),
    node: (level, at) => found[nodes + level * count + at],
    edge: (layer, above, below) => found[edges + (layer * count + above) * count + below],
  };
}

/** The strongest edges, weakest first, so that the strong are drawn on top; without some tokens. */
export function strongest(paths: Paths, most: number, without: number): [number, number, number, number][] {
  const { layers, tokens, edge } = paths;
  const all: [number, number, number, number][] = [];
  for (let layer = 0; layer < layers; layer++)
    for (let above = 0; above < tokens.length; above++)
      for (let below = 0; below < tokens.length; below++) {
        const value = edge(layer, above, below);
        if (value > 0 && tokens[above] !== without && tokens[below] !== without) all.push([layer, above, below, value]);
      }
  return all.sort((a, b) => b[3] - a[3]).slice(0, most).reverse();
}

export function flowView(state: State): HTMLElement {
  const held = new Map<string, Paths>();
  const pending = new Set<string>();
  let by: Kind = "rollout";
  let most = 150;
  let focus = { level: -1, at: 0 };
  let paths: Paths | undefined;
  const svg = document.createElementNS(SVG, "svg");
  const box = make("div", { class: "flow", role: "application", tabindex: "0" });
  const said = make("p", { class: "said", "aria-live": "polite" });
  const facts = make("p", { class: "hint" });
  const hint = make("p", { class: "hint" }, "Hover a circle or a line, or move with the arrows; a click, or Enter, pins the token. The wider the line, the more flows.");
  const kinds: Kind[] = state.host.paths ? ["rollout", "relevance"] : ["rollout"];
  const bar = make(
    "div",
    { class: "bar" },
    choice("flow by", kinds, by, (kind) => {
      by = kind as Kind;
      draw();
    }),
    choice("lines", ["50", "150", "500"], String(most), (count) => {
      most = Number(count);
      draw();
    }),
  );
  box.append(svg);
  const open = make("details", { "aria-label": "flow" }, make("summary", {}, "Flow"), bar, box, said, facts, hint);
  open.open = state.capture.paths !== undefined;

  const asked = (): Paths | undefined => {
    const { capture, index, host, look } = state;
    if (!host.paths) return capture.paths && read(capture.paths);
    const key = `${index}/${look.token}/${by}`;
    if (!held.has(key) && !pending.has(key)) {
      pending.add(key);
      said.textContent = "…";
      host.paths(index, look.token, by).then(
        (buffer) => {
          held.set(key, read(new Float32Array(buffer)));
          said.textContent = "";
          draw();
        },
        (error: Error) => (said.textContent = error.message),
      );
    }
    return held.get(key);
  };

  const word = (at: number): string => `token ${paths!.tokens[at]} (${visible(state.capture.tokens[paths!.tokens[at]])})`;
  const place = (level: number): string => (level === 0 ? "of the input" : `after layer ${level}`);
  const describe = (level: number, at: number): string => `${word(at)} ${place(level)}: ${shown(paths!.node(level, at))}`;
  const x = (at: number): number => LEFT + COLUMN * (at + 0.5);
  const y = (level: number): number => TOP + ((paths!.layers - level) / paths!.layers) * (HEIGHT - 2 * TOP);

  const add = (name: string, attributes: Record<string, string | number>, text = ""): void => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
    element.textContent = text;
    svg.append(element);
  };

  const draw = (): void => {
    if (!open.open) return;
    paths = asked();
    svg.replaceChildren();
    if (!paths) return;
    const { layers, tokens, node } = paths;
    const { look, capture } = state;
    focus = { level: Math.min(focus.level, layers), at: Math.min(focus.at, tokens.length - 1) };
    const colour = { line: look.dark ? "#6baed6" : "#2171b5", mark: "#d95f02", ink: look.dark ? "#e8eaf0" : "#1b1f27" };
    const without = look.hideFirst ? 0 : -1;
    const edges = strongest(paths, most, without);
    const range = scaleOf(edges.map(([, , , value]) => value), { log: look.log });
    const width = LEFT + COLUMN * tokens.length + RIGHT;
    const whole = { xmlns: SVG, viewBox: `0 0 ${width} ${HEIGHT + WORDS}`, width, height: HEIGHT + WORDS, "font-family": "system-ui, sans-serif" };
    for (const [key, value] of Object.entries(whole)) svg.setAttribute(key, String(value));
    for (const [layer, above, below, value] of edges) {
      const strong = position(value, range);
      const near = (level: number, at: number): boolean => focus.level === level && focus.at === at;
      const line = { x1: x(above), y1: y(layer + 1), x2: x(below), y2: y(layer), stroke: near(layer + 1, above) || near(layer, below) ? colour.mark : colour.line };
      add("line", { ...line, "stroke-width": Math.max(0.4, WIDEST * strong), "stroke-opacity": FAINTEST + (1 - FAINTEST) * strong, "data-edge": `${layer}/${above}/${below}`, "data-value": value });
    }
    for (let level = 0; level <= layers; level++) {
      add("text", { x: 4, y: y(level) + 4, "font-size": 11, fill: colour.ink }, level === 0 ? "input" : `layer ${level}`);
      tokens.forEach((token, at) => {
        if (token === without) return;
        const share = node(level, at);
        const here = focus.level === level && focus.at === at;
        add("circle", { cx: x(at), cy: y(level), r: Math.max(1.5, RADIUS * Math.sqrt(share)), fill: here ? colour.mark : colour.line, stroke: token === look.token ? colour.mark : "none", "stroke-width": 2, "data-node": `${level}/${token}`, "data-at": `${level}/${at}`, "data-value": share });
      });
    }
    tokens.forEach((token, at) => {
      const turn = `rotate(50 ${x(at)} ${HEIGHT + 4})`;
      if (token !== without) add("text", { x: x(at), y: HEIGHT + 4, "font-size": 12, fill: token === look.token ? colour.mark : colour.ink, transform: turn }, visible(capture.tokens[token]).slice(0, 12));
    });
    const kept = tokens.reduce((sum, _, at) => sum + node(0, at), 0);
    const into = state.host.paths ? look.token : capture.tokens.length - 1;
    const label = `what flows into token ${into} (${visible(capture.tokens[into])}) through ${layers} layers, by ${by}`;
    box.setAttribute("aria-label", `${label}: ${tokens.length} tokens, ${edges.length} lines`);
    facts.textContent = `${label}: the ${tokens.length} tokens with the largest shares, which hold ${shown(100 * kept)} % of the input's; ${edges.length} strongest lines. ${by === "rollout" ? "As if attention alone mixed tokens." : "Attention weighted by the gradient of the largest logit."}`;
  };

  const target = (event: Event): SVGElement => event.target as SVGElement;
  box.addEventListener("mouseover", (event) => {
    const { at, edge, value } = target(event).dataset;
    if (!paths) return;
    if (at) {
      const [level, column] = at.split("/").map(Number);
      said.textContent = describe(level, column);
    } else if (edge) {
      const [layer, above, below] = edge.split("/").map(Number);
      said.textContent = `${word(above)} ${place(layer + 1)} has ${shown(Number(value))} from ${word(below)} ${place(layer)}`;
    }
  });
  box.addEventListener("click", (event) => {
    const { at } = target(event).dataset;
    if (!at || !paths) return;
    const [level, column] = at.split("/").map(Number);
    focus = { level, at: column };
    state.set({ token: paths.tokens[column] });
  });
  box.addEventListener("keydown", (event) => {
    if (!paths) return;
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, 0], ArrowDown: [-1, 0] }[event.key];
    if (step) {
      const clamp = (value: number, most: number): number => Math.min(most, Math.max(0, value));
      focus = { level: clamp(focus.level + step[0], paths.layers), at: clamp(focus.at + step[1], paths.tokens.length - 1) };
    } else if (event.key === "Enter") state.set({ token: paths.tokens[focus.at] });
    else return;
    event.preventDefault();
    said.textContent = describe(focus.level, focus.at);
    draw();
  });
  open.addEventListener("toggle", draw);
  state.onChange(draw);
  draw();
  return open;
}
