const CLIPS_PER_PAGE = 24;
const REJECTS_PER_PAGE = 50;
const STAGE_RATIO = 16 / 9;
const NAMES = { num_tracks: "objects", "track.score": "confidence", "track.border_frac": "at the border",
  "track.coverage_frac": "share of frames", "track.mean_area_frac": "area", "track.max_area_change_frac": "area change",
  black_border_frac: "black borders", static_frac: "static frames", caption_words: "words of caption",
  caption_repetition_frac: "repetition in caption" };

const run = JSON.parse($("data-run").textContent);
const scriptUrls = globalThis.trustedTypes?.createPolicy("vpdata", {
  createScriptURL(url) {
    if (/^report\/data\/[a-z0-9-]+\.js$/.test(url)) return url;
    throw new TypeError(`not a data file of this report: ${url}`);
  },
});

function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const words = (name) => NAMES[name] ?? name.replace(/^track\./, "").replace(/_(frac|s)$/, "").replaceAll("_", " ");
const colour = (track) => run.colours[(track - 1) % run.colours.length];

function measure(name, value) {
  if (value === null || value === undefined) return "–";
  if (name.endsWith("_frac")) return `${trim((value * 100).toFixed(Math.abs(value) < 0.1 ? 1 : 0))} %`;
  if (name.endsWith("_s")) return `${trim(value.toFixed(1))} s`;
  return Math.abs(value) >= 1000 ? count(Math.round(value)) : trim(value.toPrecision(3));
}

function span(seconds) {
  if (seconds < 90) return counted(Math.round(seconds), "second");
  if (seconds < 5400) return counted(Math.round(seconds / 60), "minute");
  return `${trim((seconds / 3600).toFixed(1))} hours`;
}

function bytes(number) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  const power = Math.min(Math.floor(Math.log10(Math.max(number, 1)) / 3), units.length - 1);
  return `${trim((number / 1000 ** power).toPrecision(3))} ${units[power]}`;
}

function clock(seconds) {
  const tenths = Math.round(seconds * 10);
  const [hours, minutes, rest] = [Math.floor(tenths / 36000), Math.floor(tenths / 600) % 60, (tenths % 600) / 10];
  return `${hours ? `${hours}:` : ""}${String(minutes).padStart(2, "0")}:${rest.toFixed(1).padStart(4, "0")}`;
}

// Data come on demand, one script per chunk, because file:// allows no fetch; a single file holds them as blocks.

const chunks = new Map();
const waiting = new Map();
globalThis.vpdata = { receive: (name, data) => waiting.get(name)?.(data) };

function load(name) {
  if (!chunks.has(name)) chunks.set(name, embedded(name) ?? fromScript(name));
  return chunks.get(name);
}

function embedded(name) {
  const block = $(`data-${name}`);
  return block ? Promise.resolve(JSON.parse(block.textContent)) : undefined;
}

function fromScript(name) {
  return new Promise((resolve, reject) => {
    waiting.set(name, resolve);
    const url = `report/data/${name}.js`;
    const script = document.createElement("script");
    script.src = scriptUrls ? scriptUrls.createScriptURL(url) : url;
    script.onerror = () => {
      chunks.delete(name);
      reject(new Error(`${url} cannot be read: the folder report/ must lie beside this page.`));
    };
    script.onload = () => script.remove();
    document.head.append(script);
  });
}

async function mediaUrl(clip, suffix) {
  if (!run.media_embedded) return `report/media/${clip.id}.${suffix}`;
  const media = await load("media");
  return media[clip.id][suffix];
}

// The fragment of the address holds the whole state, so that back, reload and links work.

function state() {
  const [view, query] = location.hash.slice(1).split("?");
  return { view: ["clips", "rejects"].includes(view) ? view : "overview", query: new URLSearchParams(query ?? "") };
}

function address(view, values) {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value));
  return `#${view}${query.size ? `?${query}` : ""}`;
}

function change(values, { replace = false } = {}) {
  const now = state();
  const next = address(now.view, { ...Object.fromEntries(now.query), ...values });
  if (next === location.hash) return;
  if (replace) location.replace(next);
  else location.hash = next;
}

// A picture holds the plain frame above the masked one; switching the masks moves it inside its frame. Only pictures in
// sight are loaded, and only those play.

const near = new IntersectionObserver((entries) => {
  for (const entry of entries) (entry.isIntersecting ? show : hide)(entry.target);
}, { rootMargin: "160px" });
const pictured = new WeakMap();

