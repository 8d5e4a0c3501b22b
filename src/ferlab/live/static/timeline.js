// The time line of expressions: a lane per face, drawn on a canvas; between two reports it moves on by the page's own clock.
const LANE = 30, AXIS = 20, LEFT = 30, LEAD = 0.5;

function render({ model, el }) {
  const canvas = document.createElement("canvas");
  canvas.className = "fl-timeline";
  canvas.style.cssText = "display:block;width:100%";
  canvas.setAttribute("role", "img");
  el.append(canvas);
  const still = window.matchMedia?.("(prefers-reduced-motion: reduce)");
  let reported = performance.now(), asked = 0, over = false, spoken = 0;

  const draw = () => {
    asked = 0;
    if (over) return;
    const lanes = model.get("lanes"), names = model.get("expressions"), colours = model.get("colours"), span = model.get("span");
    const width = el.clientWidth || 600, height = Math.max(lanes.length, 1) * LANE + AXIS, ratio = window.devicePixelRatio || 1;
    const since = (performance.now() - reported) / 1000, moving = model.get("moving") && since < LEAD;
    const now = model.get("now") + (moving && !still?.matches ? since : 0), start = Math.max(now - span, 0), shown = Math.max(Math.min(now, span), 5);
    const at = (time) => LEFT + ((time - start) / shown) * (width - LEFT);
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio); canvas.style.height = `${height}px`;
    }
    const context = canvas.getContext("2d"), style = getComputedStyle(el.closest(".fl-panel") ?? el);
    const ink = style.color, quiet = style.getPropertyValue("--fl-quiet") || ink, raised = style.getPropertyValue("--fl-raised") || "#eee";
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "middle";
    for (let place = 0; place < Math.max(lanes.length, 1); place++) {
      context.fillStyle = raised;
      context.fillRect(LEFT, place * LANE + 3, width - LEFT, LANE - 6);
    }
    lanes.forEach((lane, place) => {
      const top = place * LANE + 3;
      context.fillStyle = ink;
      context.textAlign = "left";
      context.fillText(String(lane.face), 4, top + LANE / 2 - 3);
      lane.segments.forEach(([from, to, label, confidence], number) => {
        const open = lane.visible && number === lane.segments.length - 1;
        const left = Math.max(at(from), LEFT), right = Math.min(at(open ? Math.max(to, now) : to), width);
        if (right <= LEFT) return;
        context.globalAlpha = 0.35 + 0.65 * Math.min(Math.max(confidence, 0), 1);
        context.fillStyle = colours[names[label]] ?? "#888";
        context.fillRect(left, top, Math.max(right - left, 1.5), LANE - 6);
        context.globalAlpha = 1;
        if (right - left > context.measureText(names[label]).width + 10) {
          context.textAlign = "left";
          context.lineWidth = 3;
          context.lineJoin = "round";
          context.strokeStyle = "#111";
          context.fillStyle = "#fff";
          context.strokeText(names[label], left + 5, top + LANE / 2 - 3);
          context.fillText(names[label], left + 5, top + LANE / 2 - 3);
        }
      });
    });
    const step = [1, 2, 5, 10, 20, 30, 60].find((each) => (each / shown) * (width - LEFT) > 56) ?? 60;
    context.fillStyle = quiet;
    context.textAlign = "center";
    for (let time = Math.ceil(start / step) * step; time <= start + shown; time += step) {
      const x = at(time);
      if (x > LEFT + 12 && x < width - 14) context.fillText(time < 60 ? `${time} s` : `${Math.floor(time / 60)}:${String(time % 60).padStart(2, "0")}`, x, height - AXIS / 2);
    }
    if (moving && !still?.matches) ask();
  };
  const ask = () => { asked ||= requestAnimationFrame(draw); };
  const changed = () => {
    reported = performance.now();
    if (reported - spoken > 2000 || !model.get("moving")) { spoken = reported; canvas.setAttribute("aria-label", model.get("words")); }
    ask();
  };
  canvas.setAttribute("aria-label", model.get("words"));
  model.on("change:now change:lanes change:moving", changed);
  const watcher = new ResizeObserver(ask);
  watcher.observe(el);
  ask();
  return () => { over = true; watcher.disconnect(); cancelAnimationFrame(asked); model.off("change:now change:lanes change:moving", changed); };
}
export default { render };
