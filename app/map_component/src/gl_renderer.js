// The map drawn by deck.gl.
import {Deck, MapView} from '@deck.gl/core';
import {PathLayer, ScatterplotLayer, TextLayer} from '@deck.gl/layers';
import {groundLayer, linesLayer, namesLayer} from './context_layers.js';
import {HexagonsLayer} from './hexagons_layer.js';

export class GlRenderer {
  constructor(map) {
    this.map = map;
    this.canPan = true;
    this.deck = new Deck({
      parent: map.parts.canvas,
      views: this.views(),
      viewState: {longitude: 0, latitude: 0, zoom: 1},
      useDevicePixels: Math.min(window.devicePixelRatio || 1, 2),
      layers: [],
      getCursor: ({isDragging}) => (isDragging && this.canPan ? 'grabbing' : 'crosshair'),
      onViewStateChange: ({viewState}) => map.setView(viewState),
      onAfterRender: () => map.painted(),
      onError: (error) => map.failed(error),
    });
  }

  views() {
    const controller = {dragRotate: false, touchRotate: false, keyboard: false, doubleClickZoom: false, dragPan: this.canPan};
    const view = (id, x, width) => new MapView({id, x, width, repeat: false, controller});
    return this.map.split === 'side' ? [view('a', '0%', '50%'), view('b', '50%', '50%')] : [view('map', '0%', '100%')];
  }

  // `canPan`: whether a drag moves the map or belongs to a tool.
  arrange({canPan}) {
    this.canPan = canPan;
    const wanted = `${this.map.split === 'side'} ${canPan}`;
    if (wanted === this.arranged) return;
    this.arranged = wanted;
    this.deck.setProps({views: this.views()});
  }

  setView(view) {
    this.deck.setProps({viewState: view});
  }

  draw() {
    const {map} = this;
    const {place, theme} = map;
    const path = (id, data, colour, width) => new PathLayer({
      id, data, getPath: (d) => d, getColor: colour, getWidth: width, widthUnits: 'pixels', jointRounded: true,
      updateTriggers: {getColor: theme.dark},
    });
    const dots = (id, data, more) => data.length > 0 && new ScatterplotLayer({
      id, data, getPosition: (d) => d.position, radiusUnits: 'pixels', lineWidthUnits: 'pixels', stroked: true,
      getLineColor: theme.mark, updateTriggers: {getLineColor: theme.dark}, ...more,
    });
    const ranks = map.texts.filter((text) => text.rank);
    const names = map.texts.filter((text) => !text.rank);
    const {results, chosen, marks} = map.shapes;
    const signs = marks.filter((mark) => mark.sign);
    this.deck.setProps({layers: [
      !map.basemap.url && groundLayer(place.context, theme),
      new HexagonsLayer({id: 'hexagons', data: [], scene: {
        pyramid: place.pyramid, tones: map.tones, split: map.split, at: map.at,
        opacity: map.basemap.url ? 0.75 : 1, onCover: (missing) => map.refine(missing),
      }}),
      linesLayer(place.context, theme),
      path('results-casing', results.map((r) => r.ring), theme.casing, 4.5),
      path('results', results.map((r) => r.ring), theme.result, 2),
      path('marks-casing', marks.map((m) => m.ring), theme.casing, 5),
      marks.length > 0 && new PathLayer({
        id: 'marks', data: marks, getPath: (d) => d.ring, getColor: (d) => d.colour, getWidth: 3, widthUnits: 'pixels', jointRounded: true,
      }),
      dots('mark-dots', signs, {getRadius: 8, getFillColor: (d) => d.colour, getLineColor: [255, 255, 255], getLineWidth: 1.5}),
      signs.length > 0 && new TextLayer({
        id: 'mark-signs', data: signs, getPosition: (d) => d.position, getText: (d) => d.sign, characterSet: '+−', getSize: 17,
        getColor: [255, 255, 255], fontWeight: 700, fontFamily: 'system-ui, sans-serif',
      }),
      path('chosen-casing', chosen.map((c) => c.ring), theme.casing, 7),
      path('chosen', chosen.map((c) => c.ring), theme.mark, 3.5),
      // At a small scale one cell is a few pixels: a ring of fixed size keeps the chosen one findable.
      dots('chosen-ring', chosen, {getRadius: 11, filled: false, getLineWidth: 2.5}),
      // No text layer without text: its glyph picture would be empty.
      names.length > 0 && namesLayer('names', names, theme),
      ranks.length > 0 && namesLayer('ranks', ranks, theme, {getSize: 14, fontWeight: 700, getPixelOffset: [0, -14]}),
    ]});
  }

  refresh() {
    this.deck.redraw('more cells');
  }

  // The picture must be taken in the same turn as it is drawn.
  picture(context, width, height) {
    this.deck.redraw('picture');
    context.drawImage(this.deck.getCanvas(), 0, 0, width, height);
  }

  finalize() {
    this.deck.finalize();
  }
}

