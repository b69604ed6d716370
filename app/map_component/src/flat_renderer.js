// The map without WebGL 2: parents of the cells, few enough for a 2-D canvas. While it moves the last picture is
// shifted and stretched; it is drawn anew when the hand rests.
import {eachHalf, fresh, paintGround, paintOver} from './paint.js';
import {css} from './theme.js';

const MOST = 20000; // cells in view
const REST = 90; // ms

export class FlatRenderer {
  constructor(map) {
    this.map = map;
    this.canPan = true;
    this.canvas = document.createElement('canvas');
    this.canvas.style.cssText = 'position:absolute;inset:0;width:100%;height:100%;touch-action:none;transform-origin:0 0;cursor:crosshair';
    map.parts.canvas.append(this.canvas);
    this.listen(map.parts.canvas);
  }

  listen(host) {
    const fingers = new Map();
    const spread = () => {
      const [a, b] = [...fingers.values()];
      return {x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2, gap: Math.hypot(a[0] - b[0], a[1] - b[1])};
    };
    host.addEventListener('pointerdown', (event) => fingers.set(event.pointerId, this.map.pixel(event)));
    this.onMove = (event) => {
      if (!fingers.has(event.pointerId)) return;
      const before = fingers.size === 2 ? spread() : null;
      const [x, y] = this.map.pixel(event);
      const [x0, y0] = fingers.get(event.pointerId);
      fingers.set(event.pointerId, [x, y]);
      if (before) {
        const after = spread();
        this.map.panBy(before.x - after.x, before.y - after.y);
        this.map.zoomBy(Math.log2(after.gap / Math.max(1, before.gap)), [after.x, after.y]);
      } else if (this.canPan) this.map.panBy(x0 - x, y0 - y);
    };
    this.onUp = (event) => fingers.delete(event.pointerId);
    window.addEventListener('pointermove', this.onMove);
    window.addEventListener('pointerup', this.onUp);
    window.addEventListener('pointercancel', this.onUp);
    host.addEventListener('wheel', (event) => {
      event.preventDefault();
      this.map.zoomBy(-event.deltaY / 300, this.map.pixel(event));
    }, {passive: false});
  }

  arrange({canPan}) {
    this.canPan = canPan;
  }

  setView() {
    const {canvas, drawn, map} = this;
    if (drawn && drawn.width === map.halfView().width) {
      const now = map.halfView();
      const [x, y] = now.pixel(drawn.box[0], drawn.box[3]);
      canvas.style.transform = map.split === 'side' ? '' : `translate(${x}px, ${y}px) scale(${now.scale / drawn.scale})`;
    }
    clearTimeout(this.later);
    this.later = setTimeout(() => this.draw(), REST);
  }

  draw() {
    const {map, canvas} = this;
    if (!map.place || !map.view) return;
    clearTimeout(this.later);
    canvas.style.transform = '';
    const {clientWidth: width, clientHeight: height} = map.root;
    const context = fresh(canvas, width, height);
    const view = map.halfView();
    this.drawn = view;
    const missing = [];
    const cells = (tone) => {
      context.globalAlpha = map.basemap.url ? 0.75 : 1;
      const cover = map.place.pyramid.cover(view, MOST);
      for (const chunk of cover.layers.flat()) hexagons(context, view, chunk, tone.entries(chunk, 0));
      context.globalAlpha = 1;
      missing.push(...cover.missing);
    };
    eachHalf(context, view, map, (half) => {
      if (!map.basemap.url) paintGround(context, view, map.place.context, map.theme);
      if (map.split === 'swipe') {
        for (const [slot, from, to] of [[0, 0, map.at * width], [1, map.at * width, width]]) {
          context.save();
          context.beginPath();
          context.rect(from, 0, to - from, height);
          context.clip();
          cells(map.tones[slot]);
          context.restore();
        }
      } else cells(map.tones[half]);
      paintOver(context, view, map);
    });
    map.refine(missing);
    map.painted();
  }

  refresh() {
    this.draw();
  }

  picture(context, width, height) {
    this.draw();
    context.drawImage(this.canvas, 0, 0, width, height);
  }

  finalize() {
    clearTimeout(this.later);
    window.removeEventListener('pointermove', this.onMove);
    window.removeEventListener('pointerup', this.onUp);
    window.removeEventListener('pointercancel', this.onUp);
  }
}

function hexagons(context, view, {positions, entries, origin}, rgba) {
  const [x0, y0] = view.pixel(...origin);
  const {scale, width, height} = view;
  const size = 2 * Math.hypot(positions[6] - positions[0], positions[7] - positions[1]) * scale; // of a cell, generously
  for (let i = 0; i < entries; i++) {
    const x = x0 + positions[12 * i] * scale;
    const y = y0 - positions[12 * i + 1] * scale;
    if (x < -size || y < -size || x > width + size || y > height + size) continue;
    context.beginPath();
    context.moveTo(x, y);
    for (let k = 1; k < 6; k++) context.lineTo(x0 + positions[12 * i + 2 * k] * scale, y0 - positions[12 * i + 2 * k + 1] * scale);
    context.closePath();
    const c = rgba[i];
    const colour = css([c & 255, (c >>> 8) & 255, (c >>> 16) & 255, c >>> 24]);
    context.fillStyle = colour;
    context.fill();
    if (c >>> 24 === 255) { // no seams between neighbours
      context.strokeStyle = colour;
      context.lineWidth = 0.6;
      context.stroke();
    }
  }
}
