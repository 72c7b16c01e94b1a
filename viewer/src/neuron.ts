/** The neuron view: what each dimension of a head adds to the logit of the pinned token and a key. */

import { colour, scaleOf } from "./colour";
import { make, shown, visible } from "./dom";
import { legend } from "./legend";
import type { State } from "./state";

const NAMED = 3;

export function neuronView(state: State): HTMLElement {
  const held = new Map<string, Float32Array>();
  const pending = new Set<string>();
  const cells = make("div", { class: "neurons", role: "list", "aria-label": "products by dimension" });
  const scale = make("div");
  const said = make("p", { class: "said", "aria-live": "polite" });
  const key = make("input", { type: "number", min: "0", max: String(state.capture.tokens.length - 1), value: "0", "aria-label": "key token" });
  const bar = make("div", { class: "bar" }, make("label", {}, "key: token ", key));
  const open = make("details", { "aria-label": "neuron view" }, make("summary", {}, "Neuron view"), bar, scale, cells, said);

  /** Products of all heads of the site, [heads · dimensions], if they have come; asks for them once. */
  const asked = (): Float32Array | undefined => {
    const { capture, index, look } = state;
    const name = `${index}/${look.site}/${look.token}/${key.value}`;
    if (!held.has(name) && !pending.has(name) && state.host.neurons) {
      pending.add(name);
      state.host.neurons(index, capture.sites[look.site].name, look.token, Number(key.value)).then(
        (found) => {
          held.set(name, found);
          draw();
        },
        (error: Error) => (said.textContent = error.message),
      );
    }
    return held.get(name);
  };

  const draw = (): void => {
    if (!open.open) return;
    const found = asked();
    if (!found) return;
    const { capture, look } = state;
    const size = found.length / capture.heads;
    const own = found.subarray(look.head * size, (look.head + 1) * size);
    const range = scaleOf(own, { signed: true, dark: look.dark });
    scale.replaceChildren(legend(range, "product of query and key in one dimension, scaled"));
    cells.replaceChildren(
      ...Array.from(own, (value, dimension) => {
        const label = `dimension ${dimension}: ${shown(value)}`;
        return make("span", { role: "listitem", class: "cell", "data-dimension": String(dimension), "data-value": String(value), "aria-label": label, title: label, style: `background:${colour(value, range)}` });
      }),
    );
    const largest = Array.from(own.keys()).sort((a, b) => Math.abs(own[b]) - Math.abs(own[a])).slice(0, NAMED);
    const word = (token: number): string => `token ${token} (${visible(capture.tokens[token])})`;
    said.textContent = `query of ${word(look.token)}, key of ${word(Number(key.value))}: logit ${shown(own.reduce((a, b) => a + b, 0))}; the largest parts: ${largest.map((each) => `dimension ${each} (${shown(own[each])})`).join(", ")}`;
  };
  key.addEventListener("change", draw);
  open.addEventListener("toggle", draw);
  state.onChange(draw);
  return open;
}