function picture(clip) {
  const ratio = clip.size[0] / clip.size[1];
  const kind = ratio < STAGE_RATIO ? "frame tall" : "frame";
  const frame = el("span", { class: kind, style: { "aspect-ratio": String(ratio) } });
  const stage = el("span", { class: "stage" }, frame);
  pictured.set(stage, { clip, frame });
  near.observe(stage);
  return stage;
}

async function show(stage) {
  const { clip, frame } = pictured.get(stage);
  if (!frame.querySelector("img")) {
    const poster = el("img", { alt: "", decoding: "async" });
    frame.prepend(poster);
    poster.src = await mediaUrl(clip, "jpg");
  }
  const url = clip.loop ? await mediaUrl(clip, "mp4") : null;
  if (!url || !moving() || !stage.isConnected || frame.querySelector("video")) return;
  const video = el("video", { loop: true, playsinline: true, disableremoteplayback: true, "aria-hidden": "true" });
  video.muted = true;
  frame.append(video);
  video.addEventListener("playing", () => video.classList.add("playing"), { once: true });
  video.src = url;
  // Playing is refused while the video is being taken away again; the poster stays, which is what is wanted.
  video.play().catch(() => {});
}

function hide(stage) {
  const video = pictured.get(stage)?.frame.querySelector("video");
  if (!video) return;
  video.pause();
  video.removeAttribute("src");
  video.load();
  video.remove();
}

function release(container) {
  for (const stage of container.querySelectorAll(".stage")) {
    near.unobserve(stage);
    hide(stage);
  }
}

const isOn = (name) => document.documentElement.dataset[name] !== "off";
const moving = () => isOn("motion");

function turn(name, on) {
  document.documentElement.dataset[name] = on ? "on" : "off";
  for (const button of document.querySelectorAll(`[data-switch="${name}"]`)) {
    button.setAttribute("aria-pressed", String(on));
  }
  if (name !== "motion") return;
  for (const stage of document.querySelectorAll(".stage")) {
    const box = stage.getBoundingClientRect();
    if (!on) hide(stage);
    else if (box.width && box.bottom > 0 && box.top < innerHeight) show(stage);
  }
}

function switches() {
  const button = ([name, text, key]) => el("button", { type: "button", "data-switch": name, "aria-keyshortcuts": key,
    "aria-pressed": String(isOn(name)), onclick: () => turn(name, !isOn(name)) }, text);
  return [["masks", "Masks", "m"], ["motion", "Motion", "p"]].map(button);
}

function legend(tracks) {
  return tracks.map(([id, label]) => el("span", { class: "track" }, dot(id), label));
}

const dot = (id) => el("i", { class: "dot", style: { background: colour(id) } }, String(id));

function card(clip, { note = "", query = {} } = {}) {
  const text = clip.text || "No caption";
  const link = el("a", { href: address("clips", { ...query, clip: clip.id }), class: "card" },
    picture(clip),
    el("span", { class: "caption" }, text),
    el("span", { class: "tracks" }, ...legend(clip.tracks)),
    el("span", { class: "note" }, measure("duration_s", valueOf(clip, "duration_s")) + note));
  return el("li", {}, link);
}

function overview() {
  const totals = run.totals;
  const dropped = run.funnel.reduce((sum, stage) => sum + fallen(stage), 0);
  const strong = (text) => el("b", {}, text);
  $("sentence").append(
    strong(counted(totals.clips, "clip")), ` from ${counted(totals.sources, "source video")}: `,
    strong(span(totals.duration_s)),
    " of film with ", strong(counted(totals.tracks, "masked object")), ".");
  const lost = counted(dropped, "video, span or clip", "videos, spans and clips");
  const room = `${counted(totals.shards, "shard")}, ${bytes(totals.bytes)}`;
  $("facts").append(`${lost} fell out on the way, each for a reason. `,
    `What stayed comes from ${counted(totals.videos, "video")} and fills ${room}.`);
  $("strip").append(...run.highlights.map((clip) => card(clip)));
  $("funnel").append(...run.funnel.map(funnelStage));
  $("clip-scores").append(...run.scores.filter((score) => !isOfTrack(score)).map(histogram));
  $("track-scores").append(...run.scores.filter(isOfTrack).map(histogram));
  $("labels-lead").append(run.labels.length
    ? `${counted(run.num_labels, "label")} of the kept objects. Each opens its clips.` : "No clip was kept.");
  bars($("labels"), run.labels, (label) => address("clips", { label }));
  bars($("licences"), run.licences);
}

