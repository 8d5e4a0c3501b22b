// The camera widget's page side: camera, files, drop and paste; what a person sees and touches. worker.js reads the faces.
const WORDS = {
  idle: "No picture yet.",
  starting: "Getting ready ...",
  running: "",
  "no camera": "No camera was found.",
  denied: "The browser was not allowed to use the camera. Allow it beside the page's address, then start again.",
  "no face": "No face found.",
  "several faces": "",
  "too large": "",
  "no picture": "",
  "no video": "The browser cannot play this video. ferlab predict FILE, in a terminal, reads more kinds.",
  ended: "The video has ended.",
  failed: "",
};
const PART = 4_000_000;  // bytes of a message: servers drop larger ones without a word
const REPORT = 200;      // ms between two messages with frames
const VIDEOS = /^video\//;

function element(name, { text, classes, ...attributes } = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) key in made && key !== "list" ? made[key] = value : made.setAttribute(key, value);
  if (text) made.textContent = text;
  if (classes) made.className = classes;
  made.append(...children);
  return made;
}

class View {
  constructor(model, el) {
    Object.assign(this, { model, el, key: 0, frames: [], waiting: null, busy: false, round: 0, stream: null, number: 0, shown: null, cleared: model.get("_cleared") });
    this.boxes = new Boxes((faces, chosen) => this.adjust(faces, chosen));
    this.build();
    this.listen();
    this.prepare();
  }

  build() {
    const uses = this.model.get("uses");
    const button = (text, act, classes = "") => {
      const made = element("button", { type: "button", text, classes: `fl-button ${classes}` });
      made.addEventListener("click", act);
      return made;
    };
    this.start = button("Start camera", () => this.open(), "fl-first");
    this.stop = button("Stop", () => this.close());
    this.take = button("Take a picture", () => this.grab());
    this.picker = element("input", { type: "file", accept: [uses.includes("picture") && "image/*", uses.includes("video") && "video/*"].filter(Boolean).join(",") });
    this.picker.setAttribute("aria-label", this.fileWords());
    this.picker.addEventListener("change", () => { if (this.picker.files[0]) this.read(this.picker.files[0], "file"); this.picker.value = ""; });
    this.chooser = element("label", { classes: "fl-button fl-file" }, element("span", { text: this.fileWords() }), this.picker);
    const tools = element("div", { classes: "fl-buttons" });
    if (uses.includes("camera")) tools.append(this.start, this.stop);
    if (uses.includes("camera") && uses.includes("picture")) tools.append(this.take);
    if (uses.includes("picture") || uses.includes("video")) tools.append(this.chooser);
    this.video = element("video", { muted: true, playsInline: true, classes: "fl-picture", hidden: true });
    this.canvas = element("canvas", { classes: "fl-picture", hidden: true });
    this.canvas.setAttribute("role", "img");
    this.prompt = element("div", { classes: "fl-prompt" });
    this.blank = element("p", { classes: "fl-blank", text: this.limitWords() });
    this.stage = element("div", { classes: "fl-stage" }, this.video, this.canvas, this.boxes.root, this.prompt, this.blank);
    this.stage.tabIndex = -1;
    this.status = element("p", { classes: "fl-quiet fl-status" });
    this.status.setAttribute("role", "status");
    this.tensor = element("canvas", { width: 48, height: 48, classes: "fl-tensor" });
    this.tensor.setAttribute("role", "img");
    this.tensor.setAttribute("aria-label", "The tensor that the model sees");
    this.seen = element("figure", { classes: "fl-seen", hidden: true }, this.tensor, element("figcaption", { classes: "fl-quiet" }));
    this.el.classList.add("fl-panel", "fl-camera");
    this.el.append(tools, this.stage, this.status, this.seen);
    this.say(this.model.get("state") === "idle" ? "idle" : "starting");
  }

  fileWords() {
    const uses = this.model.get("uses");
    return uses.includes("picture") && uses.includes("video") ? "Choose a picture or video" : uses.includes("video") ? "Choose a video" : "Choose a picture";
  }

  limitWords() {
    const uses = this.model.get("uses"), megabytes = Math.floor(this.model.get("most_bytes") / 1e6);
    const ways = uses.includes("picture") ? `Drop or paste a picture here (at most ${megabytes} MB)` : uses.includes("video") ? "Drop a video here" : "";
    if (!ways) return "The camera's picture appears here, and stays on this machine.";
    return `${ways}. ${uses.includes("camera") ? "The camera's picture stays" : "It stays"} on this machine.`;
  }

