// The error explorer in the browser: map, confusion matrix, facets, gallery and one face, linked by the model's `query` (ferlab.live.exploration.panel).
// The kernel sends coordinates and classes once and a mask of bits for each selection; thumbnails and maps are asked for when they are in view.

const PAGE = 60, OVERSCAN = 1, MOST_HEIGHT = 8e6, MAPS_AT_ONCE = 4, PATIENCE_MS = 60000;
const METHODS = { grad_cam: "Grad-CAM", occlusion: "occlusion" };
const UNSELECTED = 0.16, HEAT = 0.55;

function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key in node && typeof value !== "string") node[key] = value;
    else if (value !== null) node.setAttribute(key, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

const bytes = (view) => (view ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength) : new Uint8Array());
const percent = (value, digits = 0) => `${(100 * value).toFixed(digits)} %`;
const count = (value) => value.toLocaleString("en-US");
const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
const select = (label, options, value, change) =>
  h("label", { class: "fe-field" }, h("span", {}, label),
    h("select", { onchange: (event) => change(event.target.value) }, Object.entries(options).map(([key, text]) => h("option", { value: key, selected: key === value }, text))));

function refocus(node, act) { // who works by keyboard stays where they were when controls are drawn anew
  const controls = () => [...node.querySelectorAll("button, select")], at = controls().indexOf(node.getRootNode().activeElement);
  act();
  if (at >= 0) (controls()[at] || controls().at(-1))?.focus();
}

function rgb(text) { // of a colour as the page computes it
  const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
  context.fillStyle = text;
  context.fillRect(0, 0, 1, 1);
  return context.getImageData(0, 0, 1, 1).data;
}

function pixels(source, place, [height, width], colour) { // one picture of a sprite, as ImageData
  const image = new ImageData(width, height), channels = colour ? 3 : 1, size = width * height;
  for (let at = place * size * channels, to = 0, i = 0; i < size; i++, to += 4, at += channels) {
    image.data[to] = source[at];
    image.data[to + 1] = source[colour ? at + 1 : at];
    image.data[to + 2] = source[colour ? at + 2 : at];
    image.data[to + 3] = 255;
  }
  return image;
}

