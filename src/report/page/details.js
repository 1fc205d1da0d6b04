// What is drawn of the tensor that is chosen: facts, the heat map of bits, the histogram of exponents.

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** A share of 0.5 to 1 for each digit; only what is always the same is exactly 1. */
const shareOf = (digit) => {
  const step = DIGITS.indexOf(digit);
  return step === 63 ? 1 : Math.min(0.999, 0.5 + step / 124);
};

/** "sign", "exponent" or "mantissa" of each bit of an element, the lowest first. */
function fieldsOf(tensor) {
  const { num_bits: numBits } = tensor.invariance;
  const { word_bits: wordBits, exponent_bits: exponentBits, is_integer: isInteger } = tensor.exponents;
  const signBits = wordBits > exponentBits ? 1 : 0;
  return d3.range(numBits).map((bit) => {
    if (isInteger) return bit + 1 === wordBits && tensor.dtype.startsWith("I") ? "sign" : "value";
    const within = bit % wordBits;
    const field = within >= wordBits - signBits ? "sign" : within >= wordBits - signBits - exponentBits ? "exponent" : "mantissa";
    return numBits === wordBits ? field : `${field}, ${bit < wordBits ? "real" : "imaginary"}`;
  });
}

/** The picture itself: a pixel for each bit of each part, as a data address, so that it prints and scales. */
function heatPicture(map, shares) {
  const canvas = el("canvas", { width: map.num_parts, height: map.num_bits });
  const context = canvas.getContext("2d");
  const image = context.createImageData(map.num_parts, map.num_bits);
  for (let part = 0; part < map.num_parts; ++part) {
    for (let bit = 0; bit < map.num_bits; ++bit) {
      const share = shares[part * map.num_bits + bit];
      // Transparent where a bit varies: the same picture does on light and dark.
      const [r, g, b] = share === 1 ? [16, 158, 115] : [47, 111, 222];
      const alpha = share === 1 ? 255 : Math.round(235 * Math.pow((share - 0.5) * 2, 1.2));
      image.data.set([r, g, b, alpha], 4 * ((map.num_bits - 1 - bit) * map.num_parts + part));
    }
  }
  context.putImageData(image, 0, 0);
  return canvas.toDataURL();
}

function partText(map, part) {
  const first = part * map.columns_per_part;
  const last = Math.min(map.num_columns, first + map.columns_per_part) - 1;
  const what = map.is_by_stretch ? "element" : "column";
  return first === last ? `${what} ${grouped(first)}` : `${what}s ${grouped(first)} to ${grouped(last)}`;
}

