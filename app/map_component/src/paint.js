// Everything but the hexagons, on 2-D canvases: the place's own ground below them; lines, outlines, marks and names
// above. No glyph pictures and no shaders to compile, and the same without WebGL.
import {near} from './cells.js';
import {paintFlows} from './flows.js';
import {toCommon} from './geometry.js';
import {css} from './theme.js';

// ---- the place's own GeoJSON ---------------------------------------------------------------------
// Features carry `kind`: land, coast, water, border, river, road; a point with a `name` is a place name, and
// `population` (or `rank`, 1 the first) decides which of two crowded names stays.

const kindOf = (feature) => feature.properties?.kind ?? '';
const geometryOf = (feature) => feature.geometry?.type ?? '';

export function readContext(geojson, reference) {
  const features = geojson?.features ?? [];
  const of = (pattern) => features.filter((f) => pattern.test(geometryOf(f)));
  const filled = of(/Polygon$/).filter((f) => kindOf(f) !== 'border');
  const lines = [...of(/LineString$/), ...of(/Polygon$/).filter((f) => !filled.includes(f))];
  const shapes = (list) => list.map((feature) => ({kind: kindOf(feature), rings: ringsOf(feature.geometry).map((ring) => flatten(ring, reference))}));
  const names = of(/^Point$/)
    .filter((f) => f.properties?.name)
    .map((f) => ({
      name: String(f.properties.name),
      position: f.geometry.coordinates.slice(0, 2),
      weight: Number(f.properties.population ?? -(f.properties.rank ?? 0)),
    }))
    .sort((a, b) => b.weight - a.weight || a.name.localeCompare(b.name));
  return {filled: shapes(filled), lines: shapes(lines), names};
}

const ringsOf = ({type, coordinates}) => ({
  Polygon: () => coordinates, MultiPolygon: () => coordinates.flat(),
  LineString: () => [coordinates], MultiLineString: () => coordinates,
}[type]());

// A ring in common units, all of it on the side of the date line where the place is.
function flatten(ring, reference) {
  const shift = ring.length ? near(ring[0][0], reference) - ring[0][0] : 0;
  const points = new Float64Array(2 * ring.length);
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  ring.forEach(([lng, lat], i) => {
    const [x, y] = toCommon(lng + shift, lat);
    [points[2 * i], points[2 * i + 1]] = [x, y];
    [box[0], box[1], box[2], box[3]] = [Math.min(box[0], x), Math.min(box[1], y), Math.max(box[2], x), Math.max(box[3], y)];
  });
  return {points, box};
}

function trace(context, view, rings) {
  const [west, south, east, north] = view.box;
  const [x0, y0] = view.pixel(0, 0);
  context.beginPath();
  for (const {points, box} of rings) {
    if (box[0] > east || box[2] < west || box[1] > north || box[3] < south) continue;
    let [lastX, lastY] = [Infinity, Infinity];
    for (let i = 0; i < points.length; i += 2) {
      const x = x0 + points[i] * view.scale;
      const y = y0 - points[i + 1] * view.scale;
      if (i === 0) context.moveTo(x, y);
      else if (Math.abs(x - lastX) + Math.abs(y - lastY) < 0.7 && i < points.length - 2) continue; // nobody sees it
      else context.lineTo(x, y);
      [lastX, lastY] = [x, y];
    }
  }
}

export function paintGround(context, view, {filled}, theme) {
  context.lineWidth = 1;
  for (const {kind, rings} of filled) {
    trace(context, view, rings);
    context.fillStyle = css(kind === 'water' ? theme.water : theme.land);
    context.fill('evenodd');
    context.strokeStyle = css(theme.coast);
    context.stroke();
  }
}

function paintLines(context, view, {lines}, theme) {
  context.lineWidth = 1;
  for (const {kind, rings} of lines) {
    trace(context, view, rings);
    context.strokeStyle = css(theme[{river: 'river', road: 'road', coast: 'coast'}[kind] ?? 'border']);
    context.stroke();
  }
}

// ---- outlines, marks and names -------------------------------------------------------------------

export function paintOver(context, view, map) {
  const {theme, shapes, texts} = map;
  context.lineJoin = 'round';
  paintLines(context, view, map.place.context, theme);
  paintFlows(context, view, map);
  for (const [list, width, casing] of [[shapes.results, 2, 4.5], [shapes.marks, 3, 5], [shapes.chosen, 3.5, 7]]) {
    for (const {ring} of list) outline(context, view, ring, theme.casing, casing);
    for (const {ring, colour} of list) outline(context, view, ring, colour ?? theme.mark, width);
  }
  context.textAlign = 'center';
  context.textBaseline = 'middle';
  for (const {position, colour, sign} of shapes.marks) {
    if (!sign) continue;
    disc(context, view.project(position), 8, {fill: colour, line: [255, 255, 255], width: 1.5});
    context.font = '700 16px system-ui, sans-serif';
    context.fillStyle = '#fff';
    context.fillText(sign, ...view.project(position));
  }
  // At a small scale one cell is a few pixels: a ring of fixed size keeps the chosen one findable.
  for (const {position} of shapes.chosen) disc(context, view.project(position), 11, {line: theme.mark, width: 2.5});
  for (const {name, position, rank} of texts) {
    const [x, y] = view.project(position);
    context.font = rank ? '700 14px "Source Sans", system-ui, sans-serif' : '600 13px "Source Sans", system-ui, sans-serif';
    context.lineWidth = 3.5;
    context.strokeStyle = css(theme.halo);
    context.strokeText(name, x, y - (rank ? 14 : 0));
    context.fillStyle = css(theme.label);
    context.fillText(name, x, y - (rank ? 14 : 0));
  }
}

function outline(context, view, ring, colour, width) {
  context.beginPath();
  ring.forEach((point, i) => (i ? context.lineTo(...view.project(point)) : context.moveTo(...view.project(point))));
  context.lineWidth = width;
  context.strokeStyle = css(colour);
  context.stroke();
}

function disc(context, [x, y], radius, {fill, line, width}) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  if (fill) {
    context.fillStyle = css(fill);
    context.fill();
  }
  context.lineWidth = width;
  context.strokeStyle = css(line);
  context.stroke();
}

// Greedy: the heavier name wins, a name that would touch one already placed is left out at this zoom.
export function roomForNames(names, view) {
  const taken = [];
  const kept = [];
  for (const item of names) {
    const [x, y] = view.project(item.position);
    if (x < 0 || y < 0 || x > view.width || y > view.height) continue;
    const half = 3.6 * item.name.length + 8;
    const box = [x - half, y - 12, x + half, y + 12];
    if (taken.some((t) => box[0] < t[2] && t[0] < box[2] && box[1] < t[3] && t[1] < box[3])) continue;
    taken.push(box);
    kept.push(item);
    if (kept.length === 40) break;
  }
  return kept;
}

// ---- canvases ------------------------------------------------------------------------------------

// A clean context of the size of the map, in CSS pixels. It lives on the processor: Chromium with software graphics
// may go on showing an older drawing after a clear that nothing follows.
export function fresh(canvas, width, height) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
  }
  const context = canvas.getContext('2d', {willReadFrequently: true});
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

// Once for the map, or once for each of two maps side by side.
export function eachHalf(context, view, map, paint) {
  for (let shift = 0, i = 0; i < (map.split === 'side' ? 2 : 1); i++, shift += view.width) {
    context.save();
    context.beginPath();
    context.rect(shift, 0, view.width, view.height);
    context.clip();
    context.translate(shift, 0);
    paint(i);
    context.restore();
  }
}
