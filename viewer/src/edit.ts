/** The edit view: what was picked, and what is to be done with it. */

import { button, choice, make, visible } from "./dom";
import type { Selection, State } from "./state";

const ACTIONS: Selection["action"][] = ["scale", "mask", "ablate"];

export function editView(state: State): HTMLElement {
  const said = make("p", { class: "said", "aria-live": "polite" });
  const strength = make("input", { type: "range", min: "-3", max: "3", step: "0.1", value: "1", "aria-label": "strength" });
  strength.addEventListener("input", () => state.pick({ strength: 2 ** Number(strength.value) }));
  const bar = make(
    "div",
    { class: "bar" },
    choice("action", ACTIONS, state.selection.action, (action) => state.pick({ action: action as Selection["action"] })),
    make("label", {}, "strength ", strength),
    button("clear", () => state.pick({ tokens: [], heads: [] })),
  );
  const draw = (): void => {
    said.textContent = describe(state);
    strength.disabled = state.selection.action !== "scale";
  };
  state.onChange(draw);
  draw();
  return make("section", { "aria-label": "edit" }, make("h2", {}, "Edit"), bar, said);
}

export function describe(state: State): string {
  const { tokens, heads, action, strength } = state.selection;
  const where = heads.length ? `in ${heads.map(([site, head]) => `${site} head ${head}`).join(", ")}` : "in all heads";
  if (action === "ablate") return heads.length ? `set the outputs of ${heads.length} heads to zero: ${where.slice(3)}` : "select heads to ablate them.";
  if (!tokens.length) return "select words to edit the attention to them.";
  const words = tokens.slice(0, 12).map((token) => visible(state.capture.tokens[token])).join(" ");
  const rest = tokens.length > 12 ? ` and ${tokens.length - 12} more` : "";
  return action === "mask" ? `no attention to “${words}”${rest} ${where}` : `attention to “${words}”${rest} times ${strength.toFixed(2)} ${where}`;
}