function drawHeat(figure, tensor) {
  begin(figure, "Which bits stand still");
  const map = { ...tensor.invariance, is_by_stretch: tensor.invariance.by_stretch };
  const fields = fieldsOf(tensor);
  const shares = Array.from(map.shares, shareOf);
  const rowsOf = (bit) => d3.range(map.num_parts).map((part) => shares[part * map.num_bits + bit]);
  const still = d3.range(map.num_bits).filter((bit) => rowsOf(bit).every((share) => share === 1)).length;

  const width = widthIn(figure), left = 98, top = 4, cell = map.num_bits <= 8 ? 22 : map.num_bits <= 16 ? 14 : map.num_bits <= 32 ? 9 : 6;
  const plotWidth = width - left - 4, plotHeight = cell * map.num_bits, height = top + plotHeight + 34;
  const svg = svgIn(figure, width, height, `Heat map of ${map.num_bits} bits and ${plural(map.num_parts, "part")}; ` +
    `${still} bits are the same everywhere. Arrow keys read it cell by cell.`);
  svg.append("image").attr("href", heatPicture(map, shares)).attr("x", left).attr("y", top).attr("width", plotWidth).attr("height", plotHeight)
    .attr("preserveAspectRatio", "none").style("image-rendering", "pixelated");
  svg.append("rect").attr("class", "frame").attr("x", left).attr("y", top).attr("width", plotWidth).attr("height", plotHeight);
  const y = (bit) => top + (map.num_bits - 1 - bit) * cell;
  fieldGroups(fields).forEach(({ name, low, high }) => {
    const from = y(high), to = y(low) + cell;
    svg.append("path").attr("class", "frame").attr("d", `M${left - 5},${from + 1}h-4v${to - from - 2}h4`);
    const label = high === low ? `${name} (${high})` : `${name} (${high}–${low})`;
    svg.append("text").attr("x", left - 13).attr("y", (from + to) / 2 + 4).attr("text-anchor", "end").text(label.length > 16 ? name : label);
  });
  const x = d3.scaleLinear([0, map.num_columns], [left, left + plotWidth * map.num_columns / (map.num_parts * map.columns_per_part)]);
  svg.append("g").attr("class", "axis").attr("transform", `translate(0,${top + plotHeight})`).call(d3.axisBottom(x).ticks(width / 90).tickFormat(d3.format("~s")));
  svg.append("text").attr("class", "soft").attr("x", left + plotWidth / 2).attr("y", height - 2).attr("text-anchor", "middle")
    .text(map.is_by_stretch ? "element of the tensor" : "column of the row");

  figure.append(el("ul", { class: "key" }, el("li", {}, "varies", rampKey(), "nearly always the same"), el("li", {}, swatch("rgb(16 158 115)"), "always the same")));
  addCursor(figure, svg, { map, shares, fields, x0: left, y0: top, cellWidth: plotWidth / map.num_parts, cell });
  caption(figure, (map.is_by_stretch
    ? "Rows are too few or too long for columns to say much: each part is a stretch of the tensor, and the bits of its elements are compared. "
    : `Bits of each column are compared over ${tensor.num_repeats > 0 ? "distinct rows" : "rows"}${map.columns_per_part > 1 ? `, and ${map.columns_per_part} neighbouring columns averaged` : ""}. `) +
    "The shade is the share of elements that have the commoner value of the bit." + sampleText(tensor));
  foldedTable(figure, "Bit by bit, as a table", [["bit", true], ["field", false], ["mean share", true], ["lowest", true], ["always the same in", true]],
    d3.range(map.num_bits).reverse().map((bit) => {
      const row = rowsOf(bit);
      return [String(bit), fields[bit], percent(d3.mean(row)), percent(d3.min(row)), plural(row.filter((share) => share === 1).length, "part")];
    }));
}

function rampKey() {
  const node = el("span", { class: "ramp", "aria-hidden": "true" });
  node.style.background = "linear-gradient(to right, rgb(47 111 222 / 0%), rgb(47 111 222 / 92%))";
  return node;
}

/** Reads the map cell by cell, by pointer and by arrow keys. */
function addCursor(figure, svg, { map, shares, fields, x0, y0, cellWidth, cell }) {
  const tip = el("p", { class: "tip", role: "status" }, "Point at a cell, or focus the map and use the arrow keys.");
  figure.append(tip);
  const cursor = svg.append("rect").attr("class", "cursor").attr("width", cellWidth).attr("height", cell).style("display", "none");
  let part = 0, bit = map.num_bits - 1;
  const show = () => {
    cursor.style("display", null).attr("x", x0 + part * cellWidth).attr("y", y0 + (map.num_bits - 1 - bit) * cell);
    const share = shares[part * map.num_bits + bit];
    tip.textContent = `Bit ${bit} (${fields[bit]}), ${partText(map, part)}: ${share === 1 ? "always the same" : `the same in about ${percent(share, 0)}`}`;
  };
  svg.attr("tabindex", 0).node().addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!step) return;
    event.preventDefault();
    part = Math.max(0, Math.min(map.num_parts - 1, part + step[0]));
    bit = Math.max(0, Math.min(map.num_bits - 1, bit + step[1]));
    show();
  });
  svg.node().addEventListener("pointermove", (event) => {
    const box = svg.node().getBoundingClientRect();
    const scale = svg.node().viewBox.baseVal.width / box.width;
    const column = Math.floor(((event.clientX - box.left) * scale - x0) / cellWidth);
    const row = Math.floor(((event.clientY - box.top) * scale - y0) / cell);
    if (column < 0 || column >= map.num_parts || row < 0 || row >= map.num_bits) return;
    part = column;
    bit = map.num_bits - 1 - row;
    show();
  });
}

