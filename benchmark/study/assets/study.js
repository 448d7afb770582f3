const QUESTIONS = [
  ["background", "Where is the rest of the video kept best?", "Outside the yellow line nothing should have changed."],
  ["text", "Where does the region fit the text best?", "It should show what the text says, and only that."],
  ["quality", "Which result looks best as a video?", "Natural and steady: no flicker, blur or visible border."],
];
const WORDLESS_HINT = "It should belong in the video that the text is about."; // where no words are about the region
const LETTERS = "ABCDEFGH";
const MAX_DRIFT_S = 0.08;
const token = () => decodeURIComponent(location.hash.slice(1));

let scene = null; // what the server asks next
let videos = []; // the original first, then the results; the original sets the time

async function call(path, options = {}) {
  const reply = await fetch(path, { ...options, headers: { Authorization: `Bearer ${token()}`, "Content-Type": "application/json" } });
  if (reply.ok) return reply;
  if (reply.status === 401) throw new Error("This link is not an invitation to this study. Please open the whole link that you were sent.");
  if (reply.status === 409) throw new Error(`Not saved: ${(await reply.json()).detail}.`);
  throw new Error(reply.status === 429 ? "That was too fast. Please wait a moment." : "The server has a problem. Please try again later.");
}

function show(name) {
  for (const view of ["welcome", "scene", "done"]) $(`view-${view}`).hidden = view !== name;
  $("problem").hidden = true;
  scrollTo(0, 0);
  if (name) $(`${name}-title`).focus({ preventScroll: true });
}

function fail(error, again) {
  const offline = error instanceof TypeError; // what fetch throws when there is no connection
  $("problem-text").textContent = offline ? "There is no connection to the study. Nothing that you chose is lost." : error.message;
  $("again").onclick = again;
  $("problem").hidden = false;
  $("problem").scrollIntoView({ block: "nearest" });
}

async function load(then) {
  try {
    const state = await (await call("/api/page")).json();
    scene = state.page;
    $("progress").hidden = false;
    $("progress-text").textContent = `${state.answered} of ${state.total} answered`;
    $("progress-bar").max = state.total;
    $("progress-bar").value = state.answered;
    if (scene) then(state);
    else {
      $("done-lead").textContent = `All ${counted(state.total, "scene")} are answered and saved. You may close this page.`;
      pauseAll();
      show("done");
    }
  } catch (error) {
    fail(error, () => load(then));
  }
}

function welcome({ answered, total }) {
  const isNew = !answered;
  $("welcome-title").textContent = isNew ? "Which video looks right?" : "Welcome back.";
  $("welcome-lead").textContent = isNew
    ? `You will see ${counted(total, "scene")}. In each, a region of a video was replaced in several ways, and you say which way came out best.`
    : `${counted(answered, "scene")} of ${count(total)} ${answered === 1 ? "is" : "are"} answered. It goes on where you stopped.`;
  $("start").textContent = isNew ? "Start" : "Go on";
  $("start").onclick = () => load(drawScene);
  show("welcome");
}

function drawScene({ answered, total }) {
  $("scene-title").textContent = `Scene ${count(answered + 1)} of ${count(total)}`;
  const head = scene.region ? "This should be in the region" : "The whole video shows this";
  $("region-head").textContent = scene.instruction ? "This was asked for" : head;
  $("region-text").textContent = scene.instruction || scene.region || scene.text;
  $("whole-text").textContent = scene.text;
  $("whole").hidden = isWordless();
  $("whole").open = matchMedia("(min-width: 52rem)").matches;
  pauseAll();
  videos = [scene.reference, ...scene.videos].map((address) =>
    el("video", { src: address, muted: true, playsinline: true, preload: "auto", disablepictureinpicture: true }));
  videos.forEach((video) => { video.muted = true; });
  $("reference").replaceChildren(videos[0]);
  $("results").replaceChildren(...videos.slice(1).map(result));
  $("questions").replaceChildren(...QUESTIONS.map(question));
  check();
  show("scene");
  start();
}

