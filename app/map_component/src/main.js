// The component: called by Streamlit at every rerun with new `data`; a map lives as long as its element.
import {HexMap} from './map.js';
import {decode} from './payload.js';

const maps = new WeakMap();

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

window.__mobclipMap = render; // for a page that carries this program inside: html_map.py