const isOfTrack = (score) => score.name.startsWith("track.");
const fallen = (stage) => stage.drops.reduce((sum, [, number]) => sum + number, 0);

function funnelStage(stage) {
  const widest = Math.max(...run.funnel.map((one) => one.num_out + fallen(one)), 1);
  const numbers = run.funnel.flatMap((one) => [...one.drops, ...one.track_drops].map(([, number]) => number));
  const most = Math.max(...numbers, 1);
  const row = (kind) => ([reason, number]) => el("li", { class: kind },
    el("a", { href: address("rejects", { reason, stage: stage.name }) },
      el("i", { class: "drop-bar", style: { width: `${Math.max((number / most) * 100, 1)}%` } }),
      el("span", {}, words(reason)), el("b", {}, count(number))));
  const dropped = fallen(stage);
  return el("li", {},
    el("p", { class: "step" }, el("span", {}, stage.name), el("b", {}, count(stage.num_out)),
      el("small", {}, dropped ? `${count(dropped)} dropped` : "all pass")),
    flow(stage, dropped, widest, false), flow(stage, dropped, widest, true),
    el("div", { class: "drops" }, el("ul", {}, ...stage.drops.map(row("clip"))),
      stage.track_drops.length ? el("p", {}, "single objects") : null,
      el("ul", {}, ...stage.track_drops.map(row("single")))));
}

// A segment of the river: what passes runs along, what falls out bends away. Drawn twice, lying and standing; the style
// sheet shows the one that fits the width.
function flow(stage, dropped, widest, standing) {
  const thick = (number) => (number ? Math.max((number / widest) * 96, 0.8) : 0);
  const pass = thick(stage.num_out);
  const fall = thick(dropped);
  const point = (along, across) => (standing ? `${across} ${along}` : `${along} ${across}`);
  const path = (...points) => points.join(" ");
  const kept = path("M", point(0, 0), "L", point(101, 0), "L", point(101, pass), "L", point(0, pass), "Z");
  const end = Math.min(Math.max(fall * 0.6, 0.6), 46);
  const lost = path("M", point(0, pass), "L", point(0, pass + fall),
    "C", point(22, pass + fall), point(24, pass + fall + 20), point(24, 160), "L", point(24 + end, 160),
    "C", point(24 + end, pass + 30), point(30 + end, pass), point(Math.min(52 + end, 100), pass), "Z");
  const box = standing ? "0 0 160 100" : "0 0 100 160";
  const kind = standing ? "flow standing" : "flow lying";
  return svg("svg", { viewBox: box, preserveAspectRatio: "none", class: kind, "aria-hidden": "true" },
    ...(dropped ? [svg("path", { d: lost, class: "lost" })] : []), svg("path", { d: kept, class: "kept" }));
}

// Bins are drawn equally wide, whatever span of values they cover: where a value lies is a matter of its bin.
function place(score, value) {
  const last = score.edges.length - 2;
  const bin = Math.min(Math.max(score.edges.findLastIndex((edge) => edge <= value), 0), last);
  const inside = (value - score.edges[bin]) / (score.edges[bin + 1] - score.edges[bin]);
  return ((bin + Math.min(Math.max(inside, 0), 1)) / (last + 1)) * 100;
}

function bounds(score) {
  const from = score.min === null ? 0 : place(score, score.min);
  return { from, to: score.max === null ? 100 : place(score, score.max) };
}

