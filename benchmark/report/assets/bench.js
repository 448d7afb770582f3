const bench = JSON.parse($("data-bench").textContent);
const VIEWS = ["tables", "cases", "case", "methods"];
const OUTPUTS = { raw: "Raw", composited: "Known pixels put back" };

// The fragment of the address holds the whole state, so that back, reload and links work.

function state() {
  const [view, query] = location.hash.slice(1).split("?");
  return { view: VIEWS.includes(view) ? view : "tables", query: new URLSearchParams(query ?? "") };
}

const address = (view, query) => `#${view}${query.size ? `?${query}` : ""}`;

function change(key, value) {
  const { view, query } = state();
  query.set(key, value);
  location.replace(address(view, query));
}

// A select whose choice is in the address; what is there now, or the first.
function choice(id, options, key = id.split("-")[1]) {
  const select = $(id);
  const wanted = state().query.get(key);
  const value = options.some(([one]) => one === wanted) ? wanted : options[0]?.[0];
  select.replaceChildren(...options.map(([one, text]) => el("option", { value: one }, text)));
  select.value = value ?? "";
  select.closest("label").hidden = options.length < 2;
  select.onchange = () => change(key, select.value);
  return value;
}

const subsets = () => Object.entries(bench.subsets);
const distinct = (tables, key, text) => [...new Map(tables.map((table) => [String(table[key]), text(table)]))];

function tablesView() {
  const subset = choice("tables-subset", subsets());
  const own = bench.tables.filter((table) => table.subset === subset);
  const place = choice("tables-place", distinct(own, "place", (table) => table.place_name));
  const output = choice("tables-output", distinct(own, "output", (table) => OUTPUTS[table.output]));
  const dilate = choice("tables-dilate", distinct(own, "dilate_px", (table) => `${table.dilate_px} px`));
  const kinds = distinct(own, "reference", (table) => (table.reference ? `Less those of ${table.reference}` : "Means"));
  const kind = choice("tables-kind", kinds);
  const table = own.find((one) => one.place === place && one.output === output && String(one.dilate_px) === dilate
    && String(one.reference) === kind);
  if (table) drawTable(table);
}

function drawTable(table) {
  const { query } = state();
  // By its name: the tables of other regions have other columns in its place.
  const sorted = table.columns.findIndex((column) => column.head === query.get("sort"));
  const rows = [...table.rows];
  if (table.columns[sorted]) rows.sort((a, b) => better(table.columns[sorted], a.cells[sorted].value, b.cells[sorted].value));
  const head = (column, index) => el("th", { scope: "col", "aria-sort": index === sorted ? "other" : null },
    el("button", { type: "button", onclick: () => change("sort", column.head) }, column.head));
  const whys = [];
  $("table").replaceChildren(
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Method"), ...table.columns.map(head),
      el("th", { scope: "col" }, "Cases"))),
    el("tbody", {},
      ...rows.map((row) => el("tr", {}, el("th", { scope: "row", title: row.method }, row.method, row.mark, given(row.method)),
        ...row.cells.map((cell) => cellOf(cell, whys)), el("td", {}, row.coverage))),
      ...table.quoted.map((row, index) => quotedRow(row, table, index === 0))));
  $("table-note").textContent = `${capital(table.title)}. Small: 95 % intervals over videos, by Student's t.`
    + [table.given_note, table.quoted_note].map((note) => (note ? ` ${note}` : "")).join("");
  $("whys").replaceChildren(...whys.map((why, index) => el("li", {}, `${index + 1}. ${why}`)));
}

function given(name) {
  const method = bench.methods.find((one) => one.name === name);
  return el("small", {}, method.problem ? "cannot be used" : method.given);
}

function cellOf(cell, whys) {
  let mark = null;
  if (cell.why) {
    if (!whys.includes(cell.why)) whys.push(cell.why);
    mark = el("sup", {}, String(whys.indexOf(cell.why) + 1));
  }
  return el("td", { class: cell.is_best ? "best" : null }, cell.text, mark,
    cell.interval ? el("small", {}, cell.interval) : null,
    cell.fewer ? el("small", { class: "fewer" }, cell.fewer) : null);
}

function quotedRow(row, table, isFirst) {
  const blanks = table.columns.slice(row.cells.length).map(() => el("td"));
  return el("tr", { class: isFirst ? "quoted first-quoted" : "quoted" },
    el("th", { scope: "row" }, `${row.method}, quoted: table ${row.table}`),
    ...row.cells.map((text) => el("td", {}, text)), ...blanks, el("td", {}, "quoted"));
}

