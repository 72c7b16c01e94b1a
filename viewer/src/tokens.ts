/** The tokens view: text coloured by what a token reads, by who reads it, by what all rows read, or by what flows into it. */

import type { Row } from "./capture";
import { ink, rgb, scaleOf } from "./colour";
import { choice, make, shown, visible } from "./dom";
import { legend } from "./legend";
import type { Mode, State } from "./state";

const MODES: Mode[] = ["reads", "read by", "received"];
const FLOWS: Mode[] = [...MODES, "rollout"];
const WINDOW = 512;

export function tokensView(state: State): HTMLElement {
  const text = make("div", { class: "text", tabindex: "0", role: "listbox", "aria-label": "tokens" });
  const said = make("p", { class: "said", "aria-live": "polite" });
  const scale = make("div");
  const flows = state.host.rollout !== undefined || state.host.captures.every((each) => each.rollout);
  const bar = make("div", { class: "bar" }, choice("colour by", flows ? FLOWS : MODES, state.look.mode, (mode) => state.set({ mode: mode as Mode })));
  const held = new Map<string, Float32Array>();
  const pending = new Set<string>();
  let row: Row = { weights: new Float32Array(0), exact: false };

  /** What was asked for, if it has come; asks for it once. */
  const asked = (key: string, ask: () => Promise<Float32Array>): Float32Array | undefined => {
    if (!held.has(key) && !pending.has(key)) {
      pending.add(key);
      ask().then(
        (found) => {
          held.set(key, found);
          draw();
        },
        (error: Error) => (said.textContent = error.message),
      );
    }
    return held.get(key);
  };

  /** The row from the model where it can be asked, else the links of the capture. */
  const read = (): Row => {
    const { site, head, token, mode } = state.look;
    const { capture } = state;
    if (mode === "received") return capture.received(site, head);
    if (mode === "read by") return capture.readBy(site, head, token);
    const { rows, rollout } = state.host;
    if (mode === "rollout") {
      const weights = rollout ? asked(`rollout/${state.index}/${token}`, () => rollout(state.index, token)) : capture.rollout;
      return { weights: weights ?? new Float32Array(capture.tokens.length), exact: weights !== undefined };
    }
    const exact = rows && asked(`${state.index}/${site}/${token}`, () => rows(state.index, capture.sites[site].name, token));
    if (exact) return { weights: exact.subarray(head * capture.tokens.length, (head + 1) * capture.tokens.length), exact: true };
    return capture.reads(site, head, token);
  };

  const draw = (): void => {
    const { capture, look } = state;
    row = read();
    const hidden = (at: number): boolean => look.hideFirst && at === 0;
    const range = scaleOf(look.hideFirst ? row.weights.subarray(1) : row.weights, { log: look.log, dark: look.dark });
    scale.replaceChildren(legend(range, label(state, row)));
    const start = Math.max(0, Math.min(look.token - WINDOW / 2, capture.tokens.length - WINDOW));
    const spans = Object.entries(capture.spans);
    const shownTokens = capture.tokens.slice(start, start + WINDOW).map((token, i) => {
      const at = start + i;
      const fill = rgb(hidden(at) ? range.low : row.weights[at], range);
      const inside = spans.filter(([, places]) => places.includes(at)).map(([name]) => name);
      const classes = ["token", at === look.token && look.mode !== "received" ? "pinned" : "", state.selection.tokens.includes(at) ? "picked" : ""];
      return make(
        "span",
        {
          class: classes.filter(Boolean).join(" "),
          role: "option",
          "aria-selected": String(at === look.token),
          "data-token": String(at),
          "data-weight": String(row.weights[at]),
          title: `${at} ${visible(token)}: ${shown(row.weights[at])}${inside.length ? ` (${inside.join(", ")})` : ""}`,
          style: `background:rgb(${fill.join(",")});color:${ink(fill)}`,
        },
        visible(token),
      );
    });
    text.replaceChildren(...shownTokens);
    if (capture.tokens.length > WINDOW) text.append(make("span", { class: "hint" }, ` tokens ${start} to ${start + WINDOW - 1} of ${capture.tokens.length}`));
  };

  const target = (event: Event): number | undefined => {
    const found = (event.target as HTMLElement).closest<HTMLElement>("[data-token]");
    return found ? Number(found.dataset.token) : undefined;
  };
  text.addEventListener("mouseover", (event) => {
    const at = target(event);
    if (at !== undefined) said.textContent = `token ${at} (${visible(state.capture.tokens[at])}): ${shown(row.weights[at])}${row.exact || row.weights[at] > 0 ? "" : ", or below what was kept"}`;
  });
  text.addEventListener("click", (event) => {
    const at = target(event);
    if (at === undefined) return;
    if ((event as MouseEvent).shiftKey) state.toggleToken(at);
    else state.set({ token: at });
  });
  text.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const next = state.look.token + (step ?? 0);
    if (step && state.capture.tokens[next] !== undefined) {
      state.set({ token: next });
      event.preventDefault();
    }
    if (event.key === "Enter") state.toggleToken(state.look.token);
  });
  state.onChange(draw);
  draw();
  const hint = make("p", { class: "hint" }, "Click a token to pin it; arrows move the pin; shift-click, or Enter, selects words for an edit.");
  return make("section", { "aria-label": "tokens" }, make("h2", {}, "Tokens"), bar, scale, text, said, hint);
}

function label(state: State, row: Row): string {
  const { mode, token } = state.look;
  if (mode === "rollout") {
    const last = state.capture.tokens.length - 1;
    const into = state.host.rollout ? token : last;
    return `share of each token in token ${into} (${visible(state.capture.tokens[into])}) after all layers, by attention alone (rollout${state.host.rollout ? "" : ", of the last token only"})`;
  }
  const word = `token ${token} (${visible(state.capture.tokens[token])})`;
  if (mode === "received") return "mean weight that a token gets from all rows";
  const kept = row.exact ? "exact" : `the ${state.capture.links} largest of each row`;
  return mode === "reads" ? `weight with which ${word} reads (${kept})` : `weight with which each token reads ${word} (${kept})`;
}