function histogram(score) {
  const tallest = Math.max(...score.kept.map((kept, bin) => kept + score.dropped[bin]), 1);
  const step = 100 / score.kept.length;
  const column = (bin, below, number, kind) => svg("rect", { class: kind, x: bin * step + step * 0.05,
    width: step * 0.9, y: 60 - ((below + number) / tallest) * 58, height: (number / tallest) * 58 });
  const { from, to } = bounds(score);
  const outside = [[0, from], [to, 100]].filter(([start, stop]) => stop > start)
    .map(([start, stop]) => svg("rect", { x: start, y: 0, width: stop - start, height: 60, class: "outside" }));
  const lines = [[score.min, from], [score.max, to]].filter(([bound]) => bound !== null)
    .map(([, x]) => svg("line", { x1: x, x2: x, y1: 0, y2: 60, class: "bound" }));
  const ticks = new Set([0, Math.floor(score.edges.length / 2), score.edges.length - 1]);
  return el("figure", {},
    el("figcaption", {}, el("b", {}, words(score.name)), el("span", {}, boundText(score))),
    svg("svg", { viewBox: "0 0 100 60", preserveAspectRatio: "none", role: "img",
      "aria-label": `${words(score.name)}: ${boundText(score)}` },
      ...outside,
      ...score.kept.map((kept, bin) => column(bin, 0, kept, "kept")),
      ...score.dropped.map((dropped, bin) => column(bin, score.kept[bin], dropped, "dropped")), ...lines),
    el("p", { class: "axis ticks" }, ...[...ticks].map((edge) =>
      el("span", { style: { left: `${edge * step}%` } }, measure(score.name, score.edges[edge])))),
    score.missing ? el("p", { class: "note" }, `${count(score.missing)} could not be computed`) : null);
}

function boundText(score) {
  const bound = (value) => measure(score.name, value);
  if (score.min !== null && score.max !== null) return `${bound(score.min)} to ${bound(score.max)}`;
  if (score.min !== null) return `at least ${bound(score.min)}`;
  return score.max === null ? "no rule" : `at most ${bound(score.max)}`;
}

function bars(list, rows, href) {
  const most = Math.max(...rows.map(([, number]) => number), 1);
  const row = ([name, number]) => {
    const inside = [el("i", { style: { width: `${(number / most) * 100}%` } }), el("span", {}, name),
      el("b", {}, count(number))];
    return el("li", {}, href ? el("a", { href: href(name) }, ...inside) : el("span", { class: "row" }, ...inside));
  };
  const [shown, rest] = [rows.slice(0, 16), rows.slice(16)];
  list.append(...shown.map(row));
  if (!rest.length) return;
  const open = () => more.parentNode.replaceWith(...rest.map(row));
  const more = el("button", { type: "button", class: "more", onclick: open },
    `and ${count(rest.length)} more`);
  list.append(el("li", {}, more));
}

function matches(haystack, text) {
  return text.toLowerCase().split(/\s+/).every((part) => haystack.includes(part));
}

const haystacks = new WeakMap();
function haystack(item, ...parts) {
  if (!haystacks.has(item)) haystacks.set(item, parts.join("\n").toLowerCase());
  return haystacks.get(item);
}

function pager(nav, { page, pages }) {
  const turnTo = (target) => {
    change({ page: target > 1 ? String(target) : "" });
    scrollTo(0, 0);
  };
  const to = (target, text, label) => el("button", { type: "button", "aria-label": label,
    disabled: target < 1 || target > pages, onclick: () => turnTo(target) }, text);
  nav.replaceChildren();
  if (pages < 2) return;
  nav.append(to(page - 1, "← Previous", "Previous page"), `Page ${count(page)} of ${count(pages)}`,
    to(page + 1, "Next →", "Next page"));
}

function pageOf(items, query, size) {
  const pages = Math.max(Math.ceil(items.length / size), 1);
  const page = Math.min(Math.max(Number.parseInt(query.get("page") ?? "1", 10) || 1, 1), pages);
  return { page, pages, items: items.slice((page - 1) * size, page * size) };
}

function options(select, rows) {
  if (select.options.length) return;
  select.append(...rows.map(([value, text]) => el("option", { value }, text)));
}

const valueOf = (clip, name) => clip.measures[run.scores.findIndex((score) => score.name === name)] ?? null;

function sorted(clips, order) {
  const [name, direction] = order.split(":");
  if (!name) return clips;
  const sign = direction === "down" ? -1 : 1;
  // A score that could not be computed is neither high nor low: it comes last either way.
  const key = (clip) => valueOf(clip, name) ?? sign * Infinity;
  return clips.toSorted((a, b) => sign * (key(a) - key(b)) || (a.id < b.id ? -1 : 1));
}

function found(clips, query) {
  const [text, label] = [query.get("q") ?? "", query.get("label") ?? ""];
  const hits = clips.filter((clip) => (!label || clip.tracks.some(([, name]) => name === label))
    && (!text || matches(haystack(clip, clip.id, clip.uri, clip.text, ...clip.tracks.flat()), text)));
  return sorted(hits, query.get("sort") ?? "");
}

function shownOf(hits, here, total, name, spread) {
  const of = hits < here ? ` of ${count(here)}` : "";
  const sample = `. Here is a sample, spread over ${spread}, of the ${count(total)} in the run.`;
  return `${counted(hits, name)}${of}${here < total ? sample : ""}`;
}

