// A button that fetches a file from the kernel in parts, gzipped, and hands it to the browser; servers drop what comes faster than they allow.
const PAUSE = 350;  // ms between two parts

function render({ model, el }) {
  const button = document.createElement("button"), said = document.createElement("span");
  button.type = "button";
  button.className = "fl-button";
  said.className = "fl-quiet";
  said.setAttribute("role", "status");
  said.style.marginLeft = "8px";
  el.append(button, said);
  let parts = [];
  const show = () => { button.textContent = model.get("words"); button.disabled = !model.get("ready"); };
  button.addEventListener("click", () => { parts = []; button.disabled = true; said.textContent = "Fetching the table ..."; model.send({ part: 0 }); });
  const hear = async (message, buffers) => {
    if (message.failed) { said.textContent = message.failed; return show(); }
    parts.push(new Uint8Array(buffers[0].buffer, buffers[0].byteOffset, buffers[0].byteLength).slice());
    if (parts.length < message.parts) return setTimeout(() => model.send({ part: parts.length }), PAUSE);
    const content = await new Response(new Blob(parts).stream().pipeThrough(new DecompressionStream("gzip"))).blob();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([content], { type: "text/csv" }));
    link.download = message.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    said.textContent = `${message.rows.toLocaleString("en")} rows.`;
    show();
  };
  model.on("msg:custom", hear);
  model.on("change:ready change:words", show);
  show();
  return () => { model.off("msg:custom", hear); model.off("change:ready change:words", show); };
}
export default { render };
