// One map in the page: what Python sent, what the hand does, and the renderer that draws it.
import {cellAt, centre, outline, rowOf} from './cells.js';
import {Basemap} from './basemap.js';
import {drawLegend, drawTip, drawTools, furnish} from './chrome.js';
import {readFlows} from './flows.js';
import {FlatRenderer} from './flat_renderer.js';
import {View} from './geometry.js';
import {GlRenderer} from './gl_renderer.js';
import {readContext, roomForNames} from './paint.js';
import {savePicture} from './picture.js';
import {Pyramid, Tone, buildChunk} from './pyramid.js';
import {unpack, valueAt, veil} from './payload.js';
import {signOf, themeOf} from './theme.js';
import {Tools} from './tools.js';

// Shared by all elements of the page, so that going from one view of the app to another sends no cells again and
// keeps the view: place id -> {pyramid, context, view}. Three places are plenty for one browser tab.
const places = (window.__mobclipPlaces ??= new Map());
const MOST_PLACES = 3;

const FLAT = 'Drawn without WebGL 2, which this browser does not offer: from afar, larger cells in the mean colour of theirs.';
const LOST = 'The browser took the graphics memory away from this map. Reload the page to draw it again.';
const BUILD_MS = 25; // outlines computed between two answers to the hand
const SHOW_MS = 1000; // and shown so often
const REST_MS = 150; // without a move, before the work starts: a view that is passed through needs no detail

function remember(payload) {
  const {header, cells, context} = payload;
  if (cells && !places.has(header.place)) {
    const geojson = context ? JSON.parse(new TextDecoder().decode(context)) : null;
    const pyramid = new Pyramid(cells, header.resolution);
    places.set(header.place, {pyramid, context: readContext(geojson, pyramid.reference), view: null});
    if (places.size > MOST_PLACES) places.delete(places.keys().next().value);
  }
  return places.get(header.place);
}

export class HexMap {
  constructor(root) {
    this.root = root;
    this.placeId = null;
    this.flown = null;
    this.ranks = [];
    this.texts = [];
    this.tones = [];
    this.sides = [];
    this.split = '';
    this.at = 0.5;
    this.movedAt = -Infinity;
    root.replaceChildren();
    this.parts = furnish(root, {
      zoomIn: () => this.zoomBy(1), zoomOut: () => this.zoomBy(-1), fit: () => this.fit(), save: () => this.place && savePicture(this),
    });
    root.tabIndex = 0;
    root.setAttribute('role', 'application');
    this.theme = themeOf(root);
    this.basemap = new Basemap(this.parts.tiles);
    const webgl2 = document.createElement('canvas').getContext('webgl2');
    webgl2?.getExtension('WEBGL_lose_context')?.loseContext(); // browsers allow but a few contexts
    this.renderer = webgl2 ? new GlRenderer(this) : new FlatRenderer(this);
    root.dataset.renderer = webgl2 ? 'webgl2' : 'flat';
    this.tools = new Tools(this);
    this.listen();
    this.resized = new ResizeObserver(() => {
      if (this.place && !this.place.view) this.fit();
      else if (this.view) this.setView(this.view);
    });
    this.resized.observe(root);
  }

  failed(error) {
    console.error(error);
    this.parts.message.textContent = `The map could not be drawn: ${error.message}`;
    this.root.dataset.state = 'failed';
  }

