"use strict";
// What the page does: draws charts when they come into sight, sorts and searches tables, gives out CSV files,
// shows items. All text goes in as text, never as markup.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const stored = (id) => JSON.parse(document.getElementById(id).textContent);
  const make = (tag, text, name) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (name) node.className = name;
    return node;
  };
  const cut = (text, most = 80) => (text.length > most ? text.slice(0, most - 1) + "…" : text);
  const shown = (cell) => {
    if (cell === null) return "–";
    if (typeof cell !== "number") return cut(String(cell), 200);
    if (Number.isInteger(cell)) return String(cell);
    const size = Math.abs(cell);
    return size >= 1000 ? cell.toFixed(0) : size < 0.001 ? cell.toPrecision(2) : cell.toFixed(4);
  };

  // ------------------------------------------------------------------ items

  const items = stored("items");
  const look = (place, query) => {
    const box = make("span", undefined, "item");
    if (items.images && items.images[place]) {
      const picture = make("img");
      picture.src = items.images[place];
      picture.alt = "";
      box.append(picture);
    }
    if (items.texts && items.texts[place]) box.append(make("span", cut(items.texts[place], 160), "text"));
    const label = make("bdi", cut(items.labels[place] ?? "", 40));
    const name = make("bdi", cut(items.ids[place], 24), "quiet");
    if (query === undefined) {
      box.append(make("span", "query ", "mark"), label, document.createElement("br"), name);
      return box;
    }
    const right = items.labels[place] === items.labels[query];
    box.classList.add(right ? "right" : "wrong");
    const mark = make("span", right ? "✓ " : "✗ ", "mark");
    mark.setAttribute("role", "img");
    mark.setAttribute("aria-label", right ? "right" : "wrong");
    box.append(mark, label, document.createElement("br"), name);
    return box;
  };
  for (const place of all("[data-item]")) {
    const query = place.dataset.of;
    place.replaceWith(look(+place.dataset.item, query === undefined ? undefined : +query));
  }
  const explorers = all("[data-explored]").map((place) => {
    const name = place.dataset.explored;
    const found = stored("neighbors-" + name);
    const slider = document.querySelector(`[data-explore="${name}"]`);
    const number = document.querySelector(`[data-number="${name}"]`);
    const show = (asked) => {
      const item = Math.min(Math.max(0, Math.round(asked) || 0), found.length - 1);
      slider.value = number.value = item;
      place.replaceChildren(look(item), ...found[item].map((each) => look(each, item)));
    };
    for (const input of [slider, number]) input.addEventListener("input", () => show(+input.value));
    show(0);
    return show;
  });

  // ------------------------------------------------------------------ charts

  const hover = document.getElementById("hover");
  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    const probe = document.body.appendChild(make("i"));
    const of = (name) => {
      probe.style.color = `var(${name})`;
      return getComputedStyle(probe).color;
    };
    const found = { ink: of("--ink"), line: of("--line"), tint: of("--tint"), style: style.colorScheme };
    probe.remove();
    return found;
  };
  const dressed = (layout) => {
    const { ink, line, tint } = colours();
    const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, tickcolor: line };
    const whole = {
      ...layout,
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { ...layout.font, color: ink },
      hoverlabel: { bgcolor: tint, font: { color: ink }, align: "left", namelength: -1 },
      autosize: true,
    };
    for (const key of Object.keys(layout)) {
      if (/^[xy]axis\d*$/.test(key)) whole[key] = { ...axis, ...layout[key] };
    }
    return whole;
  };
  // Plotly takes longer to start than all else here, so it waits until a chart comes into sight.
  const plotly = () => {
    if (!window.Plotly) document.head.append(make("script", document.getElementById("plotly").textContent));
    return window.Plotly;
  };
  const figures = new Map();
  const draw = (place) => {
    if (figures.has(place)) return;
    const figure = stored("chart-" + place.dataset.chart);
    figures.set(place, figure);
    plotly().newPlot(place, figure.data, dressed(figure.layout), { displayModeBar: false, responsive: true });
    place.dataset.drawn = "yes";
    place.on("plotly_hover", ({ points, event }) => {
      const item = points[0].customdata;
      if (typeof item !== "number" || !event) return;
      hover.replaceChildren(...look(item).childNodes);
      hover.hidden = false;
      hover.style.left = Math.min(event.clientX + 14, innerWidth - hover.offsetWidth - 8) + "px";
      hover.style.top = Math.min(event.clientY + 14, innerHeight - hover.offsetHeight - 8) + "px";
    });
    place.on("plotly_unhover", () => (hover.hidden = true));
    place.on("plotly_click", ({ points }) => {
      const item = points[0].customdata;
      if (typeof item === "number") for (const show of explorers) show(item);
    });
  };
  const redress = () => {
    for (const [place, figure] of figures) plotly().react(place, figure.data, dressed(figure.layout));
  };
  const places = all("[data-chart]");
  const sight = new IntersectionObserver(
    (seen) => {
      for (const each of seen.filter((one) => one.isIntersecting)) {
        sight.unobserve(each.target);
        draw(each.target);
      }
    },
    { rootMargin: "400px" },
  );
  places.forEach((place) => sight.observe(place));

  // ------------------------------------------------------------------ light and dark

  const root = document.documentElement;
  const schemes = [["", "as the system"], ["dark", "dark"], ["light", "light"]];
  const button = document.getElementById("theme");
  let scheme = 0;
  button.addEventListener("click", () => {
    scheme = (scheme + 1) % schemes.length;
    root.style.colorScheme = schemes[scheme][0];
    button.querySelector("span").textContent = schemes[scheme][1];
    redress();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redress);
  addEventListener("beforeprint", () => {
    root.style.colorScheme = "light";
    places.forEach(draw);
    redress();
  });
  addEventListener("afterprint", () => {
    root.style.colorScheme = schemes[scheme][0];
    redress();
  });

  // ------------------------------------------------------------------ tables

  const filled = (body, rows, numeric) => {
    body.replaceChildren(
      ...rows.map((row) => {
        const line = make("tr");
        row.forEach((cell, column) => {
          const place = make("td", undefined, numeric[column] ? "n" : "");
          place.append(make("bdi", shown(cell)));
          line.append(place);
        });
        return line;
      }),
    );
  };
  const kinds = ({ columns, rows }) =>
    columns.map((_, column) => rows.some((row) => row[column] !== null) &&
      rows.every((row) => row[column] === null || typeof row[column] === "number"));
  const before = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  };
  const PAGE = 50;
  for (const place of all("[data-listing]")) {
    const name = place.dataset.listing;
    const table = stored("table-" + name);
    const numeric = kinds(table);
    const body = place.querySelector("tbody");
    const heads = all("th", place);
    const search = place.querySelector("input");
    const count = place.querySelector("[data-count]");
    const more = make("button", "Show all rows");
    more.type = "button";
    count.after(more);
    const words = table.rows.map((row) => row.map((cell) => (cell === null ? "" : String(cell))).join(" ").toLowerCase());
    let by = -1, up = true, whole = false;
    const show = () => {
      const wanted = (search ? search.value : "").toLowerCase().split(/\s+/).filter(Boolean);
      let rows = table.rows.filter((_, at) => wanted.every((word) => words[at].includes(word)));
      if (by >= 0) {
        const known = rows.filter((row) => row[by] !== null);
        known.sort((a, b) => (up ? 1 : -1) * before(a[by], b[by]));
        rows = [...known, ...rows.filter((row) => row[by] === null)];
      }
      const some = whole ? rows : rows.slice(0, PAGE);
      filled(body, some, numeric);
      more.hidden = some.length === rows.length;
      count.textContent = `${some.length} of ${rows.length} rows` + (wanted.length ? " found" : "");
    };
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      up = by === column ? !up : !numeric[column];
      by = column;
      heads.forEach((each, at) => each.setAttribute("aria-sort", at !== by ? "none" : up ? "ascending" : "descending"));
      show();
    }));
    if (search) search.addEventListener("input", show);
    more.addEventListener("click", () => { whole = true; show(); });
    show();
  }
  for (const place of all("[data-lazy]")) {
    place.addEventListener("toggle", () => {
      if (!place.open || place.querySelector("table")) return;
      const table = stored("table-" + place.dataset.lazy);
      const box = make("div", undefined, "scroll");
      const grid = make("table"), head = make("thead"), line = make("tr"), body = make("tbody");
      const numeric = kinds(table);
      box.tabIndex = 0;
      table.columns.forEach((column, at) => {
        const cell = make("th", cut(column), numeric[at] ? "n" : "");
        cell.scope = "col";
        line.append(cell);
      });
      head.append(line);
      filled(body, table.rows.slice(0, 500), numeric);
      grid.append(head, body);
      box.append(grid);
      place.append(box);
      if (table.rows.length > 500) place.append(make("p", `The first 500 of ${table.rows.length} rows; all are in the CSV.`, "quiet"));
    });
  }
  // A spreadsheet takes a text that begins like a formula for one.
  const quoted = (cell) => {
    if (cell === null) return "";
    if (typeof cell === "number") return String(cell);
    const text = /^[=+@\t\r]|^-(?!\d)/.test(String(cell)) ? "'" + cell : String(cell);
    return /[",\n\r]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  };
  for (const give of all("[data-csv]")) {
    give.addEventListener("click", () => {
      const { columns, rows } = stored("table-" + give.dataset.csv);
      const text = [columns, ...rows].map((row) => row.map(quoted).join(",")).join("\r\n") + "\r\n";
      const link = make("a");
      link.href = URL.createObjectURL(new Blob(["\ufeff" + text], { type: "text/csv" }));
      link.download = give.dataset.csv + ".csv";
      link.click();
      URL.revokeObjectURL(link.href);
    });
  }
})();
