"use strict";
window.multiloss = (() => {
  const root = document.documentElement, drawn = new Set(), figures = new Map();
  const named = (id) => document.getElementById(id);
  const CONFIG = { displayModeBar: false, responsive: false };
  const COLOUR = /^(color|fgcolor|bgcolor|fillcolor|colorscale)$/;

  // ---- colours: a figure names them, the style sheet holds them ----
  const styles = () => getComputedStyle(root);
  function colour(name, css) {
    const [own, part] = name.slice(1).split("/");
    const hex = css.getPropertyValue(`--c-${own}`).trim();
    return part ? hex + Math.round(part * 2.55).toString(16).padStart(2, "0") : hex;
  }
  function painted(value, css, inside) {
    if (typeof value === "string") return inside && value[0] === "@" ? colour(value, css) : value;
    if (Array.isArray(value)) return inside || typeof value[0] === "object" ? value.map((v) => painted(v, css, inside)) : value;
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, painted(v, css, inside || COLOUR.test(k))]));
  }
  function merged(base, over) {
    const own = { ...base };
    for (const [key, value] of Object.entries(over)) {
      const both = value && own[key] && typeof value === "object" && typeof own[key] === "object" && !Array.isArray(value);
      own[key] = both ? merged(own[key], value) : value;
    }
    return own;
  }
  function base() {
    const axis = {
      gridcolor: colour("@grid", styles()), zerolinecolor: colour("@line", styles()), linecolor: colour("@line", styles()),
      tickfont: { color: colour("@muted", styles()), size: 11.5 }, automargin: true,
      title: { standoff: 6, font: { color: colour("@muted", styles()), size: 12 } },
    };
    const clear = "rgba(0,0,0,0)", font = { family: styles().fontFamily, size: 12.5, color: colour("@ink", styles()) };
    const touch = matchMedia("(pointer: coarse)").matches;
    return {
      autosize: true, paper_bgcolor: clear, plot_bgcolor: clear, showlegend: false, font,
      margin: { l: 44, r: 10, t: 16, b: 38 }, dragmode: touch ? false : "zoom", xaxis: axis, yaxis: { ...axis, zeroline: false },
      hoverlabel: { bgcolor: colour("@page", styles()), bordercolor: colour("@line", styles()), font, align: "left" },
    };
  }

  // ---- drawing ----
  let printing = "";
  const menu = (id) => named(`${id}-choice`);
  const options = (figure) => figure.options.find((o) => o.label === menu(figure.id)?.value) || figure.options[0];
  const short = (text) => { const own = [...text]; return own.length > 44 ? [...own.slice(0, 21), "…", ...own.slice(-21)].join("") : text; };
  const positive = (panel) => panel.data.every((trace) => !trace.y || trace.y.every((y) => y === null || y > 0));
  function place(box, i) {
    if (box.children[i]) return;
    const panel = box.appendChild(document.createElement("div"));
    panel.className = "panel";
    panel.append(document.createElement("p"), document.createElement("div"));
    panel.lastChild.setAttribute("role", "img");
  }
  function draw(id) {
    const figure = figures.get(id), box = document.querySelector(`[data-plot="${id}"]`);
    if (!figure || !box || !window.Plotly) return;
    drawn.add(id);
    const logarithmic = named(`${id}-log`)?.getAttribute("aria-pressed") === "true", chosen = options(figure).panels;
    while (box.children.length > chosen.length) {
      window.Plotly.purge(box.lastChild.lastChild);
      box.lastChild.remove();
    }
    box.style.minHeight = "";
    chosen.forEach((_, i) => place(box, i));  // all of them first: together they decide how wide each is
    const css = styles(), common = base();
    chosen.forEach((number, i) => {
      const panel = figure.panels[number], where = box.children[i], [title, plot] = where.children;
      title.textContent = short(panel.title);
      title.title = panel.title;
      title.hidden = !panel.title;
      plot.setAttribute("aria-label", panel.alt);
      let layout = merged(common, painted(panel.layout, css, false));
      if (logarithmic && positive(panel)) layout = merged(layout, { yaxis: { type: "log", range: null, dtick: null } });
      let data = painted(panel.data, css, false);
      if (panel.upright && plot.clientWidth < 480) {
        layout = { ...layout, height: panel.upright.height };
        const textfont = { color: colour("@page", css), shadow: "none" };
        data = data.map((own) => ({ ...own, textfont, orientation: "v", node: { ...own.node, label: panel.upright.labels, thickness: 20 } }));
      }
      if (printing) layout = { ...layout, autosize: false, width: plot.clientWidth };
      plot.style.minHeight = `${layout.height}px`;
      if (panel.upright) window.Plotly.purge(plot);  // a Sankey that changes would turn and grow for half a second
      window.Plotly.react(plot, data, layout, CONFIG);
    });
    const said = [figure.options.length > 1 && options(figure).label, logarithmic && "logarithmic"].filter(Boolean).join(", ");
    if (named(`${id}-chosen`)) named(`${id}-chosen`).textContent = said;
    const words = named(`${id}-words`);
    if (words) words.textContent = chosen.slice(0, 12).map((number) => figure.panels[number].alt).join(" ");
  }
  const near = new IntersectionObserver((seen) => {
    for (const { isIntersecting, target } of seen) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      if (!drawn.has(target.dataset.plot)) draw(target.dataset.plot);
    }
  }, { rootMargin: "200px" });
  const idle = window.requestIdleCallback ? (f) => requestIdleCallback(f, { timeout: 2000 }) : (f) => setTimeout(f, 200);
  function rest() {
    const next = [...figures.keys()].find((id) => !drawn.has(id));
    if (next) { draw(next); idle(rest); }
  }

  // ---- choices ----
  function bind(figure) {
    const choice = menu(figure.id), log = named(`${figure.id}-log`), search = named(`${figure.id}-search`);
    if (choice && !choice.dataset.bound) {
      choice.dataset.bound = "1";
      choice.addEventListener("change", () => { choice.dataset.touched = "1"; draw(figure.id); });
    }
    if (log && !log.dataset.bound) {
      log.dataset.bound = "1";
      log.addEventListener("click", () => {
        log.setAttribute("aria-pressed", String(log.getAttribute("aria-pressed") !== "true"));
        draw(figure.id);
      });
    }
    if (search && !search.dataset.bound) {
      search.dataset.bound = "1";
      search.addEventListener("input", () => {
        const wanted = search.value.trim().toLowerCase();
        for (const option of choice.options) option.hidden = !option.value.toLowerCase().includes(wanted);
        const first = [...choice.options].find((option) => !option.hidden);
        if (first && choice.selectedOptions[0]?.hidden) { choice.value = first.value; choice.dispatchEvent(new Event("change")); }
      });
    }
  }
  function show(view) {
    const kept = new Map([...figures].map(([id, figure]) => [id, [figure, menu(id)]]));
    figures.clear();
    for (const figure of view.sections.flatMap((section) => section.figures)) {
      const [before, choice] = kept.get(figure.id) || [];
      const wanted = choice?.dataset.touched && choice.value;
      if (wanted && !figure.options.some((option) => option.label === wanted)) {  // an epoch that is no longer offered stays
        const own = before.options.find((option) => option.label === wanted);
        figure.options.push({ ...own, panels: own.panels.map((i) => figure.panels.push(before.panels[i]) - 1) });
      }
      figures.set(figure.id, figure);
    }
  }
  function started() {
    for (const swatch of document.querySelectorAll("[data-colour]"))
      swatch.style.setProperty("--own", `var(--c-${swatch.dataset.colour.slice(1)})`);
    for (const figure of figures.values()) {
      bind(figure);
      const box = document.querySelector(`[data-plot="${figure.id}"]`);
      near.unobserve(box);
      if (window.Plotly) near.observe(box);  // which says at once whether it is in sight
    }
  }

  // ---- a new view in the place of the old one: what is the same stays, so that nothing the reader opened shuts ----
  const STATE = new Set(["open", "aria-pressed", "style", "data-bound", "data-touched"]);
  function morph(old, fresh) {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.id !== fresh.id) return old.replaceWith(fresh);
    if (old.nodeType !== Node.ELEMENT_NODE) { if (old.data !== fresh.data) old.data = fresh.data; return undefined; }
    if (old.dataset.plot || old.isEqualNode(fresh)) return undefined;
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !STATE.has(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (!STATE.has(name) || !old.hasAttribute(name)) old.setAttribute(name, value);
    if (old.nodeName === "SELECT") return reoption(old, fresh);
    return children(old, fresh);
  }
  function reoption(old, fresh) {
    const wanted = old.dataset.touched ? old.value : fresh.value;  // an option that moves may take its being chosen along
    if (![...fresh.options].some((option) => option.value === wanted)) fresh.append(new Option(wanted));
    if (old.innerHTML !== fresh.innerHTML) old.replaceChildren(...fresh.childNodes);
    old.value = wanted;
  }
  function children(old, fresh) {
    const known = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
    const wanted = [...fresh.childNodes];  // which leave `fresh` one by one
    wanted.forEach((child, i) => {
      const here = known.get(child.id) || old.childNodes[i];
      if (!here || (here.id && here.id !== child.id)) old.insertBefore(child, old.childNodes[i] || null);
      else { if (here !== old.childNodes[i]) old.insertBefore(here, old.childNodes[i]); morph(here, child); }
    });
    while (old.childNodes.length > wanted.length) old.lastChild.remove();
  }
  function update(view) {
    document.title = view.title;
    show(view);
    const fresh = document.createElement("div");
    fresh.innerHTML = view.sections.map((section) => section.html).join("\n");
    children(named("sections"), fresh);
    named("contents").replaceChildren(...view.sections.slice(1).map((section) => {
      const item = document.createElement("li"), link = item.appendChild(document.createElement("a"));
      link.href = `#${section.id}`;
      link.textContent = section.title;
      return item;
    }));
    drawn.clear();
    started();
  }

  // ---- light and dark, print ----
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  function themed(theme) {
    if (theme) root.dataset.theme = theme; else delete root.dataset.theme;
    named("theme").setAttribute("aria-pressed", String(dark()));
    [...drawn].forEach(draw);
  }
  const remember = (theme) => { try { localStorage.setItem("multiloss-theme", theme); } catch { /* a page from a file may have none */ } };
  const remembered = () => { try { return localStorage.getItem("multiloss-theme"); } catch { return null; } };

  document.addEventListener("DOMContentLoaded", () => {
    themed(remembered());
    show(JSON.parse(named("view").textContent));
    named("theme").addEventListener("click", () => { const theme = dark() ? "light" : "dark"; remember(theme); themed(theme); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => themed(root.dataset.theme));
    let width = innerWidth, waiting;
    addEventListener("resize", () => {
      clearTimeout(waiting);
      if (width !== innerWidth) waiting = setTimeout(() => { width = innerWidth; [...drawn].forEach(draw); }, 120);
    });
    let before;
    addEventListener("beforeprint", () => {
      before = root.dataset.theme;
      printing = root.dataset.print = "1";
      figures.forEach((_, id) => drawn.add(id));
      themed("light");
    });
    addEventListener("afterprint", () => { printing = ""; delete root.dataset.print; themed(before); });
    started();
    if (window.Plotly) begin();
  });
  let begun = false;
  function begin() {  // the page can be read before Plotly, which is large, has run
    if (begun || !window.Plotly) return;
    begun = true;
    started();
    idle(rest);
  }
  named("plotly")?.addEventListener("load", () => { if (figures.size) begin(); });
  addEventListener("load", () => { named("no-plotly").hidden = Boolean(window.Plotly); begin(); });
  return { update };
})();