function canvasOf(image) {
  const canvas = h("canvas", { width: image.width, height: image.height, "aria-hidden": "true" });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function overlay(face, heat, side, place, palette) { // a face under its attribution map
  const [height, width] = side, image = new ImageData(width, height), size = width * height;
  for (let i = 0; i < size; i++) {
    const value = heat[place * size + i];
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = palette[3 * value + c];
    image.data[4 * i + 3] = 255;
  }
  const canvas = h("canvas", { width, height, "aria-hidden": "true" }), context = canvas.getContext("2d");
  context.drawImage(face, 0, 0, width, height);
  context.globalAlpha = HEAT;
  context.drawImage(canvasOf(image), 0, 0);
  return canvas;
}

// What the views share: the model's data, the selection, requests to the kernel, and the face that is open.
function makeStore(model, root) {
  const waiting = new Map(), listeners = [], name = Math.random().toString(36).slice(2);
  let serial = 0;
  const store = {
    row: null, place: null, palette: bytes(model.get("palette")),
    about: () => model.get("about"), summary: () => model.get("summary"), query: () => model.get("query"),
    change(patch) { model.set("query", { ...model.get("query"), ...patch }); model.save_changes(); },
    facet(key, wanted) {
      const facets = { ...(store.query().facets || {}) };
      if (wanted && wanted.length) facets[key] = wanted; else delete facets[key];
      store.change({ facets });
    },
    ask(content) {
      const id = `${name}-${++serial}`;
      return new Promise((done) => {
        waiting.set(id, done);
        model.send({ ...content, id });
        setTimeout(() => { if (waiting.delete(id)) done({ error: "no answer from the kernel", late: true }); }, PATIENCE_MS); // a restarted kernel never answers
      });
    },
    open(row) { store.row = row; for (const listener of listeners) listener(row); },
    onopen(listener) { listeners.push(listener); },
    read() {
      const raw = bytes(model.get("points")), classes = bytes(model.get("classes"));
      store.n = store.about().total;
      store.points = new Float32Array(raw.slice().buffer);
      store.target = classes.subarray(0, store.n);
      store.pred = classes.subarray(store.n);
      store.certain = bytes(model.get("certain"));
      store.mask = bytes(model.get("mask"));
    },
    has: (row) => (store.mask[row >> 3] >> (row & 7)) & 1,
  };
  store.answer = (message, buffers) => {
    const done = waiting.get(message.id);
    if (!done) return;
    waiting.delete(message.id);
    if (message.error) root.say(message.error);
    done({ ...message, buffers: (buffers || []).map(bytes) });
  };
  return store;
}

// ---- the map ----
function makeMap(store, root) {
  const canvas = h("canvas", { tabindex: "0", role: "application", "aria-roledescription": "map of faces", "aria-describedby": "fe-map-help" });
  const tip = h("div", { class: "fe-tip", hidden: true }), drawn = h("canvas", { class: "fe-lasso", "aria-hidden": "true" });
  const frame = h("div", { class: "fe-frame" }, canvas, drawn, tip);
  const legend = h("div", { class: "fe-legend" });
  let view = { x: 0, y: 0, zoom: 1 }, mode = "lasso", colourBy = "label", dirty = false, grid = null, drag = null, hovered = -1, timer = 0, size = [0, 0];
  const button = (text, label, act, pressed) => h("button", { type: "button", class: "fe-button", "aria-label": label, title: label, "aria-pressed": pressed ?? null, onclick: act }, text);
  const lasso = button("lasso", "lasso: select by drawing around faces", () => setMode("lasso"), "true"), move = button("move", "move: drag the map", () => setMode("move"), "false");
  const setMode = (wanted) => {
    mode = wanted;
    lasso.setAttribute("aria-pressed", String(mode === "lasso"));
    move.setAttribute("aria-pressed", String(mode === "move"));
    canvas.style.cursor = mode === "move" ? "grab" : "crosshair";
  };
  const by = { label: "label", predicted: "prediction", outcome: "correct or not", confidence: "confidence" };
  const node = h("section", { class: "fe-map", "aria-label": "Map of the faces" },
    h("div", { class: "fe-bar" }, lasso, move, button("+", "zoom in", () => zoomBy(1.5)), button("−", "zoom out", () => zoomBy(1 / 1.5)),
      button("⟲", "show all faces", () => show({ x: 0, y: 0, zoom: 1 })), button("in view", "in view: select the faces that are seen", () => selectView()),
      select("colour", by, colourBy, (value) => { colourBy = value; drawLegend(); redraw(); })),
    frame, legend, h("p", { class: "fe-quiet", id: "fe-map-help" }), h("p", { class: "fe-quiet fe-how" }));
  const scale = () => view.zoom * 0.47 * Math.min(size[0], size[1]);
  const toScreen = (x, y) => [size[0] / 2 + (x - view.x) * scale(), size[1] / 2 - (y - view.y) * scale()];
  const toMap = (px, py) => [view.x + (px - size[0] / 2) / scale(), view.y - (py - size[1] / 2) / scale()];
  const show = (wanted) => { view = { x: clamp(wanted.x, -1.2, 1.2), y: clamp(wanted.y, -1.2, 1.2), zoom: clamp(wanted.zoom, 0.8, 400) }; redraw(); };
  const zoomBy = (factor, at = [size[0] / 2, size[1] / 2]) => {
    const [x, y] = toMap(...at), zoom = clamp(view.zoom * factor, 0.8, 400), rest = view.zoom / zoom;
    show({ x: x + (view.x - x) * rest, y: y + (view.y - y) * rest, zoom });
  };
  const selectView = () => { const [left, top] = toMap(0, 0), [right, bottom] = toMap(...size); store.change({ lasso: [[left, top], [right, top], [right, bottom], [left, bottom]] }); };

  function colours() { // of each face, as 0xBBGGRR
    const { colours: own } = store.about(), table = own.map((text) => rgb(text)).map(([r, g, b]) => r | (g << 8) | (b << 16));
    const style = getComputedStyle(node), of = (key) => { const [r, g, b] = rgb(style.getPropertyValue(key)); return r | (g << 8) | (b << 16); };
    const good = of("--fe-good"), bad = of("--fe-bad");
    if (colourBy === "label") return (i) => table[store.target[i]];
    if (colourBy === "predicted") return (i) => table[store.pred[i]];
    if (colourBy === "outcome") return (i) => (store.target[i] === store.pred[i] ? good : bad);
    const p = store.palette;
    return (i) => { const at = 3 * Math.min(235, store.certain[i]); return p[at] | (p[at + 1] << 8) | (p[at + 2] << 16); };
  }

  function draw() {
    dirty = false;
    const ratio = Math.min(window.devicePixelRatio || 1, 2), width = Math.round(size[0] * ratio), height = Math.round(size[1] * ratio);
    if (!width || !height || !store.points.length) return;
    const begun = performance.now();
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const style = getComputedStyle(node), ground = rgb(style.getPropertyValue("--fe-ground")), grey = rgb(style.getPropertyValue("--fe-quiet"));
    const context = canvas.getContext("2d"), image = context.createImageData(width, height), to = new Uint32Array(image.data.buffer);
    to.fill(ground[0] | (ground[1] << 8) | (ground[2] << 16) | 0xff000000);
    const most = 5 * ratio, radiusOf = (faces) => clamp(ratio * 90 / Math.sqrt(Math.max(faces, 1)) * Math.sqrt(view.zoom), 0.9 * ratio, most), reach = Math.ceil(most);
    const disc = (radius) => { // offsets and cover of its pixels
      const stamp = [];
      for (let y = -reach; y <= reach; y++) for (let x = -reach; x <= reach; x++) {
        const cover = clamp(radius + 0.5 - Math.hypot(x, y), 0, 1);
        if (cover > 0.05) stamp.push([y * width + x, cover]);
      }
      return [Int32Array.from(stamp, (each) => each[0]), Float32Array.from(stamp, (each) => each[1])];
    };
    const k = scale() * ratio, ox = width / 2 - view.x * k, oy = height / 2 + view.y * k, { points, n } = store, colour = colours();
    const dim = grey[0] | (grey[1] << 8) | (grey[2] << 16), strong = n > 20000 ? 0.6 : 0.85;
    for (const wanted of [0, 1]) {
      const opacity = wanted ? strong : UNSELECTED, [offsets, covers] = disc(radiusOf(wanted ? 2 * store.summary().n : store.n));
      for (let i = 0; i < n; i++) {
        if (store.has(i) !== wanted) continue;
        const x = Math.round(ox + points[2 * i] * k), y = Math.round(oy - points[2 * i + 1] * k);
        if (x < reach || y < reach || x >= width - reach || y >= height - reach) continue;
        const own = wanted ? colour(i) : dim, r = own & 255, g = (own >> 8) & 255, b = (own >> 16) & 255, at = y * width + x;
        for (let s = 0; s < offsets.length; s++) {
          const place = at + offsets[s], a = covers[s] * opacity, under = to[place], ur = under & 255, ug = (under >> 8) & 255, ub = (under >> 16) & 255;
          to[place] = (ur + (r - ur) * a) | ((ug + (g - ug) * a) << 8) | ((ub + (b - ub) * a) << 16) | 0xff000000;
        }
      }
    }
    context.putImageData(image, 0, 0);
    drawMarks(ratio);
    canvas.dataset.drawMs = (performance.now() - begun).toFixed(1);
    canvas.dataset.draws = String(1 + Number(canvas.dataset.draws || 0));
  }

  function drawMarks(ratio = Math.min(window.devicePixelRatio || 1, 2)) { // the polygon, and a ring around the open face
    Object.assign(drawn, { width: Math.round(size[0] * ratio), height: Math.round(size[1] * ratio) });
    const context = drawn.getContext("2d"), polygon = drag?.polygon || store.query().lasso || [], style = getComputedStyle(node);
    context.scale(ratio, ratio);
    context.strokeStyle = style.getPropertyValue("--fe-ink");
    context.lineWidth = 1.5;
    if (polygon.length > 1) {
      context.setLineDash([5, 4]);
      context.beginPath();
      polygon.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](...toScreen(x, y)));
      if (!drag) context.closePath();
      context.stroke();
      context.setLineDash([]);
    }
    for (const row of new Set([store.row, hovered])) {
      if (row === null || row < 0 || row >= store.n) continue;
      context.beginPath();
      context.arc(...toScreen(store.points[2 * row], store.points[2 * row + 1]), 8, 0, 7);
      context.stroke();
    }
  }

  const redraw = () => { if (!dirty) { dirty = true; requestAnimationFrame(draw); } };

  function makeGrid(cells = 128) { // rows by cell, to find the nearest face under the pointer
    const cell = (value) => clamp(Math.floor((value + 1) / 2 * cells), 0, cells - 1), starts = new Uint32Array(cells * cells + 1), { points, n } = store;
    for (let i = 0; i < n; i++) starts[cell(points[2 * i + 1]) * cells + cell(points[2 * i]) + 1]++;
    for (let c = 0; c < cells * cells; c++) starts[c + 1] += starts[c];
    const rows = new Uint32Array(n), next = starts.slice();
    for (let i = 0; i < n; i++) rows[next[cell(points[2 * i + 1]) * cells + cell(points[2 * i])]++] = i;
    return { cells, cell, starts, rows };
  }

  function nearest(px, py, reach = 8) {
    grid ||= makeGrid();
    const [x, y] = toMap(px, py), far = reach / scale();
    let best = -1, least = far * far;
    for (let cy = grid.cell(y - far); cy <= grid.cell(y + far); cy++) for (let cx = grid.cell(x - far); cx <= grid.cell(x + far); cx++) {
      const c = cy * grid.cells + cx;
      for (let at = grid.starts[c]; at < grid.starts[c + 1]; at++) {
        const i = grid.rows[at], d = (store.points[2 * i] - x) ** 2 + (store.points[2 * i + 1] - y) ** 2;
        if (d < least) { least = d; best = i; }
      }
    }
    return best;
  }

  function hover(px, py) {
    const found = nearest(px, py);
    if (found === hovered) return;
    hovered = found;
    drawMarks();
    clearTimeout(timer);
    tip.hidden = true;
    if (found < 0) return;
    timer = setTimeout(async () => {
      const answer = await store.ask({ ask: "faces", rows: [found] });
      if (answer.error || hovered !== found) return;
      tip.replaceChildren(canvasOf(pixels(answer.buffers[0], 0, answer.side, store.about().colour)), caption(store, found), h("small", {}, answer.ids[0]));
      tip.hidden = false;
      tip.style.left = `${clamp(px + 12, 0, Math.max(0, size[0] - 150))}px`;
      tip.style.top = `${clamp(py + 12, 0, Math.max(0, size[1] - 120))}px`;
    }, 60);
  }

  const at = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.focus({ preventScroll: true });
    try { canvas.setPointerCapture(event.pointerId); } catch { /* a pointer that is gone already */ }
    const lassoing = (mode === "lasso") !== event.shiftKey;
    drag = { from: at(event), view: { ...view }, moved: false, polygon: lassoing ? [toMap(...at(event))] : null };
  });
  canvas.addEventListener("pointermove", (event) => {
    const [px, py] = at(event);
    if (!drag) return hover(px, py);
    if (Math.hypot(px - drag.from[0], py - drag.from[1]) > 4) drag.moved = true;
    if (drag.polygon) {
      const last = toScreen(...drag.polygon.at(-1));
      if (Math.hypot(px - last[0], py - last[1]) > 5) { drag.polygon.push(toMap(px, py)); drawMarks(); }
    } else if (drag.moved) show({ ...view, x: drag.view.x - (px - drag.from[0]) / scale(), y: drag.view.y + (py - drag.from[1]) / scale() });
  });
  canvas.addEventListener("pointerup", (event) => {
    const done = drag;
    drag = null;
    if (!done) return;
    if (!done.moved) { const row = nearest(...at(event)); if (row >= 0) store.open(row); }
    else if (done.polygon?.length > 2) store.change({ lasso: done.polygon });
    drawMarks();
  });
  canvas.addEventListener("pointercancel", () => { drag = null; drawMarks(); });
  canvas.addEventListener("pointerleave", () => { if (!drag) { hovered = -1; clearTimeout(timer); tip.hidden = true; drawMarks(); } });
  canvas.addEventListener("wheel", (event) => { // a page scrolls over a map that has not been clicked
    if (root.getRootNode().activeElement !== canvas && !event.ctrlKey) return;
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY / 300), at(event));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const step = 0.15 / view.zoom;
    const keys = {
      ArrowLeft: () => show({ ...view, x: view.x - step }), ArrowRight: () => show({ ...view, x: view.x + step }),
      ArrowUp: () => show({ ...view, y: view.y + step }), ArrowDown: () => show({ ...view, y: view.y - step }),
      "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), 0: () => show({ x: 0, y: 0, zoom: 1 }),
      Enter: selectView, Escape: () => store.change({ lasso: [] }),
    };
    if (keys[event.key]) { event.preventDefault(); event.stopPropagation(); keys[event.key](); }
  });

  function drawLegend() {
    const { expressions, colours: own } = store.about(), key = colourBy === "predicted" ? "predicted" : "label";
    if (colourBy === "outcome") legend.replaceChildren(...[["correct", "--fe-good"], ["misclassified", "--fe-bad"]].map(([text, colour]) => h("span", { class: "fe-key" }, swatch(`var(${colour})`), text)));
    else if (colourBy === "confidence") legend.replaceChildren(h("span", { class: "fe-key" }, "0", h("span", { class: "fe-ramp", style: `background:${ramp(store.palette, 235)}` }), "1"));
    else {
      const chosen = store.query().facets?.[key] || [];
      refocus(legend, () => legend.replaceChildren(...expressions.map((name, i) => h("button", {
        type: "button", class: "fe-key", "aria-pressed": String(chosen.includes(name)), title: `select ${key} ${name}`,
        onclick: () => store.facet(key, chosen.includes(name) ? chosen.filter((each) => each !== name) : [...chosen, name]),
      }, swatch(own[i]), name))));
    }
  }

  new ResizeObserver(() => { size = [frame.clientWidth, frame.clientHeight]; redraw(); }).observe(frame);
  store.onopen(() => drawMarks());
  return {
    node,
    loaded() {
      grid = null;
      hovered = -1;
      view = { x: 0, y: 0, zoom: 1 };
      node.querySelector("#fe-map-help").textContent = "Draw around faces to select them; click one to open it. Keys on the map: arrows, + and -, 0 for all, Enter selects what is in view, Escape clears.";
      node.querySelector(".fe-how").textContent = store.about().how;
    },
    selected() {
      canvas.setAttribute("aria-label", `Map of ${count(store.n)} faces, ${count(store.summary().n)} selected`);
      drawLegend();
      redraw();
    },
    themed: redraw,
  };
}

