// The chat page: answers appear as they are written. Without this script every form works, and answers come whole.
//
// A form with data-turn asks for an answer. The server streams its pieces, and at last the whole conversation as it has
// it, which takes the place of what was shown meanwhile.

const root = document.documentElement;
root.classList.add("js");

const thread = document.getElementById("thread");
const composer = document.getElementById("composer");
const words = thread ? JSON.parse(thread.dataset.words) : {};
let isWriting = false;
let isStopWanted = false;

if (thread) {
  document.addEventListener("submit", (event) => {
    if (isWriting && event.target.matches("form[data-choice]")) event.preventDefault();
    if (!event.target.matches("form[data-turn]")) return;
    event.preventDefault();
    if (!isWriting) ask(event.target);
  });
  document.getElementById("stop").addEventListener("click", stop);
  composer.text.addEventListener("keydown", (event) => {
    const isSend = event.key === "Enter" && !event.shiftKey && !event.isComposing;
    if (!isSend || matchMedia("(pointer: coarse)").matches) return;
    event.preventDefault();
    if (!isWriting && composer.reportValidity()) composer.requestSubmit();
  });
  if (location.hash === "" && thread.childElementCount > 1) thread.lastElementChild.scrollIntoView({ block: "end" });
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

async function ask(form) {
  const fields = new URLSearchParams(new FormData(form));
  const before = [...thread.children];
  setWriting(true);
  tell(words["chat.writing"]);
  problem("");
  const shown = meanwhile(form, fields);
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      body: fields,
      headers: { Accept: "text/event-stream" },
    });
    if (!(answer.headers.get("content-type") || "").startsWith("text/event-stream")) {
      const told = await answer.json();
      thread.replaceChildren(...before);
      problem(told.problem);
      tell("");
      return;
    }
    if (form === composer) composer.text.value = "";
    for await (const event of events(answer.body)) take(event, shown);
  } catch {
    problem(words["chat.lost"]);
    tell("");
  } finally {
    setWriting(false);
    composer.text.focus({ preventScroll: true });
  }
}

// What is seen until the server says how the conversation stands.
function meanwhile(form, fields) {
  let keep = [...thread.children].filter((one) => !one.matches(".empty, .again"));
  if (form.action.endsWith("/edit")) keep = keep.slice(0, keep.indexOf(document.getElementById(`turn-${fields.get("turn")}`)));
  if (form.action.endsWith("/again")) keep.pop();
  thread.replaceChildren(...keep);
  if (fields.has("text")) {
    const said = element("article", "said said-user", words["chat.you"]);
    said.append(element("p", "turn-role", "", words["chat.you"]), element("div", "passage plain said-text", "", fields.get("text")));
    said.lastChild.dir = "auto";
    thread.append(said);
  }
  return { answers: [] };
}

function take(event, shown) {
  if (event.answers) {
    shown.answers = begin(event.answers);
    composer.dataset.stop = event.stop;
    if (isStopWanted) stop();
  }
  if (event.text !== undefined) {
    shown.answers[event.answer].textContent += event.text;
    follow();
  }
  if (event.html !== undefined) {
    thread.innerHTML = event.html; // rendered by our server: every text in it is escaped, or sanitised
    history.replaceState(null, "", event.address);
    composer.action = event.say;
    for (const next of document.querySelectorAll("header input[name=next]")) next.value = event.address;
    settle(document.getElementById("model"));
    document.querySelector(".consent")?.remove();
    if (event.problem) problem(event.problem);
    tell(words["chat.done"]);
    follow();
  }
}

// A conversation keeps its model: the choice becomes its name.
function settle(choice) {
  if (!choice) return;
  choice.closest("div").querySelector("label").remove();
  choice.replaceWith(element("span", "hint composer-model", "", choice.value));
}

function begin(count) {
  const holder = count > 1 ? element("div", "answers") : thread;
  if (count > 1) thread.append(holder);
  return Array.from({ length: count }, (_, at) => {
    const name = count > 1 ? words["choose.answer"].replace("{letter}", "AB"[at]) : words["chat.model"];
    const box = element("article", count > 1 ? "output" : "said said-model", name);
    if (count > 1) {
      const head = element("div", "output-head");
      head.append(element("h3", "output-title", "", name));
      box.append(head);
    } else {
      box.append(element("p", "turn-role", "", name));
    }
    const text = element("div", "passage answer-text plain");
    text.dir = "auto";
    text.setAttribute("aria-busy", "true");
    box.append(text);
    holder.append(box);
    return text;
  });
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    held += value;
    const parts = held.split("\n\n");
    held = parts.pop();
    for (const part of parts) if (part.startsWith("data: ")) yield JSON.parse(part.slice(6));
  }
}

async function stop() {
  isStopWanted = true;
  if (!composer.dataset.stop) return; // of a conversation that begins: its address comes with the first event
  const fields = new URLSearchParams({ csrf_token: composer.csrf_token.value });
  await fetch(composer.dataset.stop, { method: "POST", body: fields, headers: { Accept: "application/json" } });
}

function setWriting(now) {
  isWriting = now;
  isStopWanted = false;
  document.getElementById("stop").hidden = !now;
  document.getElementById("send").disabled = now;
}

function tell(said) {
  document.getElementById("says").textContent = said;
}

function problem(said) {
  const place = document.getElementById("problem");
  place.replaceChildren();
  if (!said) return;
  const line = element("p", "field-error", "", said);
  line.setAttribute("role", "alert");
  place.append(line);
}

function follow() {
  const left = root.scrollHeight - innerHeight - scrollY;
  if (left < 400) scrollTo({ top: root.scrollHeight });
}

function element(tag, classes, label = "", text = "") {
  const made = document.createElement(tag);
  made.className = classes;
  if (label) made.setAttribute("aria-label", label);
  made.textContent = text;
  return made;
}
