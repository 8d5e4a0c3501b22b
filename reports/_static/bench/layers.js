// Layers of a control face, as ferlab.control.drawing.layers: soft shapes, the relief of the head, the light on it, and how a turned head is seen.
//
// A layer is a Float32Array of rows over face units -1 to 1.
"use strict";
(() => {
const { even, fillPolygon, thickLine, blurBytes, look, enlarge } = ControlFace;
const { CENTRE_Y, TOP_Y, SIDES, clamp, radians, heights, lopsided, halfWidth } = ControlFace;

const side = (layer) => Math.sqrt(layer.length);
const axis = (size) => Float32Array.from({ length: size }, (_, i) => (i + 0.5) * (2 / size) - 1);

// Pixels a shape covers: a window of the layer and the share of each of its pixels, 0 to 1. With a thickness the polygon's line.
function cover(points, size, { blur = 0, thickness = 0, closed = true } = {}) {
  const fixed = points.map((point) => [0, 1].map((i) => Math.trunc(((point[i] + 1) * (size / 2) - 0.5) * 16 + 0.5)));
  const sigma = (blur * size) / 2, width = thickness ? Math.max(1, even((thickness * size) / 2)) : 0;
  const margin = Math.trunc(2.2 * sigma) + width + 3;
  const [x, right, y, bottom] = [0, 1].flatMap((i) => {
    const values = fixed.map((point) => point[i]), low = Math.min(...values), count = Math.max(...values) - low + 1;
    return [Math.max(0, Math.floor(low / 16) - margin), Math.min(size, Math.floor((low + count) / 16) + margin + 1)];
  });
  const w = Math.max(right - x, 0), h = Math.max(bottom - y, 0);
  if (!w || !h) return { x: 0, y: 0, w: 0, h: 0, share: new Float32Array(0) };
  const plane = new Uint8Array(w * h), share = new Float32Array(w * h);
  const corners = fixed.map((point) => [point[0] - 16 * x, point[1] - 16 * y]);
  if (width) thickLine(plane, w, h, corners, width, closed);
  else fillPolygon(plane, w, h, corners);
  if (sigma > 0.3) blurBytes(plane, w, h, 2 * Math.trunc(2.2 * sigma) + 3, sigma);
  for (let i = 0; i < plane.length; i++) share[i] = plane[i] / 255;
  return { x, y, w, h, share };
}

// Change the pixels of a layer under a shape: change(value, share, place in the layer).
function under(layer, shape, change) {
  const size = side(layer);
  for (let row = 0, i = 0; row < shape.h; row++) {
    for (let at = (shape.y + row) * size + shape.x, end = at + shape.w; at < end; at++, i++) {
      if (shape.share[i]) layer[at] = change(layer[at], shape.share[i], at);
    }
  }
}
// The same for changes that are linear in the pixel: value * (1 + share * factor) + share * amount.
function mix(layer, shape, factor, amount) {
  const size = side(layer);
  for (let row = 0, i = 0; row < shape.h; row++) {
    for (let at = (shape.y + row) * size + shape.x, end = at + shape.w; at < end; at++, i++) {
      layer[at] += shape.share[i] * (factor * layer[at] + amount);
    }
  }
}
const blend = (layer, shape, value, opacity = 1) => mix(layer, shape, -opacity, opacity * value);
const scale = (layer, shape, factor) => mix(layer, shape, factor - 1, 0);
const add = (layer, shape, amount) => mix(layer, shape, 0, amount);

function within(shape, limit) {  // what of a shape lies within another
  const share = new Float32Array(shape.share.length);
  for (let row = 0; row < shape.h; row++) {
    for (let column = 0; column < shape.w; column++) {
      const x = shape.x + column - limit.x, y = shape.y + row - limit.y, i = row * shape.w + column;
      if (x >= 0 && x < limit.w && y >= 0 && y < limit.h) share[i] = shape.share[i] * limit.share[y * limit.w + x];
    }
  }
  return { ...shape, share };
}

// ---- The head: its relief, the light on it, and how it is seen when it is turned.

function headForm(who, shape, size) {  // an egg; 0 outside its outline
  const layer = new Float32Array(size * size), grid = axis(size);
  grid.forEach((y, row) => {
    const half = Math.max(halfWidth(who, shape.chinY, y), 1e-3);
    const reach = clamp(y > CENTRE_Y ? (y - CENTRE_Y) / (shape.chinY - CENTRE_Y) : (CENTRE_Y - y) / (CENTRE_Y - TOP_Y), 0, 1);
    const fall = 0.55 * (1 - 0.55 * reach ** 3);
    for (let column = 0; column < size; column++) {
      const broad = (grid[column] / half) ** 2;
      layer[row * size + column] = fall * Math.sqrt(clamp(1 - 0.55 * broad - 0.45 * broad * broad, 0, 1));
    }
  });
  return layer;
}

function hillsOf(who, { au, nose: [tipX, tipY, noseWidth], chinY, mouth, eyes, brows, cheeks, wingY }) {  // x, y, spread along x and y, height
  const rows = [
    [0, who.eye_y + 0.02, 0.046, 0.1, 0.36 * who.nose_height],
    [0, 0.5 * (who.eye_y + tipY), 0.05, 0.1, 0.46 * who.nose_height],
    [tipX, tipY - 0.03, 0.058, 0.058, 0.8 * who.nose_height],
    [0, -0.47, 0.28, 0.12, 0.035],
    [0, who.mouth_y, 0.19, 0.13, 0.05],
    [0, chinY - 0.13, 0.1, 0.065, 0.055 + 0.02 * au[17]],
    [0, Math.max(...heights(mouth.outerLower)) + 0.035, 0.11, 0.03, -0.028],
  ];
  const fullness = who.cheeks * (0.045 + 0.045 * au[6] + 0.045 * au[12] + 0.02 * au[9]), pulled = lopsided(au, 12), dimpled = lopsided(au, 14);
  SIDES.forEach((left, i) => {
    const eye = eyes[i].centre, browY = heights(brows[i]).reduce((a, b) => a + b) / brows[i].length;
    rows.push(
      [eye[0] - 0.02 * left, eye[1] - 0.015, 0.13, 0.085, -0.075],
      [eye[0], eye[1], 0.062, 0.045, 0.045],
      [left * 0.24, browY - 0.01, 0.15, 0.055, 0.045 + 0.012 * au[4]],
      [...cheeks[i], 0.13, 0.095, fullness + who.cheeks * 0.045 * pulled[i]],
      [left * 0.36, 0.42, 0.1, 0.14, -0.02 - 0.03 * au[26]],
      [left * 0.72 * noseWidth, wingY, 0.034, 0.036, 0.05],
    );
    if (dimpled[i]) {
      const [x, y] = mouth.innerUpper.at(-i);
      rows.push([x + 0.115 * left, y, 0.035, 0.065, 0.035 * dimpled[i]]);
    }
  });
  return rows;
}

function reliefOf(who, shape, size) {
  const layer = headForm(who, shape, size), grid = axis(size);
  for (const [x, y, across, down, height] of hillsOf(who, shape)) {
    const row = grid.map((at) => Math.exp(-0.5 * ((at - x) / across) ** 2));
    const column = grid.map((at) => height * Math.exp(-0.5 * ((at - y) / down) ** 2));
    for (let j = 0; j < size; j++) {
      if (Math.abs(column[j]) < 1e-9) continue;
      for (let i = 0, at = j * size; i < size; i++, at++) layer[at] += column[j] * row[i];
    }
  }
  return layer;
}

function shade(relief, light, pose) {  // diffuse light and gloss on a relief
  const size = side(relief), steps = size / 4, diffuse = new Float32Array(size * size), gloss = new Float32Array(size * size);
  const azimuth = radians(light.azimuth - pose.yaw), elevation = radians(light.elevation - pose.pitch);
  const lamp = [Math.sin(azimuth) * Math.cos(elevation), -Math.sin(elevation), Math.cos(azimuth) * Math.cos(elevation)];
  const length = Math.hypot(lamp[0], lamp[1], lamp[2] + 1), half = [lamp[0] / length, lamp[1] / length, (lamp[2] + 1) / length];
  for (let row = 0, at = 0; row < size; row++) {
    const above = Math.max(row - 1, 0) * size, below = Math.min(row + 1, size - 1) * size, own = row * size;
    for (let column = 0; column < size; column++, at++) {
      const x = (relief[own + Math.min(column + 1, size - 1)] - relief[own + Math.max(column - 1, 0)]) * steps;
      const y = (relief[below + column] - relief[above + column]) * steps;
      const norm = 1 / Math.sqrt(1 + x * x + y * y), facing = (lamp[2] - lamp[0] * x - lamp[1] * y) * norm;
      const wrapped = Math.max((facing + 0.25) * 0.8, 0), shine = clamp((half[2] - half[0] * x - half[1] * y) * norm, 0, 1);
      const fourth = shine * shine * shine * shine, eighth = fourth * fourth;
      gloss[at] = eighth * eighth;
      diffuse[at] = light.ambient * (0.55 + 0.45 * norm) + (1 - light.ambient) * 1.25 * wrapped;  // the sky, and the lamp
    }
  }
  return [diffuse, gloss];
}

const COARSE = 48;  // grid on which a turned head is worked out

// Where each pixel of the posed picture comes from in the frontal one: x and y in face units.
function posedView({ identity: who, pose }, shape, size) {
  const form = reliefOf(who, shape, COARSE), grid = axis(COARSE), roll = radians(pose.roll), yaw = radians(pose.yaw), pitch = radians(pose.pitch);
  const x = new Float64Array(COARSE ** 2), y = new Float64Array(COARSE ** 2);
  for (let at = 0; at < x.length; at++) {
    const right = (grid[at % COARSE] - pose.shift_x) / pose.scale, down = (grid[Math.floor(at / COARSE)] - pose.shift_y) / pose.scale;
    x[at] = Math.cos(roll) * right + Math.sin(roll) * down;
    y[at] = -Math.sin(roll) * right + Math.cos(roll) * down;
  }
  let fromX = Float32Array.from(x), fromY = Float32Array.from(y);
  for (let round = 0; round < 3; round++) {  // the height is known where the point came from: a fixed point
    const height = look(form, fromX, fromY);
    fromX = fromX.map((_, at) => (x[at] - Math.sin(yaw) * (height[at] - 0.25)) / Math.cos(yaw));
    fromY = fromY.map((_, at) => (y[at] - Math.sin(pitch) * (height[at] - 0.25)) / Math.cos(pitch));
  }
  return [enlarge(fromX, size), enlarge(fromY, size)];
}

Object.assign(ControlFace, { side, axis, cover, under, blend, scale, add, within, reliefOf, shade, posedView });
})();
