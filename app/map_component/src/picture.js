// The map as a PNG: what is on the screen, its legends, and below it where it comes from.
import {isFolded, measured} from './chrome.js';
import {samples} from './flows.js';
import {css} from './theme.js';

const FONT = 'system-ui, sans-serif';

export function savePicture(map) {
  const ratio = Math.max(2, Math.min(window.devicePixelRatio || 1, 3)); // sharp in print
  const [width, height] = [map.root.clientWidth, map.root.clientHeight];
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d');
  context.font = `12px ${FONT}`;
  const lines = wrap(context, map.provenance, width - 24);
  const foot = 34 + 16 * lines.length;
  [canvas.width, canvas.height] = [width * ratio, (height + foot) * ratio];
  context.scale(ratio, ratio);
  const {theme} = map;
  context.fillStyle = css(theme.ground);
  context.fillRect(0, 0, width, height);
  map.basemap.picture(context, map.root);
  map.renderer.picture(context, width, height);
  if (map.split) {
    const x = (map.split === 'side' ? 0.5 : map.at) * width;
    context.fillStyle = css(theme.mark);
    context.fillRect(x - 1, 0, 2, height);
  }
  map.legends.forEach((legend, i) => legend && drawLegend(context, isFolded() ? {title: legend.title} : legend, theme, {
    left: legendLeft(map, i, width), bottom: height - 10, flows: i === 0 && !isFolded() && map.flows?.lines.length ? map.flows : null,
  }));
  context.fillStyle = theme.dark ? '#0e1117' : '#fff';
  context.fillRect(0, height, width, foot);
  context.fillStyle = css(theme.label);
  context.textBaseline = 'top';
  context.font = `600 13px ${FONT}`;
  context.fillText(map.label, 12, height + 10, width - 24);
  context.font = `12px ${FONT}`;
  lines.forEach((line, i) => context.fillText(line, 12, height + 29 + 16 * i));
  canvas.toBlob((blob) => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(blob);
    link.download = `${map.label.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-|-$/g, '') || 'map'}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }, 'image/png');
}

const legendLeft = (map, i, width) => (i === 0 ? 10 : map.split === 'side' ? width / 2 + 10 : -(width - 10));

// `left` negative: the right edge. `bottom`: of the card.
function drawLegend(context, legend, theme, {left, bottom, flows}) {
  const inner = 220;
  context.font = `600 12.5px ${FONT}`;
  const title = wrap(context, legend.title, inner);
  context.font = `12px ${FONT}`;
  const note = wrap(context, legend.note ?? '', inner);
  const items = legend.items ?? [];
  const widths = flows ? samples(flows) : [];
  const rows = 17 * title.length + (legend.ramp ? 34 : 0) + 18 * items.length + 15 * note.length
    + (flows ? 24 + 18 * (flows.kinds.length + widths.length) : 0);
  const [wide, tall] = [inner + 20, rows + 16];
  let x = left < 0 ? -left - wide : left;
  let y = bottom - tall;
  context.fillStyle = theme.dark ? 'rgba(14,17,23,.95)' : 'rgba(255,255,255,.95)';
  context.strokeStyle = theme.dark ? '#444' : '#ddd';
  context.beginPath();
  context.roundRect(x, y, wide, tall, 6);
  context.fill();
  context.stroke();
  x += 10;
  y += 8;
  context.textBaseline = 'top';
  context.fillStyle = css(theme.label);
  context.font = `600 12.5px ${FONT}`;
  for (const line of title) {
    context.fillText(line, x, y);
    y += 17;
  }
  context.font = `12px ${FONT}`;
  if (legend.ramp) {
    const gradient = context.createLinearGradient(x, 0, x + inner, 0);
    legend.ramp.forEach((colour, i) => gradient.addColorStop(i / (legend.ramp.length - 1), colour));
    context.fillStyle = gradient;
    context.fillRect(x, y + 3, inner, 9);
    context.fillStyle = css(theme.label);
    context.fillText(legend.low ?? '', x, y + 16);
    context.textAlign = 'right';
    context.fillText(legend.high ?? '', x + inner, y + 16);
    context.textAlign = 'left';
    y += 34;
  }
  const item = (colour, label, wide, high) => {
    context.fillStyle = colour;
    context.fillRect(x, y + 8 - high / 2, wide, high);
    context.fillStyle = css(theme.label);
    context.fillText(label, x + wide + 7, y + 2, inner - wide - 7);
    y += 18;
  };
  for (const {colour, label} of items) item(colour, label, 12, 12);
  for (const line of note) {
    context.fillText(line, x, y + 1);
    y += 15;
  }
  if (!flows) return;
  context.font = `600 12.5px ${FONT}`;
  context.fillText(flows.title, x, y + 6, inner);
  context.font = `12px ${FONT}`;
  y += 24;
  for (const {colour, label} of flows.kinds) item(colour, label, 22, 3);
  for (const {amount, width} of widths) item(css(theme.label), measured(amount, flows), 22, width);
}

function wrap(context, text, width) {
  const lines = [];
  for (const word of (text || '').split(/\s+/).filter(Boolean)) {
    const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
    if (lines.length && context.measureText(longer).width <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}
