// The task pages: autosave, time, how texts and outputs are shown, and fields that depend on one another.

import { countActivity } from "./activity.js";
import { keepDraft } from "./draft.js";

const form = document.getElementById("task");
const fillTimes = countActivity(form);
keepDraft(form, fillTimes);

// --- the clock ---

const clock = document.querySelector("[data-clock]");
if (clock) {
  const before = Number(clock.dataset.clock);
  const two = (number) => String(number).padStart(2, "0");
  setInterval(() => {
    const seconds = Math.floor(before + fillTimes() / 1000);
    const hours = Math.floor(seconds / 3600);
    const minutes = Math.floor(seconds / 60) % 60;
    clock.textContent = `${hours ? `${hours}:` : ""}${two(minutes)}:${two(seconds % 60)}`;
  }, 1000);
}

// --- how much of the window the prompt covers: what has the focus must not hide beneath it ---

const prompt = document.querySelector(".task-prompt");
if (prompt) {
  const { style } = document.documentElement;
  new ResizeObserver(() => style.setProperty("--prompt", `${prompt.offsetHeight}px`)).observe(prompt);
}

// --- plain or with formatting; list or columns: buttons that the server answers too ---

function switches(name, attribute) {
  const buttons = [...form.querySelectorAll(`[${attribute}]`)];
  const choose = (value) => {
    form.dataset[name] = value;
    for (const button of buttons) {
      button.setAttribute("aria-pressed", String(button.getAttribute(attribute) === value));
    }
  };
  for (const button of buttons) {
    button.addEventListener("click", (event) => {
      event.preventDefault();
      choose(button.getAttribute(attribute));
    });
  }
  return choose;
}

switches("text", "data-text-button");
const chooseLayout = switches("layout", "data-layout-button");
form.querySelector("[data-toggle-layout]")?.addEventListener("click", () => {
  chooseLayout(form.dataset.layout === "list" ? "columns" : "list");
});

// --- a part that the server sent anew has other fields than before ---

form.addEventListener("htmx:afterSwap", () => form.dispatchEvent(new Event("input")));

// --- "none of these" and the flags exclude one another ---

for (const group of form.querySelectorAll("[data-none-group]")) {
  const none = group.querySelector("[data-none]");
  const flags = [...group.querySelectorAll("input")].filter((input) => input !== none);
  group.addEventListener("input", (event) => {
    if (event.target === none && none.checked) flags.forEach((flag) => (flag.checked = false));
    if (event.target !== none && event.target.checked) none.checked = false;
  });
}

// --- a field that counts only with some answers ---

for (const part of form.querySelectorAll("[data-only-with]")) {
  const name = part.dataset.onlyWith;
  const values = part.dataset.onlyValues.split(" ");
  const update = () => {
    const chosen = form.querySelector(`[name="${name}"]:checked`)?.value;
    part.disabled = !values.includes(chosen);
  };
  form.addEventListener("input", update);
  form.addEventListener("draft:restored", update);
  update();
}

// --- length and pasted share of a text ---

for (const area of form.querySelectorAll("[data-counts]")) {
  const counter = document.getElementById(area.dataset.counts);
  const words = counter.dataset.words;
  const update = () => {
    counter.textContent = words.replace("{n}", [...area.value].length.toLocaleString(document.documentElement.lang));
  };
  area.addEventListener("input", update);
  form.addEventListener("draft:restored", update);
  update();
  const pasted = form.elements.pasted_chars;
  if (pasted) {
    area.addEventListener("paste", (event) => {
      const text = event.clipboardData?.getData("text") || "";
      pasted.value = Number(pasted.value || 0) + [...text].length;
    });
  }
}
