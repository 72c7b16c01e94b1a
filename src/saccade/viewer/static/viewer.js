/* sources b9ab58b744249adc */
const B = "SACCADE1";
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
  constructor(t) {
    const n = new Uint8Array(t), o = new TextDecoder().decode(n.subarray(0, B.length));
    if (o !== B) throw new Error(`these bytes are no capture: they begin with "${o}", not "${B}".`);
    const s = new DataView(t).getUint32(B.length, !0), r = B.length + 4, a = JSON.parse(new TextDecoder().decode(n.subarray(r, r + s)));
    this.arrays = Object.fromEntries(
      Object.entries(a.arrays).map(([p, { type: u, shape: f, at: k }]) => {
        const y = f.reduce((c, h) => c * h, 1);
        return [p, { data: new ie[u](t, r + s + k, y), shape: f }];
      })
    ), this.model = a.model, this.tokens = a.tokens, this.spans = a.spans, this.sites = a.sites.map(([p, u]) => ({ name: p, layer: u }));
    const [, l, i] = this.arrays.pooled.shape;
    this.heads = l, this.side = i, this.links = this.arrays.indices.shape[3];
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
    const o = this.side * this.side, s = t * this.heads + n, r = this.arrays.scale.data[s] / 255;
    return Float32Array.from(this.arrays.pooled.data.subarray(s * o, (s + 1) * o), (a) => a * r);
  }
  /** First and last token of a block, by default of the pooled map (as torch.tensor_split cuts). */
  block(t, n = this.side) {
    const o = this.tokens.length, s = o % n, r = Math.floor(o / n), a = t * r + Math.min(t, s);
    return [a, a + r + (t < s ? 1 : 0) - 1];
  }
  /** Mean weight that each key gets from all rows; of long texts, that of its block of keys. */
  received(t, n) {
    const o = this.arrays.received.shape[2], s = (t * this.heads + n) * o, r = new Float32Array(this.tokens.length);
    for (let a = 0; a < o; a++) {
      const [l, i] = this.block(a, o);
      r.fill(this.arrays.received.data[s + a] / 65535, l, i + 1);
    }
    return { weights: r, exact: o === this.tokens.length };
  }
  /** The largest weights of a row; 0 where it was not kept. */
  reads(t, n, o) {
    const s = new Float32Array(this.tokens.length);
    for (const [r, a] of this.kept(t, n, o)) s[r] = a;
    return { weights: s, exact: !1 };
  }
  /** What each query row puts on a key, as far as it was among the row's largest. */
  readBy(t, n, o) {
    const s = new Float32Array(this.tokens.length);
    for (let r = 0; r < s.length; r++)
      for (const [a, l] of this.kept(t, n, r)) a === o && (s[r] = l);
    return { weights: s, exact: !1 };
  }
  /** Queries and keys of a head in a plane, where the capture holds them. */
  plane(t, n) {
    const { space: o, share: s } = this.arrays;
    if (!o) return;
    const r = 4 * o.shape[3], a = t * this.heads + n;
    return { points: o.data.subarray(a * r, (a + 1) * r), share: s.data[a] };
  }
  /** Shares of the tokens in the last one after all layers, where the capture holds them. */
  get rollout() {
    return this.arrays.rollout?.data;
  }
  *kept(t, n, o) {
    const s = ((t * this.heads + n) * this.tokens.length + o) * this.links;
    for (let r = s; r < s + this.links; r++) {
      const a = this.arrays.weights.data[r] / 65535;
      a > 0 && (yield [this.arrays.indices.data[r], a]);
    }
  }
}
function d(e, t = {}, ...n) {
  const o = document.createElement(e);
  for (const [s, r] of Object.entries(t)) o.setAttribute(s, r);
  return o.append(...n), o;
}
function F(e, t, n, o) {
  const s = d("select", { "aria-label": e });
  for (const r of t) {
    const a = d("option", { value: r }, r);
    a.selected = r === n, s.append(a);
  }
  return s.addEventListener("change", () => o(s.value)), d("label", {}, `${e} `, s);
}
function Y(e, t, n) {
  const o = d("input", { type: "checkbox", "aria-label": e });
  return o.checked = t, o.addEventListener("change", () => n(o.checked)), d("label", {}, o, ` ${e}`);
}
function I(e, t) {
  const n = d("button", { type: "button" }, e);
  return n.addEventListener("click", t), n;
}
const E = (e) => e === 0 ? "0" : Number(e.toPrecision(3)).toString(), S = (e) => e.replace(/[ĠÂ▁]/g, "␣").replace(/[\nĊ]/g, "⏎").replace(/\t/g, "⇥") || "∅", ce = ["scale", "mask", "ablate"];
function le(e) {
  const t = d("p", { class: "said", "aria-live": "polite" }), n = d("input", { type: "range", min: "-3", max: "3", step: "0.1", value: "1", "aria-label": "strength" });
  n.addEventListener("input", () => e.pick({ strength: 2 ** Number(n.value) }));
  const o = d(
    "div",
    { class: "bar" },
    F("action", ce, e.selection.action, (r) => e.pick({ action: r })),
    d("label", {}, "strength ", n),
    I("clear", () => e.pick({ tokens: [], heads: [] }))
  ), s = () => {
    t.textContent = de(e), n.disabled = e.selection.action !== "scale";
  };
  return e.onChange(s), s(), d("section", { "aria-label": "edit" }, d("h2", {}, "Edit"), o, t);
}
function de(e) {
  const { tokens: t, heads: n, action: o, strength: s } = e.selection, r = n.length ? `in ${n.map(([i, p]) => `${i} head ${p}`).join(", ")}` : "in all heads";
  if (o === "ablate") return n.length ? `set the outputs of ${n.length} heads to zero: ${r.slice(3)}` : "select heads to ablate them.";
  if (!t.length) return "select words to edit the attention to them.";
  const a = t.slice(0, 12).map((i) => S(e.capture.tokens[i])).join(" "), l = t.length > 12 ? ` and ${t.length - 12} more` : "";
  return o === "mask" ? `no attention to “${a}”${l} ${r}` : `attention to “${a}”${l} times ${s.toFixed(2)} ${r}`;
}
const he = [[247, 251, 255], [198, 219, 239], [107, 174, 214], [33, 113, 181], [8, 48, 107]], pe = [[18, 20, 28], [46, 62, 104], [108, 110, 114], [188, 174, 108], [254, 232, 56]], ue = [[33, 102, 172], [146, 197, 222], [247, 247, 247], [253, 184, 99], [179, 88, 6]], ge = 1e-4;
function fe(e, { low: t, high: n, log: o }) {
  if (n <= t) return 0;
  if (o) {
    const s = Math.max(t, n * ge);
    return Z(Math.log(Math.max(e, s) / s) / Math.log(n / s));
  }
  return Z((e - t) / (n - t));
}
function q(e, t) {
  const [n, o, s] = P(e, t);
  return `rgb(${n},${o},${s})`;
}
function P(e, t) {
  const n = t.signed ? ue : t.dark ? pe : he, o = fe(e, t) * (n.length - 1), s = Math.min(Math.floor(o), n.length - 2), r = o - s;
  return n[s].map((a, l) => Math.round(a + (n[s + 1][l] - a) * r));
}
function ke([e, t, n]) {
  return 0.299 * e + 0.587 * t + 0.114 * n > 140 ? "#111" : "#fff";
}
function j(e, t = {}) {
  let n = 1 / 0, o = -1 / 0;
  for (let l = 0; l < e.length; l++)
    e[l] < n && (n = e[l]), e[l] > o && (o = e[l]);
  const { signed: s = !1, log: r = !1, dark: a = !1 } = t;
  if (s) {
    const l = Math.max(Math.abs(n), Math.abs(o));
    return { low: -l, high: l, signed: s, log: !1, dark: a };
  }
  return { low: Math.min(n, 0), high: o, signed: s, log: r, dark: a };
}
const Z = (e) => Math.min(1, Math.max(0, e)), ee = 9;
function z(e, t) {
  const n = Array.from({ length: ee }, (a, l) => {
    const i = l / (ee - 1), p = Math.max(e.low, e.high * 1e-4), u = e.log ? p * (e.high / p) ** i : e.low + i * (e.high - e.low);
    return q(u, e);
  }), o = d("span", { class: "strip", style: `background:linear-gradient(90deg,${n.join(",")})` }), s = e.log ? Math.max(e.low, e.high * 1e-4) : e.low, r = `${t}: from ${E(s)} to ${E(e.high)}${e.log ? ", logarithmic" : ""}`;
  return d("div", { class: "legend", role: "img", "aria-label": r }, E(s), o, E(e.high), ` ${t}`);
}
const me = 7;
function J(e) {
  const { site: t, head: n, compare: o, hideFirst: s } = e.look, [r, a] = e.host.captures;
  let l = e.capture.pooled(t, n);
  if (o === "difference" && r.side === a.side) {
    const i = r.pooled(t, n);
    l = l.map((p, u) => p - i[u]);
  }
  return s ? l.map((i, p) => p % e.capture.side ? i : 0) : l;
}
function we(e) {
  const t = d("h2"), n = d("canvas", { role: "img", tabindex: "0" }), o = d("p", { class: "said", "aria-live": "polite" }), s = d("div"), r = d("div", { class: "bar" }, Y("hide the first block of keys", e.look.hideFirst, (i) => e.set({ hideFirst: i }))), a = (i) => {
    const p = n.getBoundingClientRect(), u = (f, k) => Math.min(e.capture.side - 1, Math.max(0, Math.floor(f / k * e.capture.side)));
    return [u(i.clientY - p.top, p.height), u(i.clientX - p.left, p.width)];
  };
  n.addEventListener("mousemove", (i) => {
    const [p, u] = a(i);
    o.textContent = ye(e, p, u);
  }), n.addEventListener("click", (i) => e.set({ token: e.capture.block(a(i)[0])[1], mode: "reads" }));
  const l = () => {
    const { side: i, sites: p } = e.capture, u = J(e), f = j(u, { signed: e.look.compare === "difference", log: e.look.log, dark: e.look.dark });
    t.textContent = `${p[e.look.site].name}, head ${e.look.head}`, s.replaceChildren(z(f, "mean weight of a block of keys in a block of queries")), n.width = n.height = i, n.style.width = n.style.height = `${Math.max(i * me, 256)}px`, n.setAttribute("aria-label", `map of ${t.textContent}: queries downwards, keys to the right, ${i} by ${i} blocks`);
    const k = n.getContext("2d");
    if (!k) return;
    const y = k.createImageData(i, i);
    u.forEach((c, h) => y.data.set([...P(c, f), 255], 4 * h)), k.putImageData(y, 0, 0);
  };
  return e.onChange(l), l(), d("section", { "aria-label": "head" }, t, r, s, n, o);
}
function ye(e, t, n) {
  const { capture: o } = e, s = (r) => {
    const [a, l] = o.block(r), i = o.tokens.slice(a, Math.min(l, a + 5) + 1).map(S).join(" ");
    return a === l ? `token ${a} (${i})` : `tokens ${a} to ${l} (${i}${l > a + 5 ? " …" : ""})`;
  };
  return `${s(t)} read ${s(n)}: ${E(J(e)[t * o.side + n])}`;
}
function G(e) {
  const { measure: t, compare: n } = e.look, [o, s] = e.host.captures;
  if (n !== "difference") return e.capture.measure(t);
  const r = o.measure(t);
  return s.measure(t).map((a, l) => a - r[l]);
}
function W(e, t) {
  const { heads: n, sites: o } = e.capture;
  return o.map((s, r) => {
    const a = Array.from({ length: n }, (i, p) => p), l = (i) => t[r * n + i];
    return e.look.sort === "value" ? a.sort((i, p) => l(p) - l(i)) : a;
  });
}
function be(e) {
  const { captures: t } = e.host, n = t[0].measures.filter((i) => t.every((p) => p.measures.includes(i))), o = d("div", { role: "grid", class: "grid", "aria-label": "heads by layer", tabindex: "0" }), s = d("div", { class: "bar" }), r = d("div");
  s.append(
    F("measure", n, e.look.measure, (i) => e.set({ measure: i })),
    F("heads in order of", ["layer", "value"], e.look.sort, (i) => e.set({ sort: i })),
    Y("logarithmic", e.look.log, (i) => e.set({ log: i }))
  ), t.length > 1 && s.append(
    F(
      "show",
      ["first", "second", "difference"],
      e.look.compare,
      (i) => e.set({ compare: i })
    )
  ), o.addEventListener("click", (i) => {
    const p = i.target.closest("[data-head]");
    if (!p) return;
    const [u, f] = [Number(p.dataset.site), Number(p.dataset.head)];
    e.set({ site: u, head: f }), i.shiftKey && e.toggleHead(e.capture.sites[u].name, f);
  }), o.addEventListener("keydown", (i) => {
    const p = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[i.key];
    if (p) {
      const { site: u, head: f } = e.look, k = W(e, G(e)), y = k[u].indexOf(f) + p[1], c = u + p[0];
      k[c]?.[y] !== void 0 && e.set({ site: c, head: k[c][y] }), i.preventDefault();
    }
    i.key === "Enter" && e.toggleHead(e.capture.sites[e.look.site].name, e.look.head);
  });
  const a = () => {
    const i = G(e), p = j(i, { signed: e.look.compare === "difference", log: e.look.log, dark: e.look.dark });
    r.replaceChildren(z(p, e.look.measure)), o.replaceChildren(...W(e, i).map((u, f) => xe(e, i, p, u, f)));
  };
  e.onChange(a), a();
  const l = d("p", { class: "hint" }, "Click a head to look at it; shift-click, or Enter, to select it for an edit.");
  return d("section", { "aria-label": "model" }, d("h2", {}, "Model"), s, r, o, l);
}
function xe(e, t, n, o, s) {
  const r = e.capture, a = d("div", { role: "row", class: "line" }, d("span", { class: "name", role: "rowheader" }, r.sites[s].name)), l = new Set(e.selection.heads.filter(([i]) => i === r.sites[s].name).map(([, i]) => i));
  for (const i of o) {
    const p = t[s * r.heads + i], u = s === e.look.site && i === e.look.head, f = `${r.sites[s].name}, head ${i}: ${e.look.measure} ${E(p)}`, k = d("span", {
      role: "gridcell",
      class: `cell${u ? " here" : ""}${l.has(i) ? " picked" : ""}`,
      "data-site": String(s),
      "data-head": String(i),
      "data-value": String(p),
      "aria-label": f,
      "aria-selected": String(u),
      title: f,
      style: `background:${q(p, n)}`
    });
    a.append(k);
  }
  return a;
}
const O = 16;
function $e(e) {
  const { sites: t, heads: n } = e.capture, o = G(e), s = j(o, { signed: e.look.compare === "difference", log: e.look.log, dark: e.look.dark }), r = W(e, o).flatMap(
    (a, l) => a.map((i, p) => {
      const u = o[l * n + i];
      return `<rect ${`x="${p * O}" y="${l * O}" width="${O}" height="${O}"`} fill="${q(u, s)}"><title>${t[l].name} head ${i}: ${u}</title></rect>`;
    })
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${n * O}" height="${t.length * O}">${r.join("")}</svg>`;
}
function ve(e) {
  const { side: t } = e.capture, n = J(e), o = j(n, { signed: e.look.compare === "difference", log: e.look.log, dark: e.look.dark }), s = Array.from(n, (r, a) => `<rect x="${a % t}" y="${Math.floor(a / t)}" width="1.02" height="1.02" fill="${q(r, o)}"/>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${t} ${t}" width="${8 * t}" height="${8 * t}">${s.join("")}</svg>`;
}
function _(e, t, n) {
  const o = URL.createObjectURL(n instanceof Blob ? n : new Blob([n], { type: t })), s = document.createElement("a");
  s.href = o, s.download = e, s.click(), URL.revokeObjectURL(o);
}
const Ae = 400;
async function N(e, t) {
  const n = await fetch(e, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(t) });
  if (!n.ok) throw new Error((await n.json()).error ?? n.statusText);
  return n;
}
function Ee(e, t) {
  const n = e.dataset.generates === "true";
  let o = !1, s;
  const r = d("textarea", { rows: "5", "aria-label": "prompt", placeholder: "A prompt. [[rule|words]] marks a span." }), a = d("p", { class: "said", role: "status" }), l = d("pre", { "aria-label": "text without the edit" }), i = d("pre", { "aria-label": "text with the edit" }), p = d("div"), u = async (c) => {
    a.textContent = "…";
    try {
      await c(), a.textContent = "";
    } catch (h) {
      a.textContent = h.message;
    }
  }, f = () => u(async () => {
    const c = { text: r.value, chat: o }, h = new K(await (await N("/see", c)).arrayBuffer());
    t(p, {
      captures: [h],
      rows: async (b, g, m) => new Float32Array(await (await N("/rows", { ...c, site: g, query: m })).arrayBuffer()),
      space: async (b, g) => (await N("/space", { ...c, site: g })).arrayBuffer(),
      neurons: async (b, g, m, w) => new Float32Array(await (await N("/neurons", { ...c, site: g, query: m, key: w })).arrayBuffer()),
      rollout: async (b, g) => new Float32Array(await (await N("/rollout", { ...c, query: g })).arrayBuffer()),
      select: (b) => {
        clearTimeout(s), s = setTimeout(() => void k(b), Ae);
      }
    });
  }), k = (c) => u(async () => {
    if (!n || (c.action === "ablate" ? !c.heads.length : !c.tokens.length)) return;
    const h = await (await N("/text", { text: r.value, chat: o, selection: c })).json(), b = (g) => g === void 0 ? "" : ` (mean mass on the words: ${E(g)})`;
    l.textContent = `without${b(h.mass.before)}:
${h.before}`, i.textContent = `with${b(h.mass.after)}:
${h.after}`;
  }), y = d("div", { class: "bar" }, I("see", () => void f()), Y("as a user's message", o, (c) => o = c));
  e.replaceChildren(d("h1", {}, e.dataset.model ?? ""), r, y, a, d("div", { class: "texts" }, l, i), p);
}
const Ce = 3;
function Se(e) {
  const t = /* @__PURE__ */ new Map(), n = /* @__PURE__ */ new Set(), o = d("div", { class: "neurons", role: "list", "aria-label": "products by dimension" }), s = d("div"), r = d("p", { class: "said", "aria-live": "polite" }), a = d("input", { type: "number", min: "0", max: String(e.capture.tokens.length - 1), value: "0", "aria-label": "key token" }), l = d("div", { class: "bar" }, d("label", {}, "key: token ", a)), i = d("details", { "aria-label": "neuron view" }, d("summary", {}, "Neuron view"), l, s, o, r), p = () => {
    const { capture: f, index: k, look: y } = e, c = `${k}/${y.site}/${y.token}/${a.value}`;
    return !t.has(c) && !n.has(c) && e.host.neurons && (n.add(c), e.host.neurons(k, f.sites[y.site].name, y.token, Number(a.value)).then(
      (h) => {
        t.set(c, h), u();
      },
      (h) => r.textContent = h.message
    )), t.get(c);
  }, u = () => {
    if (!i.open) return;
    const f = p();
    if (!f) return;
    const { capture: k, look: y } = e, c = f.length / k.heads, h = f.subarray(y.head * c, (y.head + 1) * c), b = j(h, { signed: !0, dark: y.dark });
    s.replaceChildren(z(b, "product of query and key in one dimension, scaled")), o.replaceChildren(
      ...Array.from(h, (w, x) => {
        const v = `dimension ${x}: ${E(w)}`;
        return d("span", { role: "listitem", class: "cell", "data-dimension": String(x), "data-value": String(w), "aria-label": v, title: v, style: `background:${q(w, b)}` });
      })
    );
    const g = Array.from(h.keys()).sort((w, x) => Math.abs(h[x]) - Math.abs(h[w])).slice(0, Ce), m = (w) => `token ${w} (${S(k.tokens[w])})`;
    r.textContent = `query of ${m(y.token)}, key of ${m(Number(a.value))}: logit ${E(h.reduce((w, x) => w + x, 0))}; the largest parts: ${g.map((w) => `dimension ${w} (${E(h[w])})`).join(", ")}`;
  };
  return a.addEventListener("change", u), i.addEventListener("toggle", u), e.onChange(u), i;
}
class Le {
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
    const o = this.selection.heads.filter(([r, a]) => r !== t || a !== n), s = o.length < this.selection.heads.length ? o : [...o, [t, n]];
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
const Me = 65535, M = 420, te = 12, T = 4, je = 10, ne = "#999999", V = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];
function Oe(e, t) {
  const n = (e.byteLength - 4 * t) / (2 * t), o = new Uint16Array(e, 0, n * t), s = new Float32Array(e, 2 * n * t, t);
  return Array.from(s, (r, a) => ({ points: o.subarray(a * n, (a + 1) * n), share: r }));
}
function Ne({ points: e }, t) {
  const n = e.length / 4, o = (s) => te + s / Me * (M - 2 * te);
  return Array.from({ length: 2 * n }, (s, r) => ({
    token: Math.floor(r % n * t / n),
    key: r >= n,
    x: o(e[2 * r]),
    y: M - o(e[2 * r + 1])
  }));
}
function Ie(e, t, n) {
  let o, s = je ** 2;
  for (const r of e) {
    const a = (r.x - t) ** 2 + (r.y - n) ** 2;
    a <= s && ([o, s] = [r, a]);
  }
  return o;
}
function Fe(e) {
  const t = /* @__PURE__ */ new Map(), n = /* @__PURE__ */ new Set();
  let o = "position", s = [], r = { token: e.look.token, key: !1 };
  const a = d("canvas", { role: "application", tabindex: "0", width: String(M), height: String(M), class: "space" }), l = d("p", { class: "said", "aria-live": "polite" }), i = d("p", { class: "hint" }), p = d("div"), u = d("p", { class: "hint" }, "Circles are queries, squares keys. Hover, or move with the arrows (up and down change between query and key); a click, or Enter, pins the token."), f = d("div", { class: "bar" }, F("colour points by", ["position", "span"], o, (g) => {
    o = g, h();
  })), k = d("details", { "aria-label": "query-key space" }, d("summary", {}, "Query-key space"), f, p, a, l, i, u);
  k.open = e.capture.plane(0, 0) !== void 0;
  const y = () => {
    const { capture: g, index: m, look: w } = e, x = g.plane(w.site, w.head);
    if (x || !e.host.space) return x;
    const v = `${m}/${w.site}`;
    return !t.has(v) && !n.has(v) && (n.add(v), l.textContent = "…", e.host.space(m, g.sites[w.site].name).then(
      (A) => {
        t.set(v, Oe(A, g.heads)), l.textContent = "", h();
      },
      (A) => l.textContent = A.message
    )), t.get(v)?.[w.head];
  }, c = ({ token: g, key: m }) => {
    l.textContent = `${m ? "key" : "query"} of token ${g} (${S(e.capture.tokens[g])})`;
  }, h = () => {
    if (!k.open) return;
    const g = y(), { capture: m, look: w } = e;
    s = g ? Ne(g, m.tokens.length) : [];
    const x = j([m.tokens.length - 1], { dark: w.dark }), v = Object.entries(m.spans), A = ($) => v.findIndex(([, L]) => L.includes($)), D = `${m.sites[w.site].name}, head ${w.head}`;
    a.setAttribute("aria-label", `queries and keys of ${D}: ${s.length} points`), i.textContent = g ? `${D}: the plane of the first two principal components, which hold ${E(100 * g.share)} % of the variance. Nearness here is a hint of a large product, not a weight.` : "";
    const R = ($, L) => d("span", {}, d("span", { class: "swatch", style: `background:${$}` }), ` ${L} `);
    p.replaceChildren(
      o === "position" ? z(x, "position") : d("div", { class: "legend" }, ...v.map(([$], L) => R(V[L % V.length], $)), R(ne, "no span"))
    );
    const C = a.getContext("2d");
    if (C) {
      C.clearRect(0, 0, M, M);
      for (const $ of s) {
        const L = A($.token);
        C.fillStyle = o === "position" ? `rgb(${P($.token, x).join(",")})` : L < 0 ? ne : V[L % V.length];
        const Q = $.token === r.token && $.key === r.key;
        C.strokeStyle = $.token === w.token || Q ? "#d95f02" : w.dark ? "#e8eaf0" : "#1b1f27", C.lineWidth = Q ? 3 : $.token === w.token ? 2 : 0.5, C.beginPath(), $.key ? C.rect($.x - T, $.y - T, 2 * T, 2 * T) : C.arc($.x, $.y, T, 0, 2 * Math.PI), C.fill(), C.stroke();
      }
    }
  }, b = (g) => {
    const m = a.getBoundingClientRect();
    return Ie(s, (g.clientX - m.left) / m.width * M, (g.clientY - m.top) / m.height * M);
  };
  return a.addEventListener("mousemove", (g) => {
    const m = b(g);
    m && c(m);
  }), a.addEventListener("click", (g) => {
    const m = b(g);
    m && (r = m, e.set({ token: m.token }));
  }), a.addEventListener("keydown", (g) => {
    const m = { ArrowLeft: -1, ArrowRight: 1 }[g.key], w = s.filter((x) => x.key === r.key);
    if (m && w.length) {
      const x = w.findIndex((v) => v.token >= r.token);
      r = w[Math.min(w.length - 1, Math.max(0, (x < 0 ? w.length - 1 : x) + m))];
    } else if (g.key === "ArrowUp" || g.key === "ArrowDown") r = { ...r, key: !r.key };
    else if (g.key === "Enter") e.set({ token: r.token });
    else return;
    g.preventDefault(), c(r), h();
  }), k.addEventListener("toggle", h), e.onChange(h), h(), k;
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
.saccade .neurons{display:flex;flex-wrap:wrap;max-width:520px}
.saccade .legend{display:flex;align-items:center;gap:6px;font-size:11px}
.saccade .strip{display:inline-block;width:120px;height:10px;border:1px solid var(--line)}
.saccade .text{line-height:1.9;max-height:360px;overflow:auto}
.saccade .token{padding:1px 3px;margin:1px;border-radius:3px;cursor:pointer;display:inline-block}
.saccade .token.pinned{outline:2px solid var(--mark)}.saccade .token.picked{text-decoration:underline 2px var(--mark)}
.saccade button,.saccade select{font:inherit;color:inherit;background:var(--paper);border:1px solid var(--line);border-radius:4px}
.saccade textarea{width:100%;box-sizing:border-box;font:inherit;color:inherit;background:var(--paper);border:1px solid var(--line)}
.saccade .texts{display:grid;grid-template-columns:1fr 1fr;gap:12px}.saccade pre{white-space:pre-wrap;margin:4px 0}
@media(max-width:800px){.saccade .panes{grid-template-columns:1fr}}
`, re = ["reads", "read by", "received"], De = [...re, "rollout"], U = 512;
function Re(e) {
  const t = d("div", { class: "text", tabindex: "0", role: "listbox", "aria-label": "tokens" }), n = d("p", { class: "said", "aria-live": "polite" }), o = d("div"), s = e.host.rollout !== void 0 || e.host.captures.every((c) => c.rollout), r = d("div", { class: "bar" }, F("colour by", s ? De : re, e.look.mode, (c) => e.set({ mode: c }))), a = /* @__PURE__ */ new Map(), l = /* @__PURE__ */ new Set();
  let i = { weights: new Float32Array(0), exact: !1 };
  const p = (c, h) => (!a.has(c) && !l.has(c) && (l.add(c), h().then(
    (b) => {
      a.set(c, b), f();
    },
    (b) => n.textContent = b.message
  )), a.get(c)), u = () => {
    const { site: c, head: h, token: b, mode: g } = e.look, { capture: m } = e;
    if (g === "received") return m.received(c, h);
    if (g === "read by") return m.readBy(c, h, b);
    const { rows: w, rollout: x } = e.host;
    if (g === "rollout") {
      const A = x ? p(`rollout/${e.index}/${b}`, () => x(e.index, b)) : m.rollout;
      return { weights: A ?? new Float32Array(m.tokens.length), exact: A !== void 0 };
    }
    const v = w && p(`${e.index}/${c}/${b}`, () => w(e.index, m.sites[c].name, b));
    return v ? { weights: v.subarray(h * m.tokens.length, (h + 1) * m.tokens.length), exact: !0 } : m.reads(c, h, b);
  }, f = () => {
    const { capture: c, look: h } = e;
    i = u();
    const b = j(i.weights, { log: h.log, dark: h.dark });
    o.replaceChildren(z(b, Be(e, i)));
    const g = Math.max(0, Math.min(h.token - U / 2, c.tokens.length - U)), m = Object.entries(c.spans), w = c.tokens.slice(g, g + U).map((x, v) => {
      const A = g + v, D = P(i.weights[A], b), R = m.filter(([, $]) => $.includes(A)).map(([$]) => $), C = ["token", A === h.token && h.mode !== "received" ? "pinned" : "", e.selection.tokens.includes(A) ? "picked" : ""];
      return d(
        "span",
        {
          class: C.filter(Boolean).join(" "),
          role: "option",
          "aria-selected": String(A === h.token),
          "data-token": String(A),
          "data-weight": String(i.weights[A]),
          title: `${A} ${S(x)}: ${E(i.weights[A])}${R.length ? ` (${R.join(", ")})` : ""}`,
          style: `background:rgb(${D.join(",")});color:${ke(D)}`
        },
        S(x)
      );
    });
    t.replaceChildren(...w), c.tokens.length > U && t.append(d("span", { class: "hint" }, ` tokens ${g} to ${g + U - 1} of ${c.tokens.length}`));
  }, k = (c) => {
    const h = c.target.closest("[data-token]");
    return h ? Number(h.dataset.token) : void 0;
  };
  t.addEventListener("mouseover", (c) => {
    const h = k(c);
    h !== void 0 && (n.textContent = `token ${h} (${S(e.capture.tokens[h])}): ${E(i.weights[h])}${i.exact || i.weights[h] > 0 ? "" : ", or below what was kept"}`);
  }), t.addEventListener("click", (c) => {
    const h = k(c);
    h !== void 0 && (c.shiftKey ? e.toggleToken(h) : e.set({ token: h }));
  }), t.addEventListener("keydown", (c) => {
    const h = { ArrowLeft: -1, ArrowRight: 1 }[c.key], b = e.look.token + (h ?? 0);
    h && e.capture.tokens[b] !== void 0 && (e.set({ token: b }), c.preventDefault()), c.key === "Enter" && e.toggleToken(e.look.token);
  }), e.onChange(f), f();
  const y = d("p", { class: "hint" }, "Click a token to pin it; arrows move the pin; shift-click, or Enter, selects words for an edit.");
  return d("section", { "aria-label": "tokens" }, d("h2", {}, "Tokens"), r, o, t, n, y);
}
function Be(e, t) {
  const { mode: n, token: o } = e.look;
  if (n === "rollout") {
    const a = e.capture.tokens.length - 1, l = e.host.rollout ? o : a;
    return `share of each token in token ${l} (${S(e.capture.tokens[l])}) after all layers, by attention alone (rollout${e.host.rollout ? "" : ", of the last token only"})`;
  }
  const s = `token ${o} (${S(e.capture.tokens[o])})`;
  if (n === "received") return "mean weight that a token gets from all rows";
  const r = t.exact ? "exact" : `the ${e.capture.links} largest of each row`;
  return n === "reads" ? `weight with which ${s} reads (${r})` : `weight with which each token reads ${s} (${r})`;
}
const Te = "A weight says how much of a value a head mixed in, before its output projection. It is neither an importance nor a cause: edit or ablate to see those.";
function X(e, t) {
  const { captures: n } = t;
  if (!n.length) throw new Error("the viewer needs a capture, found none.");
  const o = (u) => `${u.sites.length} × ${u.heads}`;
  if (n.some((u) => o(u) !== o(n[0])))
    throw new Error(`captures are compared head by head; found ${n.map(o).join(" and ")} heads.`);
  const s = matchMedia("(prefers-color-scheme: dark)").matches, r = n[0], a = new Le(t, {
    measure: r.measures.find((u) => u.startsWith("mass.")) ?? r.measures[0],
    sort: "layer",
    site: 0,
    head: 0,
    token: r.tokens.length - 1,
    mode: "reads",
    log: !1,
    hideFirst: !1,
    compare: n.length > 1 ? "difference" : "first",
    dark: s
  }), l = d("div", { class: `saccade${s ? " dark" : ""}` }), i = I("light or dark", () => {
    l.classList.toggle("dark"), a.set({ dark: l.classList.contains("dark") });
  }), p = [
    I("save model view (SVG)", () => _("heads.svg", "image/svg+xml", $e(a))),
    I("save map (SVG)", () => _("head.svg", "image/svg+xml", ve(a))),
    I("save map (PNG)", () => l.querySelector("canvas")?.toBlob((u) => u && _("head.png", "image/png", u)))
  ];
  return l.append(
    d("style", {}, ae),
    d("h1", {}, n.map((u) => u.model).join(" and ")),
    d("p", { class: "hint" }, Te),
    d("div", { class: "bar" }, i, ...p),
    d("div", { class: "panes" }, be(a), we(a)),
    Re(a),
    ...t.space || n.every((u) => u.plane(0, 0)) ? [Fe(a)] : [],
    ...t.neurons ? [Se(a)] : [],
    le(a)
  ), e.replaceChildren(l), a;
}
function Ue(e) {
  const t = Uint8Array.fromBase64;
  if (t) return t(e).buffer;
  const n = atob(e), o = new Uint8Array(n.length);
  for (let s = 0; s < n.length; s++) o[s] = n.charCodeAt(s);
  return o.buffer;
}
function qe({ model: e, el: t }) {
  const n = /* @__PURE__ */ new Map();
  let o = 0;
  e.on("msg:custom", (f, k) => {
    const { id: y, error: c } = f;
    if (c) n.get(y)?.reject(new Error(c));
    else {
      const h = k[0];
      n.get(y)?.resolve(h.buffer.slice(h.byteOffset, h.byteOffset + h.byteLength));
    }
    n.delete(y);
  });
  const s = (f, k) => new Promise((y, c) => {
    n.set(++o, { resolve: y, reject: c }), e.send({ id: o, what: f, ...k });
  }), r = async (f, k, y) => new Float32Array(await s("rows", { capture: f, site: k, query: y })), a = (f, k) => s("space", { capture: f, site: k }), l = async (f, k, y, c) => new Float32Array(await s("neurons", { capture: f, site: k, query: y, key: c })), i = async (f, k) => new Float32Array(await s("rollout", { capture: f, query: k })), p = (f) => {
    e.set("selection", f), e.save_changes();
  }, u = () => {
    const f = e.get("captures").map(
      (k) => new K(k.buffer.slice(k.byteOffset, k.byteOffset + k.byteLength))
    );
    X(t, { captures: f, rows: r, space: a, neurons: l, rollout: i, select: p });
  };
  e.on("change:captures", u), u();
}
const ze = { render: qe }, oe = document.getElementById("saccade"), se = document.querySelectorAll("script.saccade-capture");
oe && se.length && X(oe, { captures: Array.from(se, (e) => new K(Ue(e.textContent ?? ""))) });
const H = document.getElementById("saccade-live");
H && (document.head.append(d("style", {}, ae)), H.classList.add("saccade"), Ee(H, X));
export {
  Ue as decode,
  ze as default,
  X as mount
};
