// Draws the chunks of a pyramid: six corners a cell and a picture with a colour per cell, so that a new colouring
// uploads four bytes a cell and nothing else. Cheaper than deck.gl's H3HexagonLayer for our one use: no tessellation,
// no instances, no picking pass. Two colourings share the corners.
import {Layer} from '@deck.gl/core';
import {Model} from '@luma.gl/engine';
import {View} from './geometry.js';

const WIDTH = 128; // of the colour picture
const MOST_ENTRIES = 16384;

const block = `layout(std140) uniform hexagonsUniforms {
  mat4 transform;
  vec2 clip;
  float opacity;
} hexagons;
`;
const hexagonsModule = {
  name: 'hexagons', vs: block, fs: block,
  uniformTypes: {transform: 'mat4x4<f32>', clip: 'vec2<f32>', opacity: 'f32'},
};

const vs = `#version 300 es
#define SHADER_NAME mobclip-hexagons-vs
in vec2 corners;
uniform highp sampler2D colours;
flat out vec4 vColour;
void main(void) {
  int entry = gl_VertexID / 6;
  vec4 colour = texelFetch(colours, ivec2(entry % ${WIDTH}, entry / ${WIDTH}), 0);
  vColour = vec4(colour.rgb, colour.a * hexagons.opacity);
  gl_Position = hexagons.transform * vec4(corners, 0.0, 1.0);
}`;

const fs = `#version 300 es
#define SHADER_NAME mobclip-hexagons-fs
precision highp float;
flat in vec4 vColour;
out vec4 fragColor;
void main(void) {
  if (gl_FragCoord.x < hexagons.clip.x || gl_FragCoord.x >= hexagons.clip.y) discard;
  fragColor = vColour;
}`;

// viewProjection * translation(origin), in double precision: only the product is rounded for the card.
function moved(m, [x, y]) {
  const out = Array.from(m);
  for (let row = 0; row < 4; row++) out[12 + row] = m[row] * x + m[4 + row] * y + m[12 + row];
  return out;
}

export class HexagonsLayer extends Layer {
  static layerName = 'HexagonsLayer';
  static defaultProps = {scene: {type: 'object', value: null}};

  initializeState() {
    this.getAttributeManager().remove(['instancePickingColors', 'rowIndexes']);
    const {device} = this.context;
    const indices = new Uint32Array(12 * MOST_ENTRIES); // a fan of four triangles an entry, the same for all chunks
    for (let i = 0, t = 0; i < MOST_ENTRIES; i++) {
      for (let k = 1; k < 5; k++) {
        indices[t++] = 6 * i;
        indices[t++] = 6 * i + k;
        indices[t++] = 6 * i + k + 1;
      }
    }
    // Not `model`: deck.gl would hand it the uniforms of its own shaders.
    const own = new Model(device, {
      vs, fs, id: this.props.id, modules: [hexagonsModule], topology: 'triangle-list',
      bufferLayout: [{name: 'corners', format: 'float32x2'}],
      indexBuffer: device.createBuffer({usage: 16, data: indices}), // Buffer.INDEX
      vertexCount: 0,
      parameters: {
        depthWriteEnabled: false, depthCompare: 'always', blend: true, blendColorOperation: 'add', blendAlphaOperation: 'add',
        blendColorSrcFactor: 'src-alpha', blendColorDstFactor: 'one-minus-src-alpha',
        blendAlphaSrcFactor: 'one', blendAlphaDstFactor: 'one-minus-src-alpha',
      },
    });
    this.setState({own, held: new Map()}); // held: chunk -> what of it is on the card
  }

  updateState({props, oldProps}) {
    if (oldProps.scene && props.scene.pyramid !== oldProps.scene.pyramid) this.release();
  }

  release() {
    for (const {corners, pictures} of this.state.held.values()) {
      corners.destroy();
      for (const picture of pictures) picture?.texture.destroy();
    }
    this.state.held.clear();
  }

  finalizeState(context) {
    super.finalizeState(context);
    this.release();
    this.state.own.destroy();
  }

  onCard(chunk, tone, slot) {
    const {device} = this.context;
    const {held} = this.state;
    if (!held.has(chunk)) held.set(chunk, {corners: device.createBuffer({data: chunk.positions}), pictures: [null, null]});
    const {corners, pictures} = held.get(chunk);
    const height = Math.ceil(chunk.entries / WIDTH);
    pictures[slot] ??= {tone: null, texture: device.createTexture({
      format: 'rgba8unorm', width: WIDTH, height, mipLevels: 1,
      sampler: {minFilter: 'nearest', magFilter: 'nearest', mipmapFilter: 'none'},
    })};
    const picture = pictures[slot];
    if (picture.tone !== tone) {
      picture.texture.writeData(new Uint8Array(tone.entries(chunk, WIDTH * height).buffer));
      picture.tone = tone;
    }
    return [corners, picture.texture];
  }

  draw({renderPass}) {
    const {scene} = this.props;
    const {viewport, device} = this.context;
    const {own} = this.state;
    const {layers, missing} = scene.pyramid.cover(new View(viewport, viewport.width, viewport.height));
    const all = [-1, 1e9];
    const line = Math.round(scene.at * device.gl.drawingBufferWidth);
    const sides = {
      '': [[0, all]], swipe: [[0, [-1, line]], [1, [line, 1e9]]], side: [[viewport.id === 'b' ? 1 : 0, all]],
    }[scene.split];
    for (const [slot, clip] of sides) {
      for (const chunk of layers.flat()) {
        const [corners, colours] = this.onCard(chunk, scene.tones[slot], slot);
        own.setAttributes({corners});
        own.setBindings({colours});
        own.setVertexCount(12 * chunk.entries);
        own.shaderInputs.setProps({hexagons: {
          transform: moved(viewport.viewProjectionMatrix, chunk.origin), clip, opacity: scene.opacity,
        }});
        own.draw(renderPass);
      }
    }
    scene.onCover(missing);
  }
}
