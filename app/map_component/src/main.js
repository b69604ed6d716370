// The component: called by Streamlit at every rerun with new `data`; the Deck lives as long as its element.
import {Deck, MapView, WebMercatorViewport} from '@deck.gl/core';
import {PathLayer, ScatterplotLayer} from '@deck.gl/layers';
import {decode} from './payload.js';
import {buildMesh, cellAt, centre, outline, rowOf, vertexColours} from './mesh.js';
import {HexagonsLayer} from './hexagons_layer.js';
import {groundLayer, linesLayer, namesLayer, roomForNames, splitContext} from './context_layers.js';
import {drawLegend, drawTip, furnish} from './chrome.js';
import {themeOf} from './theme.js';

// Shared by all elements of the page, so that going from one view of the app to another sends no cells again and
// keeps the view: place id -> {mesh, context, view}. Three places are plenty for one browser tab.
const places = (window.__mobclipPlaces ??= new Map());
const MOST_PLACES = 3;
const maps = new WeakMap();

const NO_WEBGL = 'This map needs WebGL 2, which this browser does not offer or has switched off. Lists, charts and downloads ' +
  'still work. A current Firefox, Chrome, Edge or Safari with graphics acceleration on shows the map.';
const LOST = 'The browser took the graphics memory away from this map. Reload the page to draw it again.';

function remember(payload) {
  const {header, cells, context} = payload;
  if (cells && !places.has(header.place)) {
    const geojson = context ? JSON.parse(new TextDecoder().decode(context)) : null;
    places.set(header.place, {mesh: buildMesh(cells), context: splitContext(geojson), view: null});
    if (places.size > MOST_PLACES) places.delete(places.keys().next().value);
  }
  return places.get(header.place);
}

class HexMap {
  constructor(root) {
    this.root = root;
    this.coloursId = null;
    this.placeId = null;
    this.flown = null;
    this.ranks = [];
    this.texts = [];
    root.replaceChildren();
    this.parts = furnish(root, {zoomIn: () => this.zoomBy(1), zoomOut: () => this.zoomBy(-1), fit: () => this.fit()});
    root.tabIndex = 0;
    root.setAttribute('role', 'application');
    if (!document.createElement('canvas').getContext('webgl2')) {
      this.parts.message.textContent = NO_WEBGL;
      root.dataset.state = 'no-webgl2';
      return;
    }
    this.deck = new Deck({
      parent: this.parts.canvas,
      views: new MapView({id: 'map', repeat: false}),
      viewState: {longitude: 0, latitude: 0, zoom: 1},
      controller: {dragRotate: false, touchRotate: false, keyboard: false, doubleClickZoom: false},
      useDevicePixels: Math.min(window.devicePixelRatio || 1, 2),
      layers: [],
      getCursor: ({isDragging}) => (isDragging ? 'grabbing' : 'crosshair'),
      onViewStateChange: ({viewState}) => this.setView(viewState),
      onAfterRender: () => this.painted(),
      onError: (error) => this.failed(error),
    });
    this.listen();
    this.resized = new ResizeObserver(() => this.place && !this.place.view && this.fit());
    this.resized.observe(root);
  }

  failed(error) {
    console.error(error);
    this.parts.message.textContent = `The map could not be drawn: ${error.message}`;
    this.root.dataset.state = 'failed';
  }

