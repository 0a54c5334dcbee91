"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const ROWS_FIRST = 100;
  const MISHAPS_NAMED = 4;
  const at = (id) => document.getElementById(id);
  const { sites, links, series, times_ms: times } = data;
  const siteCount = sites.name.length;

  // Numbers as `packing.py` wrote them.
  function reader(text) {
    const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
    let place = 0;
    return () => {
      let value = 0;
      for (let weight = 1; ; weight *= 128) {
        const byte = bytes[place++];
        value += (byte & 127) * weight;
        if (byte < 128) return value;
      }
    };
  }

  function unpackedColumns(text, rows, columns) {
    const next = reader(text);
    const found = [];
    for (let column = 0; column < columns; column++) {
      const values = new Float64Array(rows);
      let value = 0;
      for (let row = 0; row < rows; ) {
        const code = next();
        if (code === 0) {
          for (let run = next(); run > 0; run--) values[row++] = value;
        } else {
          value += code % 2 ? -(code + 1) / 2 : code / 2;
          values[row++] = value;
        }
      }
      found.push(values);
    }
    return found;
  }

  function unpackedSets(text, rows) {
    const next = reader(text);
    const found = [];
    let now = new Set();
    for (let row = 0; row < rows; row++) {
      now = new Set(now);
      let member = 0;
      for (let count = next(); count > 0; count--) {
        member += next();
        if (!now.delete(member)) now.add(member);
      }
      found.push(now);
    }
    return found;
  }

  const behind = unpackedColumns(data.behind, times.length, siteCount);
  const linksDown = unpackedSets(data.links_down, times.length);

  function duration(ms) {
    const units = [["d", 86400000], ["h", 3600000], ["m", 60000], ["s", 1000], ["ms", 1]];
    for (let place = 0; place < units.length; place++) {
      const [unit, length] = units[place];
      if (ms < length) continue;
      let text = Math.floor(ms / length) + unit;
      if (place < 3) {
        const [smaller, smallerLength] = units[place + 1];
        const rest = Math.floor((ms % length) / smallerLength);
        if (rest) text += " " + rest + smaller;
      }
      return text;
    }
    return "0s";
  }

  const number = (value) =>
    value.toLocaleString("en", { maximumFractionDigits: Math.abs(value) < 100 ? 2 : 0 });
  const percent = (value) => number(100 * value) + " %";
  const size = (value) => {
    for (const [unit, bytes] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]])
      if (value >= bytes) return Number((value / bytes).toPrecision(3)) + " " + unit;
    return Math.round(value) + " B";
  };
  // Four colours for those that lack something, each for so many times more than the one before.
  const most = behind.reduce((found, column) => column.reduce((one, other) => Math.max(one, other), found), 0);
  const factor = [2, 3, 5, 10, 20, 50].find((times) => times ** 4 > most) || 100;
  const level = (lacks) =>
    lacks === 0 ? 0 : [1, 2, 3].find((power) => lacks < factor ** power) || 4;

  function element(parent, name, attributes) {
    const made = document.createElementNS(SVG, name);
    for (const key in attributes) made.setAttribute(key, attributes[key]);
    parent.append(made);
    return made;
  }

  // The network.
  const lines = links.one.map((one, link) => {
    const other = links.other[link];
    return element(at("lines"), "line", {
      x1: data.x[one], y1: data.y[one], x2: data.x[other], y2: data.y[other],
    });
  });
  const dots = sites.name.map((name, site) => {
    const dot = element(at("dots"), "circle", { cx: data.x[site], cy: data.y[site], r: data.dot });
    dot.dataset.site = site;
    return dot;
  });

  const slider = at("time");
  slider.max = Math.max(0, times.length - 1);
  let sample = 0;
  let picked = null;
  let pointed = null;

  function drawTime() {
    const now = times[sample] || 0;
    for (let site = 0; site < siteCount; site++) {
      const lacks = times.length ? behind[site][sample] : 0;
      const wanted = "lack" + level(lacks) + (site === picked ? " picked" : "");
      if (dots[site].getAttribute("class") !== wanted) dots[site].setAttribute("class", wanted);
    }
    const down = linksDown[sample] || new Set();
    lines.forEach((line, link) => line.setAttribute("class", down.has(link) ? "off" : ""));
    const clock = new Date(data.start_unix_ms + now).toISOString().slice(0, 16).replace("T", " ");
    at("clock").textContent = duration(now) + " · " + clock + " UTC";
    at("now").textContent = words(now, down.size);
    for (const curve of document.querySelectorAll(".curve[data-x1]")) {
      const first = Number(curve.dataset.x0);
      const part = (now - first) / (Number(curve.dataset.x1) - first || 1);
      const cursor = curve.querySelector(".cursor");
      for (const end of ["x1", "x2"]) cursor.setAttribute(end, 62 + part * (448 - 62));
    }
    drawPicked();
  }

  function words(now, downCount) {
    const value = (name, write) => (series[name] ? write(series[name][sample]) : "-");
    const parts = [
      now < data.faults_ms ? "writes and faults" : "quiet",
      value("current", percent) + " of the sites lack nothing",
      value("behind", number) + " writes lacking on average",
      number(downCount) + " of " + number(lines.length) + " links down",
      value("bytes", size) + " sent",
      value("conflicts", number) + " conflicts",
      value("parked", number) + " parked",
    ];
    const active = data.mishaps.filter(
      ([from, until]) => from <= now && (now < until || (until === from && now - from < step())),
    );
    const named = active.slice(0, MISHAPS_NAMED).map(([, , kind, whom]) => kind + " (" + whom + ")");
    if (active.length > MISHAPS_NAMED) named.push(active.length - MISHAPS_NAMED + " more");
    if (named.length) parts.push("misfortunes: " + named.join(", "));
    return parts.join(" · ");
  }

  const step = () => (times.length > 1 ? (times[times.length - 1] - times[0]) / (times.length - 1) : 0);

  function drawPicked() {
    const site = pointed !== null ? pointed : picked;
    if (site === null) return;
    const [p50, p90, p99, most] = sites.staleness_ms[site];
    const lacks = times.length ? behind[site][sample] : 0;
    at("picked").textContent =
      sites.name[site] + (sites.parent[site] ? ", below " + sites.parent[site] : "") +
      ": lacks " + number(lacks) + " writes now; wrote " + number(sites.writes[site]) +
      "; staleness p50 " + duration(p50) + ", p90 " + duration(p90) + ", p99 " + duration(p99) +
      ", greatest " + duration(most) + "; " + number(sites.failures[site]) + " exchanges broke off";
  }

  const siteOf = (event) =>
    event.target.dataset.site === undefined ? null : Number(event.target.dataset.site);
  at("dots").addEventListener("mouseover", (event) => { pointed = siteOf(event); drawPicked(); });
  at("dots").addEventListener("mouseout", () => { pointed = null; drawPicked(); });
  at("dots").addEventListener("click", (event) => { pick(siteOf(event)); });
  function pick(site) { picked = site === picked ? null : site; drawTime(); }

  slider.addEventListener("input", () => { sample = Number(slider.value); drawTime(); });
  let timer = null;
  at("play").addEventListener("click", () => {
    if (timer !== null) return stop();
    if (sample >= times.length - 1) sample = 0;
    at("play").textContent = "❚❚";
    timer = setInterval(() => {
      if (sample >= times.length - 1) return stop();
      slider.value = ++sample;
      drawTime();
    }, 100);
  });
  function stop() { clearInterval(timer); timer = null; at("play").textContent = "▶"; }

  // Marks below the slider: the quiet, and misfortunes.
  const whole = times.length ? times[times.length - 1] - times[0] : 0;
  if (whole) {
    const place = (ms) => Math.max(0, Math.min(1000, (1000 * (ms - times[0])) / whole));
    element(at("marks"), "rect", {
      class: "phase", x: place(data.faults_ms), width: 1000 - place(data.faults_ms), y: 0, height: 10,
    });
    for (const [from, until] of data.mishaps)
      element(at("marks"), "rect", {
        x: place(from), width: Math.max(1.5, place(until) - place(from)), y: 2, height: 6,
      });
  }

  const from = [0, 1, 2, 3].map((power) => factor ** power);
  const upTo = (power) => number(from[power]) + " to " + number(from[power + 1] - 1);
  const texts = ["lacks nothing", upTo(0) + " writes", upTo(1), upTo(2), number(from[3]) + " or more"];
  for (const [step, text] of texts.entries()) {
    const entry = document.createElement("span");
    const colour = document.createElement("i");
    colour.className = "lack" + step;
    entry.append(colour, text);
    at("legend").append(entry);
  }
  const dashed = document.createElement("span");
  const stroke = document.createElement("i");
  stroke.className = "stroke";
  dashed.append(stroke, "link that is down");
  at("legend").append(dashed);

  // Tables that may have thousands of rows, sorted by a click on a heading.
  function table(id, columns, count, onRow) {
    const target = at(id);
    const head = target.createTHead().insertRow();
    const body = target.createTBody();
    const caption = target.createCaption();
    const order = Array.from({ length: count }, (_, row) => row);
    let shown = ROWS_FIRST;
    let sorted = null;
    function fill() {
      body.replaceChildren();
      for (const row of order.slice(0, shown)) {
        const line = body.insertRow();
        for (const column of columns) {
          const cell = line.insertCell();
          const value = column.value(row);
          cell.textContent = column.write ? column.write(value) : value;
          if (column.write) cell.className = "figure";
        }
        if (onRow) line.addEventListener("click", () => onRow(row));
      }
      caption.replaceChildren();
      if (shown < count) {
        const more = document.createElement("button");
        more.textContent = "show all " + number(count);
        more.addEventListener("click", () => { shown = count; fill(); });
        caption.append(more);
      }
    }
    for (const column of columns) {
      const cell = document.createElement("th");
      const button = document.createElement("button");
      button.textContent = column.title;
      button.addEventListener("click", () => {
        const turned = sorted === column;
        const sign = (column.write ? -1 : 1) * (turned ? -1 : 1);
        order.sort((one, other) => {
          const [left, right] = [column.value(one), column.value(other)];
          return left < right ? -sign : left > right ? sign : one - other;
        });
        sorted = turned ? null : column;
        fill();
      });
      if (column.write) cell.className = "figure";
      cell.append(button);
      head.append(cell);
    }
    fill();
  }

  const of = (title, values, write) => ({ title, value: (row) => values[row], write });
  const age = (title, place) =>
    ({ title, value: (row) => sites.staleness_ms[row][place], write: duration });
  table("sites", [
    of("site", sites.name), of("parent", sites.parent), of("writes", sites.writes, number),
    of("arrived", sites.arrived, number), age("p50", 0), age("p90", 1), age("p99", 2),
    age("greatest", 3), of("exchanges", sites.rounds, number), of("broke off", sites.failures, number),
  ], siteCount, pick);
  table("links", [
    { title: "from", value: (row) => sites.name[links.one[row]] },
    { title: "to", value: (row) => sites.name[links.other[row]] },
    of("class", links.link_class), of("exchanges", links.rounds, number),
    of("messages", links.messages, number), of("lost", links.lost, number),
    of("bytes up", links.bytes_up, size), of("bytes down", links.bytes_down, size),
  ], lines.length);

  drawTime();
})();
