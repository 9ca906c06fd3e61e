// The ranking page: the moves of partition.js on the keys, the buttons, the radios and a board to drag on.
//
// The radios `rank[ITEM]` hold the state: they are what the form sends, with and without this script.

import { allowsSingleKeys, isTyping } from "./page.js";
import * as moves from "./partition.js";

const DRAG_PX = 5;
const MOST_UNDO = 200;

const form = document.querySelector("[data-rank]");
const words = JSON.parse(form.dataset.rankStrings);
const outputs = [...form.querySelectorAll("[data-item]")];
const letters = outputs.map((output) => output.dataset.letter);
const count = outputs.length;
const radios = outputs.map((output) => [...output.querySelectorAll(`input[type="radio"]`)]);
const board = form.querySelector("[data-board]");
const say = form.querySelector("[data-say]");
const progress = form.querySelector("[data-progress]");
const undoButton = form.querySelector("[data-undo]");
const list = new Intl.ListFormat(document.documentElement.lang, { type: "conjunction" });

let places = readPlaces();
let current = -1;
const history = [];

const fill = (key, values) => words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);

function readPlaces() {
  const read = radios.map((group) => {
    const chosen = group.find((radio) => radio.checked);
    return chosen ? Number(chosen.value) : null;
  });
  return moves.isComplete(read) ? moves.dense(read) : read;
}

// --- moves ---

function move(index, name, by, ...rest) {
  const next = moves[name](places, index, ...rest);
  become(next, by, () => describe(index, next));
}

function become(next, by, sentence) {
  const isChanged = next.some((place, index) => place !== places[index]);
  if (isChanged) {
    history.push(places);
    if (history.length > MOST_UNDO) history.shift();
    note(by);
  }
  const wasComplete = moves.isComplete(places);
  places = next;
  show();
  const isNewlyComplete = moves.isComplete(places) && !wasComplete;
  announce(sentence() + (isNewlyComplete ? ` ${words["rank.say_complete"]}` : ""));
  if (isChanged) form.dispatchEvent(new Event("input"));
}

function undo() {
  if (!history.length) return announce(words["rank.say_nothing"]);
  places = history.pop();
  note("undo");
  show();
  announce(words["rank.say_undone"]);
  form.dispatchEvent(new Event("input"));
}

function note(by) {
  const field = form.elements[`moves_${by}`];
  field.value = Number(field.value) + 1;
}

function tiedWith(index, at) {
  return letters.filter((_, other) => other !== index && at[index] && at[other] === at[index]);
}

function describe(index, at) {
  const letter = letters[index];
  if (at[index] === null) return fill("rank.say_unplaced", { letter });
  if (at[index] === moves.APART) return fill("rank.say_apart", { letter });
  const others = tiedWith(index, at);
  const values = { letter, rank: at[index], others: list.format(others) };
  return fill(others.length ? "rank.say_tied" : "rank.say_rank", values);
}

function announce(sentence) {
  say.textContent = sentence;
}

// --- what is shown ---

const lanes = new Map(); // "pool", 0 (not rankable) and 1..K -> its element
const chips = letters.map((letter, index) => {
  const chip = document.createElement("button");
  chip.type = "button";
  chip.className = "chip";
  chip.textContent = letter;
  chip.dataset.index = index;
  chip.addEventListener("click", () => focusOutput(index));
  return chip;
});

function makeLane(key, title) {
  const lane = document.createElement("li");
  lane.className = "lane";
  lane.dataset.lane = key;
  const name = document.createElement("span");
  name.className = "lane-title";
  name.textContent = title;
  const items = document.createElement("span");
  items.className = "lane-items";
  lane.append(name, items);
  lanes.set(key, lane);
  board.append(lane);
}

makeLane("pool", words["rank.pool"]);
lanes.get("pool").classList.add("lane-pool");
for (let rank = 1; rank <= count; rank += 1) {
  makeLane(rank, fill(rank === 1 ? "rank.lane_best" : "rank.lane", { rank }));
}
makeLane(moves.APART, words["rank.apart"]);
lanes.get(moves.APART).classList.add("lane-apart");