  listen() {
    this.on = [];
    const hear = (target, name, act) => { target.addEventListener(name, act); this.on.push(() => target.removeEventListener(name, act)); };
    hear(this.stage, "dragover", (event) => { event.preventDefault(); this.stage.classList.add("fl-over"); });
    hear(this.stage, "dragleave", () => this.stage.classList.remove("fl-over"));
    hear(this.stage, "drop", (event) => {
      event.preventDefault(); this.stage.classList.remove("fl-over");
      if (event.dataTransfer.files[0]) this.read(event.dataTransfer.files[0], "drop");
    });
    hear(document, "paste", (event) => {
      const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
      const elsewhere = document.activeElement?.closest(".fl-camera");
      if (!file || event.defaultPrevented || (elsewhere && elsewhere !== this.el)) return;  // of several cameras: the one with the focus, else the first
      if (this.el.offsetParent && this.model.get("uses").includes("picture")) { event.preventDefault(); this.read(file, "paste"); }
    });
    hear(this.video, "ended", () => this.finish());
    hear(this.video, "error", () => { if (this.playing === "video") { this.close(); this.say("no video"); } });
    hear(document, "visibilitychange", () => { if (!document.hidden && this.playing) this.next(); });
    this.heard = (message, buffers) => this.obey(message, buffers);
    this.model.on("msg:custom", this.heard);
    this.prompted = () => { this.prompt.textContent = this.model.get("prompt"); };
    this.model.on("change:prompt", this.prompted);
    this.prompted();
    this.changedNet = () => this.prepare();
    this.model.on("change:_net", this.changedNet);
  }

  // The worker with the packed parts and the model; a second model replaces the first.
  prepare() {
    this.worker?.terminate();
    this.busy = this.loaded = false;
    this.kernelProbs = new Map();
    const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
    const files = Object.fromEntries(Object.entries(this.model.get("_parts")).map(([name, view]) => [name, bytes(view)]));
    const net = this.model.get("_net");
    this.net = net.expressions ? net : null;
    const { follow } = this;
    this.ready = new Promise((resolve, broken) => {
      this.follow = resolve;
      const reject = (error) => broken(new Error(`The browser could not load the face search: ${error.message}`));
      const address = URL.createObjectURL(new Blob([this.model.get("_worker")], { type: "text/javascript" }));
      this.worker = new Worker(address, { type: "module" });
      this.worker.onmessage = ({ data }) => (data.kind === "ready" ? resolve() : data.kind === "failed" && data.key === undefined ? reject(new Error(data.text)) : this.hear(data));
      this.worker.onerror = (event) => reject(new Error(event.message || "the worker did not start"));
      const model = net.content ? { ...net, content: bytes(net.content) } : null;
      this.worker.postMessage({ do: "load", files, model, framing: this.model.get("framing"), most: this.model.get("most_faces"), spoofs: this.model.get("spoof") });
    });
    follow?.(this.ready);  // what waits for the worker that this one replaces waits for this one
    const worker = this.worker;
    this.ready.then(() => {
      if (worker !== this.worker) return;
      this.el.setAttribute("data-ready", "true");
      this.loaded = true;
      this.feed();
    }).catch((error) => worker === this.worker && this.fail(error.message));
  }

  // ---- camera and video ----

