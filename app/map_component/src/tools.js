// Choosing an area: box, polygon, freehand and brush. What is being drawn lies on a canvas of its own over the map, in
// degrees, so that it stays in place while the map moves. Python gets the outline, or the path of the brush, never a
// list of the cells inside.
import {cellToBoundary, gridDisk, gridPathCells} from 'h3-js';
import {idAt, near} from './cells.js';
import {eachHalf, fresh} from './paint.js';
import {css} from './theme.js';

export const TOOLS = {
  click: {label: 'Choose a cell', hint: ''},
  box: {label: 'Select a box', hint: 'Drag a box. By keyboard: Enter sets one corner, arrows move, Enter sets the other.'},
  polygon: {label: 'Select a polygon', hint: 'Click the corners; a double click, the first corner or Enter ends it, Escape cancels. By keyboard: space sets a corner.'},
  lasso: {label: 'Select freehand', hint: 'Draw around an area.'},
  brush: {label: 'Brush cells', hint: 'Click or drag over cells. By keyboard: Enter brushes the cell in the middle.'},
};
const MOST_POINTS = 300;
const MOST_CELLS = 4000;

// The choice outlives the element: one for the whole browser tab.
const kept = (window.__mobclipTool ??= {tool: 'click', k: 1, learnt: {}});

export class Tools {
  constructor(map) {
    this.map = map;
    this.offered = ['click'];
    this.canvas = map.parts.drawing;
    this.reset();
    const host = map.parts.canvas;
    host.addEventListener('pointerdown', (event) => this.down(event));
    this.onMove = (event) => this.move(event);
    this.onUp = (event) => this.up(event);
    window.addEventListener('pointermove', this.onMove);
    window.addEventListener('pointerup', this.onUp);
    window.addEventListener('pointercancel', this.onUp);
    host.addEventListener('pointerleave', () => { this.hover = null; this.draw(); });
    host.addEventListener('dblclick', () => this.tool === 'polygon' && this.finish());
  }

  get tool() {
    return this.offered.includes(kept.tool) ? kept.tool : 'click';
  }

  get k() {
    return kept.k;
  }

  get canPan() {
    return this.tool === 'click' || this.tool === 'polygon';
  }

  offer(names) {
    this.offered = names;
    this.choose(this.tool, false);
  }

  choose(tool, byHand = true) {
    if (byHand) {
      kept.tool = tool;
      this.reset();
    }
    this.map.toolChanged();
    this.draw();
  }

  // How a tool works is said until it has been used once; after that its button's tooltip says it.
  get hint() {
    return kept.learnt[this.tool] ? '' : TOOLS[this.tool].hint;
  }

  learnt() {
    kept.learnt[this.tool] = true;
    this.map.toolChanged();
  }

  setRings(k) {
    kept.k = Math.max(0, Math.min(5, k));
    this.map.toolChanged();
    this.draw();
  }

  reset() {
    this.points = []; // degrees
    this.stroke = []; // cells
    this.strokeRings = new Map(); // cell under the brush -> its outline
    this.dragging = null; // pointer id
    this.hover = null;
  }

  cancel() {
    const busy = this.points.length > 0 || this.dragging !== null;
    this.reset();
    this.draw();
    return busy;
  }

  // A point of the map in degrees; a drag stays in the half in which it began.
  at(event) {
    const [x, y] = this.map.pixel(event);
    const side = this.side ?? this.map.sideAt(x);
    const view = this.map.halfView();
    return view.unproject([Math.max(0, Math.min(view.width, x - side * view.width)), y]);
  }

  down(event) {
    if (event.button !== 0 || !this.map.place) return;
    if (this.dragging !== null) { // a second finger: pinch
      this.cancel();
      return;
    }
    if (this.tool === 'click' || this.tool === 'polygon') return;
    this.reset();
    this.dragging = event.pointerId;
    this.side = this.map.sideAt(this.map.pixel(event)[0]);
    this.extend(this.at(event));
    this.map.root.focus({preventScroll: true});
    this.draw();
  }

