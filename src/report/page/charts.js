// Charts, by D3. Each fills a <figure>: a title, the picture, and its numbers as a table or a list.

/** Empties a figure and gives it a title. */
function begin(figure, title) {
  figure.replaceChildren(el("h3", {}, title));
  return figure;
}

function caption(figure, text) {
  figure.append(el("figcaption", {}, text));
}

let isPrinting = false;

/** How wide a figure's picture is drawn: as wide as it is shown, so that letters have their size. */
function widthIn(figure) {
  const available = isPrinting ? 330 : figure.clientWidth - 34;
  return Math.max(260, Math.min(720, available));
}

function svgIn(figure, width, height, label) {
  return d3.select(figure).append("svg").attr("viewBox", `0 0 ${width} ${height}`).attr("role", "img").attr("aria-label", label);
}

/** A table: `columns` are [title, isNumber], rows arrays of texts or nodes. */
function tableOf(columns, rows) {
  const cell = (tag, content, i) => el(tag, { class: columns[i][1] ? "number" : null, scope: tag === "th" ? "row" : null }, content);
  const head = el("tr", {}, ...columns.map(([title, isNumber]) => el("th", { scope: "col", class: isNumber ? "number" : null }, title)));
  const body = rows.map((row) => el("tr", {}, ...row.map((content, i) => cell(i === 0 ? "th" : "td", content, i))));
  return el("table", {}, el("thead", {}, head), el("tbody", {}, ...body));
}

/** A table that scrolls by itself where it is wider than the page. */
const scrolled = (table, title) => el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": title }, table);

/** The same behind a line that opens it. */
function foldedTable(figure, title, columns, rows) {
  figure.append(el("details", {}, el("summary", {}, title), scrolled(tableOf(columns, rows), title)));
}

function swatch(color) {
  const node = el("span", { class: "swatch", "aria-hidden": "true" });
  node.style.background = color;
  return node;
}

function meter(share) {
  const fill = el("span");
  fill.style.width = `${Math.max(0, Math.min(1, share)) * 100}%`;
  return el("span", { class: "meter", "aria-hidden": "true" }, fill);
}

/** Where stored bits go: a bar of parts, and the parts as a table. `bits` by use; `numbers` share them. */
function drawBits(figure, bits, storedBytes, rawBytes, numbers) {
  begin(figure, "Where each stored bit goes");
  const used = Object.entries(bits).filter(([, count]) => count > 0);
  const width = widthIn(figure), height = 46;
  const svg = svgIn(figure, width, height, `Stored bits by what they are for: ${used.map(([use, count]) => `${USES[use][0]} ${percent(count / (8 * storedBytes))}`).join(", ")}`);
  const x = d3.scaleLinear([0, 8 * Math.max(rawBytes, storedBytes)], [0, width]);
  let at = 0;
  for (const [use, count] of used) {
    svg.append("rect").attr("x", x(at)).attr("width", x(count)).attr("y", 2).attr("height", 24)
      .style("fill", `var(--use-${use})`).append("title").text(`${USES[use][0]}: ${bytes(count / 8)}`);
    at += count;
  }
  svg.append("rect").attr("class", "frame").attr("x", 0.5).attr("y", 2).attr("height", 24).attr("width", Math.max(0, x(8 * rawBytes) - 1));
  svg.append("text").attr("x", width).attr("y", 42).attr("text-anchor", "end").attr("class", "soft").text(`raw: ${bytes(rawBytes)}`);
  svg.append("text").attr("x", 0).attr("y", 42).attr("class", "soft").text(`stored: ${bytes(storedBytes)}`);
  const rows = used.sort((a, b) => b[1] - a[1]).map(([use, count]) => [
    el("span", { title: USES[use][1] }, swatch(`var(--use-${use})`), USES[use][0]), bytes(count / 8),
    percent(count / (8 * storedBytes)), numbers > 0 ? (count / numbers).toFixed(3) : "–",
  ]);
  const table = tableOf([["for", false], ["bytes", true], ["share", true], ["bits a number", true]], rows);
  const sum = d3.sum(used, (use) => use[1]);
  table.tBodies[0].append(el("tr", { class: "sum" }, el("th", { scope: "row" }, "all"), el("td", { class: "number" }, bytes(sum / 8)),
    el("td", { class: "number" }, percent(sum / (8 * storedBytes))), el("td", { class: "number" }, numbers > 0 ? (sum / numbers).toFixed(3) : "–")));
  figure.append(scrolled(table, "Stored bits, as a table"));
}

/** How long the bytes take over each link. */
function drawTransfer(figure, links, rawBytes, storedBytes) {
  begin(figure, "Time to cross a link");
  const most = rawBytes / links[0].bytes_per_second;
  const row = (link) => {
    const raw = rawBytes / link.bytes_per_second;
    const stored = storedBytes / link.bytes_per_second;
    return [link.name, `${(link.bytes_per_second / 1e9).toFixed(2)} GB/s`, seconds(raw), seconds(stored), meter(stored / most)];
  };
  const head = [["link", false], ["rate", true], ["raw", true], ["compressed", true], ["", false]];
  figure.append(scrolled(tableOf(head, links.map(row)), "Time to cross a link, as a table"));
  caption(figure, "Bytes over what the link carries in one direction; programs reach less, with raw bytes as with compressed ones. " +
    "Bars: compressed time, over the raw time of the slowest link.");
}

