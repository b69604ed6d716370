// The place's own GeoJSON: land and water under the hexagons, thin lines and names above. Never tiles.
// Features carry `kind`: land, coast, water, border, river, road; a point with a `name` is a place name, and
// `population` (or `rank`, 1 the first) decides which of two crowded names stays.
import {GeoJsonLayer, TextLayer} from '@deck.gl/layers';

const kindOf = (feature) => feature.properties?.kind ?? '';
const geometryOf = (feature) => feature.geometry?.type ?? '';

export function splitContext(geojson) {
  const features = geojson?.features ?? [];
  const of = (pattern) => features.filter((f) => pattern.test(geometryOf(f)));
  const filled = of(/Polygon$/).filter((f) => kindOf(f) !== 'border');
  const lines = [...of(/LineString$/), ...of(/Polygon$/).filter((f) => !filled.includes(f))];
  const names = of(/^Point$/)
    .filter((f) => f.properties?.name)
    .map((f) => ({
      name: String(f.properties.name),
      position: f.geometry.coordinates.slice(0, 2),
      weight: Number(f.properties.population ?? -(f.properties.rank ?? 0)),
    }))
    .sort((a, b) => b.weight - a.weight || a.name.localeCompare(b.name));
  return {filled, lines, names};
}

export function groundLayer(context, theme) {
  return new GeoJsonLayer({
    id: 'ground', data: context.filled, stroked: true, filled: true, lineWidthUnits: 'pixels', getLineWidth: 1,
    getFillColor: (f) => (kindOf(f) === 'water' ? theme.water : theme.land),
    getLineColor: theme.coast,
    updateTriggers: {getFillColor: theme.dark, getLineColor: theme.dark},
  });
}

export function linesLayer(context, theme) {
  const colour = (f) => theme[{river: 'river', road: 'road', coast: 'coast'}[kindOf(f)] ?? 'border'];
  return new GeoJsonLayer({
    id: 'lines', data: context.lines, stroked: true, filled: false, lineWidthUnits: 'pixels', getLineWidth: 1,
    getLineColor: colour, updateTriggers: {getLineColor: theme.dark},
  });
}

// Greedy: the heavier name wins, a name that would touch one already placed is left out at this zoom.
export function roomForNames(names, viewport) {
  const taken = [];
  const kept = [];
  for (const item of names) {
    const [x, y] = viewport.project(item.position);
    if (x < 0 || y < 0 || x > viewport.width || y > viewport.height) continue;
    const half = 3.6 * item.name.length + 8;
    const box = [x - half, y - 12, x + half, y + 12];
    if (taken.some((t) => box[0] < t[2] && t[0] < box[2] && box[1] < t[3] && t[1] < box[3])) continue;
    taken.push(box);
    kept.push(item);
    if (kept.length === 40) break;
  }
  return kept;
}

export function namesLayer(id, data, theme, options = {}) {
  return new TextLayer({
    id, data, getPosition: (d) => d.position, getText: (d) => d.name, getSize: 13, characterSet: 'auto',
    getColor: theme.label, outlineColor: theme.halo, outlineWidth: 5, fontSettings: {sdf: true, radius: 14, buffer: 8},
    fontFamily: '"Source Sans", system-ui, sans-serif', fontWeight: 600,
    updateTriggers: {getColor: theme.dark}, ...options,
  });
}
