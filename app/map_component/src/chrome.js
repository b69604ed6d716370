// Legends, tooltip, tool bar, divider and messages: plain DOM over the canvas, styled with Streamlit's own variables.
import {samples} from './flows.js';
import {TOOLS} from './tools.js';

export const CSS = `
.mobclip-map { position: relative; width: 100%; overflow: hidden; border-radius: 8px; background: #e6edf2;
  font-family: var(--st-font, system-ui, sans-serif); color: var(--st-text-color, #222); outline: none;
  -webkit-user-select: none; user-select: none; }
.mobclip-map.dark { background: #12171d; }
.mobclip-map canvas { outline: none; }
.mobclip-map:focus-visible { box-shadow: inset 0 0 0 3px var(--st-primary-color, #2a6fdb); }
.mobclip-map .tiles { position: absolute; inset: 0; overflow: hidden; opacity: .6; pointer-events: none; }
.mobclip-map .tiles img { position: absolute; left: 0; top: 0; max-width: none; }
.mobclip-map .canvas { position: absolute; inset: 0; touch-action: none; }
.mobclip-map .drawing { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none; }
.mobclip-map:focus-visible .canvas::after { content: ''; position: absolute; left: 50%; top: 50%; width: 22px; height: 22px;
  margin: -12px; border: 2px solid var(--st-primary-color, #2a6fdb); border-radius: 50%; pointer-events: none; }
.mobclip-map:focus-visible .canvas.halves::after { left: 25%; }
.mobclip-map .card { position: absolute; background: var(--st-background-color, #fff); opacity: .95;
  border: 1px solid var(--st-border-color, #ddd); border-radius: 6px; font-size: 12.5px; line-height: 1.35; }
.mobclip-map .legend { left: 10px; bottom: 10px; padding: 8px 10px; max-width: min(260px, 60%); pointer-events: none; }
.mobclip-map .legend.two { max-width: min(260px, 42%); }
.mobclip-map .legend.b { left: auto; right: 10px; }
.mobclip-map .legend.b.half { right: auto; left: calc(50% + 10px); }
.mobclip-map .legend b { display: block; font-weight: 600; overflow-wrap: anywhere; }
.mobclip-map .card.legend button { width: 100%; height: auto; gap: 12px; justify-content: space-between; font: inherit;
  pointer-events: auto; border-radius: 3px; }
.mobclip-map .card.legend button:hover { background: none; text-decoration: underline; }
.mobclip-map .card.legend button svg { flex: none; width: 14px; height: 14px; }
.mobclip-map .legend b i { font-style: normal; display: inline-block; margin-right: 6px; padding: 0 5px; border-radius: 3px;
  color: var(--st-background-color, #fff); background: var(--st-text-color, #222); }
.mobclip-map .legend .ramp { height: 9px; border-radius: 3px; margin: 6px 0 3px; min-width: 150px; }
.mobclip-map .legend .ends { display: flex; justify-content: space-between; gap: 14px; font-variant-numeric: tabular-nums; }
.mobclip-map .legend .item { display: flex; align-items: center; gap: 7px; margin-top: 4px; }
.mobclip-map .legend .item i { flex: none; width: 12px; height: 12px; border-radius: 3px; }
.mobclip-map .legend .flows { margin-top: 8px; }
.mobclip-map .legend .widths { display: flex; flex-wrap: wrap; gap: 2px 12px; margin-top: 4px; }
.mobclip-map .legend .widths .item { margin: 0; }
.mobclip-map .legend .flows i { width: 22px; border-radius: 0; }
.mobclip-map .legend .flows i.halo { height: 3px; box-shadow: 0 0 0 1.5px #fff; }
.mobclip-map .legend small { display: block; margin-top: 4px; font-size: 11.5px; opacity: .8; }
.mobclip-map .buttons { right: 10px; top: 10px; display: flex; flex-direction: column; overflow: hidden; }
.mobclip-map .tools { left: 10px; top: 10px; display: flex; overflow: hidden; align-items: center; }
.mobclip-map .card button { all: unset; box-sizing: border-box; width: 32px; height: 32px; display: flex; align-items: center;
  justify-content: center; font-size: 17px; cursor: pointer; }
.mobclip-map .card button svg { width: 18px; height: 18px; fill: none; stroke: currentColor; stroke-width: 1.7;
  stroke-linecap: round; stroke-linejoin: round; }
.mobclip-map .buttons button + button { border-top: 1px solid var(--st-border-color, #ddd); }
.mobclip-map .tools button + button { border-left: 1px solid var(--st-border-color, #ddd); }
.mobclip-map .card button:hover { background: var(--st-secondary-background-color, #eee); }
.mobclip-map .card button[aria-pressed=true] { background: var(--st-primary-color, #2a6fdb); color: #fff; }
.mobclip-map .card button:focus-visible { box-shadow: inset 0 0 0 2px var(--st-text-color, #222); }
.mobclip-map .tools .rings { display: flex; align-items: center; border-left: 1px solid var(--st-border-color, #ddd); }
.mobclip-map .tools .rings span { min-width: 50px; text-align: center; font-variant-numeric: tabular-nums; }
.mobclip-map .tools .rings button { width: 26px; border: 0; }
.mobclip-map .hint { left: 10px; top: 52px; padding: 4px 8px; max-width: min(300px, 55%); pointer-events: none; font-size: 12px; }
.mobclip-map .tip { padding: 4px 8px; pointer-events: none; white-space: nowrap; display: none; z-index: 2; }
.mobclip-map .tip code { font-family: var(--st-code-font, monospace); font-size: 11.5px; opacity: .75; }
.mobclip-map .message { left: 50%; top: 50%; transform: translate(-50%, -50%); padding: 14px 18px; max-width: 380px; font-size: 14px; }
.mobclip-map .note { right: 10px; bottom: 10px; padding: 4px 8px; max-width: min(300px, 45%); font-size: 11.5px; pointer-events: none; }
.mobclip-map .note.above { bottom: auto; top: 10px; right: 54px; }
.mobclip-map .message:empty, .mobclip-map .note:empty, .mobclip-map .hint:empty { display: none; }
.mobclip-map .divider { position: absolute; top: 0; bottom: 0; width: 0; outline: none; cursor: ew-resize; touch-action: none; }
.mobclip-map .divider::before { content: ''; position: absolute; top: 0; bottom: 0; left: -11px; width: 22px;
  background: linear-gradient(to right, transparent 9px, #fff 9px 10px, #222 10px 12px, #fff 12px 13px, transparent 13px); }
.mobclip-map .divider.fixed { cursor: default; pointer-events: none; }
.mobclip-map .divider:not(.fixed)::after { content: '⇔'; position: absolute; left: -16px; top: calc(50% - 16px); width: 32px; height: 32px;
  border-radius: 50%; background: #fff; color: #222; border: 1px solid #222; box-sizing: border-box; text-align: center; line-height: 29px; font-size: 16px; }
.mobclip-map .divider:focus-visible::after { box-shadow: 0 0 0 3px var(--st-primary-color, #2a6fdb); }
.mobclip-map .live { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
`;

