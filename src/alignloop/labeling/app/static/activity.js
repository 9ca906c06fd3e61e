// How long somebody worked: milliseconds with the tab visible and input within the last 60 s, against the rest.

const IDLE_AFTER_MS = 60_000;
const SIGNS = ["pointerdown", "pointermove", "keydown", "wheel", "scroll", "touchstart"];

// Starts to count; the answer fills the form's hidden fields, and says the active milliseconds.
export function countActivity(form) {
  const start = performance.now();
  let last = start;
  let lastInput = start;
  let firstInput = null;
  let active = 0;
  let idle = 0;
  let wasVisible = document.visibilityState === "visible";

  const count = () => {
    const now = performance.now();
    const worked = wasVisible ? Math.max(0, Math.min(now, lastInput + IDLE_AFTER_MS) - last) : 0;
    active += worked;
    idle += now - last - worked;
    last = now;
    wasVisible = document.visibilityState === "visible";
  };
  const noteInput = (event) => {
    count();
    lastInput = last;
    if (firstInput === null && (event.type === "keydown" || event.type === "pointerdown")) {
      firstInput = last - start;
    }
  };
  for (const sign of SIGNS) addEventListener(sign, noteInput, { passive: true, capture: true });
  document.addEventListener("visibilitychange", count);

  return () => {
    count();
    form.elements.active_ms.value = Math.round(active);
    form.elements.idle_ms.value = Math.round(idle);
    form.elements.first_input_ms.value = firstInput === null ? "" : Math.round(firstInput);
    return active;
  };
}