// The better value first; what has none comes last.
function better(measure, a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  return measure.is_higher_better ? b - a : a - b;
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const methodNames = () => bench.methods.map((method) => method.name);
const promptOf = (one) => one.instruction ?? one.caption;

function sortedCases() {
  const subset = choice("cases-subset", [["", "All"], ...subsets()]);
  const at = Number(choice("cases-measure", bench.measures.map((measure, index) => [String(index), measure.name])) ?? 0);
  const method = choice("cases-method", [["", "any method: its worst"], ...methodNames().map((name) => [name, name])]);
  const order = choice("cases-order", [["worst", "Worst first"], ["best", "Best first"]]);
  const measure = bench.measures[at];
  const key = (one) => (method ? [method] : methodNames()).map((name) => one.methods[name])
    .map((result) => (result.failed ? null : result.values[at]?.[0] ?? undefined));
  // Failed results are the worst of all; cases that have no such value come last.
  const rank = (one) => {
    const values = key(one).filter((value) => value !== undefined);
    if (!values.length) return null;
    if (order === "worst" && values.includes(null)) return -Infinity;
    const good = values.filter((value) => value !== null).map((value) => (measure?.is_higher_better ? value : -value));
    if (!good.length) return null;
    return order === "worst" ? Math.min(...good) : -Math.max(...good);
  };
  const ranked = bench.cases.filter((one) => !subset || one.subset === subset).map((one) => [rank(one), one]);
  ranked.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : a < b ? -1 : Number(a > b)));
  return { cases: ranked.map(([, one]) => one), at };
}

function casesView() {
  const { cases, at } = sortedCases();
  $("cases-count").textContent = counted(cases.length, "case");
  $("case-list").replaceChildren(...cases.map((one) => el("li", {},
    el("a", { href: `#case?${new URLSearchParams({ id: one.id })}` },
      one.media ? el("img", { src: `report/${one.id}.jpg`, alt: "", loading: "lazy" }) : el("span"),
      el("div", {}, el("p", {}, promptOf(one)), el("small", {}, `${bench.subsets[one.subset]}, ${one.category}, ${one.id}`),
        el("div", { class: "values" }, ...methodNames().map((name) => valueOf(one, name, at))))))));
}

function valueOf(one, name, at) {
  const result = one.methods[name];
  const text = result.failed ? "failed" : result.values[at]?.[1] ?? "";
  return el("span", { class: result.failed ? "lost" : null }, `${name} `, el("b", {}, text));
}

// One video holds the frames of truth, hole and all methods side by side. Each player is a canvas that shows its part of
// the frame under way, so that none can be ahead of another.

let film = null;

function closeFilm() {
  if (!film) return;
  film.video.pause();
  film.video.removeAttribute("src");
  film.video.load();
  film = null;
}

function caseView(query) {
  closeFilm();
  const one = bench.cases.find((each) => each.id === query.get("id"));
  const section = $("view-case");
  if (!one) {
    section.replaceChildren(el("p", { class: "problem" }, "There is no such case in this report."));
    return;
  }
  const facts = [["video", one.caption], ["under the mask", one.object_caption], [one.operation ?? "edit", one.instruction],
    ["wanted video", one.target_caption], ["wanted there", one.target_object]].filter(([, text]) => text);
  section.replaceChildren(
    el("h1", { class: "quiet" }, one.id),
    el("dl", { class: "words" }, ...facts.flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)])),
    ...(one.media ? filmOf(one) : [el("p", { class: "note" }, "This report was written without videos.")]),
    el("div", { class: "wide case-values" }, valuesTable(one)));
  if (film) showFrame();
}

function filmOf(one) {
  const video = el("video", { src: `report/${one.id}.mp4`, loop: true, playsinline: true, preload: "auto" });
  video.muted = true;
  const slider = el("input", { type: "range", min: 0, max: one.media.num_frames - 1, value: 0, "aria-label": "Frame" });
  const counter = el("output");
  const play = el("button", { type: "button", "aria-keyshortcuts": "Space", onclick: playOrPause }, "Play");
  const output = el("button", { type: "button", "aria-keyshortcuts": "c", onclick: switchOutput }, "");
  film = { one, video, slider, counter, play, output, composited: false, players: [] };
  slider.addEventListener("input", () => seek(Number(slider.value)));
  for (const kind of ["play", "pause"]) video.addEventListener(kind, () => play.replaceChildren(video.paused ? "Play" : "Pause"));
  for (const kind of ["loadeddata", "seeked"]) video.addEventListener(kind, showFrame);
  video.addEventListener("error", () => {
    counter.textContent = "The video cannot be read: the folder report/ must lie beside this page.";
  });
  const next = () => {
    if (film?.video !== video) return;
    showFrame();
    video.requestVideoFrameCallback(next);
  };
  video.requestVideoFrameCallback(next);
  // Names of methods have no capitals, so these two are nobody's.
  const players = [player("Truth", () => "truth"), player("Hole", () => "hole"), ...methodNames().map((name) => {
    const failed = one.methods[name].failed;
    return player(name, () => `${film.composited ? "composited" : "raw"}/${name}`, failed);
  })];
  labelOutput();
  return [el("div", { class: "bar" }, play, step(-1, "Frame back", "‹"), step(1, "Frame on", "›"), slider, counter, output),
    el("div", { class: "players" }, ...players)];
}

