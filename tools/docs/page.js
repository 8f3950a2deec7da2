// The search box, and a button that copies code. Pages are whole without this script.
"use strict";

(() => {
  const MOST = 12; // hits that are shown
  const root = document.currentScript.src.replace(/[^/]*$/, "");
  const make = (tag, values = {}, ...inside) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(values)) node.setAttribute(name, value);
    node.append(...inside);
    return node;
  };

  // ---- the search box: a combobox with a list, as the ARIA Authoring Practices describe it ----

  const box = document.querySelector("#site-search"), list = document.querySelector("#site-hits");
  const told = document.querySelector("#site-told");
  let all = null, chosen = 0, asked = null;

  // the data comes when it is first needed; as a script, for a page in a folder may not fetch
  const load = () => asked ??= new Promise((done, fail) => {
    const script = make("script", {src: `${root}search-data.js`});
    script.onload = () => done(all = Search.entries(SEARCH_DATA));
    script.onerror = fail;
    document.head.append(script);
  });

  const choose = at => {
    chosen = at;
    [...list.children].forEach((item, i) => item.setAttribute("aria-selected", i === at));
    box.setAttribute("aria-activedescendant", list.children[at]?.id ?? "");
    list.children[at]?.scrollIntoView({block: "nearest"});
  };

  const close = () => {
    list.hidden = true;
    box.setAttribute("aria-expanded", "false");
    box.removeAttribute("aria-activedescendant");
  };

  const show = () => {
    if (!all) return;
    const hits = Search.find(all, box.value);
    list.replaceChildren(...hits.slice(0, MOST).map((hit, i) => make(
      "li", {role: "option", id: `site-hit-${i}`},
      make("a", {href: root + hit.url, tabindex: "-1"},
        make("span", {class: "kind"}, hit.kind === "page" ? hit.place || "page" : `${hit.kind} · ${hit.place}`),
        make("strong", {}, hit.text),
        ...(hit.line ? [make("span", {class: "line"}, hit.line)] : [])),
    )));
    const typed = Boolean(box.value.trim());
    told.textContent = !typed ? "" : hits.length ? `${hits.length} found` : "Nothing is called so";
    if (typed && !hits.length) list.append(make("li", {class: "none"}, "Nothing is called so; Names lists all names"));
    list.hidden = !typed;
    box.setAttribute("aria-expanded", String(typed && hits.length > 0));
    if (hits.length) choose(0);
  };

  const search = () => load().then(show, () => { told.textContent = "The search could not be loaded"; });
  const options = () => list.hidden ? 0 : list.querySelectorAll("[role=option]").length;
  const go = () => {
    close();
    box.blur();
    location.href = list.children[chosen].firstChild.href;
  };

  const keys = {
    ArrowDown: () => options() ? choose((chosen + 1) % options()) : search(),
    ArrowUp: () => options() && choose((chosen + options() - 1) % options()),
    Enter: () => load().then(() => { show(); if (options()) go(); }, () => box.form.submit()),
    Escape: () => { if (list.hidden) box.value = ""; if (list.hidden) box.blur(); close(); },
  };
  box.addEventListener("focus", load);
  box.addEventListener("input", search);
  box.addEventListener("keydown", event => {
    if (!keys[event.key] || event.isComposing) return;
    event.preventDefault();
    keys[event.key]();
  });
  box.addEventListener("blur", event => { if (!list.contains(event.relatedTarget)) setTimeout(close, 150); });
  list.addEventListener("mousedown", event => event.preventDefault()); // the box keeps the focus until the click
  list.addEventListener("click", close);
  document.addEventListener("keydown", event => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select")) return;
    event.preventDefault();
    box.focus();
    box.select();
  });

  // ---- code that can be copied ----

  const copy = async text => {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const area = make("textarea", {readonly: ""}); // a browser offers no clipboard to a page without https
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };
  for (const code of document.querySelectorAll("main div.sourceCode")) {
    const button = make("button", {type: "button", class: "copy", "aria-label": "Copy this code"}, "Copy");
    button.addEventListener("click", async () => {
      const say = text => { button.textContent = text; };
      await copy(code.querySelector("pre").textContent).then(() => say("Copied"), () => say("Not copied"));
      setTimeout(say, 2000, "Copy");
    });
    code.append(button);
  }

  // ---- the place of this page in the list of all ----

  const pages = document.querySelector("#site-pages"), here = pages.querySelector("details [aria-current]");
  const reveal = () => {
    if (!here) return;
    const shown = pages.getBoundingClientRect(), at = here.getBoundingClientRect();
    if (at.bottom > shown.bottom - 40) pages.scrollTop += at.top - shown.top - shown.height / 3;
  };
  reveal();
  pages.addEventListener("toggle", reveal);
})();
