// Colours of everything drawn around the hexagons; the DOM parts use Streamlit's CSS variables.
const LIGHT = {
  dark: false, ground: [230, 237, 242], land: [247, 246, 242, 255], coast: [150, 162, 172, 255], border: [70, 80, 90, 110],
  water: [206, 222, 233, 255], river: [132, 172, 204, 190], road: [120, 120, 120, 110],
  label: [38, 44, 50, 255], halo: [255, 255, 255, 230],
  mark: [20, 22, 26, 255], casing: [255, 255, 255, 255], result: [20, 22, 26, 235],
};
const DARK = {
  dark: true, ground: [18, 23, 29], land: [32, 38, 45, 255], coast: [92, 106, 120, 255], border: [210, 218, 226, 90],
  water: [22, 34, 46, 255], river: [84, 122, 154, 180], road: [140, 140, 140, 100],
  label: [236, 239, 242, 255], halo: [14, 18, 22, 230],
  mark: [255, 255, 255, 255], casing: [10, 12, 16, 255], result: [255, 255, 255, 235],
};

// Okabe & Ito's blue and orange, told apart by the sign too.
const SIGNS = {like: {colour: [0, 114, 178, 255], sign: '+'}, unlike: {colour: [230, 159, 0, 255], sign: '−'}};

export function signOf(mark) {
  return SIGNS[mark] ?? {colour: [1, 3, 5].map((i) => parseInt(mark.slice(i, i + 2), 16)).concat(255), sign: ''};
}

export const css = ([r, g, b, a = 255]) => `rgba(${r},${g},${b},${a / 255})`;

export function themeOf(element) {
  const context = document.createElement('canvas').getContext('2d');
  context.fillStyle = getComputedStyle(element).getPropertyValue('--st-background-color').trim() || '#fff';
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(context.fillStyle.slice(i, i + 2), 16));
  return 0.299 * r + 0.587 * g + 0.114 * b < 128 ? DARK : LIGHT;
}
