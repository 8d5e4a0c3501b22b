// Shapes of a control face, as ferlab.control.drawing.geometry: identity, rest and action units become curves, folds and bulges, before pose.
//
// A spec is what ferlab.control.specs.FaceSpec holds, as JSON. Points are [x, y] in face units: the picture spans -1 to 1, x to the right, y down.
// Curves run from the left of the picture to its right; of a pair (brows, eyes) the first is at the left.
"use strict";
(() => {
const CENTRE_Y = -0.12, TOP_Y = -0.93;  // where the head is widest, and its top
const SIDES = [-1, 1];
const UNITS = ["1", "2", "4", "5", "6", "7", "9", "10", "12", "15", "16", "17", "20", "23", "24", "25", "26", "12R", "12L", "14R", "14L"];

const linspace = (from, to, count) => Array.from({ length: count }, (_, i) => (i === count - 1 ? to : from + (i * (to - from)) / (count - 1)));
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const radians = (degrees) => (degrees * Math.PI) / 180;
const moved = (points, right, down) => points.map(([x, y]) => [x + right, y + down]);
const scaled = (points, across, down = 1) => points.map(([x, y]) => [x * across, y * down]);
const mirrored = (right) => [...right, ...scaled(right, -1).reverse()];
const ring = (upper, lower) => [...upper, ...[...lower].reverse()];
const heights = (points) => points.map(([, y]) => y);

const T = linspace(-1, 1, 17), U = linspace(0, 1, 9);  // along lids and lips; along a brow, from its inner end
const CIRCLE = Array.from({ length: 20 }, (_, i) => [Math.cos((i * Math.PI) / 10), Math.sin((i * Math.PI) / 10)]);
const disc = ([x, y], [across, down]) => CIRCLE.map(([cosine, sine]) => [cosine * across + x, sine * down + y]);

// Closed curve through a polygon's edge midpoints, cornered by its points (quadratic B-spline).
function smooth(points) {
  return points.flatMap((point, i) => {
    const before = points.at(i - 1), after = points[(i + 1) % points.length];
    return [0, 0.2, 0.4, 0.6, 0.8].map((t) => [0, 1].map((axis) =>
      (1 - t) ** 2 * 0.5 * (before[axis] + point[axis]) + 2 * t * (1 - t) * point[axis] + t ** 2 * 0.5 * (point[axis] + after[axis])));
  });
}

// How much stronger a unit is at the left and at the right of the picture than on both sides.
const lopsided = (au, unit) => ["R", "L"].map((side) => Math.max(au[unit + side] - (au[unit] ?? 0), 0));

function shapeFace(spec) {
  const who = spec.identity, au = Object.fromEntries(UNITS.map((unit) => [unit, spec.action_units[unit] ?? 0]));
  const chinY = who.chin_y + 0.085 * au[26] - 0.012 * au[17];
  const brows = SIDES.map((side) => layBrow(spec, au, side)), eyes = SIDES.map((side) => layEye(spec, au, side)), mouth = layMouth(spec, au);
  const noseY = who.nose_y - 0.025 * au[9] - 0.008 * au[10], noseWidth = who.nose_width * (1 + 0.16 * au[9] + 0.08 * au[10] + 0.08 * au[12]);
  const wingY = noseY + 0.015 - 0.022 * au[9] - 0.012 * au[10];
  const lifted = 0.055 * au[6] + 0.045 * au[12] + 0.02 * au[9] + 0.015 * au[10], pulled = lopsided(au, 12);
  const cheeks = SIDES.map((side, i) => [side * (0.355 + 0.02 * au[12]), 0.14 - lifted - 0.045 * pulled[i]]);
  const shape = { au, chinY, brows, eyes, mouth, nose: [0, noseY, noseWidth], wingY, cheeks, outline: outlineOf(who, chinY) };
  return { ...shape, folds: [...upperFolds(who, au, brows), ...lowerFolds(who, au, shape)] };
}

function halfWidth(who, chinY, y) {
  const below = y > CENTRE_Y, reach = clamp(below ? (y - CENTRE_Y) / (chinY - CENTRE_Y) : (CENTRE_Y - y) / (CENTRE_Y - TOP_Y), 0, 1);
  return who.face_width * (1 - reach ** (below ? who.jaw : 2.2)) ** (below ? 0.56 : 0.5);
}

function outlineOf(who, chinY) {
  return Array.from({ length: 48 }, (_, i) => {
    const angle = (i * Math.PI) / 24, down = Math.sin(angle);
    const y = CENTRE_Y + (down > 0 ? chinY - CENTRE_Y : CENTRE_Y - TOP_Y) * down;
    return [Math.sign(Math.cos(angle)) * halfWidth(who, chinY, y), y];
  });
}

function layBrow({ identity: who, rest }, au, side) {
  const thickest = [[0, 0.75], [0.25, 1], [0.6, 0.8], [1, 0.25]];
  const line = U.map((u) => {
    const inner = (1 - u) ** 1.4, outer = Math.sin(Math.PI * clamp(u * 0.95 - 0.12, 0, 1)) * u ** 0.35;
    const x = 0.105 + 0.335 * u - au[4] * 0.05 * (1 - u) ** 1.2;
    let y = who.eye_y - who.brow_gap - who.brow_arch * Math.sin(Math.PI * clamp(u * 0.9, 0, 1)) + 0.02 * u ** 3;
    y += (who.brow_slope + rest.brow_slope) * (u - 0.5) - rest.brow_raise + side * who.asymmetry;
    y += -0.105 * au[1] * inner - 0.105 * au[2] * outer;
    y += au[4] * (0.058 + 0.062 * inner * (1 - 0.8 * au[1])) + au[9] * 0.045 * inner + au[6] * 0.008 * u;
    const next = Math.max(thickest.findIndex(([at]) => at >= u), 1), [from, low] = thickest[next - 1], [to, high] = thickest[next];
    return [side * x, y, who.brow_thickness * (low + ((high - low) * (u - from)) / (to - from))];
  });
  return side > 0 ? line : line.reverse();
}

function layEye({ identity: who, rest }, au, side) {
  const centre = [side * who.eye_x, who.eye_y + 0.3 * side * who.asymmetry];
  const opened = (who.eye_open + rest.lid_open) * (1 - 0.32 * au[7] - 0.22 * au[9] - 0.16 * au[6] - 0.1 * au[4] * (1 - au[5]));
  const openUpper = Math.max(0.012, opened + 0.052 * au[5]);
  const openLower = Math.max(0.004, 0.045 + 0.01 * au[5] - 0.034 * au[7] - 0.034 * au[6] - 0.026 * au[9]);
  const lid = (height) => T.map((t) => [centre[0] + who.eye_width * t, centre[1] - side * who.eye_tilt * t + height(t)]);
  return {
    centre,
    upper: lid((t) => -openUpper * clamp(1 - Math.abs(t + 0.12 * side) ** 2.1, 0, 1)),  // highest a little towards the nose
    lower: lid((t) => openLower * (1 - t ** 2)),
    iris: [centre[0] + rest.gaze_x, centre[1] - 0.008 + rest.gaze_y],
    radius: 0.06,
  };
}

function layMouth({ identity: who, rest }, au) {
  const pressed = Math.min(1, 0.75 * au[23] + 0.6 * au[24]);
  const width = who.mouth_width + 0.075 * au[12] + 0.075 * au[20] - 0.012 * au[15] - 0.038 * au[26] - 0.03 * au[23] - 0.015 * au[17];
  const corner = who.mouth_y - who.mouth_curve - rest.corner_raise - 0.105 * au[12] + 0.085 * au[15] + 0.03 * au[20]
    + 0.055 * au[26] + 0.012 * au[10];
  const gap = 0.055 * au[25] * (1 - 0.3 * au[26]) + 0.235 * au[26] + 0.03 * au[10] + 0.035 * au[16] + au[12] * au[25] * 0.02;
  const middle = who.mouth_y - 0.01 * au[12] - 0.038 * au[10] - 0.04 * au[17] - 0.02 * au[15] + 0.008 * au[16];
  const upperLip = who.upper_lip * (1 - 0.75 * pressed - 0.35 * au[12] - 0.3 * au[20]) - rest.lip_press * 0.5;
  const lowerLip = who.lower_lip * (1 - 0.72 * pressed - 0.25 * au[12] - 0.2 * au[20] + 0.25 * au[17]) - rest.lip_press * 0.5;
  const pulled = lopsided(au, 12), dimpled = lopsided(au, 14);
  const towards = (t) => [clamp(-t, 0, 1) ** 1.3, clamp(t, 0, 1) ** 1.3];  // share of a movement of one corner along the mouth
  const curves = T.map((t) => {
    const [left, right] = towards(t), pull = pulled[0] * left + pulled[1] * right, dimple = dimpled[0] * left + dimpled[1] * right;
    const x = width * t + t * (0.075 * pull - 0.02 * dimple);
    const corners = corner + 0.8 * who.asymmetry * t - 0.105 * pull - 0.03 * dimple;
    const bow = Math.exp(-((t / 0.16) ** 2)) * 0.012 - Math.exp(-(((Math.abs(t) - 0.25) / 0.2) ** 2)) * 0.006;
    const taper = clamp(1 - Math.abs(t) ** 2.2, 0, 1) * (1 - 0.45 * dimple);
    const square = clamp(1 - Math.abs(t) ** (1.7 + 1.6 * Math.max(au[10], 0.6 * au[20])), 0, 1);
    const low = clamp(1 - Math.abs(t) ** (1.9 + Math.max(au[16], au[20], 0.5 * au[26])), 0, 1);
    const innerUpper = corners + (middle - corners) * square + 0.25 * bow * (1 - au[26]);
    const innerLower = Math.max(corners + (middle + gap - corners) * low, innerUpper);
    const outerUpper = Math.min(innerUpper - Math.max(0.008, upperLip) * taper + bow * (1 - 0.6 * pressed), innerUpper);
    return [[x, outerUpper], [x, innerUpper], [x, innerLower], [x, innerLower + Math.max(0.01, lowerLip) * taper]];
  });
  const [outerUpper, innerUpper, innerLower, outerLower] = [0, 1, 2, 3].map((i) => curves.map((curve) => curve[i]));
  const upperTeeth = clamp(0.3 + Math.max(0.75 * au[12], 0.7 * au[10], 0.55 * au[20]) - 0.2 * au[26], 0, 1);
  const lowerTeeth = clamp(0.9 * au[16] + 0.35 * au[20] * au[25], 0, 1);
  return { outerUpper, innerUpper, innerLower, outerLower, gap, upperTeeth, lowerTeeth, pressed };
}

// Quadratic curve from start to end, drawn towards `through`.
const arc = (start, through, end) => U.map((u) => [0, 1].map((i) => (1 - u) ** 2 * start[i] + 2 * u * (1 - u) * through[i] + u ** 2 * end[i]));

function upperFolds(who, au, brows) {
  const folds = [], fold = (line, width, depth) => folds.push({ line, width, depth });
  const raised = Math.max(au[1], au[2]), top = Math.min(...heights(brows.flat())), half = 0.17 + 0.2 * au[2];
  for (const step of [1, 2, 3]) {
    const y = top - 0.02 - 0.058 * step, dip = 0.03 * (au[2] - au[1] * (1 - au[2]));
    fold(arc([-half, y + dip], [0, y - dip], [half, y + dip]), 0.016, Math.min(0.6, (0.15 + 0.35 * who.age) * raised + 0.12 * who.age));
  }
  for (const side of SIDES) {
    const innerY = side < 0 ? brows[0].at(-1)[1] : brows[1][0][1], frown = Math.min(1, 0.85 * au[4] + 0.4 * au[9]) + 0.12 * who.age;
    fold(arc([side * 0.04, innerY - 0.035], [side * 0.034, innerY + 0.01], [side * 0.05, innerY + 0.05]), 0.024, 0.75 * frown);
    for (const step of [0, 1, 2]) {
      const y = who.eye_y - 0.01 + 0.045 * step, start = [side * (who.eye_x + who.eye_width + 0.015), who.eye_y + 0.015 * step];
      fold(arc([side * 0.012, y], [side * 0.045, y - 0.005], [side * 0.1, y + 0.045]), 0.022, 0.6 * au[9]);
      fold(arc(start, start, [side * (who.eye_x + who.eye_width + 0.1), who.eye_y - 0.035 + 0.05 * step]), 0.013, (0.25 + 0.4 * who.age) * au[6]);
    }
    const under = who.eye_y + 0.085 - 0.022 * Math.max(au[6], au[7]), left = side * (who.eye_x - 0.1), right = side * (who.eye_x + 0.11);
    const bag = arc([left, under - 0.02], [side * who.eye_x, under + 0.035], [right, under - 0.02]);
    fold(bag, 0.022, 0.15 + 0.2 * who.age + 0.45 * au[6] + 0.35 * au[7]);
  }
  return folds;
}

function lowerFolds(who, au, { mouth, nose, wingY, chinY }) {
  const folds = [], fold = (line, width, depth) => folds.push({ line, width, depth }), pulled = lopsided(au, 12), dimpled = lopsided(au, 14);
  SIDES.forEach((side, i) => {
    const [x, y] = mouth.outerUpper.at(-i), pull = pulled[i], start = [side * (nose[2] + 0.03), wingY - 0.045];
    const deep = 0.6 * pull + 0.14 + 0.25 * who.age + 0.6 * au[12] + 0.6 * au[10] + 0.45 * au[9] + 0.2 * au[6] + 0.25 * au[20];
    const end = [x + side * 0.06, y + 0.035 - 0.02 * au[10]];
    const bent = [0.5 * (start[0] + end[0]) + side * (0.035 + 0.03 * au[10]), 0.5 * (start[1] + end[1]) - 0.02];
    fold(arc(start, bent, end), 0.026, Math.min(0.75, deep));
    fold(arc([x + side * 0.02, y + 0.005], [x + side * 0.05, y + 0.03], [x + side * 0.06, y + 0.1]), 0.026, 0.5 * au[15] + 0.12 * who.age);
    const dimple = arc([x + side * 0.02, y - 0.03], [x + side * 0.035, y], [x + side * 0.02, y + 0.03]);
    fold(dimple, 0.018, 0.5 * Math.max(au[12], pull, 0.7 * au[20], 0.4 * au[23]));
    if (dimpled[i]) fold(arc([x + side * 0.03, y - 0.06], [x + side * 0.075, y], [x + side * 0.03, y + 0.06]), 0.026, 0.7 * dimpled[i]);
  });
  const lip = Math.max(...heights(mouth.outerLower));
  fold(arc([-0.11, lip + 0.05], [0, lip + 0.02 + 0.03 * (1 - au[17])], [0.11, lip + 0.05]), 0.03, Math.min(1, 0.35 + 0.4 * au[17] + 0.25 * au[23]));
  for (const [x, y] of [[-0.06, -0.12], [0.06, -0.12], [0, -0.085]]) {
    fold([[x - 0.012, chinY + y], [x + 0.012, chinY + y + 0.01]], 0.035, 0.5 * au[17]);
  }
  return folds;
}

Object.assign(ControlFace, { CENTRE_Y, TOP_Y, SIDES, UNITS, clamp, radians, moved, scaled, mirrored, ring, heights, disc, smooth });
Object.assign(ControlFace, { lopsided, shapeFace, halfWidth });
})();