  listen() {
    const {canvas, tip} = this.parts;
    let down = null;
    let hover = 0;
    canvas.addEventListener('pointerdown', (event) => { down = [event.clientX, event.clientY]; });
    // A DOM click, found by arithmetic: deck.gl's own tap recogniser loses clicks when frames are slow.
    canvas.addEventListener('click', (event) => {
      const dragged = down && Math.hypot(event.clientX - down[0], event.clientY - down[1]) > 4;
      if (!dragged) this.select(...this.pixel(event));
    });
    canvas.addEventListener('pointermove', (event) => {
      cancelAnimationFrame(hover);
      const [x, y] = this.pixel(event);
      hover = requestAnimationFrame(() => {
        const hit = event.buttons ? null : this.cellAtPixel(x, y);
        const value = hit && this.values ? this.values[hit.row] : null;
        drawTip(tip, this.root, x, y, hit ? hit.id : null, value, this.tipSpec);
      });
    });
    canvas.addEventListener('pointerleave', () => {
      cancelAnimationFrame(hover);
      drawTip(tip, this.root, 0, 0, null);
    });
    canvas.addEventListener('webglcontextlost', () => {
      this.parts.message.textContent = LOST;
      this.root.dataset.state = 'lost';
    }, true);
    this.root.addEventListener('keydown', (event) => {
      if (event.target !== this.root || event.ctrlKey || event.metaKey || event.altKey) return;
      const act = {
        ArrowLeft: () => this.panBy(-80, 0), ArrowRight: () => this.panBy(80, 0),
        ArrowUp: () => this.panBy(0, -80), ArrowDown: () => this.panBy(0, 80),
        '+': () => this.zoomBy(0.5), '=': () => this.zoomBy(0.5), '-': () => this.zoomBy(-0.5), Home: () => this.fit(),
        Enter: () => this.select(this.root.clientWidth / 2, this.root.clientHeight / 2),
      }[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
  }

  pixel(event) {
    const box = this.root.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  viewport() {
    return new WebMercatorViewport({...this.view, width: this.root.clientWidth, height: this.root.clientHeight});
  }

  cellAtPixel(x, y) {
    if (!this.place || !this.view) return null;
    const [lng, lat] = this.viewport().unproject([x, y]);
    return cellAt(this.place.mesh, this.resolution, lng, lat);
  }

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

  setView(view) {
    const {longitude, latitude, zoom} = view; // deck.gl's own view state also carries an outdated width and height
    this.view = {longitude, latitude, zoom};
    if (this.place) this.place.view = this.view;
    this.root.dataset.view = [view.longitude, view.latitude, view.zoom].map((v) => v.toFixed(5)).join(',');
    this.deck.setProps({viewState: this.view});
    clearTimeout(this.settle);
    this.settle = setTimeout(() => this.placeNames(), 120);
  }

  panBy(dx, dy) {
    if (!this.view) return;
    const {clientWidth: w, clientHeight: h} = this.root;
    const [longitude, latitude] = this.viewport().unproject([w / 2 + dx, h / 2 + dy]);
    this.setView({...this.view, longitude, latitude});
  }

  zoomBy(step) {
    if (this.view) this.setView({...this.view, zoom: Math.min(18, Math.max(0, this.view.zoom + step))});
  }

  fit() {
    const {clientWidth: width, clientHeight: height} = this.root;
    if (!this.place || width < 50 || height < 50) return;
    const padding = Math.min(28, width / 6, height / 6);
    const {longitude, latitude, zoom} = new WebMercatorViewport({width, height})
      .fitBounds(this.place.mesh.bounds, {padding, maxZoom: 14});
    this.setView({longitude, latitude, zoom});
  }

  placeNames() {
    if (!this.place || !this.view) return;
    // Ranks of results come first: a place name gives way to them.
    const texts = roomForNames([...this.ranks, ...this.place.context.names], this.viewport());
    if (texts.length === this.texts.length && texts.every((n, i) => n === this.texts[i])) return;
    this.texts = texts;
    this.draw();
  }

  update(payload, send) {
    this.send = send;
    const {header} = payload;
    this.root.style.height = header.height;
    this.root.setAttribute('aria-label', `${header.label}. Arrow keys move, plus and minus zoom, Enter chooses the cell in the middle.`);
    drawLegend(this.parts.legend, header.legend);
    if (!this.deck) return;
    const place = remember(payload);
    if (!place) {
      // Python believes that this page has the cells, but it does not (reload, dropped message): ask for them.
      this.root.dataset.state = 'asking';
      this.send('need', {place: header.place});
      return;
    }
    const moved = header.place !== this.placeId;
    this.place = place;
    this.placeId = header.place;
    this.resolution = header.resolution;
    this.tipSpec = header.tip;
    this.values = payload.values;
    if (moved || header.colours !== this.coloursId) {
      this.colours = vertexColours(place.mesh, payload.colours);
      this.coloursId = header.colours;
      this.root.dataset.colours = header.colours;
      this.root.dataset.recolours = Number(this.root.dataset.recolours ?? 0) + 1;
    }
    const known = (id) => rowOf(place.mesh, id) >= 0;
    this.selected = header.selected && known(header.selected) ? header.selected : null;
    this.results = header.results.filter(known);
    this.ranks = this.results.slice(0, 10)
      .map((id, i) => ({name: String(i + 1), position: centre(place.mesh, id), rank: true}));
    this.root.dataset.selected = this.selected ?? '';
    this.root.dataset.results = this.results.length;
    this.root.dataset.cells = place.mesh.n;
    if (moved) {
      if (place.view) this.setView(place.view);
      else this.fit();
    }
    if (header.fly && header.fly.nonce !== this.flown) {
      this.flown = header.fly.nonce;
      // A remounted element gets the last order again; only an order that this page has not obeyed yet moves the view.
      if (place.flown !== header.fly.nonce) {
        place.flown = header.fly.nonce;
        const [longitude, latitude] = centre(place.mesh, header.fly.cell);
        this.setView({longitude, latitude, zoom: Math.max(this.view?.zoom ?? 0, header.fly.zoom)});
      }
    }
    this.root.dataset.state = 'drawing';
    this.texts = this.view ? roomForNames([...this.ranks, ...place.context.names], this.viewport()) : [];
    this.draw();
  }

  draw() {
    const {place, selected, results} = this;
    if (!place) return;
    const theme = themeOf(this.root);
    this.root.classList.toggle('dark', theme.dark);
    const rings = results.map((id) => outline(place.mesh, id));
    const path = (id, data, colour, width) => new PathLayer({
      id, data, getPath: (d) => d, getColor: colour, getWidth: width, widthUnits: 'pixels', jointRounded: true,
      updateTriggers: {getColor: theme.dark},
    });
    const ranks = this.texts.filter((text) => text.rank);
    const names = this.texts.filter((text) => !text.rank);
    const chosen = selected ? [outline(place.mesh, selected)] : [];
    this.deck.setProps({layers: [
      groundLayer(place.context, theme),
      new HexagonsLayer({id: 'hexagons', data: [], mesh: place.mesh, vertexColours: this.colours}),
      linesLayer(place.context, theme),
      path('results-casing', rings, theme.casing, 4.5),
      path('results', rings, theme.result, 2),
      path('chosen-casing', chosen, theme.casing, 7),
      path('chosen', chosen, theme.mark, 3.5),
      // At a small scale one cell is a few pixels: a ring of fixed size keeps the chosen one findable.
      new ScatterplotLayer({id: 'chosen-ring', data: selected ? [centre(place.mesh, selected)] : [], getPosition: (d) => d,
        getRadius: 11, radiusUnits: 'pixels', stroked: true, filled: false, lineWidthUnits: 'pixels', getLineWidth: 2.5,
        getLineColor: theme.mark, updateTriggers: {getLineColor: theme.dark}}),
      // No text layer without text: its glyph picture would be empty.
      names.length > 0 && namesLayer('names', names, theme),
      ranks.length > 0 && namesLayer('ranks', ranks, theme, {getSize: 14, fontWeight: 700, getPixelOffset: [0, -14]}),
    ]});
  }

  painted() {
    if (this.root.dataset.state !== 'drawing' || !this.place) return;
    this.root.dataset.state = 'ready';
    this.root.dataset.paintedColours = this.coloursId;
    this.root.dataset.paintedAt = performance.now().toFixed(0);
  }

  retheme() {
    if (this.deck && this.place) this.draw();
  }

  destroy() {
    this.resized?.disconnect();
    clearTimeout(this.settle);
    this.deck?.finalize();
  }
}

export default function render({parentElement, data, setTriggerValue}) {
  const root = parentElement.querySelector('.mobclip-map');
  let map = maps.get(root);
  if (!map) {
    map = new HexMap(root);
    maps.set(root, map);
    // Once a second: Streamlit swaps CSS variables when the theme changes and drops elements, without telling the component.
    const watch = setInterval(() => {
      if (!root.isConnected) {
        clearInterval(watch);
        map.destroy();
        maps.delete(root);
        return;
      }
      const background = getComputedStyle(root).getPropertyValue('--st-background-color');
      if (map.background !== undefined && map.background !== background) map.retheme();
      map.background = background;
    }, 1000);
  }
  map.update(decode(data), setTriggerValue);
}