const ICONS = {
  click: '<path d="M5 3l13 8-6 1.5L15 19l-2.5 1-3-6.5L5 18z"/>',
  box: '<rect x="4" y="5" width="16" height="14" stroke-dasharray="3.4 2.6"/>',
  polygon: '<path d="M4 9l8-5 8 7-4 9H7z"/>',
  lasso: '<path d="M12 4c5 0 8 2.4 8 5.500S16.500 15 12 15s-8-2.400-8-5.500S7 4 12 4zM8 14.500c-2 1.500-.5 3.500 1 3s1-3-1-3zm.5 3c0 1.500-.5 2.500-1.500 3"/>',
  brush: '<path d="M12 3l4.300 2.500v5L12 13l-4.300-2.500v-5zM7.700 11L12 13.500v5L7.700 21l-4.300-2.500v-5zM16.300 11l4.300 2.500v5L16.300 21 12 18.500v-5z"/>',
  fold: '<path d="M6 9l6 6 6-6"/>',
  unfold: '<path d="M9 6l6 6-6 6"/>',
  camera: '<path d="M4 8h3.500L9 5.500h6L16.500 8H20v11H4z"/><circle cx="12" cy="13.200" r="3.300"/>',
};

const number = new Intl.NumberFormat('en', {maximumSignificantDigits: 4});
export const measured = (amount, {unit}) => `${number.format(amount)}${unit ? ' ' + unit : ''}`;
const svg = (icon) => `<svg viewBox="0 0 24 24" aria-hidden="true">${ICONS[icon]}</svg>`;

const make = (tag, className, parent, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
};

function button(parent, {text, icon, label, act}) {
  const element = make('button', '', parent, text);
  if (icon) element.innerHTML = svg(icon);
  element.type = 'button';
  element.title = label;
  element.setAttribute('aria-label', label);
  element.addEventListener('click', (event) => {
    event.stopPropagation();
    act();
  });
  return element;
}

export function furnish(root, {zoomIn, zoomOut, fit, save}) {
  make('style', '', root, CSS);
  const tiles = make('div', 'tiles', root);
  const canvas = make('div', 'canvas', root);
  const drawing = make('canvas', 'drawing', root);
  const divider = make('div', 'divider', root);
  const legends = [make('div', 'card legend', root), make('div', 'card legend b', root)];
  const note = make('div', 'card note', root);
  const tools = make('div', 'card tools', root);
  tools.setAttribute('role', 'toolbar');
  tools.setAttribute('aria-label', 'What a click or a drag does');
  const hint = make('div', 'card hint', root);
  const buttons = make('div', 'card buttons', root);
  for (const [text, icon, label, act] of [
    ['+', '', 'Zoom in', zoomIn], ['−', '', 'Zoom out', zoomOut], ['⌂', '', 'Show the whole place', fit],
    [undefined, 'camera', 'Save the map as a picture (PNG)', save],
  ]) button(buttons, {text, icon, label, act});
  const tip = make('div', 'card tip', root);
  const message = make('div', 'card message', root);
  const live = make('div', 'live', root);
  live.setAttribute('aria-live', 'polite');
  return {tiles, canvas, drawing, divider, legends, note, tools, buttons, hint, tip, message, live};
}

