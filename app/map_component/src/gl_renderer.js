// Hexagons by deck.gl, everything else on 2-D canvases below and above them, painted in the same frame.
import {Deck, MapView} from '@deck.gl/core';
import {View} from './geometry.js';
import {HexagonsLayer} from './hexagons_layer.js';
import {eachHalf, fresh, paintGround, paintOver} from './paint.js';

const STYLE = 'position:absolute;inset:0;width:100%;height:100%;pointer-events:none';

export class GlRenderer {
  constructor(map) {
    this.map = map;
    this.canPan = true;
    const host = map.parts.canvas;
    [this.under, this.over] = [0, 1].map(() => document.createElement('canvas'));
    this.under.style.cssText = this.over.style.cssText = STYLE;
    host.append(this.under);
    this.deck = new Deck({
      parent: host,
      views: this.views(),
      viewState: {longitude: 0, latitude: 0, zoom: 1},
      useDevicePixels: Math.min(window.devicePixelRatio || 1, 2),
      layers: [],
      getCursor: ({isDragging}) => (isDragging && this.canPan ? 'grabbing' : 'crosshair'),
      onViewStateChange: ({viewState}) => map.setView(viewState),
      onAfterRender: () => this.rendered(),
      onError: (error) => map.failed(error),
    });
    host.append(this.over);
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
    this.deck.setProps({layers: [new HexagonsLayer({id: 'hexagons', data: [], scene: {
      pyramid: map.place.pyramid, tones: map.tones, split: map.split, at: map.at,
      opacity: map.basemap.url ? 0.75 : 1, onCover: (missing) => map.refine(missing),
    }})]});
  }

  // With the view of the frame that deck.gl has just drawn, which may be older than the map's.
  rendered() {
    const {map} = this;
    const [viewport] = this.deck.getViewports();
    if (!map.place || !viewport || !map.view) return;
    const view = new View(viewport, viewport.width, viewport.height);
    const {clientWidth: width, clientHeight: height} = map.root;
    const under = fresh(this.under, width, height);
    if (!map.basemap.url) eachHalf(under, view, map, () => paintGround(under, view, map.place.context, map.theme));
    const over = fresh(this.over, width, height);
    eachHalf(over, view, map, () => paintOver(over, view, map));
    map.painted();
  }

  refresh() {
    this.deck.redraw('more cells');
  }

  // The picture must be taken in the same turn as it is drawn.
  picture(context, width, height) {
    this.deck.redraw('picture');
    for (const canvas of [this.under, this.deck.getCanvas(), this.over]) context.drawImage(canvas, 0, 0, width, height);
  }

  finalize() {
    this.deck.finalize();
  }
}
