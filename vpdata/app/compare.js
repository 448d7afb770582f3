// Listeners sit on the element that stays; what is inside is made anew for every result.
const one = (selector) => element.querySelector(selector);
const APART_S = 0.04;

function play(isPlaying) {
  for (const video of element.querySelectorAll("video")) {
    if (isPlaying) video.play();
    else video.pause();
  }
  one(".play").textContent = isPlaying ? "Pause" : "Play";
}

element.addEventListener("input", (event) => {
  one(".pair").style.setProperty("--at", `${event.target.value}%`);
});
element.addEventListener("click", (event) => {
  if (event.target.matches(".play")) play(one(".before").paused);
});
// Events of videos do not bubble.
element.addEventListener(
  "loadeddata",
  () => {
    const isReady = [...element.querySelectorAll("video")].every((video) => video.readyState >= 2);
    if (isReady) play(!matchMedia("(prefers-reduced-motion: reduce)").matches);
  },
  true,
);
element.addEventListener(
  "timeupdate",
  (event) => {
    const after = one(".after");
    const apart_s = Math.abs(one(".before").currentTime - after.currentTime);
    if (event.target !== after && apart_s > APART_S) after.currentTime = event.target.currentTime;
  },
  true,
);