const swatch = (colour) => h("span", { class: "fe-swatch", style: `background:${colour}`, "aria-hidden": "true" });
const ramp = (palette, last = 255, to = "to right") => `linear-gradient(${to}, ${[0, 0.25, 0.5, 0.75, 1].map((part) => `rgb(${[...palette.subarray(3 * Math.round(part * last), 3 * Math.round(part * last) + 3)]})`)})`;

function words(store, row) {
  const { expressions } = store.about(), target = expressions[store.target[row]], pred = expressions[store.pred[row]], p = percent(store.certain[row] / 255);
  return target === pred ? `${target} ${p}` : `${target} as ${pred} ${p}`;
}

function caption(store, row) {
  const { expressions, colours } = store.about(), target = store.target[row], pred = store.pred[row];
  const named = (i) => h("span", { class: "fe-named" }, swatch(colours[i]), expressions[i]), parts = target === pred ? [named(target)] : [named(target), " as ", named(pred)];
  return h("span", { class: "fe-caption" }, ...parts, " ", h("span", { class: "fe-named" }, percent(store.certain[row] / 255)));
}

// ---- the confusion matrix ----
function makeMatrix(store) {
  const table = h("table", { class: "fe-table" }), node = h("section", { class: "fe-matrix", "aria-label": "Confusion matrix" }, h("h4", {}, "Confusion matrix"), h("div", { class: "fe-scroll" }, table),
    h("p", { class: "fe-quiet" }, "Rows: label. Columns: prediction. Shade: fraction of the row. Click or Enter selects a cell, with Shift several; arrows move."));
  let focus = [0, 0], made = "";
  const cell = (i, j) => table.querySelector(`[data-cell="${i},${j}"]`);
  const choose = (i, j, more) => {
    const cells = store.query().cells || [], same = ([a, b]) => a === i && b === j, there = cells.some(same);
    const rest = cells.filter((each) => !same(each));
    store.change({ cells: there && (more || cells.length === 1) ? rest : more ? [...rest, [i, j]] : [[i, j]] });
  };
  table.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }, step = steps[event.key], last = store.about().expressions.length - 1;
    if (event.key === "Escape") store.change({ cells: [] });
    else if (step) go([clamp(focus[0] + step[0], 0, last), clamp(focus[1] + step[1], 0, last)]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const go = (wanted) => { cell(...focus).tabIndex = -1; focus = wanted; cell(...focus).tabIndex = 0; cell(...focus).focus(); };
  const build = () => {
    const { expressions, colours } = store.about();
    focus = [0, 0];
    const side = (name, key, i) => h("th", { scope: key === "label" ? "row" : "col" }, h("span", { class: "fe-side" }, swatch(colours[i]), name));
    const button = (i, j) => h("button", { type: "button", "data-cell": `${i},${j}`, tabIndex: i || j ? -1 : 0,
      onclick: (event) => { cell(...focus).tabIndex = -1; focus = [i, j]; event.currentTarget.tabIndex = 0; choose(i, j, event.shiftKey || event.ctrlKey || event.metaKey); } });
    table.replaceChildren(h("caption", { class: "fe-unseen" }, "Confusion matrix of the faces that all other conditions select"),
      h("thead", {}, h("tr", {}, h("td", {}), expressions.map((name, j) => side(name, "predicted", j)))),
      h("tbody", {}, expressions.map((name, i) => h("tr", {}, side(name, "label", i), expressions.map((_, j) => h("td", {}, button(i, j)))))));
  };
  return {
    node,
    loaded() { const key = store.about().expressions.join(); if (key !== made) { made = key; build(); } },
    selected() {
      const { matrix } = store.summary(), { expressions } = store.about(), cells = store.query().cells || [];
      matrix.forEach((row, i) => {
        const support = row.reduce((sum, value) => sum + value, 0);
        row.forEach((value, j) => {
          const button = cell(i, j), rate = support ? value / support : 0;
          button.textContent = count(value);
          button.className = i === j ? "fe-right" : "fe-wrong";
          button.style.setProperty("--rate", rate.toFixed(3));
          button.setAttribute("aria-pressed", String(cells.some(([a, b]) => a === i && b === j)));
          button.setAttribute("aria-label", `${expressions[i]} predicted as ${expressions[j]}: ${count(value)} of ${count(support)}`);
          button.title = `${expressions[i]} predicted as ${expressions[j]}: ${count(value)} of ${count(support)} (${percent(rate, 1)})`;
        });
      });
    },
  };
}

