// The refresh button: loads the page again every few seconds and exchanges its
// content, so that the place on the page and what is being typed stay. Without
// JavaScript there is no button, and the page is whole.
(() => {
  "use strict";
  const every = 5000, key = "ha-dispatcher-refresh";
  const button = document.getElementById("refresh");
  const warning = document.getElementById("unreachable");
  const store = { get: () => { try { return localStorage.getItem(key); } catch { return null; } },
                  set: (v) => { try { localStorage.setItem(key, v); } catch { /* private mode */ } } };
  let on = store.get() === "on", timer = 0;

  const busy = () => document.hidden || document.getSelection().type === "Range" ||
    document.getElementById("content").contains(document.activeElement) && document.activeElement.matches("input, button");

  async function load() {
    if (busy()) return;
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(every) });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("content");
      if (!fresh) throw new Error("no page");
      const old = document.getElementById("content");
      const link = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      old.replaceWith(fresh);
      if (link) [...fresh.querySelectorAll("a")].find((a) => a.getAttribute("href") === link)?.focus({ preventScroll: true });
      warning.hidden = true;
    } catch {
      warning.textContent = "This node does not answer. What is shown is from before; the other nodes of the cluster show the same pages.";
      warning.hidden = false;
    }
  }

  function show() {
    button.setAttribute("aria-pressed", String(on));
    clearTimeout(timer);
    if (on) timer = setTimeout(async () => { await load(); show(); }, every);
    else warning.hidden = true;
  }

  button.hidden = false;
  button.addEventListener("click", async () => {
    on = !on;
    store.set(on ? "on" : "off");
    show();
    if (on) await load();
  });
  show();
})();