async function clipsView(query) {
  const sortable = run.scores.filter((score) => !isOfTrack(score)).map((score) => score.name);
  options($("clips-label"), [["", "any"],
    ...run.labels.map(([label, number]) => [label, `${label} (${count(number)})`])]);
  options($("clips-sort"), [["", "as sampled"], ...sortable.flatMap((name) =>
    [[`${name}:down`, `${words(name)}, high first`], [`${name}:up`, `${words(name)}, low first`]])]);
  for (const [id, key] of [["clips-q", "q"], ["clips-label", "label"], ["clips-sort", "sort"]]) {
    if ($(id) !== document.activeElement || $(id).tagName === "SELECT") $(id).value = query.get(key) ?? "";
  }
  const clips = await load("clips");
  const hits = found(clips, query);
  const { page, pages, items } = pageOf(hits, query, CLIPS_PER_PAGE);
  const [sort] = (query.get("sort") ?? "").split(":");
  const kept = Object.fromEntries([...query].filter(([key]) => key !== "clip"));
  release($("gallery"));
  $("gallery").replaceChildren(...items.map((clip) => card(clip, { query: kept,
    note: sort && sort !== "duration_s" ? ` · ${words(sort)} ${measure(sort, valueOf(clip, sort))}` : "" })));
  $("clips-count").textContent = shownOf(hits.length, clips.length, run.totals.clips, "clip", "labels and motion");
  pager($("clips-pages"), { page, pages });
}

async function rejectsView(query) {
  const [reasons, stages] = [new Map(), new Map()];
  for (const stage of run.funnel) {
    for (const [reason, number] of [...stage.drops, ...stage.track_drops]) {
      reasons.set(reason, (reasons.get(reason) ?? 0) + number);
      stages.set(stage.name, (stages.get(stage.name) ?? 0) + number);
    }
  }
  const choices = (counts) => [["", "any"],
    ...[...counts].map(([name, number]) => [name, `${words(name)} (${count(number)})`])];
  options($("rejects-reason"), choices(reasons));
  options($("rejects-stage"), choices(stages));
  for (const key of ["q", "reason", "stage"]) {
    const input = $(`rejects-${key}`);
    if (input !== document.activeElement || input.tagName === "SELECT") input.value = query.get(key) ?? "";
  }
  const rejects = await load("rejects");
  const [text, reason, stage] = ["q", "reason", "stage"].map((key) => query.get(key) ?? "");
  const hits = rejects.filter((one) => (!reason || one.reason === reason) && (!stage || one.stage === stage)
    && (!text || matches(haystack(one, one.id, one.uri, one.reason, one.detail, one.got, one.wanted), text)));
  const { page, pages, items } = pageOf(hits, query, REJECTS_PER_PAGE);
  $("reject-rows").replaceChildren(...items.map(rejectRow));
  const total = [...stages.values()].reduce((sum, number) => sum + number, 0);
  $("rejects-count").textContent = shownOf(hits.length, rejects.length, total, "reject", "stages and reasons");
  pager($("rejects-pages"), { page, pages });
}

function rejectRow(one) {
  const where = one.start_s === null ? "whole video" : `${clock(one.start_s)} to ${clock(one.stop_s)}`;
  return el("tr", {},
    el("td", { class: "reason" }, el("b", {}, words(one.reason)),
      el("small", {}, one.track === null ? one.stage : `${one.stage}, object ${one.track}`)),
    el("td", { "data-head": "Got" }, one.got || "–"),
    el("td", { "data-head": "Wanted" }, one.wanted || "–"),
    el("td", { "data-head": "Source" }, el("span", { class: "uri" }, one.uri), el("small", {}, where)),
    el("td", { "data-head": "What happened" }, one.detail, el("small", { class: "id" }, one.id)));
}

