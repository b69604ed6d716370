// Lines between cells, as wide as the square root of what flows. Each bends to its right as it goes, so that a flow and
// the one that returns lie beside each other.
import {centre, outline, rowOf} from './cells.js';

const [THINNEST, WIDEST] = [1.5, 8]; // pixels
const HALO = 1.6; // on either side; light in the dark theme too: lines must stand out from dark cells
const LIGHT = 'rgba(255,255,255,.92)';
const BEND = 0.3; // of its length
const CLEAR = 14; // pixels around the chosen cell, for its ring; more where its outline is larger

const widthOf = (amount, most) => Math.max(THINNEST, WIDEST * Math.sqrt(amount / most));

// What Python sent, with the lines that can be drawn, the widest first: a thin one is not hidden.
export function readFlows(pyramid, flows, chosen) {
  if (!flows) return null;
  const known = flows.lines.filter(([start, end]) => rowOf(pyramid, start) >= 0 && rowOf(pyramid, end) >= 0);
  const most = Math.max(...known.map(([, , amount]) => amount));
  const lines = known.map(([start, end, amount, kind]) => ({
    from: centre(pyramid, start), to: centre(pyramid, end), corners: [start, end].map((id) => id === chosen && outline(pyramid, id)[0]),
    amount, width: widthOf(amount, most), colour: flows.kinds[kind].colour,
  }));
  const ends = new Set(known.flatMap(([start, end]) => [start, end]).filter((id) => id !== chosen));
  return {...flows, most, lines: lines.sort((a, b) => b.amount - a.amount), ends: [...ends].map((id) => centre(pyramid, id))};
}

// Round amounts for the legend: what a wide, a middling and a thin line stand for.
export function samples({lines, most}) {
  const round = (x) => {
    const power = 10 ** Math.floor(Math.log10(x) + 1e-9);
    return Number((Math.floor(x / power + 1e-6) * power).toPrecision(1));
  };
  const amounts = lines.length ? [most, most / 5, most / 25].map(round).filter((x) => x >= lines.at(-1).amount) : [];
  return [...new Set(amounts)].map((amount) => ({amount, width: widthOf(amount, most)}));
}

export function paintFlows(context, view, {flows}) {
  if (!flows) return;
  context.lineCap = 'round';
  for (const line of flows.lines) {
    const ends = [view.project(line.from), view.project(line.to)];
    const clear = line.corners.map((corner, i) => (corner ? Math.max(CLEAR, distance(view.project(corner), ends[i]) + 5) : 0));
    const shape = arc(ends, line.width, clear, flows.arrows);
    if (!shape) continue;
    for (const [colour, wider] of [[LIGHT, 2 * HALO], [line.colour, 0]]) {
      context.strokeStyle = context.fillStyle = colour;
      context.lineWidth = line.width + wider;
      context.beginPath();
      context.moveTo(...shape.curve[0]);
      context.quadraticCurveTo(...shape.curve[1], ...shape.curve[2]);
      context.stroke();
      if (!shape.head) continue;
      context.beginPath();
      shape.head.forEach((point) => context.lineTo(...point));
      context.closePath();
      context.fill();
      context.lineWidth = Math.max(wider, 0.5);
      context.stroke();
    }
  }
  context.lineCap = 'butt';
}

const distance = ([x0, y0], [x1, y1]) => Math.hypot(x1 - x0, y1 - y0);

// A quadratic curve in pixels, without what a ring or its own arrow head takes, and that head.
function arc([[x0, y0], [x1, y1]], width, clear, arrow) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const length = Math.hypot(dx, dy);
  if (length < 3) return null;
  const points = [[x0, y0], [(x0 + x1) / 2 - BEND * dy, (y0 + y1) / 2 + BEND * dx], [x1, y1]];
  // Of a short line there is something left too.
  const part = (pixels) => Math.min(pixels / length, 0.35);
  const [from, tip] = [part(clear[0]), 1 - part(clear[1])];
  const size = arrow ? Math.min(5 + 1.3 * width, 0.3 * length) : 0;
  const to = Math.max(from, tip - size / length);
  const curve = [blossom(points, from, from), blossom(points, from, to), blossom(points, to, to)];
  if (!arrow) return {curve};
  const end = blossom(points, tip, tip);
  const [ux, uy] = [end[0] - curve[2][0], end[1] - curve[2][1]];
  const half = 0.62;
  return {curve, head: [end, [curve[2][0] - half * uy, curve[2][1] + half * ux], [curve[2][0] + half * uy, curve[2][1] - half * ux]]};
}

// blossom(t, t) lies on the curve; blossom(s, t) is the middle control point of its piece from s to t.
function blossom([a, b, c], s, t) {
  const [u, v, w] = [(1 - s) * (1 - t), s * (1 - t) + t * (1 - s), s * t];
  return [u * a[0] + v * b[0] + w * c[0], u * a[1] + v * b[1] + w * c[1]];
}
