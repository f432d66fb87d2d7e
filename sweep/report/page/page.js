// Draws the charts, sorts and filters the tables. Without it the page still has every table, and every row.

const root = document.documentElement;

// what a reader has chosen outlives a reload; a browser that keeps nothing for files is no reason to stop
function keep(name, value) {
  try { sessionStorage.setItem(`${location.pathname} ${name}`, value); } catch { /* nothing is kept */ }
}
function kept(name) {
  try { return sessionStorage.getItem(`${location.pathname} ${name}`); } catch { return null; }
}

// light and dark
if (kept("theme")) root.dataset.theme = kept("theme");
document.querySelector("#theme").addEventListener("click", () => {
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  keep("theme", root.dataset.theme);
});

// tables
// "29.5", "6 x 16" and "[-1.2, +3.4]" are numbers, which are compared one after the other; other texts are words
function numbersOf(text) {
  return /^\[?[+-]?\d/.test(text) ? text.match(/[+-]?\d+(\.\d+)?/g).map(Number) : null;
}

function compare(one, other, direction) {
  const [first, second] = [one, other].map(numbersOf);
  if (first && second) {
    const place = first.findIndex((number, index) => number !== second[index]);
    return place < 0 ? 0 : direction * (first[place] - (second[place] ?? -Infinity));
  }
  // what has no number comes last in both directions
  if (first || second) return first ? -1 : 1;
  return direction * one.localeCompare(other);
}

function sortTable(table, column, direction) {
  table.querySelectorAll("thead th").forEach((head, place) => {
    if (place === column) head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  });
  for (const body of table.tBodies) {  // rows stay under their heading
    const rows = [...body.rows].filter((row) => !row.classList.contains("heading"));
    const texts = new Map(rows.map((row) => [row, row.cells[column].textContent.trim()]));
    rows.sort((one, other) => compare(texts.get(one), texts.get(other), direction));
    body.append(...rows);
  }
}

const form = document.querySelector(".filters");
const languages = form?.closest("figure").querySelector("table");

for (const table of document.querySelectorAll("table")) {
  table.querySelectorAll("thead th").forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      // words from A on, numbers from the largest on
      const first = head.classList.contains("word") ? 1 : -1;
      const direction = { ascending: -1, descending: 1 }[head.getAttribute("aria-sort")] ?? first;
      sortTable(table, column, direction);
      if (table === languages) keep("sort", JSON.stringify([column, direction]));
      if (table.dataset.limit) showRows(table);
    });
  });
}

function isWanted(row, wanted) {
  if (wanted.group && !row.dataset.groups.split(" ").includes(wanted.group)) return false;
  if (wanted.text && !row.textContent.toLowerCase().includes(wanted.text.trim().toLowerCase())) return false;
  return Object.entries(wanted).every(([name, value]) => !/^\d+$/.test(name) || !value
    || row.cells[Number(name)].textContent === value);
}

// a long table shows its first rows, those that are wanted, until all are asked for or it is printed
function showRows(table, isWhole = table.dataset.whole === "true") {
  const wanted = table === languages ? Object.fromEntries(new FormData(form)) : {};
  const limit = isWhole ? Infinity : Number(table.dataset.limit);
  const rows = [...table.tBodies].flatMap((body) => [...body.rows]);
  let found = 0;
  for (const row of rows) {
    const matches = isWanted(row, wanted);
    found += matches;
    row.hidden = !matches || found > limit;
  }
  const shown = Math.min(found, limit);
  const figure = table.closest("figure");
  figure.querySelector("output").textContent = `${shown} of ${found} rows shown`
    + (found < rows.length ? `, ${rows.length} without filters` : "");
  figure.querySelector(".more").hidden = shown === found;
}

function filter() {
  keep("filters", JSON.stringify(Object.fromEntries(new FormData(form))));
  showRows(languages);
}

function find(values) {
  for (const [name, value] of Object.entries(values)) if (form.elements[name]) form.elements[name].value = value;
  filter();
}

if (languages) {
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  if (kept("sort")) sortTable(languages, ...JSON.parse(kept("sort")));
  find(JSON.parse(kept("filters") ?? "{}"));
}

for (const table of document.querySelectorAll("table[data-limit]")) {
  table.closest("figure").querySelector(".more").addEventListener("click", () => {
    table.dataset.whole = "true";
    showRows(table);
  });
  showRows(table);
  addEventListener("beforeprint", () => showRows(table, true));
  addEventListener("afterprint", () => showRows(table));
}

// charts
async function draw(figure) {
  const place = figure.querySelector(".drawing");
  const specification = JSON.parse(figure.querySelector("script").textContent);
  try {
    const { view } = await window.vegaEmbed(place, specification, {
      renderer: "svg", ast: true, actions: false, defaultStyle: false, tooltip: { disableDefaultStyle: true },
    });
    for (const parameter of specification.params ?? []) {
      if (!parameter.bind) continue;
      const name = `${figure.id} ${parameter.name}`;
      if (parameter.bind.options.includes(kept(name))) await view.signal(parameter.name, kept(name)).runAsync();
      view.addSignalListener(parameter.name, (_, value) => keep(name, value));
    }
    view.addEventListener("click", (_, item) => {
      const datum = item?.datum;
      if (datum?.language && form) find({ text: datum.language });
    });
  } catch (error) {
    place.textContent = `This chart could not be drawn: ${error.message}`;
    place.classList.add("problem");
  }
}

const drawn = [...document.querySelectorAll("figure.chart")].map(draw);
Promise.all(drawn).then(() => {
  root.dataset.drawn = drawn.length;
  if (kept("scroll") && root.dataset.refreshSeconds) scrollTo(0, Number(kept("scroll")));
});

// while experiments run the file is written again and again; someone who is choosing or reading a tooltip may finish
if (root.dataset.refreshSeconds) {
  let touched = 0;
  for (const kind of ["pointermove", "keydown", "scroll"]) addEventListener(kind, () => { touched = Date.now(); });
  setInterval(() => {
    if (Date.now() - touched < 3000) return;
    keep("scroll", scrollY);
    location.reload();
  }, 1000 * Number(root.dataset.refreshSeconds));
}
