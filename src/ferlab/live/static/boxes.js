// Boxes over a picture: drawn, labelled, and on a still adjusted by mouse, touch and keyboard.
const SVG = "http://www.w3.org/2000/svg";
const LEAST = 8;  // pixels: a smaller box holds no face

function svg(name, attributes = {}) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

class Boxes {
  // changed(faces, chosen) is called when a person moved, resized, drew, removed or selected a box.
  constructor(changed) {
    this.changed = changed;
    this.root = svg("svg", { class: "fl-boxes", preserveAspectRatio: "none" });
    this.faces = []; this.chosen = null; this.adjustable = false; this.mirrored = false; this.width = this.height = 1;
    this.root.addEventListener("pointerdown", (event) => this.begin(event));
    this.root.addEventListener("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel"]) this.root.addEventListener(end, () => this.finish());
  }

  draw({ faces, width, height, labels, colours, chosen = null, adjustable = false, mirrored = false }) {
    const focused = this.root.contains(document.activeElement) ? Number(document.activeElement.dataset.place) : null;
    Object.assign(this, { faces, width, height, labels, colours, chosen, adjustable, mirrored });
    this.root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.root.classList.toggle("fl-adjustable", adjustable);
    this.placed = [];
    this.root.replaceChildren(...faces.map((face, place) => this.one(face, place)));
    if (focused !== null && this.root.children[focused]) this.root.children[focused].focus();
  }

  empty() {
    this.draw({ faces: [], width: 1, height: 1, labels: [], colours: [] });
  }

  one(face, place) {
    const [x, y, w, h] = face.box, unit = Math.max(this.width, this.height) / 100;
    const left = this.mirrored ? this.width - x - w : x;
    const colour = this.colours[place] ?? "#e69f00";
    const group = svg("g", { "data-place": place, class: place === this.chosen ? "fl-chosen" : "" });
    group.append(svg("rect", { x: left, y, width: w, height: h, class: "fl-under" }), svg("rect", { x: left, y, width: w, height: h, stroke: colour }));
    const label = this.labels[place] ?? "";
    const heights = [y - unit, y + h + 4 * unit, y - 5 * unit, y + h + 8 * unit, y + 5 * unit, y + h - 2 * unit, y + 9 * unit, y + h - 6 * unit];
    const text = svg("text", { ...this.free(label.length * 2.1 * unit, left, heights, 4 * unit), "font-size": 3.4 * unit });
    text.textContent = label;
    group.append(text);
    if (this.adjustable) {
      group.setAttribute("tabindex", "0");
      group.setAttribute("role", "button");
      group.setAttribute("aria-pressed", String(place === this.chosen));
      const what = `Face ${place + 1} of ${this.faces.length}${this.labels[place] ? `: ${this.labels[place]}` : ""}`;
      group.setAttribute("aria-label", `${what}. Enter selects it, arrow keys move its box, plus and minus resize it, Delete removes it.`);
      group.addEventListener("keydown", (event) => this.press(event, place));
      for (const [corner, cx, cy] of [["nw", left, y], ["ne", left + w, y], ["sw", left, y + h], ["se", left + w, y + h]]) {
        group.append(svg("circle", { cx, cy, r: 1.6 * unit, "data-corner": corner, fill: colour }));
      }
    }
    return group;
  }

  // Where a label of a width stands: within the picture, at the first of the heights that no other label takes.
  free(wide, left, heights, line) {
    const x = Math.max(0, Math.min(left, this.width - wide));
    const inside = heights.filter((y) => y > 0.8 * line && y < this.height);
    const apart = (y) => this.placed.every((each) => Math.abs(each.y - y) >= line || x >= each.x + each.wide || each.x >= x + wide);
    const y = inside.find(apart) ?? inside[0] ?? line;
    if (wide) this.placed.push({ x, y, wide });
    return { x, y };
  }

  press(event, place) {
    const step = event.shiftKey ? 10 : 2, face = this.faces[place];
    const moves = { ArrowLeft: [-step, 0, 0], ArrowRight: [step, 0, 0], ArrowUp: [0, -step, 0], ArrowDown: [0, step, 0], "+": [0, 0, step], "=": [0, 0, step], "-": [0, 0, -step] };
    if (event.key in moves) {
      const [dx, dy, grown] = moves[event.key], [x, y, w, h] = face.box;
      face.box = this.inside([x + dx - grown, y + dy - grown, w + 2 * grown, h + 2 * grown]);
      Object.assign(face, { score: null });
      this.tell(place);
    } else if (event.key === "Enter" || event.key === " ") this.tell(place);
    else if (event.key === "Delete" || event.key === "Backspace") {
      this.faces = this.faces.filter((_, other) => other !== place);
      this.tell(this.faces.length ? 0 : null);
    } else return;
    event.preventDefault(); event.stopPropagation();
  }

  at(event) {
    const bounds = this.root.getBoundingClientRect();
    return [(event.clientX - bounds.left) / bounds.width * this.width, (event.clientY - bounds.top) / bounds.height * this.height];
  }

  begin(event) {
    if (!this.adjustable || event.button) return;
    const [x, y] = this.at(event), group = event.target.closest("g");
    const place = group ? Number(group.dataset.place) : null;
    this.moving = { place, corner: event.target.dataset?.corner ?? null, from: [x, y], box: place === null ? null : [...this.faces[place].box], moved: false };
    this.root.setPointerCapture(event.pointerId);
    event.preventDefault();
  }

  drag(event) {
    if (!this.moving) return;
    const [x, y] = this.at(event), [fx, fy] = this.moving.from, dx = x - fx, dy = y - fy;
    if (!this.moving.moved && Math.hypot(dx, dy) < this.width / 150) return;
    this.moving.moved = true;
    if (this.moving.place === null) {  // a new box, drawn on free ground
      this.faces = [...this.faces, { id: 1 + Math.max(-1, ...this.faces.map((face) => face.id)), box: [fx, fy, LEAST, LEAST], score: null }];
      Object.assign(this.moving, { place: this.faces.length - 1, corner: "se", box: [fx, fy, 0, 0] });
    }
    const face = this.faces[this.moving.place], [bx, by, bw, bh] = this.moving.box;
    if (!this.moving.corner) face.box = this.inside([bx + dx, by + dy, bw, bh]);
    else {
      const east = this.moving.corner.includes("e"), south = this.moving.corner.includes("s");
      const side = Math.max(LEAST, Math.max(bw + (east ? dx : -dx), bh + (south ? dy : -dy)));
      face.box = this.inside([east ? bx : bx + bw - side, south ? by : by + bh - side, side, side]);
    }
    face.score = null;
    this.draw({ ...this, labels: this.labels, chosen: this.moving.place });
  }

  finish() {
    const moving = this.moving;
    this.moving = null;
    if (moving && moving.place !== null) this.tell(moving.place);
  }

  inside([x, y, w, h]) {  // at least half of the box stays in the picture
    const side = Math.min(Math.max(Math.max(w, h), LEAST), 2 * Math.max(this.width, this.height));
    return [Math.min(Math.max(x, -side / 2), this.width - side / 2), Math.min(Math.max(y, -side / 2), this.height - side / 2), side, side];
  }

  tell(chosen) {
    this.chosen = chosen;
    this.draw({ ...this, chosen });
    this.changed(this.faces, chosen);
  }
}
