/* sources c10a4db20974b698 */
const R = "SACCADE1";
const ie = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array };
class K {
  model;
  tokens;
  spans;
  sites;
  heads;
  side;
  links;
  arrays;
  constructor(n) {
    const t = new Uint8Array(n), o = new TextDecoder().decode(t.subarray(0, R.length));
    if (o !== R) throw new Error(`these bytes are no capture: they begin with "${o}", not "${R}".`);
    const s = new DataView(n).getUint32(R.length, !0), a = R.length + 4, r = JSON.parse(new TextDecoder().decode(t.subarray(a, a + s)));
    this.arrays = Object.fromEntries(
      Object.entries(r.arrays).map(([p, { type: l, shape: f, at: m }]) => {
        const x = f.reduce((h, u) => h * u, 1);
        return [p, { data: new ie[l](n, a + s + m, x), shape: f }];
      })
    ), this.model = r.model, this.tokens = r.tokens, this.spans = r.spans, this.sites = r.sites.map(([p, l]) => ({ name: p, layer: l }));
    const [, c, i] = this.arrays.pooled.shape;
    this.heads = c, this.side = i, this.links = this.arrays.indices.shape[3];
  }
  /** Names of the measures of a head. */
  get measures() {
    return Object.keys(this.arrays).filter((n) => n.startsWith("measure:")).map((n) => n.slice(8));
  }
  /** A measure of every head, [sites · heads]. */
  measure(n) {
    return this.arrays[`measure:${n}`].data;
  }
  /** Mean weight of a key block over a query block. */
  pooled(n, t) {
    const o = this.side * this.side, s = n * this.heads + t, a = this.arrays.scale.data[s] / 255;
    return Float32Array.from(this.arrays.pooled.data.subarray(s * o, (s + 1) * o), (r) => r * a);
  }
  /** First and last token of a block, by default of the pooled map (as torch.tensor_split cuts). */
  block(n, t = this.side) {
    const o = this.tokens.length, s = o % t, a = Math.floor(o / t), r = n * a + Math.min(n, s);
    return [r, r + a + (n < s ? 1 : 0) - 1];
  }
  /** Mean weight that each key gets from all rows; of long texts, that of its block of keys. */
  received(n, t) {
    const o = this.arrays.received.shape[2], s = (n * this.heads + t) * o, a = new Float32Array(this.tokens.length);
    for (let r = 0; r < o; r++) {
      const [c, i] = this.block(r, o);
      a.fill(this.arrays.received.data[s + r] / 65535, c, i + 1);
    }
    return { weights: a, exact: o === this.tokens.length };
  }
  /** The largest weights of a row; 0 where it was not kept. */
  reads(n, t, o) {
    const s = new Float32Array(this.tokens.length);
    for (const [a, r] of this.kept(n, t, o)) s[a] = r;
    return { weights: s, exact: !1 };
  }
  /** What each query row puts on a key, as far as it was among the row's largest. */
  readBy(n, t, o) {
    const s = new Float32Array(this.tokens.length);
    for (let a = 0; a < s.length; a++)
      for (const [r, c] of this.kept(n, t, a)) r === o && (s[a] = c);
    return { weights: s, exact: !1 };
  }
  /** Queries and keys of a head in a plane, where the capture holds them. */
  plane(n, t) {
    const { space: o, share: s } = this.arrays;
    if (!o) return;
    const a = 4 * o.shape[3], r = n * this.heads + t;
    return { points: o.data.subarray(r * a, (r + 1) * a), share: s.data[r] };
  }
  /** Shares of the tokens in the last one after all layers, where the capture holds them. */
  get rollout() {
    return this.arrays.rollout?.data;
  }
  *kept(n, t, o) {
    const s = ((n * this.heads + t) * this.tokens.length + o) * this.links;
    for (let a = s; a < s + this.links; a++) {
      const r = this.arrays.weights.data[a] / 65535;
      r > 0 && (yield [this.arrays.indices.data[a], r]);
    }
  }
}
function d(e, n = {}, ...t) {
  const o = document.createElement(e);
  for (const [s, a] of Object.entries(n)) o.setAttribute(s, a);
  return o.append(...t), o;
}
function I(e, n, t, o) {
  const s = d("select", { "aria-label": e });
  for (const a of n) {
    const r = d("option", { value: a }, a);
    r.selected = a === t, s.append(r);
  }
  return s.addEventListener("change", () => o(s.value)), d("label", {}, `${e} `, s);
}
function Y(e, n, t) {
  const o = d("input", { type: "checkbox", "aria-label": e });
  return o.checked = n, o.addEventListener("change", () => t(o.checked)), d("label", {}, o, ` ${e}`);
}
function O(e, n) {
  const t = d("button", { type: "button" }, e);
  return t.addEventListener("click", n), t;
}
const C = (e) => e === 0 ? "0" : Number(e.toPrecision(3)).toString(), M = (e) => e.replace(/[ĠÂ▁]/g, "␣").replace(/[\nĊ]/g, "⏎").replace(/\t/g, "⇥") || "∅", ce = ["scale", "mask", "ablate"];
function le(e) {
  const n = d("p", { class: "said", "aria-live": "polite" }), t = d("input", { type: "range", min: "-3", max: "3", step: "0.1", value: "1", "aria-label": "strength" });
  t.addEventListener("input", () => e.pick({ strength: 2 ** Number(t.value) }));
  const o = d(
    "div",
    { class: "bar" },
    I("action", ce, e.selection.action, (a) => e.pick({ action: a })),
    d("label", {}, "strength ", t),
    O("clear", () => e.pick({ tokens: [], heads: [] }))
  ), s = () => {
    n.textContent = de(e), t.disabled = e.selection.action !== "scale";
  };
  return e.onChange(s), s(), d("section", { "aria-label": "edit" }, d("h2", {}, "Edit"), o, n);
}
function de(e) {
  const { tokens: n, heads: t, action: o, strength: s } = e.selection, a = t.length ? `in ${t.map(([i, p]) => `${i} head ${p}`).join(", ")}` : "in all heads";
  if (o === "ablate") return t.length ? `set the outputs of ${t.length} heads to zero: ${a.slice(3)}` : "select heads to ablate them.";
  if (!n.length) return "select words to edit the attention to them.";
  const r = n.slice(0, 12).map((i) => M(e.capture.tokens[i])).join(" "), c = n.length > 12 ? ` and ${n.length - 12} more` : "";
  return o === "mask" ? `no attention to “${r}”${c} ${a}` : `attention to “${r}”${c} times ${s.toFixed(2)} ${a}`;
}
const he = [[247, 251, 255], [198, 219, 239], [107, 174, 214], [33, 113, 181], [8, 48, 107]], pe = [[18, 20, 28], [46, 62, 104], [108, 110, 114], [188, 174, 108], [254, 232, 56]], ue = [[33, 102, 172], [146, 197, 222], [247, 247, 247], [253, 184, 99], [179, 88, 6]], ge = 1e-4;
function fe(e, { low: n, high: t, log: o }) {
  if (t <= n) return 0;
  if (o) {
    const s = Math.max(n, t * ge);
    return Z(Math.log(Math.max(e, s) / s) / Math.log(t / s));
  }
  return Z((e - n) / (t - n));
}
function z(e, n) {
  const [t, o, s] = V(e, n);
  return `rgb(${t},${o},${s})`;
}
function V(e, n) {
  const t = n.signed ? ue : n.dark ? pe : he, o = fe(e, n) * (t.length - 1), s = Math.min(Math.floor(o), t.length - 2), a = o - s;
  return t[s].map((r, c) => Math.round(r + (t[s + 1][c] - r) * a));
}
function ke([e, n, t]) {
  return 0.299 * e + 0.587 * n + 0.114 * t > 140 ? "#111" : "#fff";
}
function N(e, n = {}) {
  let t = 1 / 0, o = -1 / 0;
  for (let c = 0; c < e.length; c++)
    e[c] < t && (t = e[c]), e[c] > o && (o = e[c]);
  const { signed: s = !1, log: a = !1, dark: r = !1 } = n;
  if (s) {
    const c = Math.max(Math.abs(t), Math.abs(o));
    return { low: -c, high: c, signed: s, log: !1, dark: r };
  }
  return { low: Math.min(t, 0), high: o, signed: s, log: a, dark: r };
}
const Z = (e) => Math.min(1, Math.max(0, e)), ee = 9;
function P(e, n) {
  const t = Array.from({ length: ee }, (r, c) => {
    const i = c / (ee - 1), p = Math.max(e.low, e.high * 1e-4), l = e.log ? p * (e.high / p) ** i : e.low + i * (e.high - e.low);
    return z(l, e);
  }), o = d("span", { class: "strip", style: `background:linear-gradient(90deg,${t.join(",")})` }), s = e.log ? Math.max(e.low, e.high * 1e-4) : e.low, a = `${n}: from ${C(s)} to ${C(e.high)}${e.log ? ", logarithmic" : ""}`;
  return d("div", { class: "legend", role: "img", "aria-label": a }, C(s), o, C(e.high), ` ${n}`);
}
const me = 7;
function J(e) {
  const { site: n, head: t, compare: o, hideFirst: s } = e.look, [a, r] = e.host.captures;
  let c = e.capture.pooled(n, t);
  if (o === "difference" && a.side === r.side) {
    const i = a.pooled(n, t);
    c = c.map((p, l) => p - i[l]);
  }
  return s ? c.map((i, p) => p % e.capture.side ? i : 0) : c;
}
function we(e) {
  const n = d("h2"), t = d("canvas", { role: "img", tabindex: "0" }), o = d("p", { class: "said", "aria-live": "polite" }), s = d("div"), a = d("div", { class: "bar" }, Y("hide the first block of keys", e.look.hideFirst, (i) => e.set({ hideFirst: i }))), r = (i) => {
    const p = t.getBoundingClientRect(), l = (f, m) => Math.min(e.capture.side - 1, Math.max(0, Math.floor(f / m * e.capture.side)));
    return [l(i.clientY - p.top, p.height), l(i.clientX - p.left, p.width)];
  };
  t.addEventListener("mousemove", (i) => {
    const [p, l] = r(i);
    o.textContent = ye(e, p, l);
  }), t.addEventListener("click", (i) => e.set({ token: e.capture.block(r(i)[0])[1], mode: "reads" }));
  const c = () => {
    const { side: i, sites: p } = e.capture, l = J(e), f = N(l, { signed: e.look.compare === "difference", log: e.look.log, dark: e.look.dark });
    n.textContent = `${p[e.look.site].name}, head ${e.look.head}`, s.replaceChildren(P(f, "mean weight of a block of keys in a block of queries")), t.width = t.height = i, t.style.width = t.style.height = `${Math.max(i * me, 256)}px`, t.setAttribute("aria-label", `map of ${n.textContent}: queries downwards, keys to the right, ${i} by ${i} blocks`);
    const m = t.getContext("2d");
    if (!m) return;
    const x = m.createImageData(i, i);
    l.forEach((h, u) => x.data.set([...V(h, f), 255], 4 * u)), m.putImageData(x, 0, 0);
  };
  return e.onChange(c), c(), d("section", { "aria-label": "head" }, n, a, s, t, o);
}
function ye(e, n, t) {
  const { capture: o } = e, s = (a) => {
    const [r, c] = o.block(a), i = o.tokens.slice(r, Math.min(c, r + 5) + 1).map(M).join(" ");
    return r === c ? `token ${r} (${i})` : `tokens ${r} to ${c} (${i}${c > r + 5 ? " …" : ""})`;
  };
  return `${s(n)} read ${s(t)}: ${C(J(e)[n * o.side + t])}`;
}
function G(e) {
  const { measure: n, compare: t } = e.look, [o, s] = e.host.captures;
  if (t !== "difference") return e.capture.measure(n);
  const a = o.measure(n);
  return s.measure(n).map((r, c) => r - a[c]);
}
function W(e, n) {
  const { heads: t, sites: o } = e.capture;
  return o.map((s, a) => {
    const r = Array.from({ length: t }, (i, p) => p), c = (i) => n[a * t + i];
    return e.look.sort === "value" ? r.sort((i, p) => c(p) - c(i)) : r;
  });
}
function be(e) {
  const { captures: n } = e.host, t = n[0].measures.filter((i) => n.every((p) => p.measures.includes(i))), o = d("div", { role: "grid", class: "grid", "aria-label": "heads by layer", tabindex: "0" }), s = d("div", { class: "bar" }), a = d("div");
  s.append(
    I("measure", t, e.look.measure, (i) => e.set({ measure: i })),
    I("heads in order of", ["layer", "value"], e.look.sort, (i) => e.set({ sort: i })),
    Y("logarithmic", e.look.log, (i) => e.set({ log: i }))
  ), n.length > 1 && s.append(
    I(
      "show",
      ["first", "second", "difference"],
      e.look.compare,
      (i) => e.set({ compare: i })
    )
  ), o.addEventListener("click", (i) => {
    const p = i.target.closest("[data-head]");
    if (!p) return;
    const [l, f] = [Number(p.dataset.site), Number(p.dataset.head)];
    e.set({ site: l, head: f }), i.shiftKey && e.toggleHead(e.capture.sites[l].name, f);
  }), o.addEventListener("keydown", (i) => {
    const p = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[i.key];
    if (p) {
      const { site: l, head: f } = e.look, m = W(e, G(e)), x = m[l].indexOf(f) + p[1], h = l + p[0];
      m[h]?.[x] !== void 0 && e.set({ site: h, head: m[h][x] }), i.preventDefault();
    }
    i.key === "Enter" && e.toggleHead(e.capture.sites[e.look.site].name, e.look.head);
  });
  const r = () => {
    const i = G(e), p = N(i, { signed: e.look.compare === "difference", log: e.look.log, dark: e.look.dark });
    a.replaceChildren(P(p, e.look.measure)), o.replaceChildren(...W(e, i).map((l, f) => xe(e, i, p, l, f)));
  };
  e.onChange(r), r();
  const c = d("p", { class: "hint" }, "Click a head to look at it; shift-click, or Enter, to select it for an edit.");
  return d("section", { "aria-label": "model" }, d("h2", {}, "Model"), s, a, o, c);
}
function xe(e, n, t, o, s) {
  const a = e.capture, r = d("div", { role: "row", class: "line" }, d("span", { class: "name", role: "rowheader" }, a.sites[s].name)), c = new Set(e.selection.heads.filter(([i]) => i === a.sites[s].name).map(([, i]) => i));
  for (const i of o) {
    const p = n[s * a.heads + i], l = s === e.look.site && i === e.look.head, f = `${a.sites[s].name}, head ${i}: ${e.look.measure} ${C(p)}`, m = d("span", {
      role: "gridcell",
      class: `cell${l ? " here" : ""}${c.has(i) ? " picked" : ""}`,
      "data-site": String(s),
      "data-head": String(i),
      "data-value": String(p),
      "aria-label": f,
      "aria-selected": String(l),
      title: f,
      style: `background:${z(p, t)}`
    });
    r.append(m);
  }
  return r;
}
const j = 16;
function $e(e) {
  const { sites: n, heads: t } = e.capture, o = G(e), s = N(o, { signed: e.look.compare === "difference", log: e.look.log, dark: e.look.dark }), a = W(e, o).flatMap(
    (r, c) => r.map((i, p) => {
      const l = o[c * t + i];
      return `<rect ${`x="${p * j}" y="${c * j}" width="${j}" height="${j}"`} fill="${z(l, s)}"><title>${n[c].name} head ${i}: ${l}</title></rect>`;
    })
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${t * j}" height="${n.length * j}">${a.join("")}</svg>`;
}
function ve(e) {
  const { side: n } = e.capture, t = J(e), o = N(t, { signed: e.look.compare === "difference", log: e.look.log, dark: e.look.dark }), s = Array.from(t, (a, r) => `<rect x="${r % n}" y="${Math.floor(r / n)}" width="1.02" height="1.02" fill="${z(a, o)}"/>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${n} ${n}" width="${8 * n}" height="${8 * n}">${s.join("")}</svg>`;
}
function H(e, n, t) {
  const o = URL.createObjectURL(t instanceof Blob ? t : new Blob([t], { type: n })), s = document.createElement("a");
  s.href = o, s.download = e, s.click(), URL.revokeObjectURL(o);
}
const Ae = 400;
async function T(e, n) {
  const t = await fetch(e, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(n) });
  if (!t.ok) throw new Error((await t.json()).error ?? t.statusText);
  return t;
}
function Ee(e, n) {
  const t = e.dataset.generates === "true";
  let o = !1, s;
  const a = d("textarea", { rows: "5", "aria-label": "prompt", placeholder: "A prompt. [[rule|words]] marks a span." }), r = d("p", { class: "said", role: "status" }), c = d("pre", { "aria-label": "text without the edit" }), i = d("pre", { "aria-label": "text with the edit" }), p = d("div"), l = async (h) => {
    r.textContent = "…";
    try {
      await h(), r.textContent = "";
    } catch (u) {
      r.textContent = u.message;
    }
  }, f = () => l(async () => {
    const h = { text: a.value, chat: o }, u = new K(await (await T("/see", h)).arrayBuffer());
    n(p, {
      captures: [u],
      rows: async (w, g, k) => new Float32Array(await (await T("/rows", { ...h, site: g, query: k })).arrayBuffer()),
      space: async (w, g) => (await T("/space", { ...h, site: g })).arrayBuffer(),
      rollout: async (w, g) => new Float32Array(await (await T("/rollout", { ...h, query: g })).arrayBuffer()),
      select: (w) => {
        clearTimeout(s), s = setTimeout(() => void m(w), Ae);
      }
    });
  }), m = (h) => l(async () => {
    if (!t || (h.action === "ablate" ? !h.heads.length : !h.tokens.length)) return;
    const u = await (await T("/text", { text: a.value, chat: o, selection: h })).json(), w = (g) => g === void 0 ? "" : ` (mean mass on the words: ${C(g)})`;
    c.textContent = `without${w(u.mass.before)}:
${u.before}`, i.textContent = `with${w(u.mass.after)}:
${u.after}`;
  }), x = d("div", { class: "bar" }, O("see", () => void f()), Y("as a user's message", o, (h) => o = h));
  e.replaceChildren(d("h1", {}, e.dataset.model ?? ""), a, x, r, d("div", { class: "texts" }, c, i), p);
}
class Ce {
  constructor(n, t) {
    this.host = n, this.look = t;
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
  onChange(n) {
    this.listeners.push(n);
  }
  set(n) {
    Object.assign(this.look, n), this.changed();
  }
  pick(n) {
    this.selection = { ...this.selection, ...n }, this.host.select?.(this.selection), this.changed();
  }
  /** Add a head to the selection, or take it out. */
  toggleHead(n, t) {
    const o = this.selection.heads.filter(([a, r]) => a !== n || r !== t), s = o.length < this.selection.heads.length ? o : [...o, [n, t]];
    this.pick({ heads: s });
  }
  /** Add a token to the selection, or take it out. */
  toggleToken(n) {
    const t = this.selection.tokens.includes(n) ? this.selection.tokens.filter((o) => o !== n) : [...this.selection.tokens, n].sort((o, s) => o - s);
    this.pick({ tokens: t });
  }
  changed() {
    for (const n of this.listeners) n();
  }
}
const Se = 65535, L = 420, te = 12, B = 4, Le = 10, ne = "#999999", q = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];
function Me(e, n) {
  const t = (e.byteLength - 4 * n) / (2 * n), o = new Uint16Array(e, 0, t * n), s = new Float32Array(e, 2 * t * n, n);
  return Array.from(s, (a, r) => ({ points: o.subarray(r * t, (r + 1) * t), share: a }));
}
function je({ points: e }, n) {
  const t = e.length / 4, o = (s) => te + s / Se * (L - 2 * te);
  return Array.from({ length: 2 * t }, (s, a) => ({
    token: Math.floor(a % t * n / t),
    key: a >= t,
    x: o(e[2 * a]),
    y: L - o(e[2 * a + 1])
  }));
}
function Oe(e, n, t) {
  let o, s = Le ** 2;
  for (const a of e) {
    const r = (a.x - n) ** 2 + (a.y - t) ** 2;
    r <= s && ([o, s] = [a, r]);
  }
  return o;
}
function Ie(e) {
  const n = /* @__PURE__ */ new Map(), t = /* @__PURE__ */ new Set();
  let o = "position", s = [], a = { token: e.look.token, key: !1 };
  const r = d("canvas", { role: "application", tabindex: "0", width: String(L), height: String(L), class: "space" }), c = d("p", { class: "said", "aria-live": "polite" }), i = d("p", { class: "hint" }), p = d("div"), l = d("p", { class: "hint" }, "Circles are queries, squares keys. Hover, or move with the arrows (up and down change between query and key); a click, or Enter, pins the token."), f = d("div", { class: "bar" }, I("colour points by", ["position", "span"], o, (g) => {
    o = g, u();
  })), m = d("details", { "aria-label": "query-key space" }, d("summary", {}, "Query-key space"), f, p, r, c, i, l);
  m.open = e.capture.plane(0, 0) !== void 0;
  const x = () => {
    const { capture: g, index: k, look: y } = e, v = g.plane(y.site, y.head);
    if (v || !e.host.space) return v;
    const A = `${k}/${y.site}`;
    return !n.has(A) && !t.has(A) && (t.add(A), c.textContent = "…", e.host.space(k, g.sites[y.site].name).then(
      ($) => {
        n.set(A, Me($, g.heads)), c.textContent = "", u();
      },
      ($) => c.textContent = $.message
    )), n.get(A)?.[y.head];
  }, h = ({ token: g, key: k }) => {
    c.textContent = `${k ? "key" : "query"} of token ${g} (${M(e.capture.tokens[g])})`;
  }, u = () => {
    if (!m.open) return;
    const g = x(), { capture: k, look: y } = e;
    s = g ? je(g, k.tokens.length) : [];
    const v = N([k.tokens.length - 1], { dark: y.dark }), A = Object.entries(k.spans), $ = (b) => A.findIndex(([, S]) => S.includes(b)), D = `${k.sites[y.site].name}, head ${y.head}`;
    r.setAttribute("aria-label", `queries and keys of ${D}: ${s.length} points`), i.textContent = g ? `${D}: the plane of the first two principal components, which hold ${C(100 * g.share)} % of the variance. Nearness here is a hint of a large product, not a weight.` : "";
    const F = (b, S) => d("span", {}, d("span", { class: "swatch", style: `background:${b}` }), ` ${S} `);
    p.replaceChildren(
      o === "position" ? P(v, "position") : d("div", { class: "legend" }, ...A.map(([b], S) => F(q[S % q.length], b)), F(ne, "no span"))
    );
    const E = r.getContext("2d");
    if (E) {
      E.clearRect(0, 0, L, L);
      for (const b of s) {
        const S = $(b.token);
        E.fillStyle = o === "position" ? `rgb(${V(b.token, v).join(",")})` : S < 0 ? ne : q[S % q.length];
        const Q = b.token === a.token && b.key === a.key;
        E.strokeStyle = b.token === y.token || Q ? "#d95f02" : y.dark ? "#e8eaf0" : "#1b1f27", E.lineWidth = Q ? 3 : b.token === y.token ? 2 : 0.5, E.beginPath(), b.key ? E.rect(b.x - B, b.y - B, 2 * B, 2 * B) : E.arc(b.x, b.y, B, 0, 2 * Math.PI), E.fill(), E.stroke();
      }
    }
  }, w = (g) => {
    const k = r.getBoundingClientRect();
    return Oe(s, (g.clientX - k.left) / k.width * L, (g.clientY - k.top) / k.height * L);
  };
  return r.addEventListener("mousemove", (g) => {
    const k = w(g);
    k && h(k);
  }), r.addEventListener("click", (g) => {
    const k = w(g);
    k && (a = k, e.set({ token: k.token }));
  }), r.addEventListener("keydown", (g) => {
    const k = { ArrowLeft: -1, ArrowRight: 1 }[g.key], y = s.filter((v) => v.key === a.key);
    if (k && y.length) {
      const v = y.findIndex((A) => A.token >= a.token);
      a = y[Math.min(y.length - 1, Math.max(0, (v < 0 ? y.length - 1 : v) + k))];
    } else if (g.key === "ArrowUp" || g.key === "ArrowDown") a = { ...a, key: !a.key };
    else if (g.key === "Enter") e.set({ token: a.token });
    else return;
    g.preventDefault(), h(a), u();
  }), m.addEventListener("toggle", u), e.onChange(u), u(), m;
}
const ae = `
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
.saccade canvas.space{image-rendering:auto;display:block}.saccade summary{font-size:15px;font-weight:bold;margin:14px 0 4px;cursor:pointer}
.saccade .swatch{display:inline-block;width:10px;height:10px;border:1px solid var(--line)}
.saccade .legend{display:flex;align-items:center;gap:6px;font-size:11px}
.saccade .strip{display:inline-block;width:120px;height:10px;border:1px solid var(--line)}
.saccade .text{line-height:1.9;max-height:360px;overflow:auto}
.saccade .token{padding:1px 3px;margin:1px;border-radius:3px;cursor:pointer;display:inline-block}
.saccade .token.pinned{outline:2px solid var(--mark)}.saccade .token.picked{text-decoration:underline 2px var(--mark)}
.saccade button,.saccade select{font:inherit;color:inherit;background:var(--paper);border:1px solid var(--line);border-radius:4px}
.saccade textarea{width:100%;box-sizing:border-box;font:inherit;color:inherit;background:var(--paper);border:1px solid var(--line)}
.saccade .texts{display:grid;grid-template-columns:1fr 1fr;gap:12px}.saccade pre{white-space:pre-wrap;margin:4px 0}
@media(max-width:800px){.saccade .panes{grid-template-columns:1fr}}
`, re = ["reads", "read by", "received"], Ne = [...re, "rollout"], U = 512;
function De(e) {
  const n = d("div", { class: "text", tabindex: "0", role: "listbox", "aria-label": "tokens" }), t = d("p", { class: "said", "aria-live": "polite" }), o = d("div"), s = e.host.rollout !== void 0 || e.host.captures.every((h) => h.rollout), a = d("div", { class: "bar" }, I("colour by", s ? Ne : re, e.look.mode, (h) => e.set({ mode: h }))), r = /* @__PURE__ */ new Map(), c = /* @__PURE__ */ new Set();
  let i = { weights: new Float32Array(0), exact: !1 };
  const p = (h, u) => (!r.has(h) && !c.has(h) && (c.add(h), u().then(
    (w) => {
      r.set(h, w), f();
    },
    (w) => t.textContent = w.message
  )), r.get(h)), l = () => {
    const { site: h, head: u, token: w, mode: g } = e.look, { capture: k } = e;
    if (g === "received") return k.received(h, u);
    if (g === "read by") return k.readBy(h, u, w);
    const { rows: y, rollout: v } = e.host;
    if (g === "rollout") {
      const $ = v ? p(`rollout/${e.index}/${w}`, () => v(e.index, w)) : k.rollout;
      return { weights: $ ?? new Float32Array(k.tokens.length), exact: $ !== void 0 };
    }
    const A = y && p(`${e.index}/${h}/${w}`, () => y(e.index, k.sites[h].name, w));
    return A ? { weights: A.subarray(u * k.tokens.length, (u + 1) * k.tokens.length), exact: !0 } : k.reads(h, u, w);
  }, f = () => {
    const { capture: h, look: u } = e;
    i = l();
    const w = N(i.weights, { log: u.log, dark: u.dark });
    o.replaceChildren(P(w, Fe(e, i)));
    const g = Math.max(0, Math.min(u.token - U / 2, h.tokens.length - U)), k = Object.entries(h.spans), y = h.tokens.slice(g, g + U).map((v, A) => {
      const $ = g + A, D = V(i.weights[$], w), F = k.filter(([, b]) => b.includes($)).map(([b]) => b), E = ["token", $ === u.token && u.mode !== "received" ? "pinned" : "", e.selection.tokens.includes($) ? "picked" : ""];
      return d(
        "span",
        {
          class: E.filter(Boolean).join(" "),
          role: "option",
          "aria-selected": String($ === u.token),
          "data-token": String($),
          "data-weight": String(i.weights[$]),
          title: `${$} ${M(v)}: ${C(i.weights[$])}${F.length ? ` (${F.join(", ")})` : ""}`,
          style: `background:rgb(${D.join(",")});color:${ke(D)}`
        },
        M(v)
      );
    });
    n.replaceChildren(...y), h.tokens.length > U && n.append(d("span", { class: "hint" }, ` tokens ${g} to ${g + U - 1} of ${h.tokens.length}`));
  }, m = (h) => {
    const u = h.target.closest("[data-token]");
    return u ? Number(u.dataset.token) : void 0;
  };
  n.addEventListener("mouseover", (h) => {
    const u = m(h);
    u !== void 0 && (t.textContent = `token ${u} (${M(e.capture.tokens[u])}): ${C(i.weights[u])}${i.exact || i.weights[u] > 0 ? "" : ", or below what was kept"}`);
  }), n.addEventListener("click", (h) => {
    const u = m(h);
    u !== void 0 && (h.shiftKey ? e.toggleToken(u) : e.set({ token: u }));
  }), n.addEventListener("keydown", (h) => {
    const u = { ArrowLeft: -1, ArrowRight: 1 }[h.key], w = e.look.token + (u ?? 0);
    u && e.capture.tokens[w] !== void 0 && (e.set({ token: w }), h.preventDefault()), h.key === "Enter" && e.toggleToken(e.look.token);
  }), e.onChange(f), f();
  const x = d("p", { class: "hint" }, "Click a token to pin it; arrows move the pin; shift-click, or Enter, selects words for an edit.");
  return d("section", { "aria-label": "tokens" }, d("h2", {}, "Tokens"), a, o, n, t, x);
}
function Fe(e, n) {
  const { mode: t, token: o } = e.look;
  if (t === "rollout") {
    const r = e.capture.tokens.length - 1, c = e.host.rollout ? o : r;
    return `share of each token in token ${c} (${M(e.capture.tokens[c])}) after all layers, by attention alone (rollout${e.host.rollout ? "" : ", of the last token only"})`;
  }
  const s = `token ${o} (${M(e.capture.tokens[o])})`;
  if (t === "received") return "mean weight that a token gets from all rows";
  const a = n.exact ? "exact" : `the ${e.capture.links} largest of each row`;
  return t === "reads" ? `weight with which ${s} reads (${a})` : `weight with which each token reads ${s} (${a})`;
}
const Re = "A weight says how much of a value a head mixed in, before its output projection. It is neither an importance nor a cause: edit or ablate to see those.";
function X(e, n) {
  const { captures: t } = n;
  if (!t.length) throw new Error("the viewer needs a capture, found none.");
  const o = (l) => `${l.sites.length} × ${l.heads}`;
  if (t.some((l) => o(l) !== o(t[0])))
    throw new Error(`captures are compared head by head; found ${t.map(o).join(" and ")} heads.`);
  const s = matchMedia("(prefers-color-scheme: dark)").matches, a = t[0], r = new Ce(n, {
    measure: a.measures.find((l) => l.startsWith("mass.")) ?? a.measures[0],
    sort: "layer",
    site: 0,
    head: 0,
    token: a.tokens.length - 1,
    mode: "reads",
    log: !1,
    hideFirst: !1,
    compare: t.length > 1 ? "difference" : "first",
    dark: s
  }), c = d("div", { class: `saccade${s ? " dark" : ""}` }), i = O("light or dark", () => {
    c.classList.toggle("dark"), r.set({ dark: c.classList.contains("dark") });
  }), p = [
    O("save model view (SVG)", () => H("heads.svg", "image/svg+xml", $e(r))),
    O("save map (SVG)", () => H("head.svg", "image/svg+xml", ve(r))),
    O("save map (PNG)", () => c.querySelector("canvas")?.toBlob((l) => l && H("head.png", "image/png", l)))
  ];
  return c.append(
    d("style", {}, ae),
    d("h1", {}, t.map((l) => l.model).join(" and ")),
    d("p", { class: "hint" }, Re),
    d("div", { class: "bar" }, i, ...p),
    d("div", { class: "panes" }, be(r), we(r)),
    De(r),
    ...n.space || t.every((l) => l.plane(0, 0)) ? [Ie(r)] : [],
    le(r)
  ), e.replaceChildren(c), r;
}
function Te(e) {
  const n = Uint8Array.fromBase64;
  if (n) return n(e).buffer;
  const t = atob(e), o = new Uint8Array(t.length);
  for (let s = 0; s < t.length; s++) o[s] = t.charCodeAt(s);
  return o.buffer;
}
function Be({ model: e, el: n }) {
  const t = /* @__PURE__ */ new Map();
  let o = 0;
  e.on("msg:custom", (l, f) => {
    const { id: m, error: x } = l;
    if (x) t.get(m)?.reject(new Error(x));
    else {
      const h = f[0];
      t.get(m)?.resolve(h.buffer.slice(h.byteOffset, h.byteOffset + h.byteLength));
    }
    t.delete(m);
  });
  const s = (l, f) => new Promise((m, x) => {
    t.set(++o, { resolve: m, reject: x }), e.send({ id: o, what: l, ...f });
  }), a = async (l, f, m) => new Float32Array(await s("rows", { capture: l, site: f, query: m })), r = (l, f) => s("space", { capture: l, site: f }), c = async (l, f) => new Float32Array(await s("rollout", { capture: l, query: f })), i = (l) => {
    e.set("selection", l), e.save_changes();
  }, p = () => {
    const l = e.get("captures").map(
      (f) => new K(f.buffer.slice(f.byteOffset, f.byteOffset + f.byteLength))
    );
    X(n, { captures: l, rows: a, space: r, rollout: c, select: i });
  };
  e.on("change:captures", p), p();
}
const Ue = { render: Be }, oe = document.getElementById("saccade"), se = document.querySelectorAll("script.saccade-capture");
oe && se.length && X(oe, { captures: Array.from(se, (e) => new K(Te(e.textContent ?? ""))) });
const _ = document.getElementById("saccade-live");
_ && (document.head.append(d("style", {}, ae)), _.classList.add("saccade"), Ee(_, X));
export {
  Te as decode,
  Ue as default,
  X as mount
};
