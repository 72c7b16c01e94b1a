/** One module, three hosts: an anywidget, a page on its own, and the page of the server. */

import { Capture } from "./capture";
import { button, make } from "./dom";
import { editView } from "./edit";
import { exports } from "./export";
import { flowView } from "./flow";
import { headView } from "./head";
import { live } from "./live";
import { modelView } from "./model";
import { neuronView } from "./neuron";
import { type Host, State } from "./state";
import { spaceView } from "./space";
import { STYLE } from "./style";
import { tokensView } from "./tokens";

const CAUTION =
  "A weight says how much of a value a head mixed in, before its output projection. It is neither an importance nor a cause: edit or ablate to see those.";

export function mount(element: HTMLElement, host: Host): State {
  const { captures } = host;
  if (!captures.length) throw new Error("the viewer needs a capture, found none.");
  const shape = (each: Capture): string => `${each.sites.length} × ${each.heads}`;
  if (captures.some((each) => shape(each) !== shape(captures[0])))
    throw new Error(`captures are compared head by head; found ${captures.map(shape).join(" and ")} heads.`);
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const first = captures[0];
  const state = new State(host, {
    measure: first.measures.find((name) => name.startsWith("mass.")) ?? first.measures[0],
    sort: "layer",
    site: 0,
    head: 0,
    token: first.tokens.length - 1,
    mode: "reads",
    log: false,
    hideFirst: false,
    compare: captures.length > 1 ? "difference" : "first",
    dark,
  });
  const root = make("div", { class: `saccade${dark ? " dark" : ""}` });
  const theme = button("light or dark", () => {
    root.classList.toggle("dark");
    state.set({ dark: root.classList.contains("dark") });
  });
  root.append(
    make("style", {}, STYLE),
    make("h1", {}, captures.map((each) => each.model).join(" and ")),
    make("p", { class: "hint" }, CAUTION),
    make("div", { class: "bar" }, theme, exports(state, root)),
    make("div", { class: "panes" }, modelView(state), headView(state)),
    tokensView(state),
    ...(host.paths || captures.every((each) => each.paths) ? [flowView(state)] : []),
    ...(host.space || captures.every((each) => each.plane(0, 0)) ? [spaceView(state)] : []),
    ...(host.neurons ? [neuronView(state)] : []),
    editView(state),
  );
  element.replaceChildren(root);
  return state;
}

/** The bytes of base64 text. */
export function decode(text: string): ArrayBuffer {
  const native = (Uint8Array as unknown as { fromBase64?: (text: string) => Uint8Array<ArrayBuffer> }).fromBase64;
  if (native) return native(text).buffer;
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes.buffer;
}

interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(event: string, callback: (...given: unknown[]) => void): void;
  send(content: unknown): void;
}

/** The anywidget: captures come as bytes, what is asked for by message, the selection goes back as a trait. */
function render({ model, el }: { model: Model; el: HTMLElement }): void {
  const waiting = new Map<number, { resolve: (found: ArrayBuffer) => void; reject: (error: Error) => void }>();
  let asked = 0;
  model.on("msg:custom", (content, buffers) => {
    const { id, error } = content as { id: number; error?: string };
    if (error) waiting.get(id)?.reject(new Error(error));
    else {
      const bytes = (buffers as DataView[])[0];
      waiting.get(id)?.resolve(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer);
    }
    waiting.delete(id);
  });
  const ask = (what: string, wanted: Record<string, unknown>): Promise<ArrayBuffer> =>
    new Promise((resolve, reject) => {
      waiting.set(++asked, { resolve, reject });
      model.send({ id: asked, what, ...wanted });
    });
  const rows = async (capture: number, site: string, query: number): Promise<Float32Array> => new Float32Array(await ask("rows", { capture, site, query }));
  const space = (capture: number, site: string): Promise<ArrayBuffer> => ask("space", { capture, site });
  const neurons = async (capture: number, site: string, query: number, key: number): Promise<Float32Array> => new Float32Array(await ask("neurons", { capture, site, query, key }));
  const rollout = async (capture: number, query: number): Promise<Float32Array> => new Float32Array(await ask("rollout", { capture, query }));
  const paths = (capture: number, query: number, by: string): Promise<ArrayBuffer> => ask("paths", { capture, query, by });
  const select = (selection: unknown): void => {
    model.set("selection", selection);
    model.save_changes();
  };
  const show = (): void => {
    const captures = (model.get("captures") as DataView[]).map(
      (bytes) => new Capture(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer),
    );
    mount(el, { captures, rows, space, neurons, rollout, paths, select });
  };
  model.on("change:captures", show);
  show();
}

export default { render };

const page = document.getElementById("saccade");
const held = document.querySelectorAll<HTMLScriptElement>("script.saccade-capture");
if (page && held.length) mount(page, { captures: Array.from(held, (each) => new Capture(decode(each.textContent ?? ""))) });

const server = document.getElementById("saccade-live");
if (server) {
  document.head.append(make("style", {}, STYLE));
  server.classList.add("saccade");
  live(server, mount);
}