// ---- the facets ----
function makeFilters(store) {
  const node = h("section", { class: "fe-filters", "aria-label": "Filters" });
  let updates = [];
  const OPEN = ["outcome", "confidence", "label issue", "runs"];

  function levels(facet) {
    const rows = facet.levels.map((level) => {
      const box = h("input", { type: "checkbox", onchange: () => {
        const wanted = new Set(store.query().facets?.[facet.name] || []);
        if (box.checked) wanted.add(level); else wanted.delete(level);
        store.facet(facet.name, [...wanted]);
      } });
      const number = h("span", { class: "fe-number" }), bar = h("span", { class: "fe-part", "aria-hidden": "true" });
      return { level, box, number, bar, node: h("label", { class: "fe-level" }, box, h("span", { class: "fe-name" }, level), number, bar) };
    });
    return [rows.map((row) => row.node), (counts, wanted) => {
      const most = Math.max(1, ...counts);
      rows.forEach((row, i) => {
        row.box.checked = wanted.includes(row.level);
        row.number.textContent = count(counts[i]);
        row.bar.style.width = `${100 * counts[i] / most}%`;
        row.node.classList.toggle("fe-empty", !counts[i]);
      });
    }];
  }

  function range(facet) {
    const edges = facet.levels.map(Number), bars = edges.slice(1).map(() => h("i", {}));
    const histogram = h("div", { class: "fe-histogram", "aria-hidden": "true" }, bars);
    const set = () => store.facet(facet.name, low.value === "" && high.value === "" ? [] : [low, high].map((box) => (box.value === "" ? null : Number(box.value))));
    const box = (what, shown) => h("input", { type: "number", step: "any", "aria-label": `${facet.name}, ${what}`, placeholder: shown, onchange: set });
    const low = box("lowest", facet.levels[0]), high = box("highest", facet.levels.at(-1));
    let from = null;
    const bin = (event) => { const area = histogram.getBoundingClientRect(); return clamp(Math.floor((event.clientX - area.left) / area.width * bars.length), 0, bars.length - 1); };
    histogram.addEventListener("pointerdown", (event) => { from = bin(event); try { histogram.setPointerCapture(event.pointerId); } catch { /* a pointer that is gone already */ } });
    histogram.addEventListener("pointerup", (event) => {
      if (from === null) return;
      const [first, last] = [from, bin(event)].sort((a, b) => a - b);
      from = null;
      store.facet(facet.name, [first ? edges[first] : null, last < bars.length - 1 ? edges[last + 1] : null].some((end) => end !== null) ? [first ? edges[first] : null, last < bars.length - 1 ? edges[last + 1] : null] : []);
    });
    return [[histogram, h("div", { class: "fe-ends" }, low, h("span", { "aria-hidden": "true" }, "to"), high)], (counts, wanted) => {
      const most = Math.max(1, ...counts), [least, largest] = [wanted[0] ?? -Infinity, wanted[1] ?? Infinity];
      bars.forEach((each, i) => {
        each.style.height = `${100 * counts[i] / most}%`;
        each.classList.toggle("fe-out", edges[i + 1] <= least || edges[i] >= largest);
      });
      low.value = wanted[0] ?? "";
      high.value = wanted[1] ?? "";
    }];
  }

  function text(facet) {
    const box = h("input", { type: "search", "aria-label": `${facet.name} contains`, placeholder: `part of a ${facet.name}`, onchange: () => store.facet(facet.name, box.value ? [box.value] : []) });
    return [[box, h("span", { class: "fe-quiet" }, `${count(facet.distinct)} values`)], (_, wanted) => { box.value = wanted[0] ?? ""; }];
  }

  return {
    node,
    loaded() {
      const active = store.query().facets || {}, was = new Map([...node.querySelectorAll("details")].map((each) => [each.dataset.facet, each.open]));
      const parts = store.about().facets.map((facet) => {
        const [content, update] = { levels, range, text }[facet.kind](facet), mark = h("span", { class: "fe-mark", "aria-hidden": "true" });
        const details = h("details", { "data-facet": facet.name, open: was.get(facet.name) ?? (OPEN.includes(facet.name) || facet.name in active) },
          h("summary", {}, facet.name, mark), h("div", { class: "fe-content", role: "group", "aria-label": facet.name }, content));
        const refresh = () => {
          const wanted = store.query().facets?.[facet.name] || [];
          mark.textContent = wanted.length ? "●" : "";
          if (details.open) update(store.summary().counts[facet.name] || [], wanted);
        };
        details.addEventListener("toggle", refresh);
        return { main: facet.main, details, refresh };
      });
      const more = parts.filter((part) => !part.main).map((part) => part.details);
      updates = parts.map((part) => part.refresh);
      node.replaceChildren(h("h4", {}, "Filters"), ...parts.filter((part) => part.main).map((part) => part.details),
        ...(more.length ? [h("details", { class: "fe-more", "data-facet": "more", open: was.get("more") ?? false }, h("summary", {}, `more columns (${more.length})`), more)] : []));
    },
    selected() { for (const update of updates) update(); },
  };
}