  move(event) {
    const inside = event.composedPath().includes(this.map.root);
    if (this.dragging === event.pointerId) this.extend(this.at(event));
    else if (!inside || this.tool === 'click') return;
    if (this.tool === 'brush') this.hover = idAt(this.map.place.pyramid, this.at(event));
    else if (this.tool === 'polygon') this.hover = this.at(event);
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.draw());
  }

  up(event) {
    if (this.dragging !== event.pointerId) return;
    this.dragging = null;
    if (event.type === 'pointercancel') this.cancel();
    else this.finish();
    this.side = undefined;
  }

  extend(point) {
    if (this.tool === 'box') this.points = [this.points[0] ?? point, point];
    else if (this.tool === 'lasso') {
      const last = this.points.at(-1);
      const view = this.map.halfView();
      const gap = last ? Math.hypot(...view.project(last).map((c, i) => c - view.project(point)[i])) : Infinity;
      if (gap > 4) this.points.push(point);
    } else this.brush(idAt(this.map.place.pyramid, point));
  }

  brush(cell) {
    const last = this.stroke.at(-1);
    if (!cell || cell === last) return;
    let cells = [cell];
    try {
      if (last) cells = gridPathCells(last, cell).slice(1); // a quick hand leaves no gaps
    } catch {
      // No path between cells on far sides of a pentagon.
    }
    for (const one of cells) {
      if (this.stroke.length === MOST_CELLS) return;
      this.stroke.push(one);
      for (const under of gridDisk(one, this.k)) if (!this.strokeRings.has(under)) this.strokeRings.set(under, this.ring(under));
    }
  }

  ring(cell) {
    return cellToBoundary(cell).map(([lat, lng]) => [near(lng, this.map.place.pyramid.reference), lat]);
  }

  // A click of the polygon tool; true if it was one.
  click(point) {
    if (this.tool !== 'polygon') return this.tool !== 'click';
    const view = this.map.halfView();
    const far = (other) => Math.hypot(...view.project(other).map((c, i) => c - view.project(point)[i]));
    if (this.points.length > 2 && far(this.points[0]) < 12) this.finish();
    else if (!this.points.length || far(this.points.at(-1)) > 4) this.points.push(point);
    this.draw();
    return true;
  }

  // Enter or space in the middle of the map; true if a tool took it.
  key(name) {
    const {tool, map} = this;
    if (tool === 'click' || tool === 'lasso') return false;
    const middle = map.halfView().unproject([map.halfView().width / 2, map.root.clientHeight / 2]);
    if (tool === 'polygon') {
      if (name === 'Enter') this.finish();
      else this.click(middle);
    } else if (tool === 'brush') {
      this.reset();
      this.brush(idAt(map.place.pyramid, middle));
      this.finish();
    } else if (this.points.length) {
      this.points = [this.points[0], middle];
      this.finish();
    } else this.points = [middle];
    this.draw();
    return true;
  }

  finish() {
    const {tool, points, stroke, k} = this;
    const event = {
      box: () => {
        const [[x0, y0], [x1, y1]] = points.length === 2 ? points : [[0, 0], [0, 0]];
        const [w, e, s, n] = [Math.min(x0, x1), Math.max(x0, x1), Math.min(y0, y1), Math.max(y0, y1)];
        return w < e && s < n && {tool: 'box', ring: [[w, s], [e, s], [e, n], [w, n]]};
      },
      polygon: () => points.length > 2 && {tool: 'polygon', ring: points},
      lasso: () => points.length > 2 && {tool: 'polygon', ring: thin(points)},
      brush: () => stroke.length > 0 && {tool: 'brush', cells: [...new Set(stroke)], k},
    }[tool]?.();
    const hover = this.hover;
    this.reset();
    this.hover = tool === 'brush' ? hover : null;
    this.draw();
    if (event) this.map.areaChosen(event);
  }

  draw() {
    const {canvas, map} = this;
    const context = fresh(canvas, map.root.clientWidth, map.root.clientHeight);
    const shapes = this.shapes();
    if (!shapes.length || !map.view) return;
    const view = map.halfView();
    eachHalf(context, view, map, () => {
      for (const {rings, closed} of shapes) {
        context.beginPath();
        for (const ring of rings) {
          ring.forEach((point, i) => (i ? context.lineTo(...view.project(point)) : context.moveTo(...view.project(point))));
          if (closed) context.closePath();
        }
        if (closed) {
          context.fillStyle = map.theme.dark ? 'rgba(255,255,255,.16)' : 'rgba(20,22,26,.13)';
          context.fill();
        }
        for (const [colour, line] of [[map.theme.casing, 4], [map.theme.mark, 1.8]]) {
          context.strokeStyle = css(colour);
          context.lineWidth = line;
          context.stroke();
        }
      }
      if (this.tool === 'polygon') {
        context.fillStyle = css(map.theme.mark);
        for (const point of this.points) {
          context.beginPath();
          context.arc(...view.project(point), 4, 0, 2 * Math.PI);
          context.fill();
        }
      }
    });
  }

  shapes() {
    const {tool, points, hover} = this;
    if (tool === 'box' && points.length) {
      const [[x0, y0], [x1, y1]] = [points[0], points.at(-1)];
      return [{rings: [[[x0, y0], [x1, y0], [x1, y1], [x0, y1]]], closed: true}];
    }
    if (tool === 'lasso' && points.length) return [{rings: [points], closed: true}];
    if (tool === 'polygon' && points.length) {
      const ring = hover ? [...points, hover] : points;
      return [{rings: [ring], closed: ring.length > 2}];
    }
    if (tool === 'brush') {
      const rings = [...this.strokeRings.values()];
      if (hover) rings.push(...gridDisk(hover, this.k).filter((cell) => !this.strokeRings.has(cell)).map((cell) => this.ring(cell)));
      if (rings.length) return [{rings, closed: true}];
    }
    return [];
  }

  finalize() {
    window.removeEventListener('pointermove', this.onMove);
    window.removeEventListener('pointerup', this.onUp);
    window.removeEventListener('pointercancel', this.onUp);
  }
}

const thin = (points) => {
  const step = Math.ceil(points.length / MOST_POINTS);
  return points.filter((_, i) => i % step === 0);
};
