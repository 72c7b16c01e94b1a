/** The query-key space: queries and keys of one head as points of a plane. */

import { rgb, scaleOf } from "./colour";
import { choice, make, shown, visible } from "./dom";
import { legend } from "./legend";
import type { State } from "./state";

/** Queries, then keys, of P tokens: x and y from 0 to 65535. */
export interface Plane {
  points: Uint16Array;
  share: number;
}

/** A point: the query or the key of a token. */
export interface Point {
  token: number;
  key: boolean;
  x: number;
  y: number;
}

const ENDS = 65535;
const SIZE = 420;
const MARGIN = 12;
const RADIUS = 4;
const NEAR = 10;
const PLAIN = "#999999";
/** Colours of Okabe and Ito, which the colour-blind tell apart. */
const SPANS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];

/** The planes of all heads of a site, as `Space.tobytes` writes them. */
export function planes(buffer: ArrayBuffer, heads: number): Plane[] {
  const count = (buffer.byteLength - 4 * heads) / (2 * heads);
  const points = new Uint16Array(buffer, 0, count * heads);
  const shares = new Float32Array(buffer, 2 * count * heads, heads);
  return Array.from(shares, (share, head) => ({ points: points.subarray(head * count, (head + 1) * count), share }));
}

/** Where each query and key of a plane stands on the canvas. */
export function placed({ points }: Plane, tokens: number): Point[] {
  const count = points.length / 4;
  const at = (value: number): number => MARGIN + (value / ENDS) * (SIZE - 2 * MARGIN);
  return Array.from({ length: 2 * count }, (_, i) => ({
    token: Math.floor(((i % count) * tokens) / count),
    key: i >= count,
    x: at(points[2 * i]),
    y: SIZE - at(points[2 * i + 1]),
  }));
}

export function nearest(points: Point[], x: number, y: number): Point | undefined {
  let best: Point | undefined;
  let least = NEAR ** 2;
  for (const point of points) {
    const far = (point.x - x) ** 2 + (point.y - y) ** 2;
    if (far <= least) [best, least] = [point, far];
  }
  return best;
}

export function spaceView(state: State): HTMLElement {
  const held = new Map<string, Plane[]>();
  const pending = new Set<string>();
  let colouring: "position" | "span" = "position";
  let points: Point[] = [];
  let focus = { token: state.look.token, key: false };
  const canvas = make("canvas", { role: "application", tabindex: "0", width: String(SIZE), height: String(SIZE), class: "space" });
  const said = make("p", { class: "said", "aria-live": "polite" });
  const facts = make("p", { class: "hint" });
  const scale = make("div");
  const hint = make("p", { class: "hint" }, "Circles are queries, squares keys. Hover, or move with the arrows (up and down change between query and key); a click, or Enter, pins the token.");
  const bar = make("div", { class: "bar" }, choice("colour points by", ["position", "span"], colouring, (by) => {
    colouring = by as typeof colouring;
    draw();
  }));
  const open = make("details", { "aria-label": "query-key space" }, make("summary", {}, "Query-key space"), bar, scale, canvas, said, facts, hint);
  open.open = state.capture.plane(0, 0) !== undefined;

  const plane = (): Plane | undefined => {
    const { capture, index, look } = state;
    const own = capture.plane(look.site, look.head);
    if (own || !state.host.space) return own;
    const key = `${index}/${look.site}`;
    if (!held.has(key) && !pending.has(key)) {
      pending.add(key);
      said.textContent = "…";
      state.host.space(index, capture.sites[look.site].name).then(
        (buffer) => {
          held.set(key, planes(buffer, capture.heads));
          said.textContent = "";
          draw();
        },
        (error: Error) => (said.textContent = error.message),
      );
    }
    return held.get(key)?.[look.head];
  };

  const describe = ({ token, key }: { token: number; key: boolean }): void => {
    said.textContent = `${key ? "key" : "query"} of token ${token} (${visible(state.capture.tokens[token])})`;
  };

  const draw = (): void => {
    if (!open.open) return;
    const found = plane();
    const { capture, look } = state;
    points = found ? placed(found, capture.tokens.length) : [];
    const range = scaleOf([capture.tokens.length - 1], { dark: look.dark });
    const spans = Object.entries(capture.spans);
    const span = (token: number): number => spans.findIndex(([, places]) => places.includes(token));
    const name = `${capture.sites[look.site].name}, head ${look.head}`;
    canvas.setAttribute("aria-label", `queries and keys of ${name}: ${points.length} points`);
    facts.textContent = found ? `${name}: the plane of the first two principal components, which hold ${shown(100 * found.share)} % of the variance. Nearness here is a hint of a large product, not a weight.` : "";
    const swatch = (fill: string, label: string): HTMLElement => make("span", {}, make("span", { class: "swatch", style: `background:${fill}` }), ` ${label} `);
    scale.replaceChildren(
      colouring === "position" ? legend(range, "position") : make("div", { class: "legend" }, ...spans.map(([label], i) => swatch(SPANS[i % SPANS.length], label)), swatch(PLAIN, "no span")),
    );
    const pen = canvas.getContext("2d");
    if (!pen) return;
    pen.clearRect(0, 0, SIZE, SIZE);
    for (const point of points) {
      const at = span(point.token);
      pen.fillStyle = colouring === "position" ? `rgb(${rgb(point.token, range).join(",")})` : at < 0 ? PLAIN : SPANS[at % SPANS.length];
      const here = point.token === focus.token && point.key === focus.key;
      pen.strokeStyle = point.token === look.token || here ? "#d95f02" : look.dark ? "#e8eaf0" : "#1b1f27";
      pen.lineWidth = here ? 3 : point.token === look.token ? 2 : 0.5;
      pen.beginPath();
      if (point.key) pen.rect(point.x - RADIUS, point.y - RADIUS, 2 * RADIUS, 2 * RADIUS);
      else pen.arc(point.x, point.y, RADIUS, 0, 2 * Math.PI);
      pen.fill();
      pen.stroke();
    }
  };

  const under = (event: MouseEvent): Point | undefined => {
    const box = canvas.getBoundingClientRect();
    return nearest(points, ((event.clientX - box.left) / box.width) * SIZE, ((event.clientY - box.top) / box.height) * SIZE);
  };
  canvas.addEventListener("mousemove", (event) => {
    const point = under(event);
    if (point) describe(point);
  });
  canvas.addEventListener("click", (event) => {
    const point = under(event);
    if (!point) return;
    focus = point;
    state.set({ token: point.token });
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const own = points.filter((point) => point.key === focus.key);
    if (step && own.length) {
      const at = own.findIndex((point) => point.token >= focus.token);
      focus = own[Math.min(own.length - 1, Math.max(0, (at < 0 ? own.length - 1 : at) + step))];
    } else if (event.key === "ArrowUp" || event.key === "ArrowDown") focus = { ...focus, key: !focus.key };
    else if (event.key === "Enter") state.set({ token: focus.token });
    else return;
    event.preventDefault();
    describe(focus);
    draw();
  });
  open.addEventListener("toggle", draw);
  state.onChange(draw);
  draw();
  return open;
}
