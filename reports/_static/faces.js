// The faces of a run: a confusion matrix whose cells open them (ferlab.reporting.site.faces_page). No dependencies; tables come as scripts and
// thumbnails as sheets, since a browser reads no JSON from a file. The state is the page's fragment, and render() draws all of it.
"use strict";
(() => {
  const without = document.querySelector(".faces-static"), SITE = "../../"; // from the page of a run to the site's folder
  const PAGE = 96, THUMBNAIL = 72, LARGE = 192, SMALL = 64; // faces listed until more are asked for; pixels: in the list, opened, a duplicate
  const ORDERS = {
    label: "lowest probability of the label", confident: "highest confidence", uncertain: "lowest confidence", dataset: "order of the dataset",
  };
  const OUTCOMES = { "": "all", misclassified: "misclassified", correct: "correct" };
  const FIRST = { split: "", label: "", predicted: "", outcome: "", from: "0", to: "100", order: "label", face: "" };
  const opened = {}, selects = {};
  let about = null, state = null, data = null, found = null, listed = 0, cells = [], focus = [0, 0];

  function h(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (key in node && typeof value !== "string") node[key] = value;
      else node.setAttribute(key, value);
    }
    node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
    return node;
  }
  const count = (value) => value.toLocaleString("en-US"), percent = (part, digits = 1) => `${(100 * part).toFixed(digits)} %`;
  const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
  const colour = (name) => about.colours[name] || "#8C6D1F";
  const swatch = (name) => h("i", { class: "faces-swatch", style: `background:${colour(name)}`, "aria-hidden": "true" });
  const load = (src) => new Promise((done, failed) => {
    const missing = () => failed(new Error(`${src} is missing: keep the folders of the report together`));
    document.head.append(h("script", { src, onload: done, onerror: missing }));
  });

  // ---- the data and the state ----
  function join(faces, scored) { // of face i the columns of the dataset (by its place in the split) and of the run
    const { rows } = scored, k = faces.names.length, of = (column) => rows.map((place) => column[place]);
    const prob = (i, c) => scored.probs[i * k + c] / 1000, target = of(faces.target), ids = of(faces.ids);
    const whether = (name, table) => (table ? [{ name, groups: ["no", "yes"], of: rows.map((place) => (place in table ? 1 : 0)) }] : []);
    const own = [...whether("label issue", scored.issues), ...whether("maps", scored.methods.length ? scored.explained : null)];
    return {
      ...faces, ...scored, ids, target, prob, inSplit: faces.ids, labels: faces.target,
      at: new Map(ids.map((id, i) => [id, i])), byPlace: new Map(rows.map((place, i) => [place, i])),
      confidence: rows.map((_, i) => prob(i, scored.pred[i])),
      conditions: [...own, ...faces.conditions.map((each) => ({ ...each, of: of(each.of) }))],
    };
  }

  function read() {
    const given = new URLSearchParams(location.hash.slice(1)), wanted = { ...FIRST, where: {} };
    for (const key of Object.keys(FIRST)) if (given.has(key)) wanted[key] = given.get(key);
    for (const pair of given.getAll("where")) wanted.where[pair.split(":", 1)[0]] = pair.slice(pair.indexOf(":") + 1);
    return wanted;
  }

  function write() {
    const told = new URLSearchParams(Object.entries(state).filter(([key, value]) => key !== "where" && value !== FIRST[key]));
    for (const pair of Object.entries(state.where)) told.append("where", pair.join(":"));
    history.replaceState(null, "", `#${told}`);
  }

  function checked(wanted) { // a link may be older than the report: what these faces lack is dropped
    const known = (values, value, other = "") => (values.includes(value) ? value : other);
    const number = (text, other) => (text !== "" && Number(text) >= 0 && Number(text) <= 100 ? String(Number(text)) : other);
    const occurs = ([name, group]) => data.conditions.some((each) => each.name === name && each.groups.includes(group));
    return {
      ...wanted, where: Object.fromEntries(Object.entries(wanted.where).filter(occurs)),
      label: known(data.names, wanted.label), predicted: known(data.names, wanted.predicted),
      outcome: known(Object.keys(OUTCOMES), wanted.outcome), order: known(Object.keys(ORDERS), wanted.order, FIRST.order),
      from: number(wanted.from, FIRST.from), to: number(wanted.to, FIRST.to), face: data.at.has(wanted.face) ? wanted.face : "",
    };
  }

  async function use(wanted) {
    if (!(wanted.split in about.splits)) wanted.split = FIRST.split;
    const { split } = wanted, set = `data/${about.set}`, run = `runs/${about.run}`;
    if (!opened[split]) {
      await Promise.all([load(`${SITE}${set}/faces/${split}.js`), load(`${SITE}${run}/faces/${split}.js`)]);
      opened[split] = join(window.ferlabFaces[`${set}/${split}`], window.ferlabFaces[`${run}/${split}`]);
    }
    const other = data !== opened[split], key = document.activeElement?.dataset.key;
    data = opened[split];
    state = checked(wanted);
    if (other) build();
    if (other && key) selects[key]?.focus();
    listed = PAGE;
    render();
    write();
  }
  const change = (patch) => use({ ...state, ...patch });

  const selected = () => [data.names.indexOf(state.label), data.names.indexOf(state.predicted)]; // the cell; -1: any

  function select() {
    const [label, predicted] = selected(), from = state.from / 100, to = state.to / 100;
    const tests = new Map([["cell", (i) => (label < 0 || data.target[i] === label) && (predicted < 0 || data.pred[i] === predicted)]]);
    if (state.outcome) tests.set("outcome", (i) => (data.target[i] === data.pred[i]) === (state.outcome === "correct"));
    if (from > 0 || to < 1) tests.set("confidence", (i) => data.confidence[i] >= from && data.confidence[i] <= to);
    for (const { name, groups, of } of data.conditions) {
      const group = groups.indexOf(state.where[name]);
      if (group >= 0) tests.set(`where ${name}`, (i) => of[i] === group);
    }
    const without = (name) => data.rows.map((_, i) => i).filter((i) => [...tests].every(([key, test]) => key === name || test(i)));
    const ofLabel = (i) => data.prob(i, data.target[i]), faces = without("");
    const keys = { label: ofLabel, confident: (i) => -data.confidence[i], uncertain: (i) => data.confidence[i], dataset: (i) => i };
    const by = keys[state.order];
    const others = (name) => (tests.has(name) ? without(name) : faces); // what all other conditions select
    return { faces: [...faces].sort((a, b) => by(a) - by(b) || a - b), without: others, filtered: tests.size > 1 };
  }

  // ---- the page ----
  const field = (key, text, control) => { selects[key] = control; control.dataset.key = key; return h("label", {}, h("span", {}, text), control); };
  const choice = (key, text, options, set = (value) => change({ [key]: value })) => field(key, text,
    h("select", { onchange: (event) => set(event.target.value) }, Object.entries(options).map(([value, told]) => h("option", { value }, told))));
  const number = (key, text) => field(key, text,
    h("input", { type: "number", min: "0", max: "100", step: "1", onchange: (event) => change({ [key]: event.target.value }) }));
  const table = h("table", { role: "grid", "aria-labelledby": "faces-matrix", "aria-describedby": "faces-help" });
  const said = h("p", { class: "faces-said" }), note = h("p", { class: "faces-quiet" }), status = h("p", { role: "status", class: "faces-status" });
  const list = h("ol", { class: "faces-list", "aria-label": "Faces; arrow keys move, Enter opens, Escape returns to the matrix" });
  const more = h("button", { type: "button", class: "faces-button", onclick: () => { const at = listed; extend(); tiles()[at]?.focus(); } });
  const controls = h("div", { class: "faces-controls" }), conditions = h("details", { class: "faces-conditions" });
  const dialog = h("dialog", { class: "faces-dialog", "aria-labelledby": "faces-title" });
  const reset = h("button", { type: "button", class: "faces-button", onclick: () => change({ ...FIRST, split: state.split, where: {} }) }, "Reset");
  const tiles = () => [...list.querySelectorAll("button")];

  function build() { // what depends on the split alone
    const expressions = { "": "any", ...Object.fromEntries(data.names.map((name) => [name, name])) };
    const splits = Object.fromEntries(Object.keys(about.splits).map((split) => [split, split]));
    controls.replaceChildren(choice("split", "Split", splits), choice("label", "Label", expressions), choice("predicted", "Prediction", expressions),
      choice("outcome", "Outcome", OUTCOMES), number("from", "Confidence from, %"), number("to", "to, %"), choice("order", "Order", ORDERS), reset);
    const set = (name) => (value) => {
      const { [name]: _, ...where } = state.where;
      change({ where: value ? { ...where, [name]: value.slice(1) } : where });
    };
    const named = (groups) => ({ "": "any", ...Object.fromEntries(groups.map((group) => [` ${group}`, group])) }); // a blank keeps numbers in order
    const all = data.conditions.map(({ name, groups }) => choice(`where ${name}`, name, named(groups), set(name)));
    conditions.replaceChildren(h("summary"), h("div", { class: "faces-controls" }, all));
    const button = (i, j, ...inside) => {
      const node = h("button", { type: "button", tabIndex: -1, onclick: (event) => choose(i, j, event.detail === 0) }, inside);
      node.dataset.at = `${i},${j}`;
      return node;
    };
    const side = (name, ...at) => [button(...at, swatch(name), h("span", {}, name))];
    table.replaceChildren(
      h("thead", {}, h("tr", {}, h("td"), data.names.map((name, j) => h("th", { scope: "col" }, side(name, -1, j))))),
      h("tbody", {}, data.names.map((name, i) => h("tr", {},
        h("th", { scope: "row" }, side(name, i, -1)), data.names.map((_, j) => h("td", {}, button(i, j)))))));
    cells = [...table.querySelectorAll("button")];
    rove(selected().every((each) => each < 0) ? [0, 0] : selected());
  }
  const cell = (i, j) => cells.find((node) => node.dataset.at === `${i},${j}`);
  const rove = (to) => { for (const node of cells) node.tabIndex = -1; focus = to; cell(...focus).tabIndex = 0; };

  function choose(i, j, byKey) { // a cell, a row (j is -1) or a column (i is -1); the chosen one again: all
    const label = data.names[i] || "", predicted = data.names[j] || "", again = state.label === label && state.predicted === predicted;
    rove([i, j]);
    change(again ? { label: "", predicted: "" } : { label, predicted });
    if (again) return;
    if (byKey) tiles()[0]?.focus();
    else if (status.getBoundingClientRect().top > innerHeight * 0.8) status.scrollIntoView({ block: "start" });
  }

  function words(i, j, counts) {
    const names = data.names, sum = (values) => values.reduce((all, each) => all + each, 0);
    if (j < 0) return `labelled ${names[i]}: ${count(sum(counts[i]))} faces`;
    if (i < 0) return `predicted as ${names[j]}: ${count(sum(counts.map((row) => row[j])))} faces`;
    const n = counts[i][j], all = sum(counts[i]), ends = found.filtered ? null : data.bounds[i][j];
    const interval = ends ? ` [${ends.map((end) => (100 * end).toFixed(1)).join(", ")}]` : "";
    return `${names[i]} predicted as ${names[j]}: ${count(n)} of ${count(all)} faces${all ? `, ${percent(n / all)}${interval}` : ""}`;
  }

  function render() {
    found = select();
    const { names } = data, [row, column] = selected(), counts = names.map(() => names.map(() => 0));
    for (const i of found.without("cell")) counts[data.target[i]][data.pred[i]] += 1;
    for (const node of cells) {
      const [i, j] = node.dataset.at.split(",").map(Number);
      node.title = words(i, j, counts);
      node.setAttribute("aria-pressed", String(i === row && j === column));
      if (i < 0 || j < 0) continue;
      const rate = counts[i][j] / Math.max(1, counts[i].reduce((all, each) => all + each, 0));
      node.className = i === j ? "faces-right" : "faces-wrong";
      node.style.setProperty("--rate", rate.toFixed(3));
      node.replaceChildren(h("span", { class: "visually-hidden" }, `${names[i]} predicted as ${names[j]}: `),
        h("b", {}, count(counts[i][j])), h("small", {}, percent(rate, 0)));
    }
    said.textContent = row >= 0 || column >= 0 ? words(row, column, counts) : "";
    if (row >= 0 && column >= 0 && !found.filtered && data.bounds[row][column]) said.append(` (95 % interval over ${data.by})`);
    for (const [key, control] of Object.entries(selects)) {
      const group = state.where[key.replace("where ", "")];
      control.value = key in state ? state[key] : group === undefined ? "" : ` ${group}`;
    }
    const chosen = Object.entries(state.where).map((pair) => pair.join(": ")).join(", ");
    conditions.firstChild.textContent = `Conditions${chosen ? `: ${chosen}` : ""}`;
    conditions.open ||= chosen !== "";
    for (const { name, groups, of } of data.conditions) {
      const faces = found.without(`where ${name}`), each = groups.map((_, group) => faces.filter((i) => of[i] === group).length);
      groups.forEach((group, at) => { selects[`where ${name}`].options[at + 1].textContent = `${group} (${count(each[at])})`; });
    }
    const sample = data.total > data.rows.length ? `, a random sample of ${count(data.total)}` : "";
    status.textContent = `${count(found.faces.length)} of ${count(data.rows.length)} ${state.split} faces${sample}`;
    note.textContent = about.splits[state.split];
    list.replaceChildren();
    listed = 0;
    extend();
    if (state.face) openFace(data.at.get(state.face));
    else if (dialog.open) dialog.close();
  }

  function extend() {
    const from = listed;
    listed = Math.min(found.faces.length, listed + PAGE);
    list.append(...found.faces.slice(from, listed).map(tile));
    if (!from && listed) tiles()[0].tabIndex = 0;
    more.hidden = listed >= found.faces.length;
    more.textContent = `Show ${count(Math.min(PAGE, found.faces.length - listed))} more of ${count(found.faces.length)}`;
  }

  // ---- faces ----
  function picture(sheets, place, [height, width], longest) { // one tile of a sheet
    const scale = longest / Math.max(height, width), [w, t] = [Math.round(width * scale), Math.round(height * scale)], at = place % data.per_sheet;
    const x = -(at % data.columns) * w, y = -Math.floor(at / data.columns) * t, url = `${sheets}-${Math.floor(place / data.per_sheet)}.jpg`;
    const style = `width:${w}px;height:${t}px;background:url("${url}") ${x}px ${y}px / ${data.columns * w}px auto`;
    return h("span", { class: "faces-picture", style, "aria-hidden": "true" });
  }
  const face = (place, longest) => picture(`${SITE}data/${about.set}/faces/${state.split}`, place, data.side, longest);

  const pair = (i) => [data.target[i], data.pred[i]].map((c) => data.names[c]); // label and prediction

  function tile(i) {
    const [label, predicted] = pair(i), sure = percent(data.confidence[i], 0), wrong = label !== predicted;
    const title = `${label} predicted as ${predicted}, ${sure}: ${data.ids[i]}`, onclick = () => openFace(i);
    const node = h("button", { type: "button", tabIndex: -1, class: wrong ? "faces-missed" : "", title, onclick },
      face(data.rows[i], THUMBNAIL), h("span", {}, swatch(label), label, " "), h("small", {}, wrong ? `as ${predicted} ${sure}` : sure));
    node.dataset.face = data.ids[i];
    return h("li", {}, node);
  }

  function issue(at) { // of the face at a place of the split
    if (!data.issues) return "not searched in this split";
    if (!(at in data.issues)) return "none";
    const [suggested, quality, prob, rank] = data.issues[at], all = Object.keys(data.issues).length;
    return `rank ${rank} of ${all}: ${data.names[suggested]} is suggested (${percent(prob)}); label quality ${quality.toFixed(3)}`;
  }

  function duplicates(at) {
    if (!data.duplicates) return "not audited";
    if (!(at in data.duplicates)) return "none found";
    return data.duplicates[at].map(([other, kind, mirrored, score]) => {
      const n = data.inSplit.length, own = [data.inSplit[other], state.split, data.labels[other]];
      const [id, split, label] = other < n ? own : data.beside[other - n];
      const what = kind === "near" ? `${mirrored ? "mirrored " : ""}near-duplicate (${score.toFixed(3)})` : `${kind} duplicate`;
      const inside = [face(other, SMALL), h("span", {}, `${what} in ${split}, labelled ${data.names[label]}: ${id}`)];
      const row = data.byPlace.get(other);
      return row === undefined ? h("span", { class: "faces-duplicate" }, inside)
        : h("button", { type: "button", class: "faces-duplicate", onclick: () => openFace(row) }, inside);
    });
  }

  function maps(at) {
    const none = "Not explained: maps are computed for a sample of faces (condition maps).";
    if (!data.methods.length || !(at in data.explained)) return [h("p", { class: "faces-quiet" }, none)];
    const [row, explained] = data.explained[at], sheets = `${SITE}runs/${about.run}/faces/${state.split}-maps`;
    return data.methods.map(({ title, signed, verdict, notes }, number) => {
      const sign = signed && "red supports, blue opposes", trust = verdict && `${verdict} on control faces`;
      const told = [`${title} of ${data.names[explained]}`, notes[row], sign, trust];
      const tile = picture(sheets, row * data.methods.length + number, data.side, LARGE);
      return h("figure", {}, tile, h("figcaption", {}, told.filter(Boolean).join("; ")));
    });
  }

  const bars = (i) => h("table", { class: "faces-bars" }, h("caption", {}, "Probability of each expression"), data.names.map((name, c) => {
    const what = [c === data.target[i] && "label", c === data.pred[i] && "prediction"].filter(Boolean).join(", ");
    const bar = h("i", { style: `width:${100 * data.prob(i, c)}%;background:${colour(name)}` });
    return h("tr", {}, h("th", { scope: "row" }, swatch(name), name), h("td", {}, bar), h("td", {}, percent(data.prob(i, c))), h("td", {}, what));
  }));

  function openFace(i) {
    const row = data.rows[i], at = found.faces.indexOf(i), n = found.faces.length;
    const step = (by) => at >= 0 && at + by >= 0 && at + by < n && openFace(found.faces[at + by]);
    const button = (text, onclick, disabled = false) => h("button", { type: "button", class: "faces-button", disabled, onclick }, text);
    const facts = data.conditions.filter(({ name, of }) => of[i] >= 0 && !["label issue", "duplicates", "maps"].includes(name));
    const pairs = [["Label issue", issue(row)], ["Duplicates", duplicates(row)], ...facts.map(({ name, groups, of }) => [name, groups[of[i]]])];
    const kept = [...dialog.querySelectorAll("button")].indexOf(document.activeElement);
    dialog.replaceChildren(
      h("header", {}, h("h2", { id: "faces-title", "aria-live": "polite" }, `${pair(i).join(" predicted as ")}, ${percent(data.confidence[i])}`),
        button("Previous", () => step(-1), at <= 0), button("Next", () => step(1), at < 0 || at === n - 1), button("Close", () => dialog.close())),
      h("p", { class: "faces-quiet" }, `${data.ids[i]}, ${state.split}; ${at < 0 ? "not in the selection" : `${count(at + 1)} of ${count(n)}`}`),
      h("div", { class: "faces-pictures" }, h("figure", {}, face(row, LARGE), h("figcaption", {}, "The face as prepared")), maps(row)),
      bars(i), h("dl", {}, pairs.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
    dialog.onkeydown = (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (by) event.preventDefault();
      if (by) step(by);
    };
    if (!dialog.open) dialog.showModal();
    const buttons = [...dialog.querySelectorAll("button")], again = buttons[kept];
    (again && !again.disabled ? again : buttons[2]).focus();
    state = { ...state, face: data.ids[i] };
    write();
  }

  dialog.addEventListener("close", () => { // the reader returns to the face that was open
    const at = found.faces.indexOf(data.at.get(state.face));
    while (at >= listed) extend();
    if (at >= 0) go(tiles()[at]);
    state = { ...state, face: "" };
    write();
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  const go = (node) => { for (const each of tiles()) each.tabIndex = -1; node.tabIndex = 0; node.focus(); };
  list.addEventListener("keydown", (event) => {
    const all = tiles(), at = all.indexOf(document.activeElement), below = all.findIndex((node) => node.offsetTop > all[0].offsetTop);
    const across = below < 0 ? all.length : below;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across, Home: -at, End: all.length - 1 - at };
    if (event.key === "Escape") cell(...focus).focus();
    else if (!(event.key in steps)) return;
    else {
      if (at + steps[event.key] >= all.length && !more.hidden) extend();
      go(tiles()[clamp(at + steps[event.key], 0, tiles().length - 1)]);
    }
    event.preventDefault();
  });
  table.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key], last = data.names.length - 1;
    if (event.key === "Escape") change({ label: "", predicted: "" });
    else if (!step) return;
    else {
      const to = [clamp(focus[0] + step[0], -1, last), clamp(focus[1] + step[1], -1, last)];
      if (cell(...to)) { rove(to); cell(...to).focus(); }
    }
    event.preventDefault();
  });

  const help = h("p", { class: "faces-quiet", id: "faces-help" },
    "Rows: label. Columns: prediction. Shade: fraction of the row. Arrow keys move, Enter opens the faces of a cell, Escape shows all.");
  const root = h("div", { class: "faces", hidden: true }, controls, conditions, note, h("div", { class: "faces-body" },
    h("section", {}, h("h2", { id: "faces-matrix" }, "Confusion matrix"), table, said, help),
    h("section", {}, h("h2", {}, "Faces"), status, list, more)), dialog);
  const fail = (error) => without.before(h("p", { role: "alert" }, error.message)); // the figure stays
  addEventListener("hashchange", () => use(read()).catch(fail));
  load("faces/about.js").then(() => {
    ({ about } = window.ferlabFaces);
    [FIRST.split] = Object.keys(about.splits);
    without.before(root); // hidden: a dialog opens in a document alone
    return use(read());
  }).then(() => { root.hidden = false; without.hidden = true; }).catch(fail);
})();