async function detailView(id) {
  const dialog = $("detail");
  if (!id) {
    if (dialog.open) dialog.close();
    return;
  }
  const clips = await load("clips");
  const index = clips.findIndex((clip) => clip.id === id);
  if (index < 0) return change({ clip: "" }, { replace: true });
  const clip = clips[index];
  const detail = (await load(`details-${String(Math.floor(index / run.clips_per_chunk)).padStart(4, "0")}`))[id];
  if (state().query.get("clip") !== id) return;
  release(dialog);
  const around = found(clips, state().query).map((one) => one.id);
  const stage = picture(clip);
  dialog.replaceChildren(
    el("div", { class: "bar" }, neighbour(around, id, -1), neighbour(around, id, 1),
      el("div", { class: "switches" }, ...switches()),
      el("button", { type: "button", class: "close", autofocus: true, onclick: () => dialog.close() }, "Close")),
    el("div", { class: "sides" },
      el("div", {}, el("div", {}, stage, timeline(clip, detail, stage)),
        el("div", { class: "after-captions" }, ...objects(detail))),
      el("div", {}, el("div", {}, ...captions(detail)),
        el("div", { class: "after-objects" }, ...scoreRows(clip), ...provenance(clip, detail)))));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

function neighbour(ids, id, step) {
  const target = ids[ids.indexOf(id) + step];
  return el("button", { type: "button", disabled: !target || !ids.includes(id), class: step < 0 ? "before" : "after",
    "aria-label": step < 0 ? "Previous clip" : "Next clip",
    onclick: () => change({ clip: target }, { replace: true }) }, step < 0 ? "←" : "→");
}

function captions(detail) {
  const own = detail.captions.filter((caption) => caption.track === null);
  const [first, ...others] = own;
  return [
    el("h2", { id: "detail-title" }, first?.text ?? "No caption"),
    ...(first ? [el("p", { class: "by" }, [first.model, first.prompt].filter(Boolean).join(", "))] : []),
    ...others.flatMap((caption) => [el("p", {}, caption.text), el("p", { class: "by" }, caption.model)]),
  ];
}

function trackMeasures(track) {
  return [`confidence ${measure("", track.score)}`, `on ${measure("_frac", track.coverage_frac)} of frames`,
    `${measure("_frac", track.mean_area_frac)} of the area`,
    `largest change ${measure("_frac", track.max_area_change_frac)}`, `stability ${measure("", track.stability)}`,
    `at the border ${measure("_frac", track.border_frac)}`].join(" · ");
}

function objects(detail) {
  const rows = detail.tracks.map((track) => el("li", {}, dot(track.id),
    el("div", {}, el("b", {}, track.label),
      ...detail.captions.filter((caption) => caption.track === track.id).map((caption) => el("p", {}, caption.text)),
      el("p", { class: "by" }, trackMeasures(track)))));
  return [el("h3", {}, "Objects"), el("ul", { class: "objects" }, ...rows)];
}

function scoreRows(clip) {
  const rows = run.scores.filter((score) => !isOfTrack(score)).map((score) => {
    const value = valueOf(clip, score.name);
    const { from, to } = bounds(score);
    return el("tr", {}, el("th", { scope: "row" }, words(score.name)), el("td", {}, measure(score.name, value)),
      el("td", {}, el("div", { class: "scale" },
        el("i", { class: "inside", style: { left: `${from}%`, right: `${100 - to}%` } }),
        value === null ? null : el("i", { class: "here", style: { left: `${place(score, value)}%` } }))),
      el("td", { class: "wanted" }, boundText(score)));
  });
  return [el("h3", {}, "Scores"), el("table", { class: "bullets" }, el("tbody", {}, ...rows))];
}

function provenance(clip, detail) {
  const video = detail.video;
  const rows = [
    ["Source", video.uri],
    ["Span", `${clock(detail.start_s)} to ${clock(detail.stop_s)}`],
    ["Shot", `${detail.shot + 1}, ${clock(detail.shot_start_s)} to ${clock(detail.shot_stop_s)}`],
    ["Clip", `${clip.size.join("×")}, ${counted(detail.num_frames, "frame")} at ${measure("", detail.fps)} fps`],
    ["Video", [`${video.width_px}×${video.height_px}`, `${measure("", video.fps)} fps`, video.codec,
      bytes(video.size_bytes)].join(", ")],
    ["Licence", video.licence ?? "not stated"],
    ["Attribution", video.attribution],
    ["Id", clip.id],
    ["SHA-256", detail.sha256],
  ];
  return [el("h3", {}, "Where it comes from"),
    el("dl", {}, ...rows.filter(([, text]) => text)
      .flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]))];
}

