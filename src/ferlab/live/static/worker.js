// Face search, landmarks, spoof scores and the expression model, away from the page's thread.
// Everything that is loaded here came with the widget: `fetch` is answered from these parts, and nothing is requested from anywhere.
"use strict";

let parts = {};       // name -> ArrayBuffer
let human = null;     // @vladmandic/human
let ort = null;       // onnxruntime-web
let net = null;       // {session, input, size, channels, expressions, temperature} or null
let still = null;     // the ImageData of the last still, for boxes changed by hand
let tracks = [];      // {id, box, seen}
let unused = 0;       // the next id
let spoof = false;

const FRAMING = { side: 1.0, down: 0.0 };  // replaced by the settings of `load`
const SEARCHED = 640;  // pixels: the longer side of the searched copy of a frame
const LOST = 1000;     // ms until a track that no face continues is dropped

self.fetch = async (resource) => {
  const name = String(resource.url ?? resource).split(/[/?#]/).filter(Boolean).pop();
  if (!(name in parts)) throw new TypeError(`${name} is not packed with ferlab, and nothing is fetched`);
  const type = name.endsWith(".wasm") ? "application/wasm" : name.endsWith(".json") ? "application/json" : "application/octet-stream";
  return new Response(parts[name], { headers: { "Content-Type": type } });
};

self.onmessage = async ({ data }) => {
  try {
    if (data.do === "load") await load(data);
    else if (data.do === "frame") await readFrame(data);
    else if (data.do === "still") await readStill(data);
    else if (data.do === "boxes") await readBoxes(data);
    else if (data.do === "faces") await readFaces(data);
    else if (data.do === "forget") { tracks = []; unused = 0; still = null; }
  } catch (error) {
    self.postMessage({ kind: "failed", key: data.key, text: String(error?.message ?? error) });
  }
};

async function load({ files, model, framing, most, spoofs }) {
  for (const [name, gz] of Object.entries(files)) parts[name] = await gunzip(gz);
  Object.assign(FRAMING, framing);
  spoof = spoofs;
  const module = (name) => import(URL.createObjectURL(new Blob([parts[name]], { type: "text/javascript" })));
  const Human = (await module("human.esm.js")).default;
  human = new Human({
    backend: "wasm", wasmPath: "parts/", modelBasePath: "parts/", cacheModels: false, debug: false, async: false,
    cacheSensitivity: 1e9,  // each frame may continue the faces of the one before; the detector itself runs by `skipTime`
    filter: { enabled: false },
    face: {
      enabled: true, detector: { rotation: false, maxDetected: most, minConfidence: 0.3, skipFrames: 999, skipTime: 400 }, mesh: { enabled: true },
      iris: { enabled: false }, emotion: { enabled: false }, description: { enabled: false },
      antispoof: { enabled: spoofs, skipTime: 300 }, liveness: { enabled: spoofs, skipTime: 300 },
    },
    body: { enabled: false }, hand: { enabled: false }, object: { enabled: false }, gesture: { enabled: false }, segmentation: { enabled: false },
  });
  await human.load();
  if (model) {
    ort = await module("ort.wasm.bundle.min.mjs");
    ort.env.wasm.numThreads = 1;  // more need a page that is isolated from all others
    ort.env.wasm.wasmBinary = parts["ort-wasm-simd-threaded.wasm"];
    await open(model);
  }
  for (const name of Object.keys(parts)) delete parts[name];
  self.postMessage({ kind: "ready" });
}

async function open(model) {
  const session = await ort.InferenceSession.create(new Uint8Array(await gunzip(model.content)), { executionProviders: ["wasm"] });
  net = { ...model, session, content: null };
  await predict([{ data: new Uint8ClampedArray(4 * 64 * 64), width: 64, height: 64 }]);  // the first call prepares memory
}

async function gunzip(bytes) {
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

// One frame of a camera or a video: {key, bitmap, born} -> faces, with what each part took.
async function readFrame({ key, bitmap, born, time, crops }) {
  const start = performance.now();
  const image = pixels(bitmap);
  const faces = follow(await search(image, true));
  const searched = performance.now();
  const cut = faces.map((face) => crop(image, face.box));
  const tensors = await score(faces, cut);
  const end = performance.now();
  const found = { kind: "frame", key, time, born, faces, size: [image.width, image.height], search_ms: searched - start, predict_ms: end - searched };
  self.postMessage({ ...found, tensor: tensors[0] ?? null, crops: crops && !net ? cut.map(asRgb) : null });
}

// A still picture: its faces from left to right, as the detector finds them, or those that are known.
async function readStill({ key, bitmap, faces }) {
  still = pixels(bitmap);
  if (faces) return answer(key, faces);
  const found = (await search(still, false)).sort((a, b) => a.box[0] - b.box[0]);
  await answer(key, found.map((face, id) => ({ ...face, id })));
}

// The same picture with boxes that a person changed.
async function readBoxes({ key, faces }) {
  if (!still) return;  // forgotten meanwhile
  await answer(key, faces);
}

async function answer(key, faces) {
  const tensors = await score(faces, faces.map((face) => crop(still, face.box)));
  self.postMessage({ kind: "still", key, faces, tensors });
}

// Cropped faces as they are, {key, faces: [{data: RGBA, width, height}]} -> probabilities and tensors: how a test compares browser and kernel.
async function readFaces({ key, faces }) {
  const tensors = faces.map((face) => prepare(face, net.size, net.channels));
  self.postMessage({ kind: "faces", key, probs: await run(tensors), tensors });
}

async function score(faces, cut) {
  if (!net || !faces.length) return [];
  const tensors = cut.map((face) => prepare(face, net.size, net.channels));
  const probs = await run(tensors);
  faces.forEach((face, place) => { face.probs = probs[place]; });
  return tensors;
}

async function predict(faces) {
  return run(faces.map((face) => prepare(face, net.size, net.channels)));
}

async function run(tensors) {
  const length = net.channels * net.size * net.size;
  const rows = [];
  for (let start = 0; start < tensors.length; start += net.batch) {
    const part = tensors.slice(start, start + net.batch);
    const input = new Float32Array(part.length * length);
    part.forEach((tensor, place) => input.set(tensor, place * length));
    const fed = { [net.session.inputNames[0]]: new ort.Tensor("float32", input, [part.length, net.channels, net.size, net.size]) };
    const out = (await net.session.run(fed))[net.session.outputNames[0]].data;
    for (let place = 0; place < part.length; place++) {
      rows.push(calibrate(Array.from(out.slice(place * net.expressions.length, (place + 1) * net.expressions.length)), net.temperature));
    }
  }
  return rows;
}

// Temperature scaling of probabilities: the softmax of logits / T (Guo et al., 2017).
function calibrate(probs, temperature) {
  if (temperature === 1) return probs;
  const raised = probs.map((p) => Math.pow(Math.max(p, 1e-38), 1 / temperature));
  const sum = raised.reduce((a, b) => a + b, 0);
  return raised.map((p) => p / sum);
}

function pixels(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const image = context.getImageData(0, 0, bitmap.width, bitmap.height);
  bitmap.close();
  return image;
}

async function search(image, follows) {
  human.config.cacheSensitivity = follows ? 1e9 : 0;
  const scale = Math.max(image.width, image.height) > SEARCHED && follows ? SEARCHED / Math.max(image.width, image.height) : 1;
  const result = await human.detect(scale === 1 ? image : shrink(image, scale));
  if (result.error) throw new Error(result.error);
  return result.face.map((face) => describe(face, 1 / scale)).filter((face) => face.box[2] >= 8);
}

function shrink(image, scale) {
  const whole = new OffscreenCanvas(image.width, image.height);
  whole.getContext("2d").putImageData(image, 0, 0);
  const small = new OffscreenCanvas(Math.round(image.width * scale), Math.round(image.height * scale));
  const context = small.getContext("2d", { willReadFrequently: true });
  context.drawImage(whole, 0, 0, small.width, small.height);
  return context.getImageData(0, 0, small.width, small.height);
}

// What the panels use of a face of human: the square that the model is trained on, angles in degrees, openings as ratios.
function describe(face, scale) {
  const mesh = face.mesh?.length > 400 ? face.mesh.map((point) => [point[0] * scale, point[1] * scale, point[2] * scale]) : null;
  const [x, y, width, height] = face.box.map((value) => value * scale);
  const found = { id: 0, box: frame(x, y, width, height), score: face.boxScore || face.score, pose: null, eyes: null, mouth: null, real: null, live: null };
  if (mesh) {
    const angle = face.rotation?.angle;
    if (angle) found.pose = [-angle.yaw, angle.pitch, angle.roll].map(  // human's yaw is positive to the person's own right
      (radians) => radians * 180 / Math.PI);
    found.eyes = [opening(mesh, 33, 133, [[160, 144], [158, 153]]), opening(mesh, 362, 263, [[385, 380], [387, 373]])];
    found.mouth = opening(mesh, 61, 291, [[13, 14]]);
  }
  if (spoof) { found.real = face.real ?? null; found.live = face.live ?? null; }
  return found;
}

function frame(x, y, width, height) {
  const side = FRAMING.side * Math.max(width, height);
  return [x + width / 2 - side / 2, y + height / 2 - side / 2 + FRAMING.down * Math.max(width, height), side, side];
}

function opening(mesh, left, right, pairs) {
  const far = (a, b) => Math.hypot(mesh[a][0] - mesh[b][0], mesh[a][1] - mesh[b][1]);
  return pairs.reduce((sum, [above, below]) => sum + far(above, below), 0) / pairs.length / Math.max(far(left, right), 1e-6);
}

// Ids that stay with a face: each face continues the track that it overlaps most.
function follow(faces) {
  const now = performance.now();
  tracks = tracks.filter((track) => now - track.seen < LOST);
  const free = new Set(tracks);
  const pairs = faces.flatMap((face) => tracks.map((track) => ({ face, track, overlap: overlap(face.box, track.box) })));
  const named = new Set();
  for (const { face, track, overlap: shared } of pairs.sort((a, b) => b.overlap - a.overlap)) {
    if (shared < 0.2 || named.has(face) || !free.has(track)) continue;
    free.delete(track); named.add(face);
    Object.assign(face, { id: track.id });
    Object.assign(track, { box: face.box, seen: now });
  }
  for (const face of faces.filter((each) => !named.has(each))) {
    face.id = unused++;
    tracks.push({ id: face.id, box: face.box, seen: now });
  }
  return faces.sort((a, b) => a.box[0] - b.box[0]);
}

function overlap([ax, ay, aw, ah], [bx, by, bw, bh]) {
  const wide = Math.min(ax + aw, bx + bw) - Math.max(ax, bx), high = Math.min(ay + ah, by + bh) - Math.max(ay, by);
  const shared = Math.max(wide, 0) * Math.max(high, 0);
  return shared / (aw * ah + bw * bh - shared);
}

// The square about a box in whole pixels; beyond the picture its edge pixels repeat. As ferlab.data.preparation.detection.crop_box.
function crop(image, box) {
  const [x, y, width, height] = box.map((value) => roundEven(value));
  const side = Math.max(width, height, 1);
  const left = x + Math.floor((width - side) / 2), top = y + Math.floor((height - side) / 2);
  const data = new Uint8ClampedArray(4 * side * side);
  const source = new Uint32Array(image.data.buffer), target = new Uint32Array(data.buffer);
  for (let row = 0; row < side; row++) {
    const from = Math.min(Math.max(top + row, 0), image.height - 1) * image.width;
    for (let column = 0; column < side; column++) {
      target[row * side + column] = source[from + Math.min(Math.max(left + column, 0), image.width - 1)];
    }
  }
  return { data, width: side, height: side };
}

function roundEven(value) {  // as Python's round
  const near = Math.round(value);
  return Math.abs(value % 1) === 0.5 && near % 2 ? near - 1 : near;
}

function asRgb({ data, width, height }) {
  const rgb = new Uint8Array(3 * width * height);
  for (let place = 0; place < width * height; place++) {
    rgb[3 * place] = data[4 * place]; rgb[3 * place + 1] = data[4 * place + 1]; rgb[3 * place + 2] = data[4 * place + 2];
  }
  return { data: rgb, width, height };
}

// The tensor that training sees, float32 (C, size, size) in [0, 1]: as ferlab.deployment.inputs.prepare_faces.
function prepare({ data, width, height }, size, channels) {
  const planes = channels === 1 ? [luma(data, width * height)] : [0, 1, 2].map((channel) => plane(data, width * height, channel));
  const out = new Float32Array(channels * size * size);
  const weigh = Math.min(width, height) >= size ? areaWeights : bilinearWeights;
  planes.forEach((each, channel) => out.set(resize(each, width, height, size, weigh), channel * size * size));
  return out;
}

function luma(data, count) {
  const out = new Float32Array(count);
  for (let i = 0; i < count; i++) out[i] = (0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2]) / 255;
  return out;
}

function plane(data, count, channel) {
  const out = new Float32Array(count);
  for (let i = 0; i < count; i++) out[i] = data[4 * i + channel] / 255;
  return out;
}

function resize(plane, width, height, size, weigh) {
  if (width === size && height === size) return plane;
  const across = weigh(width, size), down = weigh(height, size);
  const narrow = new Float32Array(height * size);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < size; column++) {
      let sum = 0;
      for (const [place, weight] of across[column]) sum += weight * plane[row * width + place];
      narrow[row * size + column] = sum;
    }
  }
  const out = new Float32Array(size * size);
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      let sum = 0;
      for (const [place, weight] of down[row]) sum += weight * narrow[place * size + column];
      out[row * size + column] = sum;
    }
  }
  return out;
}

function areaWeights(before, after) {  // the mean of the pixels that a bin touches, as adaptive average pooling
  return Array.from({ length: after }, (_, bin) => {
    const start = Math.floor(bin * before / after), stop = Math.ceil((bin + 1) * before / after);
    return Array.from({ length: stop - start }, (_, step) => [start + step, 1 / (stop - start)]);
  });
}

function bilinearWeights(before, after) {  // half-pixel centres; edges repeat
  return Array.from({ length: after }, (_, place) => {
    const centre = Math.max((place + 0.5) * before / after - 0.5, 0);
    const low = Math.min(Math.floor(centre), before - 1), high = Math.min(low + 1, before - 1);
    return [[low, 1 - (centre - low)], [high, centre - low]];
  });
}
