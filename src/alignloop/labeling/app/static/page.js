// Every page: keyboard shortcuts that templates declare, the sheet of keys, menus that close.
//
// An element with data-key="p" is pressed by that key; "f a" is f, then a. Shortcuts of one character are off while
// somebody types, and altogether where the setting says so (WCAG 2.1.4). Ctrl+Enter presses the form's data-submit button.

import { dropAllCopies, dropSubmittedCopies } from "./draft.js";

const root = document.documentElement;
root.classList.add("js");

const CHORD_MS = 1500;
const TYPED = new Set(["text", "email", "password", "number", "search", "url", "tel", "date"]);

export const isTyping = (element) =>
  element instanceof HTMLTextAreaElement ||
  element instanceof HTMLSelectElement ||
  (element instanceof HTMLInputElement && TYPED.has(element.type));

export const allowsSingleKeys = (event) =>
  root.dataset.singleKeys === "on" &&
  !(event.ctrlKey || event.metaKey || event.altKey || event.isComposing) &&
  !isTyping(event.target) &&
  !document.querySelector("dialog[open]");

let chord = "";
let chordAt = 0;

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    const form = event.target.closest?.("form") || document.querySelector("form:has([data-submit])");
    const button = form?.querySelector("[data-submit]");
    if (button) {
      event.preventDefault();
      form.requestSubmit(button);
    }
    return;
  }
  if (event.key === "Escape") return closeMenus();
  if (!allowsSingleKeys(event) || event.key.length !== 1) return;
  const prefix = performance.now() - chordAt < CHORD_MS ? chord : "";
  const wanted = prefix ? `${prefix} ${event.key.toLowerCase()}` : event.key.toLowerCase();
  chord = "";
  const target = document.querySelector(`[data-key="${CSS.escape(wanted)}"]`);
  if (target && !target.disabled) {
    event.preventDefault();
    press(target);
  } else if (document.querySelector(`[data-key^="${CSS.escape(wanted)} "]`)) {
    chord = wanted;
    chordAt = performance.now();
  }
});

function press(target) {
  if (target.matches("input")) target.focus();
  target.click();
}

function closeMenus(except) {
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (menu === except || menu.querySelector(".field-error")) continue;
    const hadFocus = menu.contains(document.activeElement);
    menu.open = false;
    if (hadFocus) menu.querySelector("summary").focus();
  }
}

document.addEventListener("click", (event) => {
  closeMenus(event.target.closest("details[data-menu]"));
  event.target.closest(".sensitive")?.classList.add("shown");
  const opener = event.target.closest("[data-open]");
  if (opener) document.getElementById(opener.dataset.open).showModal();
});

document.addEventListener("submit", (event) => {
  if (event.target.matches("[data-clears-drafts]")) dropAllCopies();
});

dropSubmittedCopies();
document.getElementById("errors")?.focus();
