// The operations of OpenCV by which control faces are drawn, with its own rounding: soft polygons and lines, Gaussian blur, sampling, resizing.
//
// A plane is a Uint8Array or Float32Array of rows, with its width and height. Polygons are drawn in 255. Coordinates of corners are whole numbers
// of sixteenths of a pixel; inside, as in OpenCV, they are whole numbers of 1 / 65536 of a pixel.
"use strict";
(() => {
const ONE = 65536, HALF = 32768;
const whole = (value) => Math.floor(value / ONE);
const even = (value) => {  // rounds halves to the even neighbour, as C's rint
  const near = Math.floor(value + 0.5);
  return near - value === 0.5 && near & 1 ? near - 1 : near;
};
const PROFILE = Array.from({ length: 64 }, (_, i) => Math.floor(255 * Math.exp(-((i - 15.5) ** 2) / 576)));  // across a soft line, in 1/32 pixel
const STEEP = Array.from({ length: 32 }, (_, i) => Math.floor(256 * Math.SQRT1_2 * Math.hypot(1, (i + 0.5) / 32)));  // a slanted line is longer

// Cut a segment to 0..right, 0..bottom (Cohen & Sutherland): its ends and whether anything of it is inside; if not, as far as it was cut.
function clip([x1, y1, x2, y2], right, bottom) {
  const beside = (x) => (x < 0) + 2 * (x > right), over = (y) => 4 * (y < 0) + 8 * (y > bottom);
  let first = beside(x1) + over(y1), last = beside(x2) + over(y2);
  if (!(first & last) && first | last) {
    if (first & 12) {
      const edge = first < 8 ? 0 : bottom;
      [x1, y1] = [x1 + Math.trunc((edge - y1) * (x2 - x1) / (y2 - y1)), edge];
      first = beside(x1);
    }
    if (last & 12) {
      const edge = last < 8 ? 0 : bottom;
      [x2, y2] = [x2 + Math.trunc((edge - y2) * (x2 - x1) / (y2 - y1)), edge];
      last = beside(x2);
    }
    if (!(first & last) && first | last) {
      if (first) {
        const edge = first === 1 ? 0 : right;
        [x1, y1, first] = [edge, y1 + Math.trunc((edge - x1) * (y2 - y1) / (x2 - x1)), 0];
      }
      if (last) {
        const edge = last === 1 ? 0 : right;
        [x2, y2, last] = [edge, y2 + Math.trunc((edge - x2) * (y2 - y1) / (x2 - x1)), 0];
      }
    }
  }
  return [x1, y1, x2, y2, !(first | last)];
}

// A line one pixel wide with soft edges, from (x1, y1) to (x2, y2) in 1 / 65536 of a pixel: three pixels across at every step along it.
function softLine(plane, width, height, x1, y1, x2, y2) {
  let inside;
  [x1, y1, x2, y2, inside] = clip([x1, y1, x2, y2], width * ONE - 1, height * ONE - 1);
  if (!inside) return;
  const flat = Math.abs(x2 - x1) > Math.abs(y2 - y1);
  // Along the longer side (a) and across it (b).
  let [a1, b1, a2, b2] = flat ? [x1, y1, x2, y2] : [y1, x1, y2, x2];
  if (a2 < a1) [a1, b1, a2, b2] = [a2, b2, a1, b1];
  const step = Math.trunc(((b2 - b1) * ONE) / ((a2 - a1) | 1));
  a2 += ONE;
  let left = whole(a2) - whole(a1), done = 0;
  b1 += Math.floor((step * -(a1 & (ONE - 1))) / ONE) + HALF;
  const turn = ((step >> 11) & 0x3f) ^ (step < 0 ? 0x3f : 0), slope = turn & 0x20 ? 256 : STEEP[turn];
  const i = (a1 >> 9) & 0x78, j = (a2 >> 9) & 0x78;  // where in a pixel it begins and ends, in eighths of 1/16
  const start = ((0x78 - i) | 4) * slope, end = (j | 4) * slope, both = ((((j - i) & 0x78) | 4) * slope >> 8) & 0x1ff;
  const ends = [
    [0, both, (start >> 8) & 0x1ff],
    [both, (((j - i + 0x80) | 4) * slope >> 8) & 0x1ff, ((start + (slope << 7)) >> 8) & 0x1ff],
    [(end >> 8) & 0x1ff, ((end + (slope << 7)) >> 8) & 0x1ff, slope],
  ];
  const along = flat ? 1 : width, across = flat ? width : 1, [length, breadth] = flat ? [width, height] : [height, width];
  for (let a = whole(a1); left >= 0; left--, done++, a++, b1 += step) {
    if (a < 0 || a >= length) continue;
    const strength = ends[Math.min(done, 2)][Math.min(left, 2)], part = (b1 >> 11) & 31;
    for (const [side, profile] of [[-1, PROFILE[part + 32]], [0, PROFILE[part]], [1, PROFILE[63 - part]]]) {
      const b = whole(b1) + side, at = a * along + b * across, share = ((strength * profile) >> 8) & 0xff;
      if (b < 0 || b >= breadth) continue;
      for (let twice = 0; twice < 2; twice++) plane[at] += ((255 - plane[at]) * share + 127) >> 8;
    }
  }
}

// A line of single pixels (Bresenham), from left to right, between whole pixels.
function hardLine(plane, width, height, x1, y1, x2, y2) {
  let inside;
  [x1, y1, x2, y2, inside] = clip([x1, y1, x2, y2], width - 1, height - 1);
  if (!inside) return;
  if (x2 < x1) [x1, y1, x2, y2] = [x2, y2, x1, y1];
  const across = x2 - x1, down = Math.abs(y2 - y1), steep = down > across, jump = y2 < y1 ? -width : width;
  const [long, short] = steep ? [down, across] : [across, down];
  let error = long - 2 * short, place = y1 * width + x1;
  for (let left = long; left >= 0; left--) {
    plane[place] = 255;
    const aside = error < 0;
    error += -2 * short + (aside ? 2 * long : 0);
    place += steep ? jump + (aside ? 1 : 0) : 1 + (aside ? jump : 0);
  }
}

function fillRow(plane, width, y, from, to) {
  if (from < width && to >= 0) plane.fill(255, y * width + Math.max(from, 0), y * width + Math.min(to, width - 1) + 1);
}

// Fill a polygon, corners [x, y] in sixteenths of a pixel: its edges as soft or hard lines, then rows between pairs of
// edges. Corners are moved to whole rows.
function fillPolygon(plane, width, height, corners, { soft = true } = {}) {
  const points = corners.map(([x, y]) => [x * 4096, (y + 8) >> 4]), edges = [];
  points.forEach(([x2, y2], i) => {
    const [x1, y1] = points.at(i - 1);
    let [fromX, fromY, toX, toY] = [x1, y1, x2, y2];  // of the edge as it is drawn: a hard one is cut at the border
    if (soft) softLine(plane, width, height, x1, y1 * ONE, x2, y2 * ONE);
    else {
      const ends = [whole(x1 + HALF), y1, whole(x2 + HALF), y2];
      hardLine(plane, width, height, ...ends);
      if (ends.some((value, i) => value < 0 || value >= (i % 2 ? height : width))) {
        const kept = clip(ends, width - 1, height - 1);
        if (kept[1] !== kept[3]) [fromX, fromY, toX, toY] = [kept[0] * ONE, kept[1], kept[2] * ONE, kept[3]];
      }
    }
    if (y1 === y2) return;
    const slant = Math.trunc((toX - fromX) / (toY - fromY)), [top, bottom] = y1 < y2 ? [y1, y2] : [y2, y1];
    edges.push({ top, bottom, x: y1 < y2 ? fromX + (y1 - fromY) * slant : toX + (y2 - toY) * slant, slant });
  });
  if (edges.length < 2) return;
  const last = Math.min(height, Math.max(...edges.map((edge) => edge.bottom)));
  for (let y = Math.min(...edges.map((edge) => edge.top)); y < last; y++) {
    const active = edges.filter((edge) => edge.top <= y && y < edge.bottom).sort((a, b) => a.x - b.x);
    for (let pair = 0; pair + 1 < active.length; pair += 2) {
      const [a, b] = [active[pair], active[pair + 1]];
      if (y >= 0) fillRow(plane, width, y, whole(a.x + ONE - 1), whole(b.x));
      a.x += a.slant;
      b.x += b.slant;
    }
  }
}

// Fill a convex polygon, corners [x, y] in 1 / 65536 of a pixel, with soft edges.
function fillConvex(plane, width, height, points) {
  const count = points.length;
  points.forEach(([x, y], i) => softLine(plane, width, height, ...points.at(i - 1), x, y));
  const rows = points.map(([, y]) => whole(y + HALF));
  const first = points.reduce((best, [, y], i) => (y < points[best][1] ? i : best), 0);
  const top = rows[first], bottom = Math.min(Math.max(...rows), height - 1);
  if (count < 3 || bottom < 0 || top >= height) return;
  const sides = [1, count - 1].map((turn) => ({ turn, at: first, end: top, x: -ONE, slant: 0 }));
  let unused = count;
  for (let y = top; y <= bottom; y++) {
    if (y < bottom || y === top) {
      for (const side of sides) {
        if (y < side.end) continue;
        for (let from = side.at, to = (from + side.turn) % count; unused-- > 0; from = to, to = (to + side.turn) % count) {
          if (rows[to] <= y) continue;
          const rise = rows[to] - y, x = points[from][0];
          Object.assign(side, { at: to, end: rows[to], x, slant: Math.trunc((2 * (points[to][0] - x) + rise) / (2 * rise)) });
          break;
        }
      }
    }
    if (unused < 0) break;
    const [a, b] = sides[0].x > sides[1].x ? [sides[1], sides[0]] : sides;
    if (y >= 0) fillRow(plane, width, y, whole(a.x + ONE - 1), whole(b.x));
    for (const side of sides) side.x += side.slant;
  }
}

// A line of some width with soft edges and round ends, corners [x, y] in sixteenths of a pixel.
function thickLine(plane, width, height, corners, thickness, closed) {
  const points = corners.map(([x, y]) => [x * 4096, y * 4096]);
  const ends = closed ? points : points.slice(1);
  ends.forEach(([x2, y2], i) => {
    const [x1, y1] = closed ? points.at(i - 1) : points[i];
    if (thickness <= 1) return softLine(plane, width, height, x1, y1, x2, y2);
    const dx = (x1 - x2) / ONE, dy = (y2 - y1) / ONE, length = Math.hypot(dx, dy), radius = thickness * HALF;
    if (dx * dx + dy * dy > Number.EPSILON) {
      const reach = (radius + (thickness & 1) * HALF) / Math.sqrt(dx * dx + dy * dy), right = even(dy * reach), down = even(dx * reach);
      fillConvex(plane, width, height, [[x1 + right, y1 + down], [x1 - right, y1 - down], [x2 - right, y2 - down], [x2 + right, y2 + down]]);
    }
    if (!closed && i === 0) fillConvex(plane, width, height, knob(x1, y1, radius));
    fillConvex(plane, width, height, knob(x2, y2, radius));
  });
}

function knob(x, y, radius) {  // a circle about the end of a line, of few corners where it is small
  const across = whole(radius + HALF), step = across < 3 ? 90 : across < 10 ? 30 : across < 15 ? 18 : 5, points = [];
  const sine = (degrees) => Math.fround(Math.round(Math.sin((degrees * Math.PI) / 180) * 1e7) / 1e7);
  for (let angle = 0; angle <= 360; angle += step) {
    const exact = [x + radius * sine(angle + 90), y + radius * sine(angle)];
    const point = exact.map((value) => { const near = even(value / ONE) * ONE; return near + even(value - near); });
    if (!points.length || point.some((value, i) => value !== points.at(-1)[i])) points.push(point);
  }
  return points;
}

const reflect = (place, count) => {  // ... 2 1 | 0 1 2 ... n-2 n-1 | n-2 ...
  if (count === 1) return 0;
  for (;;) {
    if (place < 0) place = -place;
    else if (place >= count) place = 2 * (count - 1) - place;
    else return place;
  }
};

function gaussian(length, sigma) {
  const weights = Array.from({ length }, (_, i) => Math.exp(-0.5 * ((i - (length - 1) / 2) / sigma) ** 2));
  const sum = weights.reduce((a, b) => a + b);
  return Float64Array.from(weights, (weight) => weight / sum);
}

function wholeGaussian(length, sigma) {  // in 1/256 that sum to 256: what is rounded off one weight is carried to the next
  const exact = gaussian(length, sigma), weights = new Float64Array(length);
  let carried = 0, sum = 0;
  for (let i = 0; i < length >> 1; i++) {
    const value = exact[i] * 256 + carried;
    weights[i] = weights[length - 1 - i] = even(value);
    carried = value - weights[i];
    sum += 2 * weights[i];
  }
  weights[length >> 1] = 256 - sum;
  return weights;
}

// Convolve the rows, then the columns; edges are mirrored, or with wrap joined to the other side.
function convolve(plane, width, height, across, down, wrap = false) {
  const place = wrap ? (at, count) => ((at % count) + count) % count : reflect;
  const rows = new Float64Array(width * height), out = new Float64Array(width * height);
  const reach = across.length >> 1, drop = down.length >> 1, line = new Float64Array(width + 2 * reach);
  const columns = Int32Array.from({ length: line.length }, (_, i) => place(i - reach, width));
  for (let row = 0; row < height; row++) {
    for (let i = 0; i < line.length; i++) line[i] = plane[row * width + columns[i]];
    for (let column = 0; column < width; column++) {
      let sum = 0;
      for (let tap = 0; tap < across.length; tap++) sum += across[tap] * line[column + tap];
      rows[row * width + column] = sum;
    }
  }
  for (let row = 0; row < height; row++) {
    for (let tap = 0; tap < down.length; tap++) {
      const weight = down[tap], from = place(row + tap - drop, height) * width, to = row * width;
      for (let column = 0; column < width; column++) out[to + column] += weight * rows[from + column];
    }
  }
  return out;
}

// Gaussian blur of a plane of bytes by a kernel of this length, in OpenCV's arithmetic of 8 binary places.
function blurBytes(plane, width, height, length, sigma) {
  const weights = wholeGaussian(length, sigma), sums = convolve(plane, width, height, weights, weights);
  for (let i = 0; i < sums.length; i++) plane[i] = (sums[i] + HALF) / ONE;
}

// Gaussian blur of a plane of floats; the kernel reaches four standard deviations.
function blurFloats(plane, width, height, sigma, { sigmaDown = sigma, wrap = false } = {}) {
  const kernel = (spread) => gaussian(even(8 * spread + 1) | 1, spread);
  return new Float32Array(convolve(plane, width, height, kernel(sigma), kernel(sigmaDown), wrap));
}

// Sample a square plane bilinearly, in steps of 1/32 pixel, edges repeated; coordinates span -1 to 1 over the plane.
function look(plane, x, y) {
  const side = Math.sqrt(plane.length), half = side / 2, last = side - 1, out = new Float32Array(x.length);
  for (let i = 0; i < x.length; i++) {
    const right = even(Math.fround(Math.fround((x[i] + 1) * half) - 0.5) * 32), down = even(Math.fround(Math.fround((y[i] + 1) * half) - 0.5) * 32);
    const a = (right & 31) / 32, b = (down & 31) / 32, column = right >> 5, row = down >> 5;
    const left = Math.min(Math.max(column, 0), last), next = Math.min(Math.max(column + 1, 0), last);
    const upper = Math.min(Math.max(row, 0), last) * side, lower = Math.min(Math.max(row + 1, 0), last) * side;
    out[i] = (1 - b) * ((1 - a) * plane[upper + left] + a * plane[upper + next]) + b * ((1 - a) * plane[lower + left] + a * plane[lower + next]);
  }
  return out;
}

// Enlarge a square plane bilinearly; centres of pixels keep their place, edges repeat.
function enlarge(plane, size) {
  const side = Math.sqrt(plane.length), low = new Int32Array(size), share = new Float32Array(size), out = new Float32Array(size * size);
  for (let i = 0; i < size; i++) {
    const at = Math.fround(((i + 0.5) * side) / size - 0.5);
    low[i] = Math.min(Math.max(Math.floor(at), 0), side - 2);
    share[i] = Math.min(Math.max(at - low[i], 0), 1);
  }
  for (let row = 0, to = 0; row < size; row++) {
    const top = low[row] * side, b = share[row];
    for (let column = 0; column < size; column++, to++) {
      const at = top + low[column], a = share[column];
      out[to] = (plane[at] * (1 - a) + plane[at + 1] * a) * (1 - b) + (plane[at + side] * (1 - a) + plane[at + side + 1] * a) * b;
    }
  }
  return out;
}

// Shrink a square plane by a whole factor: each pixel is the mean of those it covers.
function shrink(plane, size) {
  const side = Math.sqrt(plane.length), factor = side / size, out = new Float32Array(size * size);
  for (let row = 0, from = 0; row < side; row++) {
    const to = Math.floor(row / factor) * size;
    for (let column = 0; column < side; column++, from++) out[to + Math.floor(column / factor)] += plane[from] / factor ** 2;
  }
  return out;
}

globalThis.ControlFace = Object.assign(globalThis.ControlFace ?? {}, { even, fillPolygon, thickLine, blurBytes, blurFloats, look, enlarge, shrink });
})();
