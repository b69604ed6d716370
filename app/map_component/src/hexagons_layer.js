// One indexed triangle mesh with a colour per vertex. Cheaper than deck.gl's H3HexagonLayer for our one use:
// no tessellation, no picking pass, and a new colouring uploads the colour buffer alone.
import {Layer, project32} from '@deck.gl/core';
import {Model} from '@luma.gl/engine';

const vs = `#version 300 es
#define SHADER_NAME mobclip-hexagons-vs
in vec2 positions;
in vec2 positions64Low;
in vec4 colours;
flat out vec4 vColour;
void main(void) {
  geometry.worldPosition = vec3(positions, 0.0);
  gl_Position = project_position_to_clipspace(vec3(positions, 0.0), vec3(positions64Low, 0.0), vec3(0.0), geometry.position);
  vColour = vec4(colours.rgb, colours.a * layer.opacity);
}`;

const fs = `#version 300 es
#define SHADER_NAME mobclip-hexagons-fs
precision highp float;
flat in vec4 vColour;
out vec4 fragColor;
void main(void) {
  fragColor = vColour;
  DECKGL_FILTER_COLOR(fragColor, geometry);
}`;

export class HexagonsLayer extends Layer {
  static layerName = 'HexagonsLayer';
  static defaultProps = {mesh: {type: 'object', value: null}, vertexColours: {type: 'object', value: null}};

  initializeState() {
    const attributes = this.getAttributeManager();
    attributes.remove(['instancePickingColors', 'rowIndexes']);
    attributes.add({
      indices: {size: 1, isIndexed: true, noAlloc: true,
        update: (a) => { a.value = this.props.mesh.indices; }},
      positions: {size: 2, type: 'float64', fp64: this.use64bitPositions(), noAlloc: true,
        update: (a) => { a.value = this.props.mesh.positions; }},
      colours: {size: 4, type: 'unorm8', noAlloc: true,
        update: (a) => { a.value = this.props.vertexColours; }},
    });
    this.setState({model: new Model(this.context.device, {
      ...super.getShaders({vs, fs, modules: [project32]}),
      id: this.props.id,
      topology: 'triangle-list',
      bufferLayout: attributes.getBufferLayouts(),
      isIndexed: true,
    })});
  }

  updateState({props, oldProps, changeFlags}) {
    super.updateState({props, oldProps, changeFlags});
    const attributes = this.getAttributeManager();
    if (props.mesh !== oldProps.mesh) attributes.invalidateAll();
    else if (props.vertexColours !== oldProps.vertexColours) attributes.invalidate('colours');
  }

  getNumInstances() {
    return this.props.mesh.positions.length / 2;
  }

  draw() {
    const {model} = this.state;
    model.setVertexCount(this.props.mesh.indices.length);
    model.draw(this.context.renderPass);
  }
}