// ---- the gallery ----
function makeGallery(store, root) {
  const area = h("div", { class: "fe-area" }), scroll = h("div", { class: "fe-faces", tabindex: "0" }, area), told = h("span", { class: "fe-quiet" });
  let shown = "none", explained = "predicted", pages = new Map(), maps = new Map(), cards = new Map(), columns = 1, token = 0, active = -1, busy = false, timer = 0, width = 0;
  const choices = { none: "none", grad_cam: "Grad-CAM", occlusion: "occlusion", both: "both" };
  const orders = h("span", {});
  const node = h("section", { class: "fe-gallery", "aria-label": "Gallery" }, h("div", { class: "fe-bar" }, h("h4", {}, "Selected faces"), orders,
    select("maps", choices, shown, (value) => { shown = value; layout(); }), select("explain", { predicted: "prediction", label: "label" }, explained, (value) => { explained = value; maps.clear(); layout(); store.open(store.row); }), told), scroll);
  const methods = () => (shown === "both" ? Object.keys(METHODS) : shown === "none" ? [] : [shown]);
  const tile = () => (methods().length && scroll.clientWidth < 480 ? 72 : 88);
  const card = () => [Math.max(tile() * (1 + methods().length) + 14, 112), tile() + 46];
  const total = () => Math.min(store.summary().n, columns * Math.floor(MOST_HEIGHT / card()[1]));
  const rowOf = (place) => pages.get(Math.floor(place / PAGE))?.rows[place % PAGE];

  function layout() {
    if (!scroll.clientWidth) return;
    const [across, down] = card();
    columns = Math.max(1, Math.floor(scroll.clientWidth / across));
    area.style.height = `${Math.ceil(total() / columns) * down}px`;
    for (const each of cards.values()) each.remove();
    cards.clear();
    if (total()) scroll.setAttribute("role", "listbox"); else scroll.removeAttribute("role");
    told.textContent = total() < store.summary().n ? `the first ${count(total())} of ${count(store.summary().n)}` : "";
    fill();
  }

  function range() {
    const down = card()[1], first = Math.max(0, Math.floor(scroll.scrollTop / down) - OVERSCAN), last = Math.ceil((scroll.scrollTop + scroll.clientHeight) / down) + OVERSCAN;
    return [first * columns, Math.min(total(), last * columns)];
  }

  function fill() { // the cards in view, and none else
    const [first, last] = range(), [across, down] = card();
    for (const [place, each] of cards) if (place < first || place >= last) { each.remove(); cards.delete(place); }
    for (let place = first; place < last; place++) {
      if (cards.has(place)) continue;
      const each = h("div", { class: "fe-card", role: "option", id: `${root.id}-${place}`, "aria-selected": String(place === active), onclick: () => { scroll.focus({ preventScroll: true }); go(place); } });
      Object.assign(each.style, { left: `${(place % columns) * across}px`, top: `${Math.floor(place / columns) * down}px`, width: `${across - 8}px`, height: `${down - 8}px` });
      each.style.setProperty("--tile", `${tile()}px`);
      cards.set(place, each);
      area.append(each);
      paint(place);
    }
    fetch();
  }

  function paint(place) {
    const each = cards.get(place), page = pages.get(Math.floor(place / PAGE)), row = rowOf(place);
    if (!each || row === undefined) return;
    const at = place % PAGE, face = canvasOf(pixels(page.sprite, at, page.side, store.about().colour)), heats = maps.get(row);
    const tiles = methods().map((method) => (!heats ? h("span", { class: "fe-wait", "aria-hidden": "true" }, "…")
      : heats[method] ? overlay(face, heats[method], heats.side, 0, store.palette) : h("span", { class: "fe-wait" }, `no ${METHODS[method]}`)));
    each.setAttribute("aria-label", `${page.ids[at]}: ${words(store, row)}`);
    each.title = page.ids[at];
    each.replaceChildren(h("span", { class: "fe-tiles" }, face, ...tiles), caption(store, row));
    each.classList.toggle("fe-missed", store.target[row] !== store.pred[row]);
  }

  async function fetch() { // one request at a time; what has left the view meanwhile is not asked for
    if (busy) return;
    busy = true;
    try {
      for (let wanted = next(); wanted; wanted = next()) {
        const own = token;
        await wanted(own);
      }
    } finally { busy = false; }
  }

  function next() {
    const [first, last] = range(), started = token;
    for (let page = Math.floor(first / PAGE); page * PAGE < last; page++) if (!pages.has(page)) return async () => {
      const answer = await store.ask({ ask: "faces", start: page * PAGE, count: PAGE });
      if (token !== started) return;
      if (answer.late) root.say("The kernel does not answer. Run the cell again.");
      pages.set(page, answer.error ? { rows: [], ids: [] } : { rows: answer.rows, ids: answer.ids, side: answer.side, sprite: answer.buffers[0] });
      for (const place of cards.keys()) if (Math.floor(place / PAGE) === page) paint(place);
      if (store.place === null && active < 0 && !page && answer.rows?.length) go(0, false);
    };
    if (!methods().length) return null;
    const missing = [];
    for (let place = first; place < last && missing.length < MAPS_AT_ONCE; place++) { const row = rowOf(place); if (row !== undefined && !maps.has(row)) missing.push(row); }
    return missing.length ? async () => {
      const asked = explained, answer = await store.ask({ ask: "maps", rows: missing, explained });
      if (asked !== explained) return;
      const size = answer.error ? 0 : answer.side[0] * answer.side[1];
      missing.forEach((row, i) => maps.set(row, answer.error ? {} : { side: answer.side, ...Object.fromEntries(answer.methods.map((method, m) => [method, answer.buffers[m].slice(i * size, (i + 1) * size)])) }));
      for (const place of cards.keys()) if (missing.includes(rowOf(place))) paint(place);
    } : null;
  }

  function go(place, reveal = true) {
    if (!total()) return;
    cards.get(active)?.setAttribute("aria-selected", "false");
    active = clamp(place, 0, total() - 1);
    if (reveal) {
      const down = card()[1], top = Math.floor(active / columns) * down;
      if (top < scroll.scrollTop) scroll.scrollTop = top;
      else if (top + down > scroll.scrollTop + scroll.clientHeight) scroll.scrollTop = top + down - scroll.clientHeight;
      fill();
    }
    cards.get(active)?.setAttribute("aria-selected", "true");
    if (cards.has(active)) scroll.setAttribute("aria-activedescendant", `${root.id}-${active}`);
    openAt(active);
  }

  async function openAt(place) {
    const row = rowOf(place);
    if (row !== undefined) return store.open(row);
    const started = token, answer = await store.ask({ ask: "faces", start: place, count: 1 });
    if (started === token && place === active && !answer.error) store.open(answer.rows[0]);
  }

  const step = (by) => go((active < 0 ? -1 : active) + by);
  const keys = (event) => {
    const page = columns * Math.max(1, Math.floor(scroll.clientHeight / card()[1]));
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, PageUp: -page, PageDown: page, Home: -Infinity, End: Infinity };
    if (!(event.key in steps)) return;
    event.preventDefault();
    event.stopPropagation();
    go(clamp((active < 0 ? 0 : active) + steps[event.key], 0, total() - 1));
  };
  scroll.addEventListener("keydown", keys);
  scroll.addEventListener("scroll", () => { clearTimeout(timer); timer = setTimeout(fill, 30); });
  new ResizeObserver(() => { if (scroll.clientWidth !== width) { width = scroll.clientWidth; layout(); } }).observe(scroll);
  return {
    node, step, keys, explained: () => explained,
    mark(place) { cards.get(active)?.setAttribute("aria-selected", "false"); active = place ?? -1; cards.get(active)?.setAttribute("aria-selected", "true"); },
    loaded() {
      maps.clear();
      orders.replaceChildren(select("order", store.about().orders, store.query().order || "label", (order) => store.change({ order })));
    },
    selected() {
      token += 1;
      pages = new Map();
      active = -1;
      store.place = null;
      scroll.scrollTop = 0;
      scroll.setAttribute("aria-label", `${count(store.summary().n)} selected faces`);
      scroll.removeAttribute("aria-activedescendant");
      orders.querySelector("select").value = store.query().order || "label";
      layout();
    },
  };
}

