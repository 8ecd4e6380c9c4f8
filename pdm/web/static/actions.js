// What people do is sent to the API, shown at once, and tried again until it is saved or refused. An action carries one
// Idempotency-Key for all its attempts, so it counts once; unsent ones survive a reload.

import { refresh } from "./live.js";

const UNSENT = "pdm-twin unsent";
const WHO = "pdm-twin who";
const AGAIN_MS = 4000;
const TOAST_MS = 10000;
const WORTH_TRYING_AGAIN = new Set([408, 425, 429, 500, 502, 503, 504]);

export function listen() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-send]");
    if (button) act(button, JSON.parse(button.dataset.body || "{}"));
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-send]")) return;
    event.preventDefault();
    act(event.target, fieldsOf(event.target));
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-who]")) remember(event.target.value);
  });
  // a form opened later than its page still begins with the present plant time
  document.addEventListener("toggle", (event) => {
    const at = event.target.querySelector?.("[name=at]");
    if (at) at.value = document.getElementById("frame").dataset.nowLocal;
  }, true);
  remember(localStorage.getItem(WHO) || "");
  unsent().forEach(send);
}

function act(element, body) {
  if (element.dataset.anonymous !== undefined || localStorage.getItem(WHO)) begin(element, body);
  else askWho(() => begin(element, body));
}

// The name is asked for once, before the first action is sent; who leaves the question sends nothing.
function askWho(then) {
  const dialog = document.getElementById("who");
  dialog.returnValue = "";
  dialog.onclose = () => {
    if (!dialog.returnValue) return;
    remember(dialog.querySelector("input").value);
    then();
  };
  dialog.showModal();
}

function remember(name) {
  localStorage.setItem(WHO, name.trim());
  for (const field of document.querySelectorAll("[data-who]")) field.value = name.trim();
}

function begin(element, body) {
  const card = element.closest("[data-card]");
  const action = {
    key: newKey(),
    url: element.dataset.send,
    revision: element.dataset.revision,
    done: element.dataset.done,
    undo: element.dataset.undo,
    name: card?.dataset.card || "",
    card: card?.id || element.closest("details")?.id || "",
    body: element.dataset.anonymous === undefined ? { who: localStorage.getItem(WHO), ...body } : body,
  };
  if (card) pend(card, action.done);
  if (element.matches("form")) element.closest("details").open = false;
  keep([...unsent(), action]);
  send(action);
}

// Browsers make UUIDs on secure addresses only; many plants have plain HTTP.
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function send(action) {
  const answer = await attempt(action);
  if (!answer) {
    toast(action.key, `Not saved${action.name ? `: ${action.name}` : ""}. Trying again...`, "failed");
    setTimeout(() => send(action), AGAIN_MS);
    return;
  }
  keep(unsent().filter((other) => other.key !== action.key));
  if (answer.ok) saved(action);
  else refused(action, await reason(answer));
  settle(action);
}

// The answer of the service, or nothing where trying again can help.
async function attempt(action) {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": action.key };
  if (action.revision) headers["If-Match"] = `"${action.revision}"`;
  try {
    const answer = await fetch(action.url, { method: "POST", headers, body: JSON.stringify(action.body) });
    return WORTH_TRYING_AGAIN.has(answer.status) ? null : answer;
  } catch {
    return null;
  }
}

function saved(action) {
  document.getElementById(action.card)?.querySelector("form")?.reset();
  if (!action.done) return dismiss(action.key);
  const buttons = action.undo ? [["Undo", () => act(asElement(action), {})]] : [];
  toast(action.key, `${action.name ? `${action.name}: ` : ""}${action.done}.`, "saved", buttons);
  setTimeout(() => dismiss(action.key), TOAST_MS);
}

function refused(action, why) {
  toast(action.key, `Not saved: ${why}`, "failed", [["Close", () => dismiss(action.key)]]);
}

async function reason(answer) {
  if (answer.status === 401) return "sign in again.";
  if (answer.status === 412) return "somebody changed it meanwhile. Look again.";
  try {
    const problem = await answer.json();
    return problem.errors?.[0]?.what || problem.detail || problem.title;
  } catch {
    return `the service answered ${answer.status}.`;
  }
}

// A card shows what was done before the server has said so, and is left alone by refreshes until it has.
function pend(card, done) {
  card.setAttribute("hx-morph-skip", "");
  card.dataset.pending = "";
  card.inert = true;
  const state = card.querySelector(".state");
  if (state) state.textContent = `${done}, saving...`;
}

function settle(action) {
  const card = document.getElementById(action.card);
  for (const name of ["hx-morph-skip", "data-pending", "inert"]) card?.removeAttribute(name);
  refresh(true);
}

function asElement(action) {
  const element = document.createElement("button");
  element.dataset.send = action.undo;
  element.dataset.done = "Taken back";
  return element;
}

function fieldsOf(form) {
  const body = {};
  for (const field of form.elements) {
    const chosen = field.type === "radio" ? field.checked : true;
    if (!field.name || !chosen || field.value === "" || !(field.type === "hidden" || field.checkVisibility())) continue;
    body[field.name] = field.type === "datetime-local" ? instant(field.value, form.dataset.zone)
      : field.inputMode === "decimal" ? Number(field.value.replace(",", ".")) : field.value;
  }
  return body;
}

// The instant at which clocks in a time zone show this local time: guess UTC, correct by what they show then.
function instant(local, zone) {
  const wanted = Date.parse(`${local}:00Z`);
  const shown = (at) => {
    const format = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "medium" });
    return Date.parse(`${format.format(at).replace(" ", "T")}Z`);
  };
  let at = wanted;
  for (let turn = 0; turn < 2; turn++) at += wanted - shown(at);
  return new Date(at).toISOString();
}

function unsent() {
  try {
    return JSON.parse(localStorage.getItem(UNSENT)) || [];
  } catch {
    return [];
  }
}

function keep(actions) {
  localStorage.setItem(UNSENT, JSON.stringify(actions));
}

function toast(key, text, kind, buttons = []) {
  dismiss(key);
  const made = document.createElement("div");
  made.className = `toast ${kind}`;
  made.dataset.key = key;
  const words = document.createElement("span");
  words.textContent = text;
  made.append(words, ...buttons.map(([title, press]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = title;
    button.addEventListener("click", () => { dismiss(key); press(); });
    return button;
  }));
  document.getElementById("toasts").append(made);
}

function dismiss(key) {
  for (const shown of document.querySelectorAll(".toast")) if (shown.dataset.key === key) shown.remove();
}
