// The bench's model, away from the page's thread: probabilities of a face and its maps: Grad-CAM, and occlusion, coarse first.
//
//   const model = new ControlFace.Model(card, onAnswer); await model.open(parts); model.look(pixels, id)
//
// onAnswer gets {id, probs, cam, explained} at once, cam null where the file computes none, then {id, map, largest, explained} twice. A newer face ends the work on an older one.
"use strict";
(() => {
// The worker's whole script: a page opened from a file may start a worker from its own text alone.
function worker() {
  let ort = null, session = null, card = null, latest = null, busy = false;

  self.onmessage = async ({ data }) => {
    try {
      if (data.parts) await open(data);
      else latest = data;
      if (session && latest && !busy) await work();
    } catch (error) {
      self.postMessage({ failed: String(error?.message ?? error) });
    }
  };

  async function open({ parts, card: facts }) {
    const module = await unpack(parts["ort.wasm.bundle.min.mjs"]);
    ort = await import(URL.createObjectURL(new Blob([module], { type: "text/javascript" })));
    ort.env.wasm.numThreads = 1;  // more need a page that is isolated from all others
    ort.env.wasm.wasmBinary = await unpack(parts["ort-wasm-simd-threaded.wasm"]);
    card = facts;
    session = await ort.InferenceSession.create(new Uint8Array(await unpack(parts.model)), { executionProviders: ["wasm"] });
    self.postMessage({ opened: true });
  }

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  }

  async function work() {
    busy = true;
    while (latest) {
      const { id, pixels } = latest, face = Float32Array.from(pixels, (grey) => grey / 255);
      latest = null;
      const [[probs], cam] = await predict([face]), explained = probs.indexOf(Math.max(...probs));
      self.postMessage({ id, probs, cam, explained });
      await explain(id, face, probs[explained], explained);
    }
    busy = false;
  }

  // Mean drop of the explained class's probability over the windows that cover a pixel, as ferlab.explanation.perturbation_maps.occlusion.
  async function explain(id, face, before, explained) {
    const size = card.size, window = Math.round(size / 6), stride = window >> 1, steps = Math.ceil((size - window) / stride) + 1;
    const starts = Array.from({ length: steps }, (_, i) => i * stride), sum = new Float32Array(size * size), count = new Float32Array(size * size);
    const second = (start) => start % (2 * stride) === 0 || start === starts.at(-1);  // every second start and the last: they cover every pixel
    const all = starts.flatMap((top) => starts.map((left) => [top, left])), coarse = ([top, left]) => second(top) && second(left);
    const inside = (start) => [start, Math.min(start + window, size)];
    for (const windows of [all.filter(coarse), all.filter((one) => !coarse(one))]) {
      for (let first = 0; first < windows.length; first += 12) {
        await new Promise((resolve) => setTimeout(resolve));  // let a newer face come in
        if (latest) return;
        const part = windows.slice(first, first + 12);
        const covered = part.map(([top, left]) => {
          const copy = face.slice(), [from, to] = inside(left);
          for (let row = top; row < inside(top)[1]; row++) copy.fill(0.5, row * size + from, row * size + to);
          return copy;
        });
        (await predict(covered))[0].forEach((probs, i) => {
          const [top, left] = part[i];
          for (let row = top; row < inside(top)[1]; row++) {
            for (let column = left; column < inside(left)[1]; column++) {
              sum[row * size + column] += before - probs[explained];
              count[row * size + column]++;
            }
          }
        });
      }
      self.postMessage({ id, map: sum.map((value, at) => value / count[at]), explained });
    }
  }

  async function predict(faces) {
    const length = card.size * card.size, input = new Float32Array(faces.length * card.channels * length);
    faces.forEach((face, i) => { for (let channel = 0; channel < card.channels; channel++) input.set(face, (i * card.channels + channel) * length); });
    const fed = { [session.inputNames[0]]: new ort.Tensor("float32", input, [faces.length, card.channels, card.size, card.size]) };
    const found = await session.run(fed), [first, second] = session.outputNames, out = found[first].data, classes = card.expressions.length;
    const probs = faces.map((_, i) => {
      const raised = Array.from(out.slice(i * classes, (i + 1) * classes), (prob) => Math.max(prob, 1e-38) ** (1 / card.temperature));
      const total = raised.reduce((a, b) => a + b);  // temperature scaling: the softmax of logits / T
      return raised.map((value) => value / total);
    });
    return [probs, second ? found[second].data : null];
  }
}

class Model {
  constructor(card, onAnswer) {
    Object.assign(this, { card, onAnswer });
  }

  // Start the worker; resolves once it is ready. `parts` are gzipped and in base64: the runtime's two files and the model.
  open(parts) {
    this.worker = new Worker(URL.createObjectURL(new Blob([`(${worker})()`], { type: "text/javascript" })));
    return new Promise((resolve, reject) => {
      this.worker.onmessage = ({ data }) => {
        if (data.opened) resolve();
        else if (data.failed) reject(new Error(data.failed));
        else this.onAnswer(data.cam ? { ...data, cam: ControlFace.enlarge(data.cam, this.card.size) } : data);
      };
      this.worker.onerror = (event) => reject(new Error(event.message || "the browser starts no worker"));
      this.worker.postMessage({ parts, card: this.card });
    });
  }

  look(pixels, id) {
    this.worker?.postMessage({ pixels, id });
  }
}

Object.assign(ControlFace, { Model });
})();