/** What each codec would take, as ratios. */
function drawPrices(figure, tensor) {
  begin(figure, "Ratio by codec");
  const prices = Object.entries(tensor.prices).map(([codec, count]) => [codec, tensor.raw_bytes / count]);
  if (prices.length === 0) {
    figure.append(el("p", {}, "No prices were kept: the tensor was too small, or followed a plan."));
    return;
  }
  prices.sort((a, b) => b[1] - a[1]);
  const width = widthIn(figure), left = 78, step = 26, height = prices.length * step + 24;
  const svg = svgIn(figure, width, height, `Ratio by codec: ${prices.map(([codec, value]) => `${codec} ${ratio(value)}`).join(", ")}`);
  const bound = tensor.exponents ? tensor.exponents.word_bits / boundBits(tensor) : 0;
  const shown = Number.isFinite(bound) && bound < 3 * prices[0][1] ? bound : 0;
  const x = d3.scaleLinear([0, Math.max(prices[0][1], shown)], [left, width - 64]);
  prices.forEach(([codec, value], i) => {
    const isChosen = codec === tensor.codec;
    svg.append("rect").attr("class", isChosen ? "bar" : "bar-other").attr("x", left).attr("y", i * step + 3)
      .attr("width", Math.max(1, x(value) - left)).attr("height", step - 8);
    svg.append("text").attr("x", left - 6).attr("y", i * step + 16).attr("text-anchor", "end").attr("font-weight", isChosen ? 700 : 400).text(codec);
    svg.append("text").attr("x", width - 16).attr("y", i * step + 16).attr("text-anchor", "end").attr("font-weight", isChosen ? 700 : 400).text(ratio(value));
    if (isChosen) svg.append("text").attr("x", width - 12).attr("y", i * step + 16).text("✓");
  });
  if (shown > 0) {
    const end = prices.length * step;
    svg.append("line").attr("class", "bound").attr("x1", x(shown)).attr("x2", x(shown)).attr("y1", 0).attr("y2", end + 4);
    const isRight = x(shown) > width * 0.7;
    svg.append("text").attr("class", "soft").attr("x", x(shown) + (isRight ? 4 : -4)).attr("y", end + 16)
      .attr("text-anchor", isRight ? "end" : "start").text(`bound of exponents: ${ratio(shown)}`);
  }
  const missing = CODECS.filter((codec) => !(codec in tensor.prices));
  caption(figure, "As the planner priced them, with index, plan and padding; ✓ is what is used." +
    (missing.length > 0 ? ` Not smaller than raw, or not considered: ${missing.join(", ")}.` : ""));
}

/** Raw, stored and bound, in bits a number. */
function drawBound(figure, tensor) {
  begin(figure, "Distance to the entropy bound");
  const use = tensor.exponents;
  const stored = 8 * tensor.stored_bytes / numNumbers(tensor);
  const bound = boundBits(tensor);
  const bars = [["raw", [[use.word_bits, "var(--use-raw_rows)"]]], ["stored", [[stored, "var(--accent)"]]],
    ["bound", [[use.rest_bits, "var(--use-values)"], [use.entropy_bits, "var(--use-codes)"]]]];
  const width = widthIn(figure), left = 60, step = 28, height = bars.length * step + 4;
  const svg = svgIn(figure, width, height, `Bits a number: raw ${use.word_bits}, stored ${stored.toFixed(3)}, bound ${bound.toFixed(3)}`);
  const x = d3.scaleLinear([0, Math.max(use.word_bits, stored)], [left, width - 60]);
  bars.forEach(([label, parts], i) => {
    let at = 0;
    svg.append("text").attr("x", left - 6).attr("y", i * step + 18).attr("text-anchor", "end").text(label);
    for (const [bits, color] of parts) {
      svg.append("rect").attr("x", x(at)).attr("y", i * step + 4).attr("width", x(bits) - left).attr("height", step - 9).style("fill", color);
      at += bits;
    }
    svg.append("text").attr("x", x(at) + 5).attr("y", i * step + 18).text(at.toFixed(at < 100 ? 2 : 0));
  });
  figure.append(el("ul", { class: "key" },
    el("li", {}, swatch("var(--use-values)"), use.is_integer ? "sign, and bits below the highest" : "sign and mantissa, as they are"),
    el("li", {}, swatch("var(--use-codes)"), use.is_integer ? "entropy of lengths" : "entropy of exponents")));
  const above = aboveBound(tensor);
  const what = use.is_integer
    ? "The bound: the order-0 entropy of how many bits integers need, and all bits below the highest and signs as they are."
    : "The bound: the order-0 entropy of the exponents, and all signs and mantissas as they are.";
  caption(figure, `${above === null ? "" : `Stored is ${percent(Math.abs(above))} ${above < 0 ? "below" : "above"} the bound. `}${what} Below it gets what finds more in common ` +
    "than exponents: zeros, values or rows that repeat, bits that depend on the column.");
}
