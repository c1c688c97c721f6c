// Looks every second whether something changed, and replaces only that part.
"use strict";

const main = document.querySelector("main[data-live]");
const shown = new Map([...document.querySelectorAll("section[id]")].map((part) => [part.id, part.outerHTML]));

function show(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  for (const part of fresh.querySelectorAll("section[id]")) {
    if (shown.get(part.id) === part.outerHTML) continue;
    shown.set(part.id, part.outerHTML);
    document.getElementById(part.id).replaceWith(document.importNode(part, true));
  }
}

async function look() {
  if (!document.hidden) {
    let fresh = false;
    try {
      const answer = await fetch(main.dataset.live);
      if (answer.status === 401) location.reload();
      fresh = answer.ok;
      if (fresh) show(await answer.text());
    } catch {
      fresh = false;
    }
    document.getElementById("stale").hidden = fresh;
  }
  setTimeout(look, 1000);
}

if (main) look();