function show() {
  const focused = document.activeElement;
  const isComplete = moves.isComplete(places);
  const worst = Math.max(0, ...places);
  for (const [key, lane] of lanes) {
    const wanted = key === "pool" ? null : key;
    const here = chips.filter((_, index) => places[index] === wanted);
    const items = lane.lastElementChild;
    here.forEach((chip, at) => items.children[at] !== chip && items.insertBefore(chip, items.children[at] || null));
    lane.classList.toggle("is-empty", here.length === 0);
    if (key === "pool") lane.hidden = isComplete;
    if (key > 0) lane.hidden = isComplete && key > worst + 1;
  }
  radios.forEach((group, index) => {
    for (const radio of group) {
      radio.checked = places[index] !== null && Number(radio.value) === places[index];
      if (radio === focused && !radio.checked && places[index] !== null) {
        queueMicrotask(() => group.find((other) => other.checked)?.focus({ preventScroll: true }));
      }
    }
    const others = tiedWith(index, places).join(", ");
    const values = { rank: places[index], others };
    const badge = outputs[index].querySelector("[data-badge]");
    badge.textContent = places[index] === moves.APART ? words["rank.apart"]
      : places[index] ? fill(others ? "rank.badge_tied" : "rank.badge", values) : "";
    outputs[index].classList.toggle("is-current", index === current);
    chips[index].classList.toggle("is-current", index === current);
    chips[index].setAttribute("aria-label", describe(index, places));
  });
  progress.textContent = fill("rank.progress", { n: places.filter((place) => place !== null).length, count });
  undoButton.disabled = history.length === 0;
  if (focused && focused !== document.activeElement && chips.includes(focused)) focused.focus({ preventScroll: true });
}

function focusOutput(index) {
  current = Math.min(Math.max(index, 0), count - 1);
  outputs[current].focus();
  show();
}

// --- buttons, radios, keys ---

form.addEventListener("click", (event) => {
  const button = event.target.closest("[data-move]");
  if (button) move(indexOf(button), button.dataset.move, "button");
});
undoButton.addEventListener("click", undo);
form.querySelector("[data-seed]")?.addEventListener("click", (event) => {
  event.preventDefault();
  const scores = outputs.map((output) => Number(output.dataset.likert));
  become(moves.fromScores(scores), "button", () => words["rank.say_seeded"]);
});

radios.forEach((group, index) => {
  for (const radio of group) {
    radio.addEventListener("input", (event) => event.stopPropagation()); // `become` tells of the change
    radio.addEventListener("change", () => {
      const rank = Number(radio.value);
      if (rank === moves.APART) move(index, "setApart", "button");
      else move(index, "put", "button", rank);
    });
  }
});

form.addEventListener("draft:restored", () => {
  places = readPlaces();
  show();
});

form.addEventListener("focusin", (event) => {
  const index = indexOf(event.target);
  if (index < 0 || index === current) return;
  current = index;
  show();
});

function indexOf(element) {
  const chip = element.closest("[data-index]");
  return chip ? Number(chip.dataset.index) : outputs.indexOf(element.closest("[data-item]"));
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
  const action = keyAction(event);
  if (!action) return;
  event.preventDefault();
  action();
});