  listen() {
    const {canvas, tip, divider} = this.parts;
    let down = null;
    let hover = 0;
    canvas.addEventListener('pointerdown', (event) => { down = [event.clientX, event.clientY]; });
    // A DOM click, found by arithmetic: deck.gl's own tap recogniser loses clicks when frames are slow.
    canvas.addEventListener('click', (event) => {
      const dragged = down && Math.hypot(event.clientX - down[0], event.clientY - down[1]) > 4;
      if (dragged || !this.place) return;
      const at = this.pixel(event);
      if (!this.tools.click(this.lngLat(...at))) this.select(...at);
    });
    canvas.addEventListener('pointermove', (event) => {
      cancelAnimationFrame(hover);
      const [x, y] = this.pixel(event);
      hover = requestAnimationFrame(() => {
        const hit = event.buttons ? null : this.cellAtPixel(x, y);
        const lines = hit ? this.sides.map((side) => ({name: side.name, value: valueAt(side, hit.row), spec: side.tip})) : [];
        drawTip(tip, this.root, x, y, hit ? hit.id : null, lines);
      });
    });
    canvas.addEventListener('pointerleave', () => {
      cancelAnimationFrame(hover);
      drawTip(tip, this.root, 0, 0, null, []);
    });
    canvas.addEventListener('webglcontextlost', () => {
      this.parts.message.textContent = LOST;
      this.root.dataset.state = 'lost';
    }, true);
    this.root.addEventListener('keydown', (event) => {
      if (event.target !== this.root || event.ctrlKey || event.metaKey || event.altKey || !this.place) return;
      const middle = () => this.select(this.halfView().width / 2, this.root.clientHeight / 2);
      const act = {
        ArrowLeft: () => this.panBy(-80, 0), ArrowRight: () => this.panBy(80, 0),
        ArrowUp: () => this.panBy(0, -80), ArrowDown: () => this.panBy(0, 80),
        '+': () => this.zoomBy(0.5), '=': () => this.zoomBy(0.5), '-': () => this.zoomBy(-0.5), Home: () => this.fit(),
        Enter: () => this.tools.key('Enter') || middle(), ' ': () => this.tools.key(' ') || middle(),
        Escape: () => this.tools.cancel() || this.tools.choose('click'),
      }[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
    divider.addEventListener('pointerdown', (event) => {
      event.stopPropagation();
      divider.setPointerCapture(event.pointerId);
    });
    divider.addEventListener('pointermove', (event) => {
      if (divider.hasPointerCapture(event.pointerId)) this.divide(this.pixel(event)[0] / this.root.clientWidth);
    });
    divider.addEventListener('keydown', (event) => {
      const to = {ArrowLeft: this.at - 0.05, ArrowRight: this.at + 0.05, Home: 0, End: 1}[event.key];
      if (to === undefined) return;
      event.preventDefault();
      this.divide(to);
    });
  }

  // ---- where ---------------------------------------------------------------------------------

  pixel(event) {
    const box = this.root.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  // Of the whole map, or of each of its halves.
  halfView() {
    const {clientWidth: width, clientHeight: height} = this.root;
    return new View(this.view ?? {longitude: 0, latitude: 0, zoom: 0}, this.split === 'side' ? width / 2 : width, height);
  }

  sideAt(x) {
    return this.split === 'side' && x >= this.root.clientWidth / 2 ? 1 : 0;
  }

  lngLat(x, y) {
    const view = this.halfView();
    return view.unproject([x - this.sideAt(x) * view.width, y]);
  }

  cellAtPixel(x, y) {
    return this.place && this.view ? cellAt(this.place.pyramid, this.lngLat(x, y)) : null;
  }

  setView({longitude, latitude, zoom}) {
    // deck.gl's own view state also carries an outdated width and height
    this.view = {longitude, latitude, zoom};
    this.movedAt = performance.now();
    if (this.place) this.place.view = this.view;
    this.root.dataset.view = [longitude, latitude, zoom].map((v) => v.toFixed(5)).join(',');
    this.renderer.setView(this.view);
    this.basemap.place(this.halfView(), this.split === 'side' ? [0, this.root.clientWidth / 2] : [0]);
    this.tools.draw();
    clearTimeout(this.settle);
    this.settle = setTimeout(() => this.placeNames(), 120);
  }

  panBy(dx, dy) {
    if (!this.view) return;
    const view = this.halfView();
    const [longitude, latitude] = view.unproject([view.width / 2 + dx, view.height / 2 + dy]);
    this.setView({...this.view, longitude, latitude});
  }

  // Around a pixel of the map, else around its middle.
  zoomBy(step, [x, y] = [this.halfView().width / 2, this.root.clientHeight / 2]) {
    if (!this.view) return;
    const [fixedX, fixedY] = [x - this.sideAt(x) * this.halfView().width, y];
    const zoom = Math.min(18, Math.max(0, this.view.zoom + step));
    const before = this.halfView().unproject([fixedX, fixedY]);
    this.view = {...this.view, zoom};
    const view = this.halfView();
    const [px, py] = view.project(before);
    const [longitude, latitude] = view.unproject([view.width / 2 + px - fixedX, view.height / 2 + py - fixedY]);
    this.setView({longitude, latitude, zoom});
  }

  fit() {
    const {width, height} = this.halfView();
    if (!this.place || width < 50 || height < 50) return;
    const {pyramid} = this.place;
    this.setView(View.around(pyramid.box, width, height, pyramid.sample(), this.cards(width)));
  }

  // What lies over the map, in pixels of a half of the given width; with some air around.
  cards(width) {
    const frame = this.root.getBoundingClientRect();
    const {legends, note, tools, buttons} = this.parts;
    return [...legends, note, tools, buttons].filter((card) => card.offsetWidth).map((card) => {
      const {left, top, right, bottom} = card.getBoundingClientRect();
      const shift = frame.left + width * this.sideAt(left - frame.left);
      return [left - shift - 5, top - frame.top - 5, right - shift + 5, bottom - frame.top + 5];
    });
  }

  // ---- what the hand did ---------------------------------------------------------------------

  select(x, y) {
    const hit = this.cellAtPixel(x, y);
    if (!hit) {
      this.parts.live.textContent = 'No cell of this place here.';
      return;
    }
    this.parts.live.textContent = `Cell ${hit.id} chosen.`;
    this.clicks = (this.clicks ?? 0) + 1;
    this.root.dataset.clicks = this.clicks;
    this.send('click', {cell: hit.id});
  }

  areaChosen(area) {
    this.parts.live.textContent = 'Area chosen.';
    this.tools.learnt();
    this.root.dataset.areas = Number(this.root.dataset.areas ?? 0) + 1;
    this.send('area', area);
  }

  toolChanged() {
    this.root.dataset.tool = this.tools.tool;
    drawTools(this.parts, this.tools);
    this.renderer.arrange({canPan: this.tools.canPan});
  }

  divide(at) {
    this.at = Math.max(0, Math.min(1, at));
    this.placeDivider();
    this.draw();
  }

  placeDivider() {
    const {divider, canvas} = this.parts;
    const swipe = this.split === 'swipe';
    divider.style.display = this.split ? '' : 'none';
    divider.style.left = `${100 * (swipe ? this.at : 0.5)}%`;
    divider.classList.toggle('fixed', !swipe);
    canvas.classList.toggle('halves', this.split === 'side');
    for (const [name, value] of Object.entries({
      role: 'separator', 'aria-label': 'Divider between A and B; arrow keys move it', 'aria-orientation': 'vertical',
      'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-valuenow': Math.round(100 * this.at),
    })) divider.setAttribute(name, value);
    if (swipe) divider.tabIndex = 0;
    else divider.removeAttribute('tabindex');
    this.root.dataset.divider = swipe ? this.at.toFixed(2) : '';
  }

  // ---- what Python sent ----------------------------------------------------------------------

  update(payload, send) {
    this.send = send;
    const {header} = payload;
    this.root.style.height = header.height;
    this.label = header.label;
    this.provenance = header.provenance;
    this.root.setAttribute('aria-label', `${header.label}. Arrow keys move, plus and minus zoom, Enter chooses the cell in the middle.`);
    this.theme = themeOf(this.root);
    const place = remember(payload);
    if (!place) {
      // Python believes that this page has the cells, but it does not (reload, dropped message): ask for them.
      this.root.dataset.state = 'asking';
      this.send('need', {place: header.place});
      return;
    }
    const moved = header.place !== this.placeId;
    const resplit = header.split !== this.split;
    this.place = place;
    this.placeId = header.place;
    this.split = header.split;
    this.basemap.set(header.basemap ?? undefined);
    this.sides = payload.sides.map((side, i) => ({...side, name: header.split ? 'AB'[i] : ''}));
    this.area = payload.area;
    const colours = payload.sides.map((side) => side.id).join('+');
    if (moved || colours !== this.coloursId || header.area !== this.areaId) {
      this.areaId = header.area;
      this.colour();
      if (moved || colours !== this.coloursId) this.root.dataset.recolours = Number(this.root.dataset.recolours ?? 0) + 1;
      this.coloursId = colours;
      this.root.dataset.colours = colours;
      this.root.dataset.area = header.area ?? '';
    }
    this.shape(header);
    this.furnishSides();
    this.tools.offer(header.tools);
    this.root.dataset.cells = place.pyramid.n;
    this.root.dataset.split = header.split;
    if (moved || resplit) {
      if (place.view) this.setView(place.view);
      else this.fit();
    }
    if (header.fly && header.fly.nonce !== this.flown) {
      this.flown = header.fly.nonce;
      // A remounted element gets the last order again; only an order that this page has not obeyed yet moves the view.
      if (place.flown !== header.fly.nonce) {
        place.flown = header.fly.nonce;
        const [longitude, latitude] = centre(place.pyramid, header.fly.cell);
        this.setView({longitude, latitude, zoom: Math.max(this.view?.zoom ?? 0, header.fly.zoom)});
      }
    }
    this.root.dataset.state = 'drawing';
    this.texts = this.view ? roomForNames([...this.ranks, ...place.context.names], this.halfView()) : [];
    this.draw();
  }

  colour() {
    this.tones = this.sides.map((side) => {
      const rgba = unpack(side, this.place.pyramid.n);
      if (this.area) veil(rgba, this.area, this.theme.ground);
      return new Tone(rgba);
    });
  }

  furnishSides() {
    const {legends, note} = this.parts;
    this.legends = this.sides.map((side) => side.legend && {...side.legend, title: side.name ? `${side.name}  ${side.legend.title}` : side.legend.title});
    legends.forEach((element, i) => {
      const {legend, name} = this.sides[i] ?? {};
      drawLegend(element, {legend, name, flows: i === 0 ? this.flows : null, redraw: () => this.furnishSides()});
      element.classList.toggle('two', this.sides.length > 1);
    });
    legends[1].classList.toggle('half', this.split === 'side');
    note.classList.toggle('above', this.sides.length > 1);
    note.textContent = [this.root.dataset.renderer === 'flat' && FLAT, this.basemap.url && this.basemap.attribution].filter(Boolean).join(' · ');
    this.placeDivider();
  }

  shape({selected, results, marks, flows}) {
    const {pyramid} = this.place;
    const known = (id) => rowOf(pyramid, id) >= 0;
    const shape = (id) => ({ring: outline(pyramid, id), position: centre(pyramid, id)});
    const found = results.filter(known);
    this.shapes = {
      results: found.map(shape),
      chosen: selected && known(selected) ? [shape(selected)] : [],
      marks: Object.entries(marks).filter(([id]) => known(id)).map(([id, mark]) => ({...shape(id), ...signOf(mark)})),
    };
    this.flows = readFlows(pyramid, flows, selected);
    const numbered = found.length || !this.flows ? this.shapes.results.map(({position}) => position) : this.flows.ends;
    this.ranks = numbered.slice(0, 10).map((position, i) => ({name: String(i + 1), position, rank: true}));
    this.root.dataset.selected = this.shapes.chosen.length ? selected : '';
    this.root.dataset.results = found.length;
    this.root.dataset.marks = this.shapes.marks.length;
    this.root.dataset.flows = this.flows?.lines.length ?? 0;
  }

  // ---- drawing -------------------------------------------------------------------------------

  placeNames() {
    if (!this.place || !this.view) return;
    // Ranks of results come first: a place name gives way to them.
    const texts = roomForNames([...this.ranks, ...this.place.context.names], this.halfView());
    if (texts.length === this.texts.length && texts.every((n, i) => n === this.texts[i])) return;
    this.texts = texts;
    this.draw();
  }

  draw() {
    if (!this.place) return;
    this.root.classList.toggle('dark', this.theme.dark);
    this.renderer.arrange({canPan: this.tools.canPan});
    this.renderer.draw();
  }

  // The renderer drew parents where outlines of `missing` chunks are not known yet: work them out, a few at a time.
  refine(missing) {
    this.missing = missing.filter((chunk) => !chunk.positions);
    this.root.dataset.detail = this.missing.length ? 'coarse' : 'full';
    if (!this.missing.length || this.refining) return;
    let shown = performance.now();
    const step = () => {
      const resting = this.movedAt + REST_MS - performance.now();
      if (resting > 0) {
        this.refining = setTimeout(step, resting);
        return;
      }
      const until = performance.now() + BUILD_MS;
      while (this.missing.length && performance.now() < until) {
        const chunk = this.missing.shift();
        if (!chunk.positions) buildChunk(chunk);
      }
      this.refining = this.missing.length ? setTimeout(step, 0) : 0;
      if (this.refining && performance.now() < shown + SHOW_MS) return;
      shown = performance.now();
      this.renderer.refresh();
    };
    this.refining = setTimeout(step, 0);
  }

  painted() {
    if (this.root.dataset.state !== 'drawing' || !this.place || !this.view) return;
    this.root.dataset.state = 'ready';
    this.root.dataset.paintedColours = this.coloursId;
    this.root.dataset.paintedAt = performance.now().toFixed(0);
  }

  retheme() {
    this.theme = themeOf(this.root);
    if (!this.place) return;
    if (this.area) this.colour();
    this.draw();
  }

  destroy() {
    this.resized.disconnect();
    clearTimeout(this.settle);
    clearTimeout(this.refining);
    this.tools.finalize();
    this.renderer.finalize();
  }
}