function player(name, tile, failed) {
  const [width, height] = film.one.media.size;
  const caption = el("figcaption", {}, el("b", {}, name), failed ? el("small", { class: "lost" }, "failed") : null);
  if (failed) {
    const box = el("div", { class: "empty", style: { "aspect-ratio": `${width} / ${height}` } }, failed);
    return el("figure", { class: "player" }, box, caption);
  }
  const canvas = el("canvas", { width, height, role: "img", "aria-label": name });
  film.players.push({ canvas, tile });
  return el("figure", { class: "player" }, canvas, caption);
}

const step = (by, label, text) => el("button", { type: "button", "aria-label": label, onclick: () => move(by) }, text);
const frameNow = () => Math.min(Math.floor(film.video.currentTime * film.one.media.fps + 1e-3), film.one.media.num_frames - 1);

function showFrame() {
  if (!film || film.video.readyState < 2) return;
  const { video, one, players } = film;
  const [width, height] = one.media.size;
  for (const { canvas, tile } of players) {
    const place = one.media.tiles[tile()];
    if (place) canvas.getContext("2d").drawImage(video, place[0] * width, place[1] * height, width, height, 0, 0, width, height);
  }
  film.slider.value = frameNow();
  film.counter.textContent = `frame ${frameNow() + 1} of ${one.media.num_frames}`;
}

// The middle of a frame: at its border rounding would decide which one is shown.
function seek(frame) {
  film.video.currentTime = (frame + 0.5) / film.one.media.fps;
}

function move(by) {
  film.video.pause();
  const { num_frames: total } = film.one.media;
  seek((frameNow() + by + total) % total);
}

function playOrPause() {
  // Playing is refused while the video is being taken away again.
  if (film.video.paused) film.video.play().catch(() => {});
  else film.video.pause();
}

function labelOutput() {
  const grown = film.one.media.dilate_px ? `, hole grown by ${film.one.media.dilate_px} px` : "";
  film.output.textContent = film.composited ? `Known pixels put back${grown}` : "Raw outputs";
  film.output.setAttribute("aria-pressed", String(film.composited));
}

function switchOutput() {
  film.composited = !film.composited;
  labelOutput();
  showFrame();
}

function valuesTable(one) {
  return el("table", { class: "scores" },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Metric"),
      ...methodNames().map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, ...bench.measures.map((measure, at) => el("tr", {}, el("th", { scope: "row", title: measure.name }, measure.name),
      ...methodNames().map((name) => el("td", {}, one.methods[name].failed ? "failed" : one.methods[name].values[at][1]))))));
}

function methodsView() {
  $("method-table").replaceChildren(
    el("thead", {}, el("tr", {}, ...["method", ...bench.method_heads].map((text) => el("th", { scope: "col" }, text)))),
    el("tbody", {}, ...bench.methods.map((one) => el("tr", {}, el("th", { scope: "row" }, one.name),
      ...bench.method_cells[one.name].map((text) => el("td", {}, text))))));
  const listed = (pairs) => (pairs.length ? pairs : [["none", ""]])
    .flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]);
  $("missing").replaceChildren(...listed(Object.entries(bench.missing)));
  $("failed").replaceChildren(...listed(bench.failed.map(([method, one, reason]) => [`${method} on ${one}`, reason])));
}

function draw() {
  const { view, query } = state();
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== `view-${view}`;
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (view !== "case") closeFilm();
  if (view === "tables") tablesView();
  else if (view === "cases") casesView();
  else if (view === "case") caseView(query);
  else methodsView();
}

function shortcuts(event) {
  if (!film || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, button")) return;
  const action = { " ": playOrPause, ArrowLeft: () => move(-1), ArrowRight: () => move(1), c: switchOutput }[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

function start() {
  $("name").textContent = bench.bench;
  $("tables-title").textContent = `${counted(bench.methods.length, "method")} on ${counted(bench.num_cases, "case")}`;
  $("facts").textContent = `Protocol ${bench.protocol}. ${capital(bench.frames)}.`;
  if (!bench.cases.length) document.querySelector("[data-view='cases']").hidden = true;
  for (const form of document.querySelectorAll("form")) form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", shortcuts);
  addEventListener("hashchange", draw);
  draw();
}

start();