// ---- one face ----
function makeFace(store, gallery) {
  const title = h("h4", { "aria-live": "polite" }, "Face"), body = h("div", {}), facts = h("dl", { class: "fe-facts" });
  const back = h("button", { type: "button", class: "fe-button", onclick: () => gallery.step(-1) }, "◀ previous"), on = h("button", { type: "button", class: "fe-button", onclick: () => gallery.step(1) }, "next ▶");
  const node = h("section", { class: "fe-face", "aria-label": "One face" }, h("div", { class: "fe-bar" }, title, back, on), body,
    h("details", {}, h("summary", {}, "its row of the face table"), facts));
  node.addEventListener("keydown", (event) => { if ((event.key === "ArrowLeft" || event.key === "ArrowRight") && event.target.tagName !== "SUMMARY") gallery.keys(event); });
  let timer = 0, latest = 0;

  function bars(run, target) {
    const { expressions, colours } = store.about();
    if (!run.probs) return h("p", { class: "fe-quiet" }, "This run did not score the face.");
    const top = run.probs.indexOf(Math.max(...run.probs));
    return h("div", { class: "fe-bars" }, run.probs.flatMap((value, i) => [
      h("span", { class: i === top ? "fe-top" : "" }, expressions[i] + (i === target ? " (label)" : "")),
      h("span", { class: "fe-track", "aria-hidden": "true" }, h("span", { style: `width:${(100 * value).toFixed(1)}%;background:${colours[i]}` })),
      h("span", { class: i === top ? "fe-top" : "" }, percent(value)),
    ]));
  }

  function mapTiles(face, answer) {
    return answer.methods.map((method, m) => {
      const top = answer.tops[method][0];
      const bar = h("span", { class: "fe-scale" }, h("span", {}, top.toPrecision(2)), h("span", { class: "fe-ramp", style: `background:${ramp(store.palette, 255, "to top")}` }), h("span", {}, "0"));
      return h("figure", { role: "img", "aria-label": `${METHODS[method]}, ${top > 0 ? `largest value ${top.toPrecision(2)}` : "no positive attribution"}` },
        h("div", { class: "fe-with-scale" }, overlay(face, answer.buffers[m], answer.side, 0, store.palette), top > 0 ? bar : h("span", { class: "fe-quiet" }, "no positive attribution")), h("figcaption", {}, METHODS[method]));
    });
  }

  async function show(row) {
    const own = ++latest;
    clearTimeout(timer);
    if (row === null) { title.textContent = "Face"; body.replaceChildren(h("p", { class: "fe-quiet" }, "No face is open.")); facts.replaceChildren(); return; }
    const answer = await store.ask({ ask: "face", row });
    if (own !== latest || answer.error) return;
    store.place = answer.place;
    gallery.mark(answer.place);
    const face = canvasOf(pixels(answer.buffers[0], 0, answer.side, store.about().colour)), name = store.about().expressions[answer.target];
    title.textContent = answer.place === null ? "A face outside the selection" : `Face ${count(answer.place + 1)} of ${count(store.summary().n)}`;
    const shelves = answer.runs.map((run) => h("div", { class: "fe-maps" }));
    const copy = (source) => { const canvas = h("canvas", { width: source.width, height: source.height }); canvas.getContext("2d").drawImage(source, 0, 0); return canvas; };
    const columns = answer.runs.map((run, i) => {
      const top = run.probs && run.probs.indexOf(Math.max(...run.probs)), pred = run.probs ? store.about().expressions[top] : "no prediction";
      const picture = copy(face);
      picture.setAttribute("role", "img");
      picture.setAttribute("aria-label", `face of ${name}, ${run.run}: ${pred}`);
      return h("div", { class: "fe-run" }, h("h5", {}, run.run, h("span", { class: top === answer.target ? "fe-ok" : "fe-no" }, run.probs ? ` ${pred}${top === answer.target ? "" : `, label ${name}`}` : "")),
        h("div", { class: "fe-pictures" }, h("figure", {}, picture, h("figcaption", {}, "as stored")), shelves[i]), bars(run, answer.target));
    });
    body.replaceChildren(h("p", { class: "fe-id" }, h("code", {}, answer.face), ` ${answer.split}`), h("div", { class: `fe-runs fe-of-${columns.length}` }, columns));
    facts.replaceChildren(...Object.entries(answer.facts).filter(([, value]) => value !== "").flatMap(([key, value]) => [h("dt", {}, key), h("dd", {}, value)]));
    timer = setTimeout(async () => { // not while someone steps through
      for (const [i, run] of answer.runs.entries()) {
        if (!run.probs || !run.weights) { shelves[i].replaceChildren(h("span", { class: "fe-quiet" }, run.probs ? "no weights at hand, so no attribution maps" : "")); continue; }
        shelves[i].replaceChildren(h("span", { class: "fe-wait" }, "computing maps …"));
        const maps = await store.ask({ ask: "maps", rows: [row], explained: gallery.explained(), beside: i > 0 });
        if (own !== latest) return;
        shelves[i].replaceChildren(...(maps.error ? [h("span", { class: "fe-quiet" }, maps.error)] : mapTiles(face, maps)));
      }
    }, 150);
  }
  store.onopen(show);
  return { node, loaded() { show(null); }, selected() { if (!store.summary().n) store.open(null); } };
}

