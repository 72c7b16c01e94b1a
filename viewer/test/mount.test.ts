import { beforeAll, expect, test, vi } from "vitest";
import { Capture } from "../src/capture";
import { mount } from "../src/main";
import { PATHS, packed } from "./packed";

beforeAll(() => {
  vi.stubGlobal("matchMedia", () => ({ matches: false }));
  HTMLCanvasElement.prototype.getContext = (() => null) as never;
});

function shown(host = {}): { root: HTMLElement; state: ReturnType<typeof mount> } {
  const root = document.createElement("div");
  return { root, state: mount(root, { captures: [new Capture(packed())], ...host }) };
}

test("every head has a labelled cell, the hottest the highest value", () => {
  const { root } = shown();
  const cells = [...root.querySelectorAll<HTMLElement>("[data-head]")];
  expect(cells.map((cell) => Number(cell.dataset.value))).toEqual([0.25, 1.25]);
  expect(cells[1].getAttribute("aria-label")).toBe("text.0.self, head 1: entropy 1.25");
  expect(cells[1].style.background).toBe("rgb(8, 48, 107)");
});

test("a click looks at a head, a shift-click selects it, and the selection is told", () => {
  const select = vi.fn();
  const { root, state } = shown({ select });
  root.querySelector<HTMLElement>('[data-head="1"]')!.dispatchEvent(new MouseEvent("click", { bubbles: true, shiftKey: true }));
  expect(state.look.head).toBe(1);
  expect(select).toHaveBeenLastCalledWith({ tokens: [], heads: [["text.0.self", 1]], action: "scale", strength: 2 });
  root.querySelector<HTMLElement>('[data-token="2"]')!.dispatchEvent(new MouseEvent("click", { bubbles: true, shiftKey: true }));
  expect(state.selection.tokens).toEqual([2]);
  expect(root.textContent).toContain("attention to “c” times 2.00 in text.0.self head 1");
});

test("arrows move the pin, and the row follows", () => {
  const { root, state } = shown();
  const text = root.querySelector<HTMLElement>(".text")!;
  text.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", bubbles: true }));
  expect(state.look.token).toBe(1);
  expect(Number(root.querySelector<HTMLElement>('[data-token="0"]')!.dataset.weight)).toBeCloseTo(0.8, 4);
});

test("exact rows are asked of the host once", async () => {
  const rows = vi.fn(async () => Float32Array.from([0.1, 0.2, 0.7, 0.3, 0.3, 0.4]));
  const { root } = shown({ rows });
  await vi.waitFor(() => expect(Number(root.querySelector<HTMLElement>('[data-token="2"]')!.dataset.weight)).toBeCloseTo(0.7));
  root.querySelector<HTMLElement>('[data-head="1"]')!.click();
  expect(Number(root.querySelector<HTMLElement>('[data-token="2"]')!.dataset.weight)).toBeCloseTo(0.4);
  expect(rows).toHaveBeenCalledTimes(1);
  expect(rows).toHaveBeenCalledWith(0, "text.0.self", 2);
});

test("a difference is second less first", () => {
  const captures = [new Capture(packed()), new Capture(packed())];
  captures[1].measure("entropy")[1] = 3.25;
  const root = document.createElement("div");
  mount(root, { captures });
  const cells = [...root.querySelectorAll<HTMLElement>("[data-head]")];
  expect(cells.map((cell) => Number(cell.dataset.value))).toEqual([0, 2]);
});

test("captures of other shapes cannot be compared", () => {
  const captures = [new Capture(packed()), new Capture(packed(3))];
  expect(() => mount(document.createElement("div"), { captures })).toThrow("1 × 2 and 1 × 3");
});

test("views that a page has no data for are left out", () => {
  const { root } = shown();
  expect(root.querySelector(".space")).toBeNull();
  expect([...root.querySelectorAll('[aria-label="colour by"] option')].map((each) => each.textContent)).not.toContain("rollout");
});

test("a plane is asked for when it is opened, and the keyboard goes through its points", async () => {
  const space = vi.fn(async () => new Uint16Array(28).buffer);
  const { root, state } = shown({ space });
  const open = root.querySelector<HTMLDetailsElement>("details")!;
  expect(space).not.toHaveBeenCalled();
  open.open = true;
  open.dispatchEvent(new Event("toggle"));
  expect(space).toHaveBeenCalledWith(0, "text.0.self");
  const canvas = root.querySelector(".space")!;
  await vi.waitFor(() => expect(canvas.getAttribute("aria-label")).toBe("queries and keys of text.0.self, head 0: 6 points"));
  const press = (key: string): boolean => canvas.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  press("ArrowLeft");
  expect(open.querySelector(".said")!.textContent).toBe("query of token 1 (b)");
  press("ArrowUp");
  expect(open.querySelector(".said")!.textContent).toBe("key of token 1 (b)");
  press("Enter");
  expect(state.look.token).toBe(1);
  root.querySelector<HTMLElement>('[data-head="1"]')!.click();
  expect(space).toHaveBeenCalledTimes(1);
});

