"use strict";

const study = JSON.parse(document.getElementById("study").textContent);
const total = study.images.length;
const element = (id) => document.getElementById(id);
const radios = [...document.querySelectorAll("input[type=radio]")];
const QUESTIONS = { source: "real or synthetic", finding: "what it shows" };

// Who reads, which image is shown (`total`: the end), and {item: {source, finding}}.
let reader = "";
let at = 0;
let answers = {};

// -- what the browser keeps: the last reader's name, and the answers of each

const LAST = `reader-study/${study.id}`;
// "Dr. A" and "dr.  a" are one person; answers are scored by the same rule.
const identity = (name) => name.normalize("NFKC").toUpperCase().toLowerCase().split(/\s+/).join(" ");
const slot = (name) => `${LAST}/${identity(name)}`;

function recall(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}

function save() {
  try {
    localStorage.setItem(LAST, reader);
    localStorage.setItem(slot(reader), JSON.stringify({ at, answers }));
    element("unsaved").hidden = true;
  } catch {
    element("unsaved").hidden = false;
  }
}

function resume(name) {
  reader = name;
  at = 0;
  answers = {};
  try {
    const kept = JSON.parse(recall(slot(name)));
    for (const [item] of study.images) {
      for (const { name: question, value } of radios) {
        if (kept.answers[item]?.[question] === value) answer(item, question, value);
      }
    }
    at = Math.min(Math.max(Number(kept.at) || 0, 0), total);
  } catch { /* nothing was kept, or nothing that can be read */ }
}

// -- answers

function answer(item, question, value) {
  answers[item] = { ...answers[item], [question]: value };
}

const missing = (item) => Object.keys(QUESTIONS).filter((question) => !answers[item]?.[question]);
const unanswered = () => study.images.flatMap(([item], n) => (missing(item).length ? [n] : []));

function csv() {
  const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const rows = study.images.map(([item]) => [
    study.id, reader, item, answers[item]?.source ?? "", answers[item]?.finding ?? "",
  ]);
  const header = ["study", "reader", "item", "real_or_synthetic", "finding"];
  return [header, ...rows].map((row) => row.map(cell).join(",") + "\n").join("");
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = `reader_study_${study.id}_${reader.replace(/[^\p{L}\p{N}]+/gu, "_")}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  element("downloaded").textContent = `Downloaded as ${link.download}.`;
}

// -- what is shown

function show(section) {
  for (const id of ["start", "reading", "end"]) element(id).hidden = id !== section;
  const begun = section !== "start";
  element("who").textContent = begun ? `· ${reader}` : "";
  element("change").hidden = element("progress").hidden = !begun;
  const done = total - unanswered().length;
  element("bar").value = done;
  element("count").textContent = `${done} of ${total} answered`;
}

function showStart() {
  show("start");
  element("name").value = reader;
  element("name").focus();
  element("name").select();
}

function showImage() {
  const [item, uri] = study.images[at];
  show("reading");
  element("film").src = uri;
  element("film").alt = `Image ${at + 1} of ${total}`;
  element("place").textContent = `Image ${at + 1} of ${total}`;
  element("message").textContent = "";
  element("back").disabled = at === 0;
  for (const radio of radios) radio.checked = answers[item]?.[radio.name] === radio.value;
  element("place").focus({ preventScroll: true });
  scrollTo(0, 0);
}

function showEnd() {
  const left = unanswered();
  show("end");
  element("done").textContent = left.length ? "Not quite finished" : "Finished. Thank you!";
  element("open").textContent = left.length
    ? `${left.length} of ${total} images have no or only half an answer. You may leave them so.`
    : `You have answered both questions of all ${total} images.`;
  element("unanswered").replaceChildren(...left.map((position) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `Image ${position + 1}`;
    button.addEventListener("click", () => go(position));
    return button;
  }));
  element("downloaded").textContent = "";
  element("done").focus();
}

function go(position) {
  at = Math.min(Math.max(position, 0), total);
  save();
  if (at === total) showEnd(); else showImage();
}

function next() {
  const open = missing(study.images[at][0]);
  if (!open.length) return go(at + 1);
  element("message").textContent = `Still to say: ${open.map((q) => QUESTIONS[q]).join(" and ")}.`;
  element(open[0]).scrollIntoView({ block: "nearest" });
}

function choose(radio) {
  radio.checked = true;
  answer(study.images[at][0], radio.name, radio.value);
  element("message").textContent = "";
  save();
  show("reading");
}

function togglePixels(event) {
  const pixelated = element("film").classList.toggle("pixelated");
  element("pixels").setAttribute("aria-pressed", pixelated);
  // After a touch or a click, Enter shall go on rather than press the button again.
  if (event.detail) element("place").focus({ preventScroll: true });
}

// -- what readers do

element("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = element("name").value.normalize("NFC").replace(/[^\p{L}\p{N} .'_-]/gu, "").replace(/^[^\p{L}\p{N}]+/u, "").replace(/ +/g, " ").trim();
  if (!name) {
    element("hint").textContent = "Please give a name or initials, with a letter or a digit.";
    return;
  }
  resume(name);
  go(at);
});
element("questions").addEventListener("submit", (event) => {
  event.preventDefault();
  next();
});
for (const radio of radios) radio.addEventListener("change", () => choose(radio));
element("back").addEventListener("click", () => go(at - 1));
element("again").addEventListener("click", () => go(total - 1));
element("change").addEventListener("click", showStart);
element("pixels").addEventListener("click", togglePixels);
element("download").addEventListener("click", download);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || !element("start").hidden) return;
  const key = event.key.toLowerCase();
  const reading = !element("reading").hidden;
  const radio = reading && radios.find((one) => one.dataset.key === key);
  if (radio) choose(radio);
  else if (key === "arrowleft") { if (at > 0) go(at - 1); }
  else if (key === "arrowright") { if (reading) go(at + 1); }
  else if (key === "p" && reading) togglePixels(event);
  else if (key === "enter" && event.target.tagName !== "BUTTON") {
    if (!event.repeat) { if (reading) next(); else download(); }
  } else return;
  event.preventDefault();
});

// -- the last reader of this browser need not be the next: their name is filled in, and no more

reader = recall(LAST) ?? "";
showStart();