// Area of every object over the clip; the part that the loop shows is lit, and a line follows the picture.
function timeline(clip, detail, stage) {
  const tallest = Math.max(...detail.tracks.flatMap((track) => track.area), 1e-6);
  const lanes = detail.tracks.map((track) => {
    const step = 100 / Math.max(track.area.length - 1, 1);
    const points = track.area.map((area, at) => `${(at * step).toFixed(2)} ${(20 - (area / tallest) * 19).toFixed(2)}`);
    return el("div", { class: "lane" }, dot(track.id), svg("svg", { viewBox: "0 0 100 20", preserveAspectRatio: "none",
      role: "img", "aria-label": `Area of ${track.label} over time` },
      svg("path", { d: `M 0 20 L ${points.join(" L ")} L 100 20 Z`, fill: colour(track.id) })));
  });
  const [from, to] = detail.loop_frames.map((frame) => frame / detail.num_frames);
  const head = el("i", { class: "head" });
  const follow = () => {
    if (!stage.isConnected) return;
    const video = stage.querySelector("video");
    const part = video?.duration ? video.currentTime / video.duration : 0;
    head.style.left = `${(from + (to - from) * part) * 100}%`;
    requestAnimationFrame(follow);
  };
  requestAnimationFrame(follow);
  const lit = el("i", { class: "lit", style: { left: `${from * 100}%`, right: `${100 - to * 100}%` } });
  const length = measure("_s", valueOf(clip, "duration_s"));
  return el("div", { class: "timeline" },
    el("div", { class: "lanes" }, ...lanes, el("div", { class: "over" }, lit, head)),
    el("p", { class: "axis" }, ...["0 s", "mask area over the clip", length].map((text) => el("span", {}, text))));
}

function moveFocus(event) {
  const cards = [...event.currentTarget.querySelectorAll(".card")];
  const at = cards.indexOf(document.activeElement);
  if (at < 0) return;
  const top = cards[0].offsetTop;
  const columns = Math.max(cards.findIndex((one) => one.offsetTop > top), 1);
  const across = cards.every((one) => one.offsetTop === top) ? cards.length : columns;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across, Home: -at,
    End: cards.length - 1 - at }[event.key];
  if (step === undefined) return;
  event.preventDefault();
  cards[Math.min(Math.max(at + step, 0), cards.length - 1)].focus();
}

function shortcuts(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input, select, textarea");
  const dialog = $("detail");
  if (dialog.open && !typing && event.key === "ArrowLeft") dialog.querySelector(".before").click();
  else if (dialog.open && !typing && event.key === "ArrowRight") dialog.querySelector(".after").click();
  else if (!typing && event.key === "m") turn("masks", !isOn("masks"));
  else if (!typing && event.key === "p") turn("motion", !isOn("motion"));
  else if (!typing && !dialog.open && event.key === "/") {
    if (state().view === "overview") location.hash = "#clips";
    event.preventDefault();
    setTimeout(() => $(`${state().view}-q`)?.focus());
  }
}

function wireInputs(view, keys) {
  for (const key of keys) {
    const input = $(`${view}-${key}`);
    input.addEventListener("input", () => change({ [key]: input.value.trim(), page: "" }, { replace: true }));
  }
  $(`view-${view}`).querySelector("form").addEventListener("submit", (event) => event.preventDefault());
}

let drawn = "";
let viewed = "";
async function draw() {
  const { view, query } = state();
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== `view-${view}`;
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (view !== viewed) scrollTo(0, 0);
  viewed = view;
  const list = address(view, { ...Object.fromEntries(query), clip: "" });
  if (list !== drawn && view === "clips") await clipsView(query);
  if (list !== drawn && view === "rejects") await rejectsView(query);
  drawn = list;
  await detailView(view === "clips" ? query.get("clip") : null);
}

async function render() {
  $("problem").hidden = true;
  try {
    await draw();
  } catch (error) {
    $("problem").textContent = error.message;
    $("problem").hidden = false;
  }
}

function start() {
  $("run-name").textContent = run.name;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  $("switches").append(...switches());
  turn("motion", !still.matches);
  still.addEventListener("change", () => turn("motion", !still.matches));
  overview();
  wireInputs("clips", ["q", "label", "sort"]);
  wireInputs("rejects", ["q", "reason", "stage"]);
  for (const list of [$("gallery"), $("strip")]) list.addEventListener("keydown", moveFocus);
  $("detail").addEventListener("close", () => {
    release($("detail"));
    $("detail").replaceChildren();
    change({ clip: "" }, { replace: true });
  });
  document.addEventListener("keydown", shortcuts);
  addEventListener("hashchange", render);
  render();
}

start();