/** Neighbouring bits of one field. */
function fieldGroups(fields) {
  const groups = [];
  fields.forEach((name, bit) => {
    const last = groups[groups.length - 1];
    if (last && last.name === name) last.high = bit;
    else groups.push({ name, low: bit, high: bit });
  });
  return groups;
}

function sampleText(tensor) {
  return isSampled(tensor) ? ` From a sample of ${bytes(tensor.sampled_bytes)} of ${bytes(tensor.raw_bytes)}.` : "";
}

/** The bits that a number with this exponent needs besides it. */
function restOf(tensor, exponent) {
  if (!tensor.exponents.is_integer) return tensor.exponents.rest_bits;
  return exponent === 0 ? 0 : exponent - 1 + (tensor.dtype.startsWith("I") ? 1 : 0);
}

function exponentText(tensor, exponent) {
  const { is_integer: isInteger, bias } = tensor.exponents;
  if (isInteger) return String(exponent);
  return exponent === 0 && tensor.dtype !== "F8_E8M0" ? "zero" : String(exponent - bias);
}

function drawHistogram(figure, tensor) {
  const use = tensor.exponents;
  begin(figure, use.is_integer ? "Lengths of integers against the code" : "Exponents against the code");
  const total = d3.sum(use.uses, (each) => each[1]);
  // Codecs that find more than exponents take less than the rest alone: whole numbers are compared then.
  const isWhole = use.uses.some(([exponent, , bits]) => bits < restOf(tensor, exponent) - 0.01);
  const points = use.uses.map(([exponent, count, bits]) => {
    const rest = restOf(tensor, exponent);
    const code = -Math.log2(count / total);
    return { exponent, share: count / total, ideal: isWhole ? code + rest : code, stored: isWhole ? bits : bits - rest, label: exponentText(tensor, exponent) };
  });
  const width = widthIn(figure), left = 44, top = 8, high = 130, gap = 40, low = 120, height = top + high + gap + low + 40;
  const svg = svgIn(figure, width, height, `Histogram of ${plural(points.length, use.is_integer ? "length" : "exponent")}, and the bits that each takes beside the shortest possible`);
  const x = d3.scaleBand(points.map((point) => point.exponent), [left, width - 6]).padding(0.15);
  const y = d3.scaleLinear([0, d3.max(points, (point) => point.share)], [top + high, top]).nice();
  svg.append("g").attr("class", "axis").attr("transform", `translate(${left},0)`).call(d3.axisLeft(y).ticks(4, "~%"));
  svg.append("g").selectAll("rect").data(points).enter().append("rect").attr("class", "bar").attr("x", (point) => x(point.exponent))
    .attr("y", (point) => y(point.share)).attr("width", x.bandwidth()).attr("height", (point) => top + high - y(point.share))
    .append("title").text((point) => `${point.label}: ${percent(point.share)}`);
  const base = top + high + gap;
  const restText = use.is_integer ? "sign and lower bits" : "sign and mantissa";
  const values = points.flatMap((point) => [point.ideal, point.stored]);
  const bits = d3.scaleLinear([0, Math.max(1, d3.max(values))], [base + low, base]).nice();
  svg.append("g").attr("class", "axis").attr("transform", `translate(${left},0)`).call(d3.axisLeft(bits).ticks(5));
  const middle = (point) => x(point.exponent) + x.bandwidth() / 2;
  const radius = Math.max(1.5, Math.min(4, x.bandwidth() / 3));
  for (const [key, style] of [["ideal", "dot-ideal"], ["stored", "dot-stored"]]) {
    svg.append("g").selectAll("circle").data(points).enter().append("circle").attr("class", style).attr("cx", middle)
      .attr("cy", (point) => bits(point[key])).attr("r", key === "ideal" ? radius : radius * 0.8)
      .append("title").text((point) => `${point.label}: ${key} ${point[key].toFixed(2)} bits`);
  }
  const every = Math.ceil(points.length * 34 / width);
  const axis = d3.axisBottom(x).tickValues(points.filter((_, i) => i % every === 0).map((point) => point.exponent))
    .tickFormat((exponent) => exponentText(tensor, exponent)).tickSizeOuter(0);
  svg.append("g").attr("class", "axis").attr("transform", `translate(0,${top + high})`).call(axis);
  svg.append("g").attr("class", "axis").attr("transform", `translate(0,${base + low})`).call(axis);
  svg.append("text").attr("class", "soft").attr("x", left + 2).attr("y", base - 8).text(isWhole ? "bits a number" : use.is_integer ? "bits for the length" : "bits for the exponent");
  svg.append("text").attr("class", "soft").attr("x", (left + width) / 2).attr("y", height - 4).attr("text-anchor", "middle")
    .text(use.is_integer ? "bits that the magnitude needs" : "exponent: power of two");
  figure.append(el("ul", { class: "key" }, el("li", {}, swatch("var(--still)"), isWhole ? `ideal: −log₂ of the share, and ${restText}` : "ideal: −log₂ of the share"), el("li", {}, swatch("var(--mark)"), "stored, on average")));
  caption(figure, "Above: how often each occurs. Below: what a number with it takes in the stored rows" +
    (isWhole ? ", all in all. Where that is below the ideal, the codec finds more than exponents." : `, less its ${restText}.`) + sampleText(tensor));
  foldedTable(figure, "As a table", [[use.is_integer ? "length" : "exponent", true], ["share", true], ["ideal bits", true], ["stored bits", true]],
    points.map((point) => [point.label, percent(point.share, 3), point.ideal.toFixed(2), point.stored.toFixed(2)]));
}

