// Autosave: what a form holds goes to its data-draft address a second after the last change.
//
// "Saved" is said after the server has answered 200 with the new revision, and not before. Until then a copy lies in
// this tab's sessionStorage. A refused revision (409) is told, with a link to both versions; anything else is tried again.

const QUIET_MS = 1000;
const PATIENCE_MS = 15_000;
const LONGEST_WAIT_MS = 30_000;
const KEEPALIVE_BYTES = 60_000; // browsers refuse more than 64 KiB
const PREFIX = "alignloop:draft:";
const NOT_CONTENT = /^(csrf_token|rev|client_uuid|pasted_chars|\w+_ms|moves_\w+)$/; // of this visit, not of the answer

export function keepDraft(form, fillTimes) {
  const words = JSON.parse(form.dataset.strings);
  const state = form.querySelector("[data-save-state]");
  const trouble = form.querySelector("[data-save-trouble]");
  const storageKey = PREFIX + form.getAttribute("action");
  let version = 0; // of what the form holds
  let savedVersion = 0;
  let timer = 0;
  let failures = 0;
  let inFlight = null;
  let isRefused = false;
  let isLeaving = false;

  const isUnsaved = () => version !== savedVersion;
  const content = () =>
    [...new FormData(form)].filter(([name, value]) => !NOT_CONTENT.test(name) && typeof value === "string");

  function show(name) {
    state.dataset.state = name;
    state.textContent = name === "saving" || name === "saved" ? words[`draft.${name}`] : "";
  }

  // Say what is wrong; what can be done about it is a link or a button.
  function complain(key, tag, label, properties) {
    trouble.textContent = key ? words[key] : "";
    if (tag) trouble.append(" ", Object.assign(document.createElement(tag), { textContent: words[label], ...properties }));
  }

  function keepCopy(isSubmitted = false) {
    const copy = { rev: form.elements.rev.value, fields: content(), isSubmitted };
    try {
      sessionStorage.setItem(storageKey, JSON.stringify(copy));
    } catch {
      // Full or forbidden: the page still saves to the server.
    }
  }

  function changed() {
    if (isLeaving) return;
    version += 1;
    keepCopy();
    show("saving");
    schedule(QUIET_MS);
  }

  function schedule(wait) {
    clearTimeout(timer);
    if (!isRefused) timer = setTimeout(save, wait);
  }

  async function save({ keepalive = false } = {}) {
    clearTimeout(timer);
    if (isRefused || !isUnsaved()) return;
    if (inFlight) return; // its end schedules the next
    fillTimes();
    const sent = version;
    const body = new URLSearchParams(new FormData(form));
    inFlight = post(body, keepalive);
    const answer = await inFlight;
    inFlight = null;
    if (answer.rev !== undefined && answer.status === 200) {
      form.elements.rev.value = answer.rev;
      failures = 0;
      savedVersion = sent;
      complain("");
      if (isUnsaved()) {
        keepCopy();
        schedule(QUIET_MS);
      } else {
        sessionStorage.removeItem(storageKey);
        show("saved");
      }
    } else if (answer.status === 409) {
      isRefused = true;
      show("");
      const label = "draft.conflict_link";
      if (answer.url) complain("draft.conflict", "a", label, { href: answer.url });
      // Sent as a form, the same content is refused too, and then with a page that shows both versions.
      else complain("draft.conflict", "button", label, { name: "action", value: "save", formNoValidate: true });
    } else {
      failures += 1;
      show("");
      if (answer.status === 401 || answer.status === 403) {
        complain("draft.signed_out", "a", "draft.sign_in", { href: "/sign-in", target: "_blank" });
      } else {
        complain("draft.retrying");
      }
      schedule(Math.min(1000 * 2 ** (failures - 1), LONGEST_WAIT_MS));
    }
  }

  async function post(body, keepalive) {
    try {
      const response = await fetch(form.dataset.draft, {
        method: "POST",
        body,
        headers: { "X-CSRF-Token": form.elements.csrf_token.value, Accept: "application/json" },
        credentials: "same-origin",
        redirect: "error", // to the sign-in page, say: that is no answer
        keepalive: keepalive && body.toString().length < KEEPALIVE_BYTES,
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      const isJson = (response.headers.get("Content-Type") || "").includes("json");
      return { ...(isJson ? await response.json() : {}), status: response.status };
    } catch {
      return { status: 0 };
    }
  }

  function restore(fields) {
    for (const control of form.elements) {
      if (!control.name || control.type === "hidden" || control.type === "submit") continue;
      const values = fields.filter(([name]) => name === control.name).map(([, value]) => value);
      if (control.type === "radio" || control.type === "checkbox") {
        control.checked = values.includes(control.value);
      } else if (values.length) {
        control.value = values[0];
      }
    }
    form.dispatchEvent(new Event("draft:restored"));
    changed();
  }

  function lookForCopy() {
    const kept = sessionStorage.getItem(storageKey);
    if (!kept) return;
    const copy = JSON.parse(kept);
    const sameContent = JSON.stringify(copy.fields) === JSON.stringify(content());
    if (sameContent) {
      sessionStorage.removeItem(storageKey);
    } else if (copy.rev === form.elements.rev.value) {
      restore(copy.fields);
      complain("draft.restored");
    } else {
      // The server holds something newer: say so, and let the person decide.
      const putBack = () => {
        complain("");
        restore(copy.fields);
      };
      complain("draft.older_copy", "button", "draft.put_back", { type: "button", onclick: putBack });
    }
  }

  form.addEventListener("input", changed);
  addEventListener("online", () => isUnsaved() && schedule(0));
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden" && !isLeaving) save({ keepalive: true });
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) isLeaving = false; // came back with the Back button
  });

  form.addEventListener("submit", async (event) => {
    if (isLeaving) return event.preventDefault(); // pressed twice
    clearTimeout(timer);
    fillTimes();
    if (inFlight) {
      // A save on its way would change the revision under this form: let it end first.
      event.preventDefault();
      await inFlight;
      return setTimeout(() => form.requestSubmit(event.submitter), 0);
    }
    isLeaving = true;
    if (isUnsaved()) keepCopy(true); // until the next page shows that the server answered
    else sessionStorage.removeItem(storageKey);
  });

  lookForCopy();
}

// Whether an answer to a form may have led here: the server answers forms by sending the browser on. An address that
// somebody typed after the connection had failed, Back and Reload say nothing about what became of the form.
const wasSentOn = () => {
  const [entry] = performance.getEntriesByType("navigation");
  return entry?.type === "navigate" && entry.redirectCount > 0;
};

const copies = () => Object.keys(sessionStorage).filter((key) => key.startsWith(PREFIX));

// What was submitted has arrived. The copy of a form on this page itself is compared with what the server holds instead.
export function dropSubmittedCopies() {
  if (!wasSentOn()) return;
  const own = PREFIX + document.getElementById("task")?.getAttribute("action");
  for (const key of copies()) {
    if (key !== own && JSON.parse(sessionStorage.getItem(key)).isSubmitted) sessionStorage.removeItem(key);
  }
}

// Signing out leaves nothing behind.
export const dropAllCopies = () => copies().forEach((key) => sessionStorage.removeItem(key));
