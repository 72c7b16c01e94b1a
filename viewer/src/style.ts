/** The viewer's own look, inside its own element. */

export const STYLE = `
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
.saccade .flow{overflow:auto}.saccade .flow svg{max-width:none;display:block}.saccade .flow circle{cursor:pointer}
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
`;