function result(video, place) {
  const card = el("li", {}, el("div", { class: "screen" }, video));
  const larger = el("button", { type: "button", "aria-pressed": "false", "aria-label": `Enlarge ${LETTERS[place]}` }, "Enlarge");
  larger.onclick = () => {
    const wide = card.classList.toggle("wide");
    larger.textContent = wide ? "Smaller" : "Enlarge";
    larger.setAttribute("aria-pressed", wide);
  };
  card.append(el("div", { class: "label" }, el("b", {}, LETTERS[place]), larger));
  return card;
}

const isWordless = () => !scene.instruction && !scene.region;

function question([name, title, usual]) {
  const hint = name === "text" && isWordless() ? WORDLESS_HINT : usual;
  const picks = scene.videos.map((_, place) =>
    el("label", {}, el("input", { type: "radio", name, value: place, "aria-label": `Result ${LETTERS[place]}`, onchange: check }), el("span", {}, LETTERS[place])));
  return el("fieldset", {}, el("legend", {}, title), el("p", {}, hint), el("div", { class: "picks" }, ...picks));
}

const chosen = () => Object.fromEntries([...$("questions").querySelectorAll("input:checked")].map((one) => [one.name, Number(one.value)]));

function check() {
  const loaded = videos.every((video) => video.readyState >= 2);
  const missing = QUESTIONS.length - Object.keys(chosen()).length;
  $("next").disabled = !loaded || missing > 0;
  $("next-note").textContent = !loaded ? "The videos are loading." : missing ? `${counted(missing, "question")} to answer` : "";
}

function start() {
  const own = scene;
  videos.forEach((video) => {
    video.onerror = () => scene === own && fail(new Error("A video could not be loaded."), () => load(drawScene));
    video.onloadeddata = () => {
      if (scene !== own) return;
      check();
      const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
      if (!still && videos.every((other) => other.readyState >= 2)) playAll();
    };
  });
  videos[0].ontimeupdate = follow;
  videos[0].onended = () => { seekAll(0); playAll(); };
  setSpeed();
  drawPlay();
}

function follow() {
  const [lead, ...others] = videos;
  if (lead.duration) $("seek").value = lead.currentTime / lead.duration;
  for (const other of others) if (Math.abs(other.currentTime - lead.currentTime) > MAX_DRIFT_S) other.currentTime = lead.currentTime;
}

function playAll() {
  // A phone that saves power refuses to play by itself; the button then says so.
  Promise.all(videos.map((video) => video.play())).catch(pauseAll).finally(drawPlay);
  drawPlay();
}

function pauseAll() {
  videos.forEach((video) => video.pause());
  drawPlay();
}

function seekAll(time) {
  videos.forEach((video) => { video.currentTime = time; });
}

function setSpeed() {
  const slow = $("slow").getAttribute("aria-pressed") === "true";
  videos.forEach((video) => { video.playbackRate = slow ? 0.5 : 1; });
}

function drawPlay() {
  $("play").textContent = videos[0] && !videos[0].paused ? "Pause" : "Play";
}

$("play").onclick = () => (videos[0].paused ? playAll() : pauseAll());
$("slow").onclick = () => {
  $("slow").setAttribute("aria-pressed", $("slow").getAttribute("aria-pressed") !== "true");
  setSpeed();
};
$("seek").oninput = () => {
  pauseAll();
  seekAll($("seek").value * (videos[0].duration || 0));
};

async function save(event) {
  event?.preventDefault();
  $("next").disabled = true;
  $("next-note").textContent = "Saving";
  $("problem").hidden = true;
  try {
    // The same answers twice are kept once, so a lost reply may be repeated.
    await call("/api/answers", { method: "POST", body: JSON.stringify({ ballot: scene.ballot, ...chosen() }) });
  } catch (error) {
    check();
    fail(error, error.message.startsWith("Not saved") ? () => load(drawScene) : save);
    return;
  }
  await load(drawScene);
}
$("view-scene").onsubmit = save;

function open() {
  show(null);
  $("progress").hidden = true;
  load(welcome);
}
addEventListener("hashchange", open);
open();