// ---- together ----
export default {
  render({ model, el }) {
    const root = h("div", { class: "fe", id: `fe-${Math.random().toString(36).slice(2)}` }), alert = h("p", { class: "fe-error", role: "alert", hidden: true });
    root.say = (text) => { alert.textContent = text; alert.hidden = !text; };
    const store = makeStore(model, root), status = h("p", { class: "fe-status", role: "status" }), chips = h("div", { class: "fe-chips" }), note = h("p", { class: "fe-note", hidden: true });
    const runs = h("div", { class: "fe-bar" });
    const gallery = makeGallery(store, root), makers = { map: () => makeMap(store, root), matrix: () => makeMatrix(store), filters: () => makeFilters(store), gallery: () => gallery, face: () => makeFace(store, gallery) };
    const views = Object.fromEntries(store.about().views.map((name) => [name, makers[name]()]));

    function drawRuns() {
      const { runs: known, queue } = store.about(), options = Object.fromEntries(known.map((run) => [run, run])), set = (key) => (value) => { root.say(""); model.set(key, value); model.save_changes(); };
      const rest = Object.fromEntries(known.filter((run) => run !== model.get("run")).map((run) => [run, run]));
      const hand = h("button", { type: "button", class: "fe-button fe-first", onclick: async () => { const answer = await store.ask({ ask: "queue" }); if (answer.text) status.textContent = answer.text; } }, "correct these faces");
      refocus(runs, () => runs.replaceChildren(select("run", options, model.get("run"), set("run")), ...(known.length > 1 ? [select("beside", { "": "none", ...rest }, model.get("beside"), set("beside"))] : []), ...(queue ? [hand] : [])));
    }

    function drawChips() {
      const { facets = {}, cells = [], lasso = [] } = store.query(), { expressions } = store.about(), list = [];
      const chip = (text, remove) => h("button", { type: "button", class: "fe-chip", "aria-label": `remove the condition ${text}`, onclick: remove }, text, h("span", { "aria-hidden": "true" }, " ✕"));
      for (const [name, wanted] of Object.entries(facets)) {
        const kind = store.about().facets.find((facet) => facet.name === name)?.kind;
        list.push(chip(`${name}: ${kind === "range" ? `${wanted[0] ?? "…"} to ${wanted[1] ?? "…"}` : wanted.join(", ")}`, () => store.facet(name, [])));
      }
      for (const [i, j] of cells) list.push(chip(`${expressions[i]} as ${expressions[j]}`, () => store.change({ cells: cells.filter(([a, b]) => a !== i || b !== j) })));
      if (lasso.length) list.push(chip("region of the map", () => store.change({ lasso: [] })));
      if (list.length) list.push(h("button", { type: "button", class: "fe-button", onclick: () => store.change({ facets: {}, cells: [], lasso: [] }) }, "clear all"));
      refocus(chips, () => chips.replaceChildren(...list));
    }

    function selected() {
      store.mask = bytes(model.get("mask"));
      const { n, text } = store.summary();
      status.replaceChildren(h("strong", {}, count(n)), ` of ${count(store.n)} faces selected: ${text}`);
      drawChips();
      for (const view of Object.values(views)) view.selected();
    }

    function loaded() {
      store.read();
      store.row = null;
      note.textContent = store.about().note;
      note.hidden = !store.about().note;
      drawRuns();
      for (const view of Object.values(views)) view.loaded();
    }

    let due = 0, again = false;
    const later = (anew) => { again ||= anew; cancelAnimationFrame(due); due = requestAnimationFrame(() => { if (again) loaded(); again = false; selected(); }); }; // several traits change at once
    const about = () => { const queueOnly = store.n === store.about().total && store.run === model.get("run") && store.beside === model.get("beside"); Object.assign(store, { run: model.get("run"), beside: model.get("beside") }); queueOnly ? drawRuns() : later(true); };
    const told = () => root.say(model.get("message"));
    Object.assign(store, { run: model.get("run"), beside: model.get("beside") });
    const watched = { "change:about": about, "change:points": () => later(true), "change:classes": () => later(true), "change:mask": () => later(false), "change:summary": () => later(false), "change:query": () => later(false), "change:message": told, "change:run": drawRuns, "change:beside": drawRuns, "msg:custom": store.answer };
    for (const [event, act] of Object.entries(watched)) model.on(event, act);
    const theme = new MutationObserver(() => views.map?.themed());
    theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "class"] });
    root.append(note, alert, h("div", { class: "fe-head" }, runs, status, chips), h("div", { class: `fe-grid ${Object.keys(views).map((name) => `fe-has-${name}`).join(" ")}` }, Object.values(views).map((view) => view.node)));
    el.append(root);
    loaded();
    selected();
    told();
    return () => { theme.disconnect(); for (const [event, act] of Object.entries(watched)) model.off(event, act); };
  },
};
