// The table of tensors: sorted by a click on a column's title, filtered by what is typed.

/** Columns: title, what sorts, what is shown, classes. */
const COLUMNS = [
  { title: "#", key: (row) => row.number, show: (row) => String(row.number + 1), style: "number place" },
  { title: "Tensor", key: (row) => row.tensor.name.toLowerCase(), style: "" },
  { title: "Dtype", key: (row) => row.tensor.dtype, show: (row) => row.tensor.dtype, style: "dtype" },
  { title: "Shape", key: (row) => row.tensor.raw_bytes, show: (row) => shapeText(row.tensor.shape), style: "shape" },
  { title: "Codec", key: (row) => row.tensor.codec, show: (row) => row.tensor.codec, style: "" },
  { title: "Raw", key: (row) => row.tensor.raw_bytes, show: (row) => bytes(row.tensor.raw_bytes), style: "number raw" },
  { title: "Stored", key: (row) => row.stored, show: (row) => (row.tensor.same_as === null ? bytes(row.stored) : "as another"), style: "number" },
  { title: "Ratio", key: (row) => row.tensor.ratio, show: (row) => ratio(row.tensor.ratio), style: "number" },
  { title: "To bound", key: (row) => row.above ?? Infinity, show: (row) => (row.above === null ? "–" : signed(row.above)), style: "number" },
  { title: "Stored of raw", key: (row) => row.stored / Math.max(1, row.tensor.raw_bytes), show: (row) => meter(row.stored / Math.max(1, row.tensor.raw_bytes)), style: "meter-cell" },
];

/** Rows that the page has at first: more only when they are asked for. */
const MAX_ROWS = 400;

class TensorTable {
  constructor(model, onChoose) {
    this.onChoose = onChoose;
    this.rows = model.tensors.map((tensor, number) => ({ number, tensor, above: aboveBound(tensor),
      stored: storedOnce(tensor) }));
    this.column = 0;
    this.descending = false;
    this.maxRows = MAX_ROWS;
    this.chosen = null;
    this.body = byId("tensors").tBodies[0];
    this.addHead();
    this.addFilters(model);
    this.body.addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      if (row) this.choose(Number(row.dataset.number));
    });
    this.body.addEventListener("keydown", (event) => this.move(event));
    byId("more").addEventListener("click", () => {
      this.maxRows = Infinity;
      this.draw();
    });
    this.draw();
  }

  addHead() {
    const titles = COLUMNS.map((column, i) => {
      const button = el("button", { type: "button" }, column.title);
      button.addEventListener("click", () => this.sort(i));
      // Buttons are not drawn where a page of paper repeats the head.
      const onPaper = el("span", { class: "on-paper", "aria-hidden": "true" }, column.title);
      return el("th", { scope: "col", class: column.style, "aria-sort": "none" }, button, onPaper);
    });
    byId("tensors").tHead.replaceChildren(el("tr", {}, ...titles));
  }

  addFilters(model) {
    const codecs = [...new Set(model.tensors.map((tensor) => tensor.codec))].sort();
    byId("codec").append(...codecs.map((codec) => el("option", { value: codec }, codec)));
    byId("filter").addEventListener("input", () => this.draw());
    byId("codec").addEventListener("change", () => this.draw());
  }

  sort(column) {
    // Numbers are most often wanted from the largest down.
    this.descending = this.column === column ? !this.descending : COLUMNS[column].style.includes("number") && column > 0;
    this.column = column;
    this.draw();
  }

  /** Rows that match, in order. */
  matching() {
    const wanted = byId("filter").value.trim().toLowerCase();
    const codec = byId("codec").value;
    const matches = ({ tensor }) => (codec === "" || tensor.codec === codec) &&
      (wanted === "" || [tensor.name, tensor.dtype, tensor.codec].some((text) => text.toLowerCase().includes(wanted)));
    const { key } = COLUMNS[this.column];
    const order = (a, b) => d3.ascending(key(a), key(b)) * (this.descending ? -1 : 1) || a.number - b.number;
    return this.rows.filter(matches).sort(order);
  }

  draw() {
    const rows = this.matching();
    byId("tensors").tHead.querySelectorAll("th").forEach((th, i) =>
      th.setAttribute("aria-sort", i !== this.column ? "none" : this.descending ? "descending" : "ascending"));
    this.body.replaceChildren(...rows.slice(0, this.maxRows).map((row) => this.rowNode(row)));
    byId("more-line").hidden = rows.length <= this.maxRows;
    byId("more").textContent = `Show all ${grouped(rows.length)} rows`;
    const raw = d3.sum(rows, (row) => row.tensor.raw_bytes), stored = d3.sum(rows, (row) => row.stored);
    byId("count").textContent = `${rows.length === this.rows.length ? "" : `${grouped(rows.length)} of `}${plural(this.rows.length, "tensor")}: ` +
      `${bytes(raw)} raw, ${bytes(stored)} stored${stored > 0 ? `, ratio ${ratio(raw / stored)}` : ""}`;
  }

  rowNode(row) {
    const cells = COLUMNS.map((column) => {
      if (column.title !== "Tensor") return el("td", { class: column.style || null }, column.show(row));
      const button = el("button", { type: "button", "aria-pressed": row.number === this.chosen ? "true" : "false" }, el("bdi", {}, shortened(row.tensor.name)));
      return el("th", { scope: "row" }, button);
    });
    return el("tr", { "data-number": row.number, class: row.number === this.chosen ? "chosen" : null }, ...cells);
  }

  /** Up and down go from row to row. */
  move(event) {
    const row = event.target.closest("tr");
    const next = { ArrowDown: row && row.nextElementSibling, ArrowUp: row && row.previousElementSibling,
      Home: this.body.firstElementChild, End: this.body.lastElementChild }[event.key];
    if (!next) return;
    event.preventDefault();
    next.querySelector("button").focus();
  }

  choose(number) {
    this.chosen = number;
    for (const row of this.body.children) {
      const isChosen = Number(row.dataset.number) === number;
      row.classList.toggle("chosen", isChosen);
      row.querySelector("button").setAttribute("aria-pressed", String(isChosen));
    }
    this.onChoose(number);
  }
}