function drawFacts(list, tensor, tensors) {
  const facts = [["Name", visible(tensor.name)], ["Dtype", tensor.dtype], ["Shape", shapeText(tensor.shape)],
    ["Codec, packing", `${tensor.codec}, ${tensor.packing}`], ["Raw", `${bytes(tensor.raw_bytes)} (${grouped(tensor.raw_bytes)})`],
    [tensor.is_estimate ? "Would be stored" : "Stored", `${bytes(tensor.stored_bytes)} (${grouped(tensor.stored_bytes)})`],
    ["Ratio", ratio(tensor.ratio)], ["Rows", `${grouped(tensor.num_rows)} of ${bytes(tensor.row_bytes)}`]];
  if (tensor.transfer_ratio !== null) facts.push(["A gather moves", `${ratio(tensor.transfer_ratio)} times fewer sectors`]);
  if (tensor.num_repeats > 0) facts.push(["Repeated rows", grouped(tensor.num_repeats)]);
  if (tensor.tile_bytes !== tensor.row_bytes && tensor.tile_bytes > 0) facts.push(["Encoded in tiles of", bytes(tensor.tile_bytes)]);
  if (tensor.same_as !== null) facts.push(["Equal to, and stored with", shortened(tensors[tensor.same_as].name)]);
  if (isSampled(tensor)) facts.push(["Looked at", `${bytes(tensor.sampled_bytes)} (${percent(tensor.sampled_bytes / tensor.raw_bytes)})`]);
  list.replaceChildren(...facts.map(([term, text]) => el("div", {}, el("dt", {}, term), el("dd", {}, el("bdi", {}, text)))));
}

/** Draws all of one tensor. */
function drawDetails(model, tensor) {
  byId("details").hidden = false;
  byId("details-title").replaceChildren(el("bdi", {}, shortened(tensor.name)));
  drawFacts(byId("facts"), tensor, model.tensors);
  for (const id of ["heat", "histogram", "bound"]) byId(id).hidden = !tensor.exponents;
  if (tensor.exponents) {
    drawHeat(byId("heat"), tensor);
    drawHistogram(byId("histogram"), tensor);
    drawBound(byId("bound"), tensor);
  }
  drawBits(byId("bits"), tensor.bits, tensor.stored_bytes, tensor.raw_bytes, numNumbers(tensor));
  drawPrices(byId("prices"), tensor);
  drawTransfer(byId("transfer"), model.links, tensor.raw_bytes, tensor.stored_bytes);
}
