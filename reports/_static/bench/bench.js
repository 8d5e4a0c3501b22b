// The control-face bench: sliders and buttons become a spec, the spec a face, its ground truth, a prediction and its maps.
//
// The state of the page is the values of its controls; the address holds those that differ from the page's own.
"use strict";
(() => {
const data = JSON.parse(document.getElementById("bench-data").textContent);
const at = (name) => document.getElementById(`bench-${name}`);
const form = at("controls"), inputs = [...form.querySelectorAll("input")], sliders = inputs.filter((input) => input.type === "range");
const bars = new Map([...document.querySelectorAll(".bench-bar")].map((bar) => [bar.dataset.expression, bar]));
const YELLOW = [255, 214, 0], PLASMA = ["0d0887", "5302a3", "8b0aa5", "b83289", "db5c68", "f48849", "febd2a", "f0f921"]
  .map((hex) => [0, 2, 4].map((place) => parseInt(hex.slice(place, place + 2), 16)));
const LEAST = 0.02;  // a largest drop below this shows faintly
let drawn = null, masks = null, map = null, id = 0, scheduled = false, ready = false;

// ---- From controls to a spec.

function read() {
  const spec = structuredClone(data.spec), chosen = (name) => form.elements[name].value;
  spec.identity = { ...data.subjects[chosen("subject")] };
  spec.occluder = chosen("occluder");
  for (const { value, dataset } of sliders) {
    const [part, field] = dataset.path.split("."), amount = value * dataset.scale;
    if (part === "change") spec.identity[field] += amount;
    else if (part === "action_units") { if (amount) spec.action_units[field] = amount; }
    else if (part === "noise_seed") spec.noise_seed = [amount];  // where an occluder lies, and the sensor noise
    else if (field) spec[part][field] = amount;
    else spec[part] = amount;
  }
  return spec;
}

const changed = (input) => (input.type === "radio" ? input.checked && !input.defaultChecked : input.value !== input.defaultValue);

function writeAddress() {
  const query = inputs.filter(changed).map((input) => `${input.name}=${encodeURIComponent(input.value)}`).join("&");
  history.replaceState(null, "", query ? `#${query}` : location.pathname + location.search);
}

function readAddress() {
  form.reset();
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    for (const input of inputs.filter((each) => each.name === name)) {
      if (input.type === "radio") input.checked ||= input.value === value;
      else if (value.trim() && Number.isFinite(Number(value))) input.value = value;  // the slider keeps it within its bounds
    }
  }
}

const unitsNow = () => Object.fromEntries(sliders.filter((one) => one.name.startsWith("au") && Number(one.value)).map((one) => [one.name.slice(2), Number(one.value)]));

// ---- What is seen.

function show() {
  for (const slider of sliders) {
    const text = `${slider.value}${slider.dataset.unit}`;
    slider.previousElementSibling.textContent = text;
    slider.setAttribute("aria-valuetext", text);
    slider.parentElement.classList.toggle("is-moved", slider.name.startsWith("au") ? slider.value !== "0" : changed(slider));
  }
  const units = unitsNow(), same = (other) => Object.keys(other).length === Object.keys(units).length && Object.keys(other).every((unit) => unit in units);
  for (const button of form.querySelectorAll("button[data-expression]")) {
    button.setAttribute("aria-pressed", String(same(data.expressions[button.dataset.expression])));
  }
  const spec = read(), of = form.elements.truth.value;
  drawn = ControlFace.draw(spec, data.size);
  masks = { ...ControlFace.regionMasks(spec, data.size), units: of === "units" ? ControlFace.unitMasks(spec, data.size) : null };
  paint("face", (grey) => [grey, grey, grey]);
  showTruth(Object.keys(spec.action_units), of);
  map = null;
  document.querySelector("#bench").classList.add("is-waiting");
  if (ready) askModel(spec);
}

function askModel(spec) {
  const { size } = data.model;
  model.look(size === data.size ? drawn : ControlFace.draw(spec, size), ++id);
}

function showTruth(units, of) {
  const names = data.order.filter((region) => units.some((unit) => data.regions[unit].includes(region)));
  const shown = of === "units" ? units.map((unit) => masks.units[unit]) : names.map((name) => masks[name]);
  const lit = Uint8Array.from(drawn, (_, place) => shown.some((mask) => mask[place]));
  const edge = (place) => lit[place] && [-1, 1, -data.size, data.size].some((step) => !lit[place + step]);
  paint("truth", (grey, place) => {
    if (of === "outline") return edge(place) ? YELLOW : [grey, grey, grey];
    return lit[place] ? YELLOW.map((yellow) => 0.5 * grey + 0.5 * yellow) : Array(3).fill(0.65 * grey);
  });
  const covered = masks.occluder.reduce((sum, hidden, place) => sum + (hidden && lit[place]), 0) / Math.max(lit.reduce((a, b) => a + b, 0), 1);
  const told = names.length ? (of === "units" ? `units ${units.join(", ")}` : names.join(", ")) : "none, neutral";
  at("truth-caption").innerHTML = `Ground truth <span></span>`;
  at("truth-caption").lastElementChild.textContent = told + (covered > 0.005 ? `; ${Math.round(100 * covered)}\u00a0% covered` : "");
  at("truth").setAttribute("aria-label", `The face with its ground truth lit: ${told}`);
}

function showProbs(probs) {
  const best = Math.max(...probs);
  data.model.expressions.forEach((name, i) => {
    const bar = bars.get(name);
    bar.classList.toggle("is-best", probs[i] === best);
    bar.querySelector(".bench-fill").style.width = `${100 * probs[i]}%`;
    bar.querySelector(".bench-value").textContent = `${(100 * probs[i]).toFixed(1)} %`;
  });
  const name = data.model.expressions[probs.indexOf(best)];
  at("told").textContent = `Predicted: ${name}, ${(100 * best).toFixed(1)} %`;
}

function showMap(values, explained) {
  const drops = values.map((value) => Math.max(value, 0)), largest = Math.max(...drops), name = data.model.expressions[explained];
  const told = largest < 0.005 ? `no window lowers ${name} by half a point` : `${name}: at most −${(100 * largest).toFixed(largest < 0.1 ? 1 : 0)} points`;
  heat("map", "Occlusion map", drops, Math.max(largest, LEAST), told);
}

function showCam(values, explained) {
  const largest = Math.max(...values), name = data.model.expressions[explained];
  heat("cam", "Grad-CAM", values, largest || 1, largest ? `${name}: at most ${largest.toPrecision(2)}` : `zero everywhere for ${name}`);
}

function heat(where, title, values, top, told) {
  const fine = ControlFace.enlarge(values, data.size);
  paint(where, (grey, place) => {
    const share = Math.min(fine[place] / top, 1), opacity = 0.75 * Math.min(1.5 * share, 1), step = share * (PLASMA.length - 1);
    const low = PLASMA[Math.floor(step)], high = PLASMA[Math.min(Math.floor(step) + 1, PLASMA.length - 1)], part = step % 1;
    return low.map((value, i) => (1 - opacity) * grey + opacity * (value + part * (high[i] - value)));
  });
  at(`${where}-caption`).innerHTML = `${title} <span></span>`;
  at(`${where}-caption`).lastElementChild.textContent = told;
  at(where).setAttribute("aria-label", `${title}. ${told}`);
}

function paint(name, colour) {
  const canvas = at(name), context = canvas.getContext("2d"), image = context.createImageData(data.size, data.size);
  drawn.forEach((grey, place) => image.data.set([...colour(grey, place), 255], 4 * place));
  context.putImageData(image, 0, 0);
}

// ---- What moves it.

function update() {  // at most once a frame
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => { scheduled = false; show(); });
}