  async open() {
    this.close();
    this.say("starting");
    if (!navigator.mediaDevices?.getUserMedia) return this.say("no camera");
    const { round } = this, [width, height] = this.model.get("resolution");
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: 30 }, facingMode: "user" } });
    } catch (error) {
      return round === this.round ? this.say(["NotAllowedError", "SecurityError"].includes(error.name) ? "denied" : "no camera") : undefined;
    }
    if (round !== this.round) return stream.getTracks().forEach((track) => track.stop());  // stopped, or started again, before the camera was allowed
    this.stream = stream;
    this.video.srcObject = stream;
    this.play("camera", "");
  }

  async play(source, name) {
    const { round } = this;
    Object.assign(this, { playing: source, name, number: 0, frames: [], shown: null, began: performance.now(), kernelProbs: new Map() });
    this.worker.postMessage({ do: "forget" });
    this.model.send({ kind: "played" });
    this.show(this.video, source === "camera");
    this.video.controls = source === "video";
    try { await this.ready; } catch (error) { return this.fail(error.message); }
    if (round !== this.round) return;  // stopped, or another one is played, before this one began
    try {
      await this.video.play();
    } catch (error) {
      if (round !== this.round) return;
      this.close();
      return source === "video" && error.name !== "AbortError" ? this.say("no video") : undefined;
    }
    if (round !== this.round) return;
    this.say("running");
    this.next();
  }

  // The newest frame waits while the worker reads the one before: no frame is lost to waiting, and none is read late.
  next() {
    if (!this.playing || this.asked) return;
    this.asked = true;
    const { round } = this, act = (_, facts) => this.keep(facts, round);
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(act);
    else requestAnimationFrame(() => act(0, { mediaTime: this.video.currentTime }));
  }

  async keep(facts, round) {
    if (round !== this.round) return;  // asked for before the camera was stopped and started again
    const born = performance.now();
    const bitmap = this.playing && this.video.videoWidth ? await createImageBitmap(this.video).catch(() => null) : null;
    if (round !== this.round || !this.playing) return bitmap?.close();
    this.asked = false;
    this.waiting?.bitmap.close();
    this.waiting = bitmap && { bitmap, born, time: this.playing === "video" ? facts.mediaTime : (born - this.began) / 1000 };
    this.feed();
    this.next();
  }

  feed() {
    if (this.busy || !this.loaded || !this.waiting) return;
    this.busy = true;
    const { bitmap } = this.waiting;
    this.worker.postMessage({ do: "frame", key: this.number++, ...this.waiting, crops: this.model.get("predicts") === "kernel" }, [bitmap]);
    this.waiting = null;
  }

  hear(data) {
    if (data.kind === "failed") { this.busy = false; return this.fail(data.text); }
    if (data.kind === "frame") this.drawFrame(data);
    else if (data.kind === "still") this.drawStill(data);
  }

  drawFrame(data) {
    this.busy = false;
    if (!this.playing) return;
    this.feed();
    if (data.born < this.began) return;  // a frame from before the last stop
    const total = performance.now() - data.born;
    const [width, height] = data.size;
    if (data.crops?.length) this.askKernel(data);
    for (const face of data.faces) face.probs ??= this.kernelProbs.get(face.id) ?? null;
    this.boxes.draw({ faces: data.faces, width, height, mirrored: this.mirrored, ...this.labelled(data.faces) });
    this.drawTensor(data.tensor);
    this.frames.push({ number: data.key, time: data.time, faces: data.faces, search_ms: data.search_ms, predict_ms: data.predict_ms, total_ms: total, size: data.size });
    this.count(data.faces.length);
    if (performance.now() - (this.reported ?? 0) > REPORT) this.report();
  }

  report() {
    this.reported = performance.now();
    if (this.frames.length) this.model.send({ kind: "frames", source: this.playing ?? "video", name: this.name ?? "", frames: this.frames });
    this.frames = [];
  }

  // A model that the browser cannot run is run by the kernel, on one frame at a time.
  askKernel({ key, faces, crops }) {
    if (this.asking) return;
    this.asking = this.kernelProbs;  // an answer after another start, or for another model, is dropped
    const meta = faces.map((face, place) => ({ id: face.id, width: crops[place].width, height: crops[place].height }));
    this.model.send({ kind: "crops", key, faces: meta }, undefined, crops.map((each) => each.data.buffer));
  }

  finish() {
    if (this.playing !== "video") return;
    this.playing = null;
    this.drop();
    this.video.controls = false;  // played again by them, it would not be read
    this.boxes.empty();
    this.report();
    this.model.send({ kind: "ended", name: this.name, frames: this.number });
    this.say("ended");
  }

  // Forget the frame that waits, and those asked for.
  drop() {
    this.round++;
    this.asked = false;
    this.waiting?.bitmap.close();
    this.waiting = null;
  }

  close() {
    if (this.playing) this.report();
    this.playing = null;
    this.drop();
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.video.pause();
    this.video.srcObject = null;
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = null;
    if (this.video.getAttribute("src")) { this.video.removeAttribute("src"); this.video.load(); }
    this.boxes.empty();
    if (!this.shown) { this.show(null); this.drawTensor(null); }
    if (["running", "starting", "no face", "several faces"].includes(this.model.get("state"))) this.say("idle");
  }

  // Forget the picture, here and in the worker; one that is still on its way is not shown.
  clear() {
    this.show(null);
    this.close();
    this.key++;
    this.canvas.width = this.canvas.height = 0;
    this.canvas.removeAttribute("aria-label");
    this.drawTensor(null);
    this.tensor.width = this.tensor.height = 0;
    this.worker.postMessage({ do: "forget" });
    this.say("idle");
  }

  // ---- stills ----

  grab() {
    if (this.playing !== "camera" || !this.video.videoWidth) return this.say(this.model.get("state"), "Start the camera first.");
    const canvas = element("canvas", { width: this.video.videoWidth, height: this.video.videoHeight });
    canvas.getContext("2d").drawImage(this.video, 0, 0);
    const { cleared } = this;
    canvas.toBlob((blob) => { this.close(); if (cleared === this.cleared) this.upload(blob, "", "camera"); }, "image/png");
  }

  read(file, source) {
    const most = this.model.get("most_bytes");
    if (VIDEOS.test(file.type) && this.model.get("uses").includes("video")) {
      this.close();
      this.address = URL.createObjectURL(file);
      this.video.src = this.address;
      return this.play("video", file.name);
    }
    this.close();
    if (file.size > most) return this.say("too large", `${file.name} has ${(file.size / 1e6).toFixed(1)} MB; pictures of at most ${Math.floor(most / 1e6)} MB are read.`);
    if (!this.model.get("uses").includes("picture")) return this.say("no video", `${file.name} is no video that the browser knows.`);
    this.upload(file, file.name, source);
  }

  async upload(blob, name, source) {
    const key = ++this.key, content = await blob.arrayBuffer().then((buffer) => new Uint8Array(buffer), () => null);
    if (key !== this.key) return;
    if (!content) return this.say("no picture", `${name} cannot be read: a folder, or a file that was moved or may not be read.`);
    this.say("starting", name ? `Reading ${name} ...` : "Reading the picture ...");
    const parts = Math.max(1, Math.ceil(content.length / PART));
    for (let part = 0; part < parts; part++) {
      this.model.send({ kind: "file", key, name, source, part, parts, bytes: content.length, cleared: this.cleared }, undefined, [content.slice(part * PART, (part + 1) * PART).buffer]);
    }
  }

  async obey(message, buffers) {
    if (message.do === "start") this.open();
    else if (message.do === "stop") this.close();
    else if (message.do === "take") this.grab();
    else if (message.do === "clear") { this.cleared = message.cleared; this.clear(); }
    else if (message.do === "play") { this.close(); this.address = URL.createObjectURL(new Blob([buffers[0]], { type: message.type })); this.video.src = this.address; this.play("video", message.name); }
    else if (message.do === "refuse") this.say("no picture", message.text);
    else if (message.do === "probs") { if (this.asking === this.kernelProbs) this.kernelProbs = new Map(message.rows); this.asking = null; }
    else if (message.do === "label") this.relabel(message);
    else if (message.do === "boxes") this.propose(message.boxes);
    else if (message.do === "show") await this.display(message, buffers[0]);
  }

  async display(message, buffer) {
    this.close();
    const { cleared } = this;
    const bitmap = await createImageBitmap(new Blob([buffer], { type: "image/png" }));
    if (cleared !== this.cleared) return bitmap.close();
    const scale = message.width / bitmap.width;
    const faces = message.faces?.map((face) => ({ ...face, box: face.box.map((value) => value / scale) }));  // known already, but for another model
    this.shown = { ...message, faces, scale };
    this.canvas.width = bitmap.width; this.canvas.height = bitmap.height;
    this.canvas.getContext("2d").drawImage(bitmap, 0, 0);
    this.canvas.setAttribute("aria-label", message.name ? `The picture ${message.name}` : "The picture");
    this.show(this.canvas, false);
    this.say("starting", faces ? WORDS.starting : "Searching for faces ...");
    try { await this.ready; } catch (error) { return this.fail(error.message); }
    if (cleared !== this.cleared) return bitmap.close();
    this.worker.postMessage({ do: "still", key: message.key, bitmap, faces }, [bitmap]);
  }

  adjust(faces, chosen) {
    Object.assign(this.shown, { faces, chosen });
    this.worker.postMessage({ do: "boxes", key: this.shown.key, faces });
  }

  // Boxes that the kernel found, in pixels of the whole picture.
  propose(boxes) {
    if (!this.shown) return;
    const faces = boxes.map((box, id) => ({ id, box: box.map((value) => value / this.shown.scale), score: null }));
    this.adjust(faces, faces.length ? 0 : null);
  }

  drawStill({ key, faces, tensors }) {
    if (!this.shown || key !== this.shown.key) return;
    const largest = faces.reduce((best, face, place) => (best === null || face.box[2] > faces[best].box[2] ? place : best), null);
    const kept = this.shown.chosen ?? null;
    const chosen = kept !== null && kept < faces.length ? kept : largest;
    Object.assign(this.shown, { faces, chosen, tensors });
    this.boxes.draw({ faces, width: this.canvas.width, height: this.canvas.height, adjustable: true, chosen, ...this.labelled(faces) });
    this.drawTensor(chosen === null ? null : tensors[chosen]);
    this.count(faces.length);
    const whole = faces.map((face) => ({ ...face, box: face.box.map((value) => value * this.shown.scale) }));
    this.model.send({ kind: "still", key, faces: whole, chosen });
  }

  // Labels by the kernel, for a model that the browser does not run.
  relabel({ key, rows }) {
    if (!this.shown || key !== this.shown.key || !this.shown.faces) return;
    this.shown.faces.forEach((face, place) => { face.probs = rows[place] ?? null; });
    this.boxes.draw({ ...this.boxes, ...this.labelled(this.shown.faces) });
  }

  // ---- what is shown ----

  show(what, mirrored = false) {
    this.video.hidden = what !== this.video;
    this.canvas.hidden = what !== this.canvas;
    this.blank.hidden = what !== null;
    this.boxes.root.toggleAttribute("hidden", what === null);
    this.mirrored = mirrored && what === this.video;
    this.video.classList.toggle("fl-mirrored", this.mirrored);
    if (what !== this.canvas) this.shown = null;
  }

  labelled(faces) {
    const names = this.model.get("expressions"), colours = this.model.get("colours"), threshold = this.model.get("threshold");
    const tops = faces.map((face) => (face.probs ? face.probs.indexOf(Math.max(...face.probs)) : null));
    const labels = faces.map((face, place) => {
      if (tops[place] === null || !this.model.get("labels")) return faces.length > 1 ? `${face.id + 1}` : "";
      const top = tops[place], p = face.probs[top];
      const words = p < threshold ? `uncertain (${names[top]} ${Math.round(100 * p)} %)` : `${names[top]} ${Math.round(100 * p)} %`;
      return faces.length > 1 ? `${face.id + 1}: ${words}` : words;
    });
    const told = this.model.get("labels");  // without labels the colour would carry the prediction
    return { labels, colours: tops.map((top) => (top === null || !told ? "#e69f00" : colours[names[top]] ?? "#e69f00")) };
  }

  drawTensor(tensor) {
    this.seen.hidden = !tensor;
    if (!tensor || !this.net) return;
    const { size, channels } = this.net, area = size * size;
    if (this.tensor.width !== size) { this.tensor.width = size; this.tensor.height = size; }
    const image = new ImageData(size, size);
    for (let place = 0; place < area; place++) {
      for (let channel = 0; channel < 3; channel++) image.data[4 * place + channel] = Math.round(255 * tensor[(channels === 1 ? 0 : channel * area) + place]);
      image.data[4 * place + 3] = 255;
    }
    this.tensor.getContext("2d").putImageData(image, 0, 0);
    this.seen.lastChild.textContent = `What the model sees: ${size} x ${size} pixels, ${channels === 1 ? "grey" : "RGB"}.`;
  }

  count(faces) {
    const state = faces === 0 ? "no face" : faces > 1 ? "several faces" : "running";
    const words = faces > 1 ? `${faces} faces${this.shown ? "; the results below are those of the selected one" : ""}.` : undefined;
    const settled = this.shown || this.last !== state ? performance.now() : this.since;
    if (this.last !== state) { this.last = state; this.since = settled; }
    if (this.shown || performance.now() - this.since > 400) this.say(state, this.shown && state === "running" ? "1 face." : words);
  }

  say(state, words) {
    const other = ["no camera", "denied"].includes(state) && this.chooser.isConnected ? ` Or ${this.fileWords().toLowerCase()}.` : "";
    const text = (words ?? WORDS[state] ?? "") + other;
    if (this.status.textContent !== text) this.status.textContent = text;
    this.start.disabled = this.playing === "camera" || state === "starting";
    this.stop.disabled = !this.playing;
    this.take.disabled = this.playing !== "camera";
    if (this.model.get("state") !== state) { this.model.set("state", state); this.model.save_changes(); }
  }

  fail(text) { this.close(); this.say("failed", text); }

  leave() {
    this.close();
    this.worker?.terminate();
    for (const off of this.on) off();
    this.model.off("msg:custom", this.heard);
    this.model.off("change:prompt", this.prompted);
    this.model.off("change:_net", this.changedNet);
  }
}

function render({ model, el }) {
  const view = new View(model, el);
  return () => view.leave();
}

export default { render };
