// Masks of a control face, as ferlab.control.drawing.masks: its regions and its single action units, in the pose of its picture.
//
//   ControlFace.regionMasks(spec, size)   {forehead, brows, eyes, nose, cheeks, mouth, chin, face, occluder}, each a Uint8Array of 0 and 1
//   ControlFace.unitMasks(spec, size)     the same per action unit, active or not
"use strict";
(() => {
const { SIDES, moved, scaled, mirrored, ring, heights, disc, even, fillPolygon, look, posedView, occluderOutlines, shapeFace } = ControlFace;

function regionMasks(spec, size) {
  const shape = shapeFace(spec), [face, occluder] = seen([[shape.outline], occluderOutlines(spec, shape)], spec, shape, size);
  return { ...inFace(regionOutlines(spec, shape), face, spec, shape, size), face, occluder };
}

function unitMasks(spec, size) {
  const shape = shapeFace(spec), [face] = seen([[shape.outline]], spec, shape, size);
  return inFace({ ...upperUnits(spec, shape), ...lowerUnits(spec, shape) }, face, spec, shape, size);
}

function inFace(outlines, face, ...rest) {
  const masks = seen(Object.values(outlines), ...rest);
  return Object.fromEntries(Object.keys(outlines).map((name, i) => [name, masks[i].map((inside, at) => inside & face[at])]));
}

// Lists of polygons as masks, in the pose of a face.
function seen(lists, spec, shape, size) {
  const fine = 2 * size, view = posedView(spec, shape, size), sixteenths = (value) => even(((value + 1) * (fine / 2) - 0.5) * 16);
  return lists.map((polygons) => {
    const plane = new Uint8Array(fine * fine);
    for (const polygon of polygons) fillPolygon(plane, fine, fine, polygon.map(([x, y]) => [sixteenths(x), sixteenths(y)]), { soft: false });
    return Uint8Array.from(look(plane, ...view), (value) => value >= 127.5);
  });
}

function regionOutlines({ identity: who }, shape) {
  const { mouth, brows, eyes, nose: [, , width], wingY, chinY } = shape, top = Math.min(...brows.flat().map(([, y, half]) => y - half));
  const wider = 1 + 0.04 / Math.max(mouth.outerUpper.at(-1)[0], 0.1);
  const lips = scaled(ring(moved(mouth.outerUpper, 0, -0.03), moved(mouth.outerLower, 0, 0.035)), wider);
  const [left, right] = brows.map((brow) => ring(moved(brow, 0, -0.05), moved(brow, 0, 0.05))), below = Math.max(...heights(mouth.outerLower));
  const grown = ({ upper, lower, centre }) =>
    ring(upper, lower).map((point) => point.map((value, i) => value + 0.045 * Math.sign(value - centre[i])));
  return {
    forehead: [mirrored([[0.42, top - 0.02], [0.4, top - 0.28]])],
    brows: [left, right, [left[8], right[0], right.at(-1), left[9]]],
    eyes: eyes.map(grown),
    nose: [mirrored([[0.1, who.eye_y - 0.06], [1.15 * width, wingY + 0.07]])],
    cheeks: SIDES.map((sign, i) => {  // from beside the nose over the cheek bone to the corner of the mouth, and back along the fold
      const [x, y] = shape.cheeks[i], corner = mouth.outerUpper.at(-i);
      const bone = [[x - 0.1 * sign, y - 0.11], [x + 0.16 * sign, y - 0.13], [x + 0.17 * sign, y + 0.1]];
      const end = [[corner[0] + 0.12 * sign, corner[1] + 0.05], [corner[0] + 0.01 * sign, corner[1]]];
      return [[sign * 1.05 * width, y + 0.02], ...bone, ...end, [sign * 1.1 * width, wingY + 0.05]];
    }),
    mouth: [lips],
    chin: [disc([0, 0.5 * (below + chinY) + 0.01], [0.24, 0.5 * (chinY - below) + 0.03])],
  };
}

const band = (line, half) => ring(moved(line, 0, -half), moved(line, 0, half));
const box = ([left, top], [right, bottom]) => [[left, top], [right, top], [right, bottom], [left, bottom]];

function around({ upper, lower, centre }, { up, down, out = 0.04 }) {  // lids and what lies above and below, further out to the temple
  const side = Math.sign(centre[0]);
  return ring(moved(upper, 0, -up), moved(lower, 0, down)).map(([x, y]) => [x + side * (side * (x - centre[0]) > 0 ? out : -0.03), y]);
}

function creases({ nose: [, , width], wingY, mouth }, reach) {  // bands along the nasolabial folds
  return SIDES.map((side, i) => {
    const corner = mouth.outerUpper.at(-i), start = [side * (width + 0.02), wingY - 0.05], across = side * 0.075;
    const end = [start[0] + reach * (corner[0] + side * 0.07 - start[0]), start[1] + reach * (corner[1] + 0.04 - start[1])];
    return [[start[0] - 0.6 * across, start[1]], [start[0] + across, start[1]], [end[0] + across, end[1]], [end[0] - across, end[1]]];
  });
}

function upperUnits(spec, shape) {
  const { brows, eyes } = shape, regions = regionOutlines(spec, shape), top = Math.min(...heights(brows.flat())), eyeY = spec.identity.eye_y;
  const half = (inner) => brows.map((brow, i) => band((i === 0) === inner ? brow.slice(3) : brow.slice(0, 6), 0.055));
  return {
    1: [...half(true), box([-0.26, top - 0.24], [0.26, top + 0.02])],
    2: [...half(false), box([-0.4, top - 0.24], [0.4, top - 0.02])],
    4: [...regions.brows, box([-0.1, top], [0.1, eyeY])],
    5: eyes.map((eye) => around(eye, { up: 0.1, down: 0.035 })),
    6: [...eyes.map((eye) => around(eye, { up: 0.03, down: 0.12, out: 0.1 })), ...shape.cheeks.map((cheek) => disc(cheek, [0.17, 0.13]))],
    7: eyes.map((eye) => around(eye, { up: 0.07, down: 0.09 })),
    9: [...regions.nose, ...half(true), box([-0.13, top + 0.06], [0.13, eyeY + 0.08]),
      ...eyes.map((eye) => around(eye, { up: 0.04, down: 0.06 })), ...creases(shape, 0.6)],
  };
}

function lowerUnits(spec, shape) {
  const { mouth } = shape, { chin } = regionOutlines(spec, shape), folds = creases(shape, 1);
  const lips = ring(moved(mouth.outerUpper, 0, -0.045), moved(mouth.outerLower, 0, 0.055));
  const centre = [0, 1].map((i) => lips.reduce((sum, point) => sum + point[i], 0) / lips.length);
  const wide = lips.map(([x, y]) => [centre[0] + 1.22 * (x - centre[0]), centre[1] + 1.1 * (y - centre[1])]);
  const top = ring(moved(mouth.outerUpper, 0, -0.07), moved(mouth.innerUpper, 0, 0.02));
  const bottom = ring(moved(mouth.innerLower, 0, -0.02), moved(mouth.outerLower, 0, 0.06)), below = Math.max(...heights(bottom));
  const halves = [[...lips.slice(0, 9), ...lips.slice(25)], lips.slice(8, 26)], corners = [mouth.innerUpper[0], mouth.innerUpper.at(-1)];
  const smile = halves.map((half, i) => [half, folds[i], disc(shape.cheeks[i], [0.15, 0.12])]);
  const dimples = halves.map((half, i) => [disc([corners[i][0] + 0.06 * SIDES[i], corners[i][1]], [0.12, 0.11]), half]);
  const jaw = shape.outline.filter(([, y]) => y > mouth.outerUpper[0][1]).sort((a, b) => a[0] - b[0]);
  return {
    10: [top, lips, ...folds],
    12: smile.flat(),
    15: [lips, ...corners.map(([x, y], i) => disc([x + 0.03 * SIDES[i], y + 0.03], [0.09, 0.11]))],
    16: [bottom],
    17: [lips, ...chin],
    20: [wide, ...folds],
    23: [lips, box([-0.13, below - 0.05], [0.13, below + 0.03])],
    24: [lips],
    25: [lips],
    26: [lips, ...chin, jaw],
    "12R": smile[0],
    "12L": smile[1],
    "14R": dimples[0],
    "14L": dimples[1],
  };
}

Object.assign(ControlFace, { regionMasks, unitMasks });
})();
