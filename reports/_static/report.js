/* What can be touched: tables that sort, a sign where a table goes on, figures that enlarge, one switch for a page's code.
   Nothing is fetched or stored, and without scripts the page reads as it is. */
(() => {
  "use strict";

  const make = (tag, attributes = {}, text = "") => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    return element;
  };

  /* Tables that sort: by the first number of a cell, else by its words; what is missing stays last. */
  const keyOf = (cell) => {
    const text = cell.textContent.trim();
    const number = /^[<±]?\s*([-+−]?[\d,]*\.?\d+)/.exec(text);
    if (number) return Number(number[1].replace("−", "-").replaceAll(",", ""));
    return text === "–" ? null : text;
  };

  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));

  const sortRows = (table, column, sign) => {
    const rows = [...table.tBodies[0].rows].map((row) => [keyOf(row.cells[column]), row]);
    const known = rows.filter(([key]) => key !== null).sort(([a], [b]) => sign * compare(a, b));
    table.tBodies[0].append(...[...known, ...rows.filter(([key]) => key === null)].map(([, row]) => row));
  };

  const makeSortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = make("button", { type: "button", class: "sort" }, head.textContent.trim());
      head.replaceChildren(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const numbers = typeof keyOf(table.tBodies[0].rows[0].cells[column]) === "number";
        const before = head.getAttribute("aria-sort");
        const order = before === "none" ? (numbers ? "descending" : "ascending") : before === "ascending" ? "descending" : "ascending";
        for (const other of heads) other.setAttribute("aria-sort", other === head ? order : "none");
        sortRows(table, column, order === "ascending" ? 1 : -1);
      });
    });
  };

  /* A sign above a table or figure that is wider than its box. */
  const signBox = (box) => {
    const [before, after] = box.matches(".drawing-box") ? ["more to the left", "more to the right"] : ["more columns", "more columns"];
    const sign = make("p", { class: "scroll-sign", "aria-hidden": "true" });
    box.before(sign);
    const update = () => {
      const hidden = box.scrollWidth - box.clientWidth;
      sign.hidden = hidden <= 1;
      sign.textContent = box.scrollLeft >= hidden - 1 ? `← ${before}` : `${after} →`;
      if (hidden > 1) box.tabIndex = 0;
    };
    box.addEventListener("scroll", update, { passive: true });
    new ResizeObserver(update).observe(box);
    update();
  };

  /* Figures that enlarge: a dialog that Escape closes; + and - zoom, the arrows lead to the next figure. */
  const copyOf = (figure) => {
    const copy = figure.cloneNode(true);
    copy.removeAttribute("style");
    for (const part of copy.querySelectorAll("[id]")) part.removeAttribute("id"); // what the parts refer to stands in the page
    return copy;
  };
  const sizeOf = (figure) => (figure.viewBox ? [figure.viewBox.baseVal.width, figure.viewBox.baseVal.height] : [figure.naturalWidth, figure.naturalHeight]);

  const makeLightbox = (images) => {
    const dialog = make("dialog", { class: "lightbox", "aria-label": "Enlarged figure" });
    const bar = make("div", { class: "lightbox-bar" });
    const stage = make("div", { class: "lightbox-stage", tabindex: "0", role: "region", "aria-label": "Figure, scrolls when zoomed" });
    const caption = make("p", { class: "lightbox-caption" });
    let picture;
    let place = 0;
    let zoom = 1;
    const setZoom = (wanted) => {
      zoom = Math.min(8, Math.max(1, wanted));
      const [width, height] = sizeOf(picture);
      picture.style.width = `${Math.floor(width * Math.min(stage.clientWidth / width, stage.clientHeight / height) * zoom)}px`;
    };
    const show = (wanted) => {
      place = (wanted + images.length) % images.length;
      picture = copyOf(images[place]);
      picture.addEventListener("click", () => setZoom(zoom > 1 ? 1 : 2.25));
      stage.replaceChildren(picture);
      const told = images[place].closest("figure, .cell_output")?.querySelector(".caption-text, .figure-caption")?.textContent;
      caption.textContent = told ?? picture.alt ?? picture.getAttribute("aria-label");
      Promise.resolve(picture.decode?.()).catch(() => {}).then(() => setZoom(1));
    };
    const acts = {
      Previous: () => show(place - 1),
      Next: () => show(place + 1),
      "Zoom out": () => setZoom(zoom / 1.5),
      "Zoom in": () => setZoom(zoom * 1.5),
      Close: () => dialog.close(),
    };
    for (const [name, act] of Object.entries(acts)) {
      const button = make("button", { type: "button" }, name);
      button.addEventListener("click", act);
      bar.append(button);
    }
    const keys = { ArrowLeft: acts.Previous, ArrowRight: acts.Next, "-": acts["Zoom out"], "+": acts["Zoom in"], "=": acts["Zoom in"], Escape: acts.Close };
    dialog.addEventListener("keydown", (event) => {
      if (event.key.startsWith("Arrow") && zoom > 1) return; // they scroll the zoomed figure
      if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[event.key]();
    });
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.append(bar, stage, caption);
    document.body.append(dialog);
    images.forEach((image, number) => {
      const button = make("button", { type: "button", class: "zoom", title: "Enlarge", "aria-haspopup": "dialog" });
      image.replaceWith(button);
      button.append(image);
      button.addEventListener("click", () => {
        dialog.showModal();
        show(number);
        stage.focus();
      });
    });
  };

  /* One switch for all code of a page; it is remembered nowhere. */
  const makeSwitch = (folds) => {
    const button = make("button", { type: "button", role: "switch", "aria-checked": "false", class: "code-switch" }, "Show code");
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-checked") === "false";
      button.setAttribute("aria-checked", String(open));
      document.documentElement.classList.toggle("code-shown", open);
      for (const fold of folds) fold.open = open;
    });
    document.querySelector("article h1")?.after(button);
    document.documentElement.classList.add("code-behind-switch");
  };

  const start = () => {
    document.querySelectorAll(".sortable table").forEach(makeSortable);
    document.querySelectorAll("article :is(.table-box, .pst-scrollable-table-container, .drawing-box)").forEach(signBox);
    const images = [...document.querySelectorAll("article :is(img, svg.drawing)")].filter((image) => !image.closest("a, button, .bench"));
    if (images.length) makeLightbox(images);
    const folds = [...document.querySelectorAll("article details.hide.above-input")];
    if (folds.length) makeSwitch(folds);
  };

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