let writing = 0;
form.addEventListener("input", () => {
  update();
  clearTimeout(writing);
  writing = setTimeout(writeAddress, 150);
});
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  if (button.id === "bench-copy") return copyLink(button);
  const units = data.expressions[button.dataset.expression];
  if (units) for (const slider of sliders.filter((one) => one.name.startsWith("au"))) slider.value = units[slider.name.slice(2)] ?? 0;
  else form.reset();
  update();
  writeAddress();
});
window.addEventListener("hashchange", () => { readAddress(); update(); });

async function copyLink(button) {
  const before = button.textContent;
  writeAddress();
  try { await navigator.clipboard.writeText(location.href); button.textContent = "Copied"; } catch { button.textContent = "The address bar has it"; }
  setTimeout(() => { button.textContent = before; }, 1500);
}

// ---- The model: its parts are loaded once the first face stands.

const model = new ControlFace.Model(data.model, (answer) => {
  if (answer.id !== id) return;
  document.querySelector("#bench").classList.remove("is-waiting");
  if (answer.cam) showCam(answer.cam, answer.explained);
  if (answer.probs) showProbs(answer.probs);
  else showMap(answer.map, answer.explained);
});

const script = (name) => new Promise((resolve, reject) => {
  const element = document.createElement("script");
  Object.assign(element, { src: `_static/bench/${name}.js`, onload: resolve, onerror: () => reject(new Error(`${name}.js is missing`)) });
  document.head.append(element);
});

async function start() {
  for (const name of ["face", "truth", "map", "cam"].filter(at)) {
    at(name).hidden = false;
    at(name).previousElementSibling.hidden = true;
  }
  form.hidden = false;
  at("told").textContent = "Loading the model …";
  readAddress();
  show();
  try {
    await Promise.all([script("runtime"), script("weights")]);
    await model.open(globalThis.benchParts);
    delete globalThis.benchParts;
    ready = true;
    askModel(read());
  } catch (error) {
    at("told").textContent = `The model cannot run in this browser (${error.message}); drawing and ground truth need none.`;
  }
}
start();
})();