test("what cannot be measured is said", async () => {
  const rollout = vi.fn(async () => Promise.reject(new Error("no such thing")));
  const { root, state } = shown({ rollout });
  state.set({ mode: "rollout" });
  await vi.waitFor(() => expect(root.querySelector('[aria-label="tokens"] .said')!.textContent).toBe("no such thing"));
});

test("rollout follows the pin, or is of the last token where there is no model", async () => {
  const rollout = vi.fn(async (_: number, query: number) => Float32Array.from([query, 0, 0]));
  const asked = shown({ rollout });
  asked.state.set({ mode: "rollout", token: 1 });
  const weight = (root: HTMLElement, token: number): number => Number(root.querySelector<HTMLElement>(`[data-token="${token}"]`)!.dataset.weight);
  await vi.waitFor(() => expect(weight(asked.root, 0)).toBe(1));
  expect(rollout).toHaveBeenCalledTimes(1);
  const alone = shown({ captures: [new Capture(packed(2, ["a", "b", "c"], true))] });
  alone.state.set({ mode: "rollout", token: 0 });
  expect([0, 1, 2].map((token) => weight(alone.root, token))).toEqual([0.125, 0.25, 0.375]);
  expect(alone.root.textContent).toContain("share of each token in token 2 (c) after all layers");
});

test("the neuron view shows the products of the pinned token and a key", async () => {
  const neurons = vi.fn(async () => Float32Array.from([0, 0, 0, 0.5, -2, 0.25]));
  const { root } = shown({ neurons });
  const open = [...root.querySelectorAll("details")].find((each) => each.getAttribute("aria-label") === "neuron view")!;
  root.querySelector<HTMLElement>('[data-head="1"]')!.click();
  expect(neurons).not.toHaveBeenCalled();
  open.open = true;
  const key = open.querySelector("input")!;
  key.value = "1";
  key.dispatchEvent(new Event("change"));
  await vi.waitFor(() => expect([...open.querySelectorAll<HTMLElement>("[data-dimension]")].map((each) => Number(each.dataset.value))).toEqual([0.5, -2, 0.25]));
  expect(neurons).toHaveBeenLastCalledWith(0, "text.0.self", 2, 1);
  expect(open.querySelector<HTMLElement>('[data-dimension="1"]')!.style.background).toBe("rgb(33, 102, 172)");
  expect(open.textContent).toContain("key of token 1 (b): logit -1.25; the largest parts: dimension 1 (-2), dimension 0 (0.5)");
});

const flow = (root: HTMLElement): HTMLDetailsElement => root.querySelector<HTMLDetailsElement>('details[aria-label="flow"]')!;
const edges = (root: HTMLElement): [string, number][] =>
  [...flow(root).querySelectorAll<SVGElement>("line")].map((each) => [each.dataset.edge!, Number(each.dataset.value)]);

test("the flow of a page is drawn, the strongest line last, and the keyboard goes through its nodes", () => {
  const { root, state } = shown({ captures: [new Capture(packed(2, ["a", "b", "c"], true))] });
  expect(edges(root)).toEqual([["1/1/0", 0.25], ["0/0/0", 0.25], ["1/1/1", 0.75], ["0/1/1", 0.75]]);
  const widths = [...flow(root).querySelectorAll("line")].map((each) => Number(each.getAttribute("stroke-width")));
  expect(widths[3]).toBeGreaterThan(2 * widths[0]);
  const box = flow(root).querySelector(".flow")!;
  const press = (key: string): boolean => box.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  press("ArrowUp");
  expect(flow(root).querySelector(".said")!.textContent).toBe("token 0 (a) of the input: 0.25");
  press("ArrowUp");
  expect(flow(root).querySelector(".said")!.textContent).toBe("token 0 (a) after layer 1: 0.25");
  press("Enter");
  expect(state.look.token).toBe(0);
  state.set({ hideFirst: true });
  expect(edges(root).map(([name]) => name)).toEqual(["1/1/1", "0/1/1"]);
});

test("the flow into the pinned token is asked for, by rollout or by relevance", async () => {
  const paths = vi.fn(async () => PATHS.slice().buffer);
  const { root } = shown({ paths });
  expect(paths).not.toHaveBeenCalled();
  flow(root).open = true;
  flow(root).dispatchEvent(new Event("toggle"));
  await vi.waitFor(() => expect(edges(root)).toHaveLength(4));
  expect(paths).toHaveBeenLastCalledWith(0, 2, "rollout");
  const by = flow(root).querySelector<HTMLSelectElement>('[aria-label="flow by"]')!;
  by.value = "relevance";
  by.dispatchEvent(new Event("change"));
  expect(paths).toHaveBeenLastCalledWith(0, 2, "relevance");
});

test("a hidden first token is blank, and the scale is that of the others", () => {
  const { root, state } = shown({ captures: [new Capture(packed(2, ["a", "b", "c"], true))] });
  state.set({ mode: "received", hideFirst: true });
  const fill = (token: number): string => root.querySelector<HTMLElement>(`[data-token="${token}"]`)!.style.background;
  expect([fill(0), fill(2)]).toEqual(["rgb(247, 251, 255)", "rgb(8, 48, 107)"]);
});
