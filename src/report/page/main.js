// Fills the page from the model that stands in it.

function drawTotals(model) {
  const unique = model.tensors.filter((tensor) => tensor.same_as === null);
  const measured = unique.filter((tensor) => tensor.exponents);
  const bound = d3.sum(measured, (tensor) => boundBits(tensor) * numNumbers(tensor)) / 8;
  const tiles = [["Ratio", model.stored_bytes > 0 ? ratio(model.raw_bytes / model.stored_bytes) : "–"], ["Raw", bytes(model.raw_bytes)],
    [model.is_compressed ? "Stored" : "Would be stored", bytes(model.stored_bytes)],
    ["Saved", bytes(Math.max(0, model.raw_bytes - model.stored_bytes))], ["Tensors", grouped(model.tensors.length)]];
  if (bound > 0) tiles.push(["To the entropy bound", signed(model.stored_bytes / bound - 1)]);
  byId("totals").replaceChildren(...tiles.map(([term, text]) => el("div", {}, el("dt", {}, term), el("dd", {}, text))));

  const bits = {};
  for (const use of Object.keys(USES)) bits[use] = d3.sum(unique, (tensor) => tensor.bits[use]);
  drawBits(byId("total-bits"), bits, Math.max(1, model.stored_bytes), model.raw_bytes, d3.sum(unique, numNumbers));
  drawTransfer(byId("total-transfer"), model.links, model.raw_bytes, model.stored_bytes);
  drawCodecs(byId("total-codecs"), model.tensors);
}

/** What each codec was chosen for. */
function drawCodecs(figure, tensors) {
  begin(figure, "Codecs that are used");
  const rows = CODECS.map((codec) => [codec, tensors.filter((tensor) => tensor.codec === codec)]).filter(([, chosen]) => chosen.length > 0);
  figure.append(scrolled(tableOf([["codec", false], ["tensors", true], ["raw", true], ["stored", true], ["ratio", true]], rows.map(([codec, chosen]) => {
    const raw = d3.sum(chosen, (tensor) => tensor.raw_bytes), stored = d3.sum(chosen, storedOnce);
    return [codec, grouped(chosen.length), bytes(raw), bytes(stored), stored > 0 ? ratio(raw / stored) : "–"];
  })), "Codecs that are used, as a table"));
}

function drawLead(model) {
  const saved = model.raw_bytes > 0 ? 1 - model.stored_bytes / model.raw_bytes : 0;
  byId("lead").textContent = model.is_compressed
    ? `A compressed file of ${bytes(model.file_bytes)}: ${plural(model.tensors.length, "tensor")} of ${bytes(model.raw_bytes)} ${model.tensors.length === 1 ? "takes" : "take"} ${bytes(model.stored_bytes)}, ${percent(saved)} less.`
    : `Not compressed: ${plural(model.tensors.length, "tensor")} of ${bytes(model.raw_bytes)}. Compressed, losslessly, ${model.tensors.length === 1 ? "it" : "they"} would take about ${bytes(model.stored_bytes)}, ${percent(saved)} less.`;
  const looked = d3.sum(model.tensors, (tensor) => tensor.sampled_bytes);
  const sizes = model.is_compressed ? "Sizes are exact." : "Sizes are what the planner expects from samples: exact for small tensors.";
  byId("sampling").textContent = looked < model.raw_bytes
    ? `Pictures, and how rows divide, are from samples: ${bytes(looked)} of ${bytes(model.raw_bytes)} were looked at. ${sizes}`
    : `All bytes were looked at: no picture is from a sample. ${sizes}`;
}

/** Pictures are drawn for the width that they have: anew where that changes, and for paper. */
function drawAgain(draw) {
  let width = document.body.clientWidth;
  let timer = 0;
  addEventListener("resize", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (document.body.clientWidth === width) return;
      width = document.body.clientWidth;
      draw();
    }, 150);
  });
  for (const [event, prints] of [["beforeprint", true], ["afterprint", false]]) {
    addEventListener(event, () => {
      isPrinting = prints;
      draw();
    });
  }
}

function main() {
  const model = JSON.parse(byId("model").textContent);
  document.title = `${shortened(model.file)} – Stillbit report`;
  byId("file").replaceChildren(el("bdi", {}, visible(model.file)));
  byId("version").textContent = `stillbit ${model.version}`;
  drawLead(model);
  let isFirst = true;
  // Of one tensor its own pictures say all.
  byId("total-figures").hidden = model.tensors.length === 1;
  drawTotals(model);
  byId("controls").hidden = model.tensors.length === 1;
  const table = new TensorTable(model, (number) => {
    const tensor = model.tensors[number];
    drawDetails(model, tensor);
    if (!isFirst) {
      byId("announce").textContent = `Details of ${shortened(tensor.name)} are shown below the table.`;
      byId("details-title").scrollIntoView({ block: "nearest" });
      history.replaceState(null, "", `#tensor-${number + 1}`);
    }
    isFirst = false;
  });
  // A link to a tensor leads to it; otherwise the largest is shown.
  const linked = /^#tensor-(\d+)$/.exec(location.hash);
  const largest = model.tensors.findIndex((tensor) => tensor.raw_bytes === d3.max(model.tensors, (each) => each.raw_bytes));
  const first = linked && model.tensors[Number(linked[1]) - 1] ? Number(linked[1]) - 1 : largest;
  if (first >= 0) table.choose(first);
  drawAgain(() => {
    drawTotals(model);
    if (table.chosen !== null) drawDetails(model, model.tensors[table.chosen]);
  });
}

main();