export function drawTools({tools: bar, hint}, tools) {
  const active = bar.getRootNode().activeElement;
  const focused = active && bar.contains(active) ? active.getAttribute('aria-label') : null;
  bar.replaceChildren();
  bar.style.display = tools.offered.length > 1 ? '' : 'none';
  hint.textContent = tools.hint;
  for (const name of tools.offered) {
    const element = button(bar, {icon: name, label: TOOLS[name].label, act: () => tools.choose(name)});
    element.title = [TOOLS[name].label, TOOLS[name].hint].filter(Boolean).join('. ');
    element.setAttribute('aria-pressed', name === tools.tool);
  }
  if (tools.tool === 'brush') {
    const rings = make('div', 'rings', bar);
    button(rings, {text: '−', label: 'Smaller brush', act: () => tools.setRings(tools.k - 1)});
    make('span', '', rings, tools.k === 0 ? '1 cell' : tools.k === 1 ? '1 ring' : `${tools.k} rings`).setAttribute('aria-live', 'polite');
    button(rings, {text: '+', label: 'Larger brush', act: () => tools.setRings(tools.k + 1)});
  }
  // The bar was drawn anew: the keyboard stays where it was.
  if (focused) [...bar.querySelectorAll('button')].find((one) => one.getAttribute('aria-label') === focused)?.focus();
}

// Whether legends are folded to their titles, to see what is below them: kept by the browser, where it keeps anything.
const FOLDED = 'mobclip_legend_folded';
const storage = (act) => {
  try {
    return act(window.localStorage);
  } catch {
    return null; // forbidden, or a file on a disk
  }
};
let folded = storage((kept) => kept.getItem(FOLDED)) === 'yes';
export const isFolded = () => folded;

export function drawLegend(element, {legend, name, flows, redraw}) {
  const focused = element.contains(element.getRootNode().activeElement);
  element.replaceChildren();
  element.style.display = legend ? '' : 'none';
  if (!legend) return;
  const fold = button(element, {label: folded ? 'Show the legend' : 'Fold the legend away, to see what is below it', act: () => {
    folded = !folded;
    storage((kept) => (folded ? kept.setItem(FOLDED, 'yes') : kept.removeItem(FOLDED)));
    redraw();
  }});
  fold.setAttribute('aria-expanded', !folded);
  const title = make('b', '', fold);
  if (name) make('i', '', title, name);
  title.append(legend.title);
  fold.insertAdjacentHTML('beforeend', svg(folded ? 'unfold' : 'fold'));
  if (focused) fold.focus();
  if (folded) return;
  if (legend.ramp) {
    make('div', 'ramp', element).style.background = `linear-gradient(to right, ${legend.ramp.join(', ')})`;
    const ends = make('div', 'ends', element);
    make('span', '', ends, legend.low);
    make('span', '', ends, legend.high);
  }
  for (const {colour, label} of legend.items ?? []) {
    const row = make('div', 'item', element);
    make('i', '', row).style.background = colour;
    make('span', '', row, label);
  }
  if (legend.note) make('small', '', element, legend.note);
  if (flows?.lines.length) drawFlows(element, flows);
}

function drawFlows(element, flows) {
  const part = make('div', 'flows', element);
  make('b', '', part, flows.title);
  for (const {colour, label} of flows.kinds) {
    const row = make('div', 'item', part);
    make('i', 'halo', row).style.background = colour;
    make('span', '', row, label);
  }
  const widths = make('div', 'widths', part);
  for (const {amount, width} of samples(flows)) {
    const item = make('div', 'item', widths);
    make('i', '', item).style.cssText = `background: currentColor; height: ${width}px`;
    make('span', '', item, measured(amount, flows));
  }
}

// `lines`: [{name, value, spec}], one for each colouring.
export function drawTip(tip, root, x, y, id, lines) {
  if (id === null) {
    tip.style.display = 'none';
    return;
  }
  tip.replaceChildren();
  for (const {name, value, spec} of lines) {
    if (!spec || value === null) continue;
    const shown = Number.isNaN(value) ? 'no value' : spec.labels?.[Math.round(value)] ?? measured(value, spec);
    make('div', '', tip, `${name ? name + ' · ' : ''}${spec.label ? spec.label + ': ' : ''}${shown}`);
  }
  make('code', '', tip, id);
  tip.style.display = 'block';
  const left = x + 14 + tip.offsetWidth > root.clientWidth ? x - tip.offsetWidth - 10 : x + 14;
  const top = y + 14 + tip.offsetHeight > root.clientHeight ? y - tip.offsetHeight - 10 : y + 14;
  tip.style.left = `${Math.max(0, left)}px`;
  tip.style.top = `${Math.max(0, top)}px`;
}
