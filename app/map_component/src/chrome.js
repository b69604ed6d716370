// Legend, tooltip, buttons and messages: plain DOM over the canvas, styled with Streamlit's own variables.
export const CSS = `
.mobclip-map { position: relative; width: 100%; overflow: hidden; border-radius: 8px; background: #e6edf2;
  font-family: var(--st-font, system-ui, sans-serif); color: var(--st-text-color, #222); outline: none; }
.mobclip-map.dark { background: #12171d; }
.mobclip-map canvas { outline: none; }
.mobclip-map:focus-visible { box-shadow: inset 0 0 0 3px var(--st-primary-color, #2a6fdb); }
.mobclip-map .canvas { position: absolute; inset: 0; }
.mobclip-map:focus-visible .canvas::after { content: ''; position: absolute; left: 50%; top: 50%; width: 22px; height: 22px;
  margin: -12px; border: 2px solid var(--st-primary-color, #2a6fdb); border-radius: 50%; pointer-events: none; }
.mobclip-map .card { position: absolute; background: var(--st-background-color, #fff); opacity: .95;
  border: 1px solid var(--st-border-color, #ddd); border-radius: 6px; font-size: 12.5px; line-height: 1.35; }
.mobclip-map .legend { left: 10px; bottom: 10px; padding: 8px 10px; max-width: min(260px, 60%); pointer-events: none; }
.mobclip-map .legend b { display: block; font-weight: 600; overflow-wrap: anywhere; }
.mobclip-map .legend .ramp { height: 9px; border-radius: 3px; margin: 6px 0 3px; min-width: 190px; }
.mobclip-map .legend .ends { display: flex; justify-content: space-between; gap: 14px; font-variant-numeric: tabular-nums; }
.mobclip-map .legend .item { display: flex; align-items: center; gap: 7px; margin-top: 4px; }
.mobclip-map .legend .item i { flex: none; width: 12px; height: 12px; border-radius: 3px; }
.mobclip-map .legend small { display: block; margin-top: 4px; font-size: 11.5px; opacity: .8; }
.mobclip-map .buttons { right: 10px; top: 10px; display: flex; flex-direction: column; overflow: hidden; }
.mobclip-map .buttons button { all: unset; box-sizing: border-box; width: 30px; height: 30px; text-align: center; font-size: 17px;
  line-height: 28px; cursor: pointer; }
.mobclip-map .buttons button + button { border-top: 1px solid var(--st-border-color, #ddd); }
.mobclip-map .buttons button:hover { background: var(--st-secondary-background-color, #eee); }
.mobclip-map .buttons button:focus-visible { box-shadow: inset 0 0 0 2px var(--st-primary-color, #2a6fdb); }
.mobclip-map .tip { padding: 4px 8px; pointer-events: none; white-space: nowrap; display: none; z-index: 2; }
.mobclip-map .tip code { font-family: var(--st-code-font, monospace); font-size: 11.5px; opacity: .75; }
.mobclip-map .message { left: 50%; top: 50%; transform: translate(-50%, -50%); padding: 14px 18px; max-width: 380px; font-size: 14px; }
.mobclip-map .message:empty { display: none; }
.mobclip-map .live { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
`;

const make = (tag, className, parent, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  parent.append(element);
  return element;
};

export function furnish(root, {zoomIn, zoomOut, fit}) {
  make('style', '', root, CSS);
  const canvas = make('div', 'canvas', root);
  const legend = make('div', 'card legend', root);
  const buttons = make('div', 'card buttons', root);
  for (const [text, label, act] of [['+', 'Zoom in', zoomIn], ['−', 'Zoom out', zoomOut], ['⌂', 'Show the whole place', fit]]) {
    const button = make('button', '', buttons, text);
    button.type = 'button';
    button.title = label;
    button.setAttribute('aria-label', label);
    button.addEventListener('click', (event) => {
      event.stopPropagation();
      act();
    });
  }
  const tip = make('div', 'card tip', root);
  const message = make('div', 'card message', root);
  const live = make('div', 'live', root);
  live.setAttribute('aria-live', 'polite');
  return {canvas, legend, tip, message, live};
}

export function drawLegend(element, legend) {
  element.replaceChildren();
  element.style.display = legend ? '' : 'none';
  if (!legend) return;
  make('b', '', element, legend.title);
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
}

const number = new Intl.NumberFormat('en', {maximumSignificantDigits: 4});

export function drawTip(tip, root, x, y, id, value, spec) {
  if (id === null) {
    tip.style.display = 'none';
    return;
  }
  tip.replaceChildren();
  if (spec && value !== null) {
    const shown = Number.isNaN(value) ? 'no value' : spec.labels?.[Math.round(value)] ?? `${number.format(value)}${spec.unit ? ' ' + spec.unit : ''}`;
    make('div', '', tip, spec.label ? `${spec.label}: ${shown}` : shown);
  }
  make('code', '', tip, id);
  tip.style.display = 'block';
  const left = x + 14 + tip.offsetWidth > root.clientWidth ? x - tip.offsetWidth - 10 : x + 14;
  const top = y + 14 + tip.offsetHeight > root.clientHeight ? y - tip.offsetHeight - 10 : y + 14;
  tip.style.left = `${Math.max(0, left)}px`;
  tip.style.top = `${Math.max(0, top)}px`;
}
