/* sources 0e4fbae9d5107d57 */
const E = "SACCADE1";
const Y = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array };
class F {
  model;
  tokens;
  spans;
  sites;
  heads;
  side;
  links;
  arrays;
  constructor(t) {
    const n = new Uint8Array(t), o = new TextDecoder().decode(n.subarray(0, E.length));
    if (o !== E) throw new Error(`these bytes are no capture: they begin with "${o}", not "${E}".`);
    const s = new DataView(t).getUint32(E.length, !0), i = E.length + 4, a = JSON.parse(new TextDecoder().decode(n.subarray(i, i + s)));
    this.arrays = Object.fromEntries(
      Object.entries(a.arrays).map(([l, { type: d, shape: p, at: u }]) => {
        const m = p.reduce((g, f) => g * f, 1);
        return [l, { data: new Y[d](t, i + s + u, m), shape: p }];
      })
    ), this.model = a.model, this.tokens = a.tokens, this.spans = a.spans, this.sites = a.sites.map(([l, d]) => ({ name: l, layer: d }));
    const [, c, r] = this.arrays.pooled.shape;
    this.heads = c, this.side = r, this.links = this.arrays.indices.shape[3];
  }
  /** Names of the measures of a head. */
  get measures() {
    return Object.keys(this.arrays).filter((t) => t.startsWith("measure:")).map((t) => t.slice(8));
  }
  /** A measure of every head, [sites · heads]. */
  measure(t) {
    return this.arrays[`measure:${t}`].data;
  }
  /** Mean weight of a key block over a query block. */
  pooled(t, n) {
    const o = this.side * this.side, s = t * this.heads + n, i = this.arrays.scale.data[s] / 255;
    return Float32Array.from(this.arrays.pooled.data.subarray(s * o, (s + 1) * o), (a) => a * i);
  }
  /** First and last token of a block, by default of the pooled map (as torch.tensor_split cuts). */
  block(t, n = this.side) {
    const o = this.tokens.length, s = o % n, i = Math.floor(o / n), a = t * i + Math.min(t, s);
    return [a, a + i + (t < s ? 1 : 0) - 1];
  }
  /** Mean weight that each key gets from all rows; of long texts, that of its block of keys. */
  received(t, n) {
    const o = this.arrays.received.shape[2], s = (t * this.heads + n) * o, i = new Float32Array(this.tokens.length);
    for (let a = 0; a < o; a++) {
      const [c, r] = this.block(a, o);
      i.fill(this.arrays.received.data[s + a] / 65535, c, r + 1);
    }
    return { weights: i, exact: o === this.tokens.length };
  }
  /** The largest weights of a row; 0 where it was not kept. */
  reads(t, n, o) {
    const s = new Float32Array(this.tokens.length);
    for (const [i, a] of this.kept(t, n, o)) s[i] = a;
    return { weights: s, exact: !1 };
  }
  /** What each query row puts on a key, as far as it was among the row's largest. */
  readBy(t, n, o) {
    const s = new Float32Array(this.tokens.length);
    for (let i = 0; i < s.length; i++)
      for (const [a, c] of this.kept(t, n, i)) a === o && (s[i] = c);
    return { weights: s, exact: !1 };
  }
  *kept(t, n, o) {
    const s = ((t * this.heads + n) * this.tokens.length + o) * this.links;
    for (let i = s; i < s + this.links; i++) {
      const a = this.arrays.weights.data[i] / 65535;
      a > 0 && (yield [this.arrays.indices.data[i], a]);
    }
  }
}
function h(e, t = {}, ...n) {
  const o = document.createElement(e);
  for (const [s, i] of Object.entries(t)) o.setAttribute(s, i);
  return o.append(...n), o;
}
function S(e, t, n, o) {
  const s = h("select", { "aria-label": e });
  for (const i of t) {
    const a = h("option", { value: i }, i);
    a.selected = i === n, s.append(a);
  }
  return s.addEventListener("change", () => o(s.value)), h("label", {}, `${e} `, s);
}
function N(e, t, n) {
  const o = h("input", { type: "checkbox", "aria-label": e });
  return o.checked = t, o.addEventListener("change", () => n(o.checked)), h("label", {}, o, ` ${e}`);
}
function v(e, t) {
  const n = h("button", { type: "button" }, e);
  return n.addEventListener("click", t), n;
}
const x = (e) => e === 0 ? "0" : Number(e.toPrecision(3)).toString(), $ = (e) => e.replace(/[ĠÂ▁]/g, "␣").replace(/[\nĊ]/g, "⏎").replace(/\t/g, "⇥") || "∅", X = ["scale", "mask", "ablate"];
function Q(e) {
  const t = h("p", { class: "said", "aria-live": "polite" }), n = h("input", { type: "range", min: "-3", max: "3", step: "0.1", value: "1", "aria-label": "strength" });
  n.addEventListener("input", () => e.pick({ strength: 2 ** Number(n.value) }));
  const o = h(
    "div",
    { class: "bar" },
    S("action", X, e.selection.action, (i) => e.pick({ action: i })),
    h("label", {}, "strength ", n),
    v("clear", () => e.pick({ tokens: [], heads: [] }))
  ), s = () => {
    t.textContent = Z(e), n.disabled = e.selection.action !== "scale";
  };
  return e.onChange(s), s(), h("section", { "aria-label": "edit" }, h("h2", {}, "Edit"), o, t);
}
function Z(e) {
  const { tokens: t, heads: n, action: o, strength: s } = e.selection, i = n.length ? `in ${n.map(([r, l]) => `${r} head ${l}`).join(", ")}` : "in all heads";
  if (o === "ablate") return n.length ? `set the outputs of ${n.length} heads to zero: ${i.slice(3)}` : "select heads to ablate them.";
  if (!t.length) return "select words to edit the attention to them.";
  const a = t.slice(0, 12).map((r) => $(e.capture.tokens[r])).join(" "), c = t.length > 12 ? ` and ${t.length - 12} more` : "";
  return o === "mask" ? `no attention to “${a}”${c} ${i}` : `attention to “${a}”${c} times ${s.toFixed(2)} ${i}`;
}
const ee = [[247, 251, 255], [198, 219, 239], [107, 174, 214], [33, 113, 181], [8, 48, 107]], te = [[18, 20, 28], [46, 62, 104], [108, 110, 114], [188, 174, 108], [254, 232, 56]], ne = [[33, 102, 172], [146, 197, 222], [247, 247, 247], [253, 184, 99], [179, 88, 6]], oe = 1e-4;
function se(e, { low: t, high: n, log: o }) {
  if (n <= t) return 0;
  if (o) {
    const s = Math.max(t, n * oe);
    return G(Math.log(Math.max(e, s) / s) / Math.log(n / s));
  }
  return G((e - t) / (n - t));
}
function M(e, t) {
  const [n, o, s] = U(e, t);
  return `rgb(${n},${o},${s})`;
}
function U(e, t) {
  const n = t.signed ? ne : t.dark ? te : ee, o = se(e, t) * (n.length - 1), s = Math.min(Math.floor(o), n.length - 2), i = o - s;
  return n[s].map((a, c) => Math.round(a + (n[s + 1][c] - a) * i));
}
function ae([e, t, n]) {
  return 0.299 * e + 0.587 * t + 0.114 * n > 140 ? "#111" : "#fff";
}
function L(e, t = {}) {
  let n = 1 / 0, o = -1 / 0;
  for (let c = 0; c < e.length; c++)
    e[c] < n && (n = e[c]), e[c] > o && (o = e[c]);
  const { signed: s = !1, log: i = !1, dark: a = !1 } = t;
  if (s) {
    const c = Math.max(Math.abs(n), Math.abs(o));
    return { low: -c, high: c, signed: s, log: !1, dark: a };
  }
  return { low: Math.min(n, 0), high: o, signed: s, log: i, dark: a };
}
const G = (e) => Math.min(1, Math.max(0, e)), P = 9;
function R(e, t) {
  const n = Array.from({ length: P }, (a, c) => {
    const r = c / (P - 1), l = Math.max(e.low, e.high * 1e-4), d = e.log ? l * (e.high / l) ** r : e.low + r * (e.high - e.low);
    return M(d, e);
  }), o = h("span", { class: "strip", style: `background:linear-gradient(90deg,${n.join(",")})` }), s = e.log ? Math.max(e.low, e.high * 1e-4) : e.low, i = `${t}: from ${x(s)} to ${x(e.high)}${e.log ? ", logarithmic" : ""}`;
  return h("div", { class: "legend", role: "img", "aria-label": i }, x(s), o, x(e.high), ` ${t}`);
}
const re = 7;
function z(e) {
  const { site: t, head: n, compare: o, hideFirst: s } = e.look, [i, a] = e.host.captures;
  let c = e.capture.pooled(t, n);
  if (o === "difference" && i.side === a.side) {
    const r = i.pooled(t, n);
    c = c.map((l, d) => l - r[d]);
  }
  return s ? c.map((r, l) => l % e.capture.side ? r : 0) : c;
}
function ie(e) {
  const t = h("h2"), n = h("canvas", { role: "img", tabindex: "0" }), o = h("p", { class: "said", "aria-live": "polite" }), s = h("div"), i = h("div", { class: "bar" }, N("hide the first block of keys", e.look.hideFirst, (r) => e.set({ hideFirst: r }))), a = (r) => {
    const l = n.getBoundingClientRect(), d = (p, u) => Math.min(e.capture.side - 1, Math.max(0, Math.floor(p / u * e.capture.side)));
    return [d(r.clientY - l.top, l.height), d(r.clientX - l.left, l.width)];
  };
  n.addEventListener("mousemove", (r) => {
    const [l, d] = a(r);
    o.textContent = ce(e, l, d);
  }), n.addEventListener("click", (r) => e.set({ token: e.capture.block(a(r)[0])[1], mode: "reads" }));
  const c = () => {
    const { side: r, sites: l } = e.capture, d = z(e), p = L(d, { signed: e.look.compare === "difference", log: e.look.log, dark: e.look.dark });
    t.textContent = `${l[e.look.site].name}, head ${e.look.head}`, s.replaceChildren(R(p, "mean weight of a block of keys in a block of queries")), n.width = n.height = r, n.style.width = n.style.height = `${Math.max(r * re, 256)}px`, n.setAttribute("aria-label", `map of ${t.textContent}: queries downwards, keys to the right, ${r} by ${r} blocks`);
    const u = n.getContext("2d");
    if (!u) return;
    const m = u.createImageData(r, r);
    d.forEach((g, f) => m.data.set([...U(g, p), 255], 4 * f)), u.putImageData(m, 0, 0);
  };
  return e.onChange(c), c(), h("section", { "aria-label": "head" }, t, i, s, n, o);
}
function ce(e, t, n) {
  const { capture: o } = e, s = (i) => {
    const [a, c] = o.block(i), r = o.tokens.slice(a, Math.min(c, a + 5) + 1).map($).join(" ");
    return a === c ? `token ${a} (${r})` : `tokens ${a} to ${c} (${r}${c > a + 5 ? " …" : ""})`;
  };
  return `${s(t)} read ${s(n)}: ${x(z(e)[t * o.side + n])}`;
}
function D(e) {
  const { measure: t, compare: n } = e.look, [o, s] = e.host.captures;
  if (n !== "difference") return e.capture.measure(t);
  const i = o.measure(t);
  return s.measure(t).map((a, c) => a - i[c]);
}
function B(e, t) {
  const { heads: n, sites: o } = e.capture;
  return o.map((s, i) => {
    const a = Array.from({ length: n }, (r, l) => l), c = (r) => t[i * n + r];
    return e.look.sort === "value" ? a.sort((r, l) => c(l) - c(r)) : a;
  });
}
function le(e) {
  const { captures: t } = e.host, n = t[0].measures.filter((r) => t.every((l) => l.measures.includes(r))), o = h("div", { role: "grid", class: "grid", "aria-label": "heads by layer", tabindex: "0" }), s = h("div", { class: "bar" }), i = h("div");
  s.append(
    S("measure", n, e.look.measure, (r) => e.set({ measure: r })),
    S("heads in order of", ["layer", "value"], e.look.sort, (r) => e.set({ sort: r })),
    N("logarithmic", e.look.log, (r) => e.set({ log: r }))
  ), t.length > 1 && s.append(
    S(
      "show",
      ["first", "second", "difference"],
      e.look.compare,
      (r) => e.set({ compare: r })
    )
  ), o.addEventListener("click", (r) => {
    const l = r.target.closest("[data-head]");
    if (!l) return;
    const [d, p] = [Number(l.dataset.site), Number(l.dataset.head)];
    e.set({ site: d, head: p }), r.shiftKey && e.toggleHead(e.capture.sites[d].name, p);
  }), o.addEventListener("keydown", (r) => {
    const l = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[r.key];
    if (l) {
      const { site: d, head: p } = e.look, u = B(e, D(e)), m = u[d].indexOf(p) + l[1], g = d + l[0];
      u[g]?.[m] !== void 0 && e.set({ site: g, head: u[g][m] }), r.preventDefault();
    }
    r.key === "Enter" && e.toggleHead(e.capture.sites[e.look.site].name, e.look.head);
  });
  const a = () => {
    const r = D(e), l = L(r, { signed: e.look.compare === "difference", log: e.look.log, dark: e.look.dark });
    i.replaceChildren(R(l, e.look.measure)), o.replaceChildren(...B(e, r).map((d, p) => de(e, r, l, d, p)));
  };
  e.onChange(a), a();
  const c = h("p", { class: "hint" }, "Click a head to look at it; shift-click, or Enter, to select it for an edit.");
  return h("section", { "aria-label": "model" }, h("h2", {}, "Model"), s, i, o, c);
}
function de(e, t, n, o, s) {
  const i = e.capture, a = h("div", { role: "row", class: "line" }, h("span", { class: "name", role: "rowheader" }, i.sites[s].name)), c = new Set(e.selection.heads.filter(([r]) => r === i.sites[s].name).map(([, r]) => r));
  for (const r of o) {
    const l = t[s * i.heads + r], d = s === e.look.site && r === e.look.head, p = `${i.sites[s].name}, head ${r}: ${e.look.measure} ${x(l)}`, u = h("span", {
      role: "gridcell",
      class: `cell${d ? " here" : ""}${c.has(r) ? " picked" : ""}`,
      "data-site": String(s),
      "data-head": String(r),
      "data-value": String(l),
      "aria-label": p,
      "aria-selected": String(d),
      title: p,
      style: `background:${M(l, n)}`
    });
    a.append(u);
  }
  return a;
}
const y = 16;
function he(e) {
  const { sites: t, heads: n } = e.capture, o = D(e), s = L(o, { signed: e.look.compare === "difference", log: e.look.log, dark: e.look.dark }), i = B(e, o).flatMap(
    (a, c) => a.map((r, l) => {
      const d = o[c * n + r];
      return `<rect ${`x="${l * y}" y="${c * y}" width="${y}" height="${y}"`} fill="${M(d, s)}"><title>${t[c].name} head ${r}: ${d}</title></rect>`;
    })
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${n * y}" height="${t.length * y}">${i.join("")}</svg>`;
}
function pe(e) {
  const { side: t } = e.capture, n = z(e), o = L(n, { signed: e.look.compare === "difference", log: e.look.log, dark: e.look.dark }), s = Array.from(n, (i, a) => `<rect x="${a % t}" y="${Math.floor(a / t)}" width="1.02" height="1.02" fill="${M(i, o)}"/>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${t} ${t}" width="${8 * t}" height="${8 * t}">${s.join("")}</svg>`;
}
function O(e, t, n) {
  const o = URL.createObjectURL(n instanceof Blob ? n : new Blob([n], { type: t })), s = document.createElement("a");
  s.href = o, s.download = e, s.click(), URL.revokeObjectURL(o);
}
const ue = 400;
async function T(e, t) {
  const n = await fetch(e, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(t) });
  if (!n.ok) throw new Error((await n.json()).error ?? n.statusText);
  return n;
}
function ge(e, t) {
  const n = e.dataset.generates === "true";
  let o = !1, s;
  const i = h("textarea", { rows: "5", "aria-label": "prompt", placeholder: "A prompt. [[rule|words]] marks a span." }), a = h("p", { class: "said", role: "status" }), c = h("pre", { "aria-label": "text without the edit" }), r = h("pre", { "aria-label": "text with the edit" }), l = h("div"), d = async (g) => {
    a.textContent = "…";
    try {
      await g(), a.textContent = "";
    } catch (f) {
      a.textContent = f.message;
    }
  }, p = () => d(async () => {
    const g = { text: i.value, chat: o }, f = new F(await (await T("/see", g)).arrayBuffer());
    t(l, {
      captures: [f],
      rows: async (k, w, A) => new Float32Array(await (await T("/rows", { ...g, site: w, query: A })).arrayBuffer()),
      select: (k) => {
        clearTimeout(s), s = setTimeout(() => void u(k), ue);
      }
    });
  }), u = (g) => d(async () => {
    if (!n || (g.action === "ablate" ? !g.heads.length : !g.tokens.length)) return;
    const f = await (await T("/text", { text: i.value, chat: o, selection: g })).json(), k = (w) => w === void 0 ? "" : ` (mean mass on the words: ${x(w)})`;
    c.textContent = `without${k(f.mass.before)}:
${f.before}`, r.textContent = `with${k(f.mass.after)}:
${f.after}`;
  }), m = h("div", { class: "bar" }, v("see", () => void p()), N("as a user's message", o, (g) => o = g));
  e.replaceChildren(h("h1", {}, e.dataset.model ?? ""), i, m, a, h("div", { class: "texts" }, c, r), l);
}
class fe {
  constructor(t, n) {
    this.host = t, this.look = n;
  }
  selection = { tokens: [], heads: [], action: "scale", strength: 2 };
  listeners = [];
  /** The capture that is shown; in a difference, the second. */
  get capture() {
    return this.host.captures[this.index];
  }
  get index() {
    return this.look.compare === "first" ? 0 : 1;
  }
  onChange(t) {
    this.listeners.push(t);
  }
  set(t) {
    Object.assign(this.look, t), this.changed();
  }
  pick(t) {
    this.selection = { ...this.selection, ...t }, this.host.select?.(this.selection), this.changed();
  }
  /** Add a head to the selection, or take it out. */
  toggleHead(t, n) {
    const o = this.selection.heads.filter(([i, a]) => i !== t || a !== n), s = o.length < this.selection.heads.length ? o : [...o, [t, n]];
    this.pick({ heads: s });
  }
  /** Add a token to the selection, or take it out. */
  toggleToken(t) {
    const n = this.selection.tokens.includes(t) ? this.selection.tokens.filter((o) => o !== t) : [...this.selection.tokens, t].sort((o, s) => o - s);
    this.pick({ tokens: n });
  }
  changed() {
    for (const t of this.listeners) t();
  }
}
const K = `
.saccade{--ink:#1b1f27;--paper:#fff;--line:#c9d1dc;--mark:#d95f02;color:var(--ink);background:var(--paper);
font:14px/1.45 system-ui,sans-serif;padding:12px}
.saccade.dark{--ink:#e8eaf0;--paper:#12141c;--line:#3a4152;--mark:#ffb347}
.saccade h1{font-size:17px;margin:0 0 4px}.saccade h2{font-size:15px;margin:14px 0 4px}
.saccade .bar{display:flex;gap:14px;flex-wrap:wrap;margin:4px 0}
.saccade .hint,.saccade .said{font-size:12px;margin:4px 0;min-height:1.4em;opacity:.85}
.saccade .panes{display:grid;grid-template-columns:minmax(0,auto) minmax(280px,1fr);gap:0 28px}
.saccade .grid{overflow:auto;max-height:420px;outline-offset:2px}
.saccade .line{display:flex;align-items:center;contain:content}
.saccade .name{flex:0 0 9em;font-size:11px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.saccade .cell{flex:0 0 auto;width:16px;height:16px;box-sizing:border-box;border:1px solid var(--paper);cursor:pointer}
.saccade .cell.here{border:2px solid var(--mark)}.saccade .cell.picked{outline:2px dashed var(--mark);outline-offset:-3px}
.saccade canvas{image-rendering:pixelated;border:1px solid var(--line);max-width:100%;cursor:crosshair}
.saccade .legend{display:flex;align-items:center;gap:6px;font-size:11px}
.saccade .strip{display:inline-block;width:120px;height:10px;border:1px solid var(--line)}
.saccade .text{line-height:1.9;max-height:360px;overflow:auto}
.saccade .token{padding:1px 3px;margin:1px;border-radius:3px;cursor:pointer;display:inline-block}
.saccade .token.pinned{outline:2px solid var(--mark)}.saccade .token.picked{text-decoration:underline 2px var(--mark)}
.saccade button,.saccade select{font:inherit;color:inherit;background:var(--paper);border:1px solid var(--line);border-radius:4px}
.saccade textarea{width:100%;box-sizing:border-box;font:inherit;color:inherit;background:var(--paper);border:1px solid var(--line)}
.saccade .texts{display:grid;grid-template-columns:1fr 1fr;gap:12px}.saccade pre{white-space:pre-wrap;margin:4px 0}
@media(max-width:800px){.saccade .panes{grid-template-columns:1fr}}
`, me = ["reads", "read by", "received"], C = 512;
function ke(e) {
  const t = h("div", { class: "text", tabindex: "0", role: "listbox", "aria-label": "tokens" }), n = h("p", { class: "said", "aria-live": "polite" }), o = h("div"), s = h("div", { class: "bar" }, S("colour by", me, e.look.mode, (p) => e.set({ mode: p }))), i = /* @__PURE__ */ new Map();
  let a = { weights: new Float32Array(0), exact: !1 };
  const c = () => {
    const { site: p, head: u, token: m, mode: g } = e.look, { capture: f } = e;
    if (g === "received") return f.received(p, u);
    if (g === "read by") return f.readBy(p, u, m);
    const k = `${e.index}/${p}/${m}`, w = i.get(k);
    return w ? { weights: w.subarray(u * f.tokens.length, (u + 1) * f.tokens.length), exact: !0 } : (e.host.rows && !i.has(k) && e.host.rows(e.index, f.sites[p].name, m).then((A) => {
      i.set(k, A), r();
    }), f.reads(p, u, m));
  }, r = () => {
    const { capture: p, look: u } = e;
    a = c();
    const m = L(a.weights, { log: u.log, dark: u.dark });
    o.replaceChildren(R(m, we(e, a)));
    const g = Math.max(0, Math.min(u.token - C / 2, p.tokens.length - C)), f = Object.entries(p.spans), k = p.tokens.slice(g, g + C).map((w, A) => {
      const b = g + A, q = U(a.weights[b], m), H = f.filter(([, j]) => j.includes(b)).map(([j]) => j), J = ["token", b === u.token && u.mode !== "received" ? "pinned" : "", e.selection.tokens.includes(b) ? "picked" : ""];
      return h(
        "span",
        {
          class: J.filter(Boolean).join(" "),
          role: "option",
          "aria-selected": String(b === u.token),
          "data-token": String(b),
          "data-weight": String(a.weights[b]),
          title: `${b} ${$(w)}: ${x(a.weights[b])}${H.length ? ` (${H.join(", ")})` : ""}`,
          style: `background:rgb(${q.join(",")});color:${ae(q)}`
        },
        $(w)
      );
    });
    t.replaceChildren(...k), p.tokens.length > C && t.append(h("span", { class: "hint" }, ` tokens ${g} to ${g + C - 1} of ${p.tokens.length}`));
  }, l = (p) => {
    const u = p.target.closest("[data-token]");
    return u ? Number(u.dataset.token) : void 0;
  };
  t.addEventListener("mouseover", (p) => {
    const u = l(p);
    u !== void 0 && (n.textContent = `token ${u} (${$(e.capture.tokens[u])}): ${x(a.weights[u])}${a.exact || a.weights[u] > 0 ? "" : ", or below what was kept"}`);
  }), t.addEventListener("click", (p) => {
    const u = l(p);
    u !== void 0 && (p.shiftKey ? e.toggleToken(u) : e.set({ token: u }));
  }), t.addEventListener("keydown", (p) => {
    const u = { ArrowLeft: -1, ArrowRight: 1 }[p.key], m = e.look.token + (u ?? 0);
    u && e.capture.tokens[m] !== void 0 && (e.set({ token: m }), p.preventDefault()), p.key === "Enter" && e.toggleToken(e.look.token);
  }), e.onChange(r), r();
  const d = h("p", { class: "hint" }, "Click a token to pin it; arrows move the pin; shift-click, or Enter, selects words for an edit.");
  return h("section", { "aria-label": "tokens" }, h("h2", {}, "Tokens"), s, o, t, n, d);
}
function we(e, t) {
  const { mode: n, token: o } = e.look, s = `token ${o} (${$(e.capture.tokens[o])})`;
  if (n === "received") return "mean weight that a token gets from all rows";
  const i = t.exact ? "exact" : `the ${e.capture.links} largest of each row`;
  return n === "reads" ? `weight with which ${s} reads (${i})` : `weight with which each token reads ${s} (${i})`;
}
const be = "A weight says how much of a value a head mixed in, before its output projection. It is neither an importance nor a cause: edit or ablate to see those.";
function V(e, t) {
  const { captures: n } = t;
  if (!n.length) throw new Error("the viewer needs a capture, found none.");
  const o = (d) => `${d.sites.length} × ${d.heads}`;
  if (n.some((d) => o(d) !== o(n[0])))
    throw new Error(`captures are compared head by head; found ${n.map(o).join(" and ")} heads.`);
  const s = matchMedia("(prefers-color-scheme: dark)").matches, i = n[0], a = new fe(t, {
    measure: i.measures.find((d) => d.startsWith("mass.")) ?? i.measures[0],
    sort: "layer",
    site: 0,
    head: 0,
    token: i.tokens.length - 1,
    mode: "reads",
    log: !1,
    hideFirst: !1,
    compare: n.length > 1 ? "difference" : "first",
    dark: s
  }), c = h("div", { class: `saccade${s ? " dark" : ""}` }), r = v("light or dark", () => {
    c.classList.toggle("dark"), a.set({ dark: c.classList.contains("dark") });
  }), l = [
    v("save model view (SVG)", () => O("heads.svg", "image/svg+xml", he(a))),
    v("save map (SVG)", () => O("head.svg", "image/svg+xml", pe(a))),
    v("save map (PNG)", () => c.querySelector("canvas")?.toBlob((d) => d && O("head.png", "image/png", d)))
  ];
  return c.append(
    h("style", {}, K),
    h("h1", {}, n.map((d) => d.model).join(" and ")),
    h("p", { class: "hint" }, be),
    h("div", { class: "bar" }, r, ...l),
    h("div", { class: "panes" }, le(a), ie(a)),
    ke(a),
    Q(a)
  ), e.replaceChildren(c), a;
}
function xe(e) {
  const t = Uint8Array.fromBase64;
  if (t) return t(e).buffer;
  const n = atob(e), o = new Uint8Array(n.length);
  for (let s = 0; s < n.length; s++) o[s] = n.charCodeAt(s);
  return o.buffer;
}
function ye({ model: e, el: t }) {
  const n = /* @__PURE__ */ new Map();
  let o = 0;
  e.on("msg:custom", (c, r) => {
    const { id: l } = c, d = r[0];
    n.get(l)?.(new Float32Array(d.buffer.slice(d.byteOffset, d.byteOffset + d.byteLength))), n.delete(l);
  });
  const s = (c, r, l) => new Promise((d) => {
    n.set(++o, d), e.send({ id: o, capture: c, site: r, query: l });
  }), i = (c) => {
    e.set("selection", c), e.save_changes();
  }, a = () => {
    const c = e.get("captures").map(
      (r) => new F(r.buffer.slice(r.byteOffset, r.byteOffset + r.byteLength))
    );
    V(t, { captures: c, rows: s, select: i });
  };
  e.on("change:captures", a), a();
}
const ve = { render: ye }, W = document.getElementById("saccade"), _ = document.querySelectorAll("script.saccade-capture");
W && _.length && V(W, { captures: Array.from(_, (e) => new F(xe(e.textContent ?? ""))) });
const I = document.getElementById("saccade-live");
I && (document.head.append(h("style", {}, K)), I.classList.add("saccade"), ge(I, V));
export {
  xe as decode,
  ve as default,
  V as mount
};
