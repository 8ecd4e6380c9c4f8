// What changed on the server is fetched again. Changes come as one stream of events, which the browser resumes by
// Last-Event-ID; while it is broken the page says since when it is old.

const STREAM = "/api/v1/stream";
const EVENTS = ["twin", "alert", "recommendation", "window", "reset"];
const AT_MOST_EVERY_MS = 1000; // one refresh a second, however much happens
const SLOW_EVERY_MS = 15000; // parts that cost more, and ages that grow by themselves
const MIRROR_EVERY_MS = 2000; // the latest readings move whether a tick has concluded anything or not
const REOPEN_MS = 5000;

let heard = Date.now();
let online = true;
let waiting = null;
let fresh = 0;

export function follow() {
  open();
  setInterval(tell, 1000);
  every(MIRROR_EVERY_MS, () => shout("mirror"));
  every(SLOW_EVERY_MS, () => shout("slow"));
  every(2 * SLOW_EVERY_MS, () => refresh());
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  document.body.addEventListener("htmx:error", () => lost());
  window.addEventListener("offline", () => lost());
  window.addEventListener("online", () => refresh());
}

export function refresh(all = false) {
  if (all) shout("slow");
  if (waiting || document.hidden) return;
  const wait = Math.max(0, fresh + AT_MOST_EVERY_MS - Date.now());
  waiting = setTimeout(() => {
    waiting = null;
    fresh = Date.now();
    shout("refresh");
  }, wait);
}

// Nobody looks at a hidden page, and nothing answers an offline one.
function every(milliseconds, act) {
  setInterval(() => document.hidden || !online || act(), milliseconds);
}

function open() {
  const stream = new EventSource(STREAM);
  stream.onopen = () => { if (!online) refresh(); reached(); };
  stream.onerror = () => {
    lost();
    if (stream.readyState === EventSource.CLOSED) setTimeout(open, REOPEN_MS);
  };
  for (const name of EVENTS) stream.addEventListener(name, () => { reached(); refresh(); });
}

function reached() {
  heard = Date.now();
  online = true;
  document.getElementById("offline").hidden = true;
}

function lost() {
  if (online) document.getElementById("last-seen").textContent = document.getElementById("frame").dataset.seen;
  online = false;
  document.getElementById("offline").hidden = false;
}

function tell() {
  const sign = document.getElementById("live");
  const seconds = Math.round((Date.now() - heard) / 1000);
  sign.className = online ? "live on" : "live off";
  sign.lastElementChild.textContent = online ? `live ${ago(seconds)}` : "offline";
}

function ago(seconds) {
  return seconds < 90 ? `${seconds} s ago` : seconds < 5400 ? `${Math.round(seconds / 60)} min ago` : `${Math.round(seconds / 3600)} h ago`;
}

function shout(name) {
  document.body.dispatchEvent(new CustomEvent(name));
}
