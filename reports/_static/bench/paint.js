// Draws a control face, as ferlab.control.drawing.picture: reflectances on a fine canvas, lit, turned, blurred by the lens and exposed.
//
//   ControlFace.draw(spec, size)   Uint8ClampedArray of size * size grey pixels
//
// Planted marks, deciding regions and colour are not drawn here.
"use strict";
(() => {
const { Generator, blurFloats, look, shrink, clamp, radians, moved, scaled, mirrored, ring, heights, disc, smooth, shapeFace } = ControlFace;
const { SIDES, side, axis, cover, under, blend, scale, add, within, reliefOf, shade, posedView } = ControlFace;

const fineSide = (size) => size * (size <= 64 ? 3 : 2);

// ---- The face: folds, nose, mouth, brows, on the skin before the light; eyes after it.

function paintFolds(skin, relief, folds) {
  for (const { line, width, depth } of folds) {
    if (depth < 0.03) continue;
    const groove = cover(line, side(skin), { blur: 0.55 * width, thickness: width, closed: false });
    add(relief, groove, -0.016 * depth);
    scale(skin, groove, 1 - 0.45 * depth);
  }
}

function paintNose(skin, relief, light, { nose: [, tipY, width], wingY }) {
  const size = side(skin), lean = 0.1 * Math.sin(radians(light.azimuth)), drop = 0.03 + 0.05 * Math.sin(radians(light.elevation));
  const foot = tipY + 0.03 + drop, top = tipY + 0.02;
  const shadow = [[-0.75 * width, top], [0.75 * width, top], [0.6 * width - lean, foot], [-0.6 * width - lean, foot]];
  scale(skin, cover(shadow, size, { blur: 0.028 }), 0.55 + 0.3 * light.ambient);
  for (const left of SIDES) {
    const wing = [[left * 0.8 * width, wingY - 0.055], [left * 1.02 * width, wingY - 0.01], [left * 0.92 * width, wingY + 0.035]];
    const groove = cover(wing, size, { blur: 0.01, thickness: 0.02, closed: false });
    scale(skin, groove, 0.62);
    add(relief, groove, -0.012);
    scale(skin, cover(disc([left * 0.48 * width, wingY + 0.026], [0.3 * width, 0.017]), size, { blur: 0.008 }), 0.22);
    scale(skin, cover(disc([left * 0.55 * width, wingY - 0.11], [0.02, 0.07]), size, { blur: 0.03 }), 0.88);
  }
}

function paintMouth(skin, relief, who, { mouth, au }) {
  const size = side(skin), tone = who.skin_albedo * (who.skin <= 4 ? 0.66 : 0.8);
  const upper = ring(mouth.outerUpper, mouth.innerUpper), lower = ring(mouth.innerLower, mouth.outerLower);
  const below = moved(mouth.outerLower, 0, 0.035);
  scale(skin, cover([...mouth.outerLower.slice(3, -3), ...below.slice(3, -3).reverse()], size, { blur: 0.022 }), 0.72);
  blend(skin, cover(upper, size, { blur: 0.007 }), 0.88 * tone, 0.92);
  blend(skin, cover(lower, size, { blur: 0.007 }), 1.02 * tone, 0.88);
  add(relief, cover(upper, size, { blur: 0.016 }), 0.024 - 0.01 * au[12]);
  add(relief, cover(lower, size, { blur: 0.016 }), 0.042);
  if (Math.max(...mouth.innerLower.map(([, y], i) => y - mouth.innerUpper[i][1])) > 0.012) paintOpening(skin, relief, mouth);
  const line = cover(mouth.innerUpper, size, { blur: 0.006, thickness: 0.016 + 0.006 * mouth.pressed, closed: false });
  scale(skin, line, 0.3);
  add(relief, line, -0.02);
  SIDES.forEach((left, i) => {
    const [x, y] = mouth.innerUpper.at(-i);
    scale(skin, cover(disc([x + 0.008 * left, y], [0.02, 0.016]), size, { blur: 0.012 }), 0.55);
  });
}

function paintOpening(skin, relief, mouth) {
  const size = side(skin), hole = cover(ring(mouth.innerUpper, mouth.innerLower), size);
  blend(skin, hole, 0.03);
  add(relief, hole, -0.02);
  if (mouth.gap > 0.12) {
    const [x, y] = mouth.innerLower[8], tongue = disc([x, y - 0.012], [0.55 * mouth.innerLower.at(-1)[0], 0.3 * mouth.gap]);
    blend(skin, within(cover(tongue, size, { blur: 0.02 }), hole), 0.16);
  }
  for (const [rim, drop, show] of [[mouth.innerUpper, 0.058, mouth.upperTeeth], [mouth.innerLower, -0.05, mouth.lowerTeeth]]) {
    if (show <= 0.05) continue;
    const inset = rim.map(([x, y], i) => [x * (1 - 0.12 * (-1 + i / 8) ** 2), y]);
    blend(skin, within(cover(ring(inset, moved(inset, 0, drop * show)), size, { blur: 0.005 }), hole), 0.72, 0.9);
  }
}

function paintBrow(skin, relief, who, brow) {
  const size = side(skin), band = [...brow.map(([x, y, half]) => [x, y - half]), ...brow.map(([x, y, half]) => [x, y + 0.8 * half]).reverse()];
  blend(skin, cover(band, size, { blur: 0.011 }), Math.min(0.7 * who.hair_albedo + 0.02, 0.48 * who.skin_albedo), 0.88);
  add(relief, cover(band, size, { blur: 0.02 }), 0.012);
}

function paintEye(lit, diffuse, { identity: who, light }, eye) {
  const size = side(lit), opened = Math.max(...eye.lower.map(([, y], i) => y - eye.upper[i][1]));
  const crease = moved(eye.upper, 0, -0.022 - 0.12 * opened), at = (value) => Math.trunc(((value + 1) * size) / 2);
  scale(lit, cover(ring(moved(crease, 0, -0.012), eye.lower), size, { blur: 0.022 }), 0.8);
  scale(lit, cover(crease.slice(1, -1), size, { blur: 0.007, thickness: 0.012, closed: false }), 0.62);
  const ball = cover(ring(eye.upper, eye.lower), size), inBall = (shape) => within(shape, ball);
  const seen = Math.min(1, 0.35 + 0.55 * diffuse[at(eye.centre[1]) * size + at(eye.centre[0])]);
  blend(lit, ball, (0.62 + 0.1 * (who.skin_albedo > 0.5)) * seen);
  blend(lit, inBall(cover(disc(eye.iris, [eye.radius, eye.radius]), size, { blur: 0.004 })), 0.55 * who.iris_albedo + 0.015);
  blend(lit, inBall(cover(disc(eye.iris, [0.026, 0.026]), size)), 0.012);
  scale(lit, inBall(cover(ring(eye.upper, moved(eye.upper, 0, 0.03)), size, { blur: 0.01 })), 0.55);
  const spark = [eye.iris[0] + 0.02 * Math.sin(radians(light.azimuth)), eye.iris[1] - 0.016];
  blend(lit, inBall(cover(disc(spark, [0.013, 0.013]), size)), 0.95, 0.9);
  scale(lit, cover(eye.upper, size, { blur: 0.004, thickness: 0.024, closed: false }), 0.2);
  scale(lit, cover(eye.lower, size, { blur: 0.006, thickness: 0.012, closed: false }), 0.62);
}

// ---- What frames the face: grain, background, neck, ears, hair, beard, glasses.

const grains = new Map();  // what numpy draws for a grain is drawn once

function grainOf(number, size, streaks) {
  const key = `${number}/${size}/${streaks}`;
  if (!grains.has(key)) {
    const generator = new Generator([number, size, Number(streaks)]), noise = Float32Array.from({ length: size * size }, () => generator.normal());
    const [across, along] = streaks ? [0.007 * size, 0.09 * size] : [0.02 * size, 0.02 * size];
    const fine = blurFloats(noise, size, size, across, { sigmaDown: along, wrap: true });
    const mean = fine.reduce((a, b) => a + b) / fine.length;
    const spread = Math.sqrt(fine.reduce((sum, value) => sum + (value - mean) ** 2, 0) / fine.length);
    grains.set(key, fine.map((value) => value / spread));
  }
  return grains.get(key);
}

// Grain of skin, or with streaks of hair, around 1: a layer.
function texture(number, size, amount, streaks = false) {
  const grain = grainOf(number % 7, size, streaks), down = Math.floor(number / 7) % size, right = Math.floor((3 * number) / 7) % size;
  const layer = new Float32Array(size * size);
  for (let row = 0, at = 0; row < size; row++) {
    const from = ((row + down) % size) * size;
    for (let column = 0; column < size; column++, at++) layer[at] = 1 + amount * grain[from + ((column + right) % size)];
  }
  return layer;
}

function backdrop({ identity: who, light }, shape, size) {
  const grid = axis(size), w = who.face_width, lean = 0.12 * Math.sin(radians(light.azimuth)), tone = 0.06 + 0.75 * light.background;
  const layer = new Float32Array(size * size).map((_, at) => tone * (1 + lean * grid[at % size] - 0.15 * grid[Math.floor(at / size)]));
  if (who.hair === "long") paintPatch(layer, who, light, smooth(scaled(mirrored([[0.8, -0.92], [1.22, -0.4], [1.36, 0.5], [1.45, 1.05]]), w)));
  const neck = cover(scaled(mirrored([[0.52, 0.45], [0.58, 0.9], [0.8, 1.1]]), w), size, { blur: 0.01 });
  blend(layer, neck, 0.66 * who.skin_albedo);
  const chin = [[-0.6, 0.5], [0.6, 0.5], [0.4, shape.chinY + 0.06], [-0.4, shape.chinY + 0.06]];
  scale(layer, within(neck, cover(chin, size, { blur: 0.05 })), 0.55);
  const shirt = [[-1.1, 1.1], [-1.05, 0.96], [-0.5, 0.93], [0, 1.02], [0.5, 0.93], [1.05, 0.96], [1.1, 1.1]];
  blend(layer, cover(shirt, size, { blur: 0.008 }), 0.08 + (0.6 * (who.texture % 97)) / 97);
  for (const left of SIDES) {
    const lit = light.ambient + (1 - light.ambient) * (0.75 + 0.6 * left * Math.sin(radians(light.azimuth)));
    blend(layer, cover(disc([left * 1.01 * w, -0.02], [0.065, 0.15]), size, { blur: 0.008 }), 0.85 * who.skin_albedo * lit);
    scale(layer, cover(disc([left * 1.015 * w, -0.02], [0.03, 0.09]), size, { blur: 0.02 }), 0.6);
  }
  return layer;
}

function paintPatch(layer, who, light, outline) {  // hair: streaked, with a shine across the top that follows the lamp
  const size = side(layer), grid = axis(size), lamp = radians(light.azimuth), grain = texture(who.texture, size, 0.15, true);
  under(layer, cover(outline, size, { blur: 0.012 }), (old, share, at) => {
    const x = grid[at % size], y = grid[Math.floor(at / size)];
    const shine = Math.exp(-0.5 * ((y + 0.72) / 0.14) ** 2) * (0.5 + 0.5 * Math.cos(lamp - 1.6 * x));
    const lit = light.ambient + (1 - light.ambient) * Math.max(0.75 + Math.sin(lamp) * x, 0.2);
    return old + (who.hair_albedo * lit * grain[at] + 0.1 * shine - old) * share;
  });
}

// Front edge of the hair from right to left: x in half widths of the face, y in face units, share of the hairline in y.
const FRONTS = {
  short: [[0.93, -0.22, 0], [0.88, -0.45, 0], [0.55, -0.02, 1], [0, -0.04, 1], [-0.55, -0.02, 1], [-0.88, -0.45, 0], [-0.93, -0.22, 0]],
  fringe: [[0.94, -0.1, 0], [0.86, -0.42, 0], [0.5, 0.15, 1], [0, 0.17, 1], [-0.5, 0.15, 1], [-0.86, -0.42, 0], [-0.94, -0.1, 0]],
  side: [[0.95, -0.15, 0], [0.9, -0.4, 0], [0.6, 0.1, 1], [0.1, 0.02, 1], [-0.45, -0.14, 1], [-0.86, -0.48, 0], [-0.94, -0.18, 0]],
  long: [[0.98, 0.35, 0], [0.86, -0.2, 0], [0.62, 0.1, 1], [0.05, -0.18, 1], [-0.62, 0.1, 1], [-0.86, -0.2, 0], [-0.98, 0.35, 0]],
  cap: [[1.02, -0.42, 0], [0.7, 0.02, 1], [0.3, 0.05, 1], [0, 0.06, 1], [-0.3, 0.05, 1], [-0.7, 0.02, 1], [-1.02, -0.42, 0]],
};

function paintHair(picture, { identity: who, light }) {
  if (who.hair === "bald") return;
  const size = side(picture), ends = who.hair === "long" ? [1.2, 0.45] : [1.08, -0.25];
  const crown = [[-ends[0], ends[1]], [-1.12, -0.6], [-0.75, -1], [0, -1.12], [0.75, -1], [1.12, -0.6], ends];
  const edge = [...crown, ...FRONTS[who.hair].map(([x, y, share]) => [x, y + share * who.hairline])];
  const outline = smooth(scaled(edge, who.texture % 2 ? -who.face_width : who.face_width));  // partings and locks fall to either side
  scale(picture, cover(moved(outline, 0.01, 0.035), size, { blur: 0.025 }), 0.72);
  if (who.hair !== "cap") return paintPatch(picture, who, light, outline);
  const tone = 0.04 + 0.4 * ((who.texture % 53) / 53) ** 2, shine = smooth([[-0.3, -1], [0.3, -1], [0.25, -0.72], [-0.25, -0.72]]);
  blend(picture, cover(outline, size, { blur: 0.006 }), tone);
  blend(picture, cover(shine, size, { blur: 0.09 }), 1.5 * tone + 0.02);
  const corners = [[-0.85, -0.06], [0, -0.1], [0.85, -0.06], [0.6, 0.1], [0, 0.17], [-0.6, 0.1]];
  const brim = smooth(corners.map(([x, y]) => [x * who.face_width, who.hairline + y]));
  scale(picture, cover(moved(brim, 0, 0.05), size, { blur: 0.03 }), 0.6);
  blend(picture, cover(brim, size, { blur: 0.006 }), 0.7 * tone);
}

function paintBeard(skin, who, { mouth, nose: [, tipY], outline }) {
  if (who.beard === "none") return;
  const size = side(skin), tone = Math.min(who.hair_albedo + 0.02, 0.6 * who.skin_albedo), width = mouth.outerUpper.at(-1)[0];
  const strength = { stubble: 0.32, moustache: 0, full: 0.85 }[who.beard], every = (points) => points.filter((_, i) => i % 2 === 0);
  const top = every(mouth.outerUpper), nose = [[-0.6 * width, tipY + 0.14], [0, tipY + 0.115], [0.6 * width, tipY + 0.14]];
  const ends = [[-1.12 * width, top[0][1] + 0.03], [1.12 * width, top.at(-1)[1] + 0.03]];
  if (strength) {
    const jaw = outline.filter(([, y]) => y > 0.08).sort((a, b) => Math.atan2(b[0], 1) - Math.atan2(a[0], 1));
    const right = [1.15 * width, 0.46], far = [0.72 * who.face_width, 0.3], lips = moved(every(mouth.outerLower), 0, 0.012);
    const inner = [[-far[0], far[1]], [-right[0], right[1]], ...lips, right, far];
    blend(skin, cover([...jaw, ...inner], size, { blur: 0.045 }), tone, strength);
  }
  const moustache = [ends[0], ...nose, ends[1], ...moved([...top].reverse(), 0, -0.004)];
  blend(skin, cover(moustache, size, { blur: 0.016 }), tone, Math.max(strength, who.beard === "moustache" ? 0.8 : 0));
}

const lensOutline = (centre) => smooth(moved([[-0.165, -0.105], [0, -0.115], [0.165, -0.105], [0.16, 0.085], [0, 0.165], [-0.16, 0.085]], ...centre));

function paintRims(picture, who, eyes, lens = null) {  // glasses; `lens` is the grey of dark lenses
  const size = side(picture), tone = 0.03 + 0.25 * ((who.texture % 31) / 31) ** 2, inner = who.eye_x - 0.15, outer = who.eye_x + 0.15;
  const line = (points, closed = false) => blend(picture, cover(points, size, { blur: 0.004, thickness: 0.02, closed }), tone);
  SIDES.forEach((left, i) => {
    const rim = lensOutline(eyes[i].centre);
    if (lens !== null) blend(picture, cover(rim, size, { blur: 0.004 }), lens);
    add(picture, cover(moved([[-0.07, 0.04], [0.01, -0.085], [0.05, -0.085], [-0.03, 0.04]], ...eyes[i].centre), size, { blur: 0.02 }), 0.07);
    line(rim, true);
    line([[left * outer, who.eye_y - 0.03], [left * 0.99 * who.face_width, who.eye_y - 0.05]]);
  });
  line([[-inner, who.eye_y - 0.01], [0, who.eye_y - 0.04], [inner, who.eye_y - 0.01]]);
}

// ---- Occluders: their place is drawn from the face's noise seed.

function occluderOutlines(spec, shape) {
  const rng = new Generator([...spec.noise_seed, 1]), who = spec.identity;
  if (spec.occluder === "hand") return hand(rng);
  if (spec.occluder === "mask") {
    const top = rng.uniform(0.04, 0.2), w = who.face_width, angle = ([x, y]) => Math.atan2(y - top, -x);
    const jaw = shape.outline.filter(([, y]) => y > top + 0.06).sort((a, b) => angle(a) - angle(b));
    const ridge = [[-0.98 * w, 0.05], [-0.12, -0.04], [0, -0.07], [0.12, -0.04], [0.98 * w, 0.05]];
    return [[...moved(ridge, 0, top), ...scaled(jaw, 1.02, 1.02).reverse()]];
  }
  if (spec.occluder === "bar") {
    const middle = rng.choice([who.eye_y - 0.05, 0.15, who.mouth_y]) + rng.uniform(-0.05, 0.05);
    const tilt = rng.uniform(-0.12, 0.12), half = rng.uniform(0.09, 0.15);
    return [moved([[-1.2, -half - tilt], [1.2, -half + tilt], [1.2, half + tilt], [-1.2, half - tilt]], 0, middle)];
  }
  if (spec.occluder === "strand") return strands(rng);
  return spec.occluder === "sunglasses" ? shape.eyes.map((eye) => lensOutline(eye.centre)) : [];
}

function hand(rng) {  // palm and four fingers that come from a lower corner
  const left = rng.choice([-1, 1]), aim = radians(rng.uniform(20, 65));
  const along = [-left * Math.cos(aim), -Math.sin(aim)], across = [Math.sin(aim), -left * Math.cos(aim)];
  const root = [left * rng.uniform(0.42, 0.62), rng.uniform(0.68, 0.82)];
  const at = (from, a, b) => [0, 1].map((i) => from[i] + a * along[i] + b * across[i]);
  const palm = smooth([[0.05, 0.24], [0.05, -0.24], [-0.75, -0.2], [-0.75, 0.2]].map(([a, b]) => at(root, a, b)));
  const profile = [[-0.1, 1], [0.6, 1], [0.9, 0.85], [1, 0.4]];
  const finger = (place, length) => [1, -1].map((turn) => profile.map(([a, b]) => at(at(root, 0, place), length * a, turn * 0.062 * b)));
  return [palm, ...[[-0.18, 0.4], [-0.06, 0.5], [0.06, 0.47], [0.18, 0.36]].map((each) => ring(...finger(...each)))];
}

function strands(rng) {  // locks that fall from the hairline over one eye
  const left = rng.choice([-1, 1]);
  return Array.from({ length: rng.integers(2, 5) }, (_, number) => {
    const top = [left * (0.05 + 0.09 * number), -0.95], end = [left * (0.22 + 0.09 * number + rng.uniform(-0.04, 0.06)), rng.uniform(-0.05, 0.3)];
    const belly = [0.5 * (top[0] + end[0]) + left * rng.uniform(0.02, 0.12), 0.5 * (top[1] + end[1])], half = rng.uniform(0.035, 0.06);
    const edge = (turn) => [top, belly, end].map(([x, y], i) => [x + turn * (i < 2 ? half : 0.01), y]);
    return smooth(ring(edge(-1), edge(1)));
  });
}

function shrunk(outline, factor) {
  const middle = [0, 1].map((i) => outline.reduce((sum, point) => sum + point[i], 0) / outline.length);
  return outline.map((point) => [0, 1].map((i) => middle[i] + factor * (point[i] - middle[i])));
}

function paintOccluder(picture, spec, shape) {
  const outlines = occluderOutlines(spec, shape), who = spec.identity, size = side(picture), rng = new Generator([...spec.noise_seed, 2]);
  if (spec.occluder === "sunglasses") paintRims(picture, who, shape.eyes, 0.03);
  else if (spec.occluder === "bar") blend(picture, cover(outlines[0], size), rng.uniform(0.01, 0.1));
  else if (spec.occluder === "mask") paintCloth(picture, spec.light, outlines[0], rng.uniform(0.1, 0.8));
  for (const outline of spec.occluder === "hand" ? outlines : []) {
    scale(picture, cover(moved(outline, 0, 0.015), size, { blur: 0.025 }), 0.6);
    blend(picture, cover(outline, size, { blur: 0.006 }), 0.72 * who.skin_albedo);
    blend(picture, cover(shrunk(outline, 0.72), size, { blur: 0.022 }), 0.98 * who.skin_albedo, 0.8);
  }
  for (const outline of spec.occluder === "strand" ? outlines : []) {
    scale(picture, cover(moved(outline, 0.01, 0.01), size, { blur: 0.02 }), 0.75);
    blend(picture, cover(outline, size, { blur: 0.006 }), who.hair_albedo, 0.95);
  }
}

function paintCloth(picture, light, outline, tone) {  // with pleats, brightest in the middle and towards the lamp
  const size = side(picture), lean = 0.12 * Math.sin(radians(light.azimuth));
  const low = Math.min(...heights(outline)), high = Math.max(...heights(outline));
  scale(picture, cover(moved(outline, 0, -0.02), size, { blur: 0.03 }), 0.7);
  blend(picture, cover(outline, size, { blur: 0.006 }), 0.72 * tone);
  blend(picture, cover(moved(shrunk(outline, 0.62), lean, -0.03), size, { blur: 0.08 }), 1.05 * tone, 0.8);
  for (const part of [0.35, 0.52, 0.69]) {
    const y = low + part * (high - low);
    scale(picture, cover([[-0.36, y - 0.02], [0, y + 0.02], [0.36, y - 0.02]], size, { blur: 0.01, thickness: 0.014, closed: false }), 0.75);
  }
}

// ---- The picture.

function paint(spec, shape, size) {  // the frontal picture before pose and camera
  const who = spec.identity, relief = reliefOf(who, shape, size);
  const skin = texture(who.texture, size, 0.03 + 0.04 * who.age).map((grain) => who.skin_albedo * grain);
  for (const cheek of shape.cheeks) scale(skin, cover(disc(cheek, [0.13, 0.1]), size, { blur: 0.05 }), who.skin <= 3 ? 0.94 : 0.97);
  paintFolds(skin, relief, shape.folds);
  paintNose(skin, relief, spec.light, shape);
  paintMouth(skin, relief, who, shape);
  paintBeard(skin, who, shape);
  for (const brow of shape.brows) paintBrow(skin, relief, who, brow);
  const [diffuse, gloss] = shade(relief, spec.light, spec.pose), lit = skin.map((value, at) => value * diffuse[at] + 0.1 * gloss[at]);
  for (const eye of shape.eyes) paintEye(lit, diffuse, spec, eye);
  const picture = backdrop(spec, shape, size), head = cover(scaled(shape.outline, 0.985, 0.985), size, { blur: 0.006 });  // inside the rim
  under(picture, head, (old, share, at) => old + (lit[at] - old) * share);
  paintHair(picture, spec);
  if (who.glasses && spec.occluder !== "sunglasses") paintRims(picture, who, shape.eyes);
  paintOccluder(picture, spec, shape);
  return picture;
}

function draw(spec, size) {
  const shape = shapeFace(spec), fine = fineSide(size), sigma = (spec.blur * fine) / 2;
  let seen = look(paint(spec, shape, fine), ...posedView(spec, shape, fine));
  if (sigma > 0.3) seen = blurFloats(seen, fine, fine, sigma);
  const rng = spec.noise ? new Generator(spec.noise_seed) : null;
  return Uint8ClampedArray.from(shrink(seen, size), (value) => {
    const grey = 255 * (1 - Math.exp(-1.5 * Math.max(value * spec.light.exposure, 0))) ** 0.85;  // film: highlights bend, none burn out
    return grey + (rng ? rng.normal() * spec.noise * (0.6 + 0.4 * Math.sqrt(clamp(grey, 0, 255) / 128)) : 0);
  });
}

Object.assign(ControlFace, { draw, occluderOutlines });
})();