function keyAction(event) {
  const onOutput = (name, ...rest) => () =>
    current < 0 ? announce(words["rank.say_choose"]) : move(current, name, "key", ...rest);
  const { key } = event;
  if (event.altKey && !event.ctrlKey && !event.metaKey && !isTyping(event.target)) {
    if (key === "ArrowUp") return onOutput("up");
    if (key === "ArrowDown") return onOutput("down");
  }
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && key.toLowerCase() === "z") {
    return isTyping(event.target) ? null : undo;
  }
  const isOnText = event.target === document.body || outputs.includes(event.target) || chips.includes(event.target);
  const isPlain = !(event.ctrlKey || event.metaKey || event.altKey || event.shiftKey);
  if (isPlain && isOnText && key === "ArrowDown") return () => focusOutput(current + 1);
  if (isPlain && isOnText && key === "ArrowUp") return () => focusOutput(current - 1);
  if (!allowsSingleKeys(event)) return null;
  if (key === "j") return () => focusOutput(current + 1);
  if (key === "k") return () => focusOutput(current < 0 ? count - 1 : current - 1);
  if (/^[1-9]$/.test(key)) return Number(key) <= count ? onOutput("put", Number(key)) : null;
  if (key === "0") return onOutput("lift");
  if (key === "=") return onOutput("tie");
  if (key === "x") return onOutput("setApart");
  return null;
}

// --- dragging: by a handle, so that a finger on the text scrolls the page ---

let drag = null; // {index, x, y, ghost, target}

document.addEventListener("pointerdown", (event) => {
  const handle = event.target.closest?.("[data-handle], .chip");
  if (!handle || event.button !== 0) return;
  drag = { index: indexOf(handle), handle, x: event.clientX, y: event.clientY, ghost: null, target: null };
  handle.setPointerCapture(event.pointerId);
});

document.addEventListener("pointermove", (event) => {
  if (!drag) return;
  if (!drag.ghost) {
    if (Math.hypot(event.clientX - drag.x, event.clientY - drag.y) < DRAG_PX) return;
    drag.ghost = chips[drag.index].cloneNode(true);
    drag.ghost.classList.add("ghost");
    drag.ghost.setAttribute("aria-hidden", "true");
    document.body.append(drag.ghost);
    document.body.classList.add("is-dragging");
  }
  drag.ghost.style.transform = `translate(${event.clientX + 8}px, ${event.clientY + 8}px)`;
  aim(targetAt(event.clientX, event.clientY));
});

// The lane under the pointer; its first fifth, or the gap before it, means a new rank there.
function targetAt(x, y) {
  for (const lane of lanes.values()) {
    const box = lane.getBoundingClientRect();
    const isRow = box.width > box.height * 1.5;
    const [at, start, size] = isRow ? [y, box.top, box.height] : [x, box.left, box.width];
    const across = isRow ? x >= box.left && x <= box.right : y >= box.top && y <= box.bottom;
    if (!across || at < start - 6 || at > start + size) continue;
    const isGap = Number(lane.dataset.lane) > 0 && at < start + size * 0.2 && !lane.classList.contains("is-empty");
    return { lane, isGap };
  }
  return null;
}

function aim(target) {
  drag.target?.lane.classList.remove("is-target", "is-target-gap");
  target?.lane.classList.add(target.isGap ? "is-target-gap" : "is-target");
  drag.target = target;
}

function endDrag(isDropped) {
  if (!drag) return;
  const { index, ghost, target, handle } = drag;
  if (ghost) aim(null);
  drag = null;
  document.body.classList.remove("is-dragging");
  if (!ghost) return handle.matches("[data-handle]") && isDropped ? focusOutput(index) : undefined;
  ghost.remove();
  ignoreNextClick();
  current = index;
  show();
  if (!isDropped || !target) return;
  const lane = target.lane.dataset.lane;
  if (lane === "pool") move(index, "lift", "drag");
  else if (Number(lane) !== moves.APART) move(index, target.isGap ? "insert" : "put", "drag", Number(lane));
  else if (places[index] !== moves.APART) move(index, "setApart", "drag");
}

// Where a drag ends on the chip that it began on, the browser takes it for a click.
function ignoreNextClick() {
  const stop = (event) => event.stopPropagation();
  addEventListener("click", stop, { capture: true, once: true });
  setTimeout(() => removeEventListener("click", stop, { capture: true }), 0);
}

document.addEventListener("pointerup", () => endDrag(true));
document.addEventListener("pointercancel", () => endDrag(false));
document.addEventListener("keydown", (event) => event.key === "Escape" && endDrag(false));

show();
