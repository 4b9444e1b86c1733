"use strict";
// Puts the drawing on a canvas, lists the events, and shows one in full. All that is decided was decided before: see the
// data in the element "history".
(() => {
  const data = JSON.parse(document.getElementById("history").textContent);
  const element = (id) => document.getElementById(id);
  const canvas = element("lanes"), pen = canvas.getContext("2d"), stage = element("stage");
  const GUTTER = 96, AXIS = 26, ROW = 9, PAD = 7, LIST_ROW = 18;
  const COLOR = {
    read: "#3b76c4", write: "#7a4fb5", watch: "#1f8a84", refused: "#e08a1e", unknown: "#9aa1a9", open: "#9aa1a9",
    commit: "#222b36", compaction: "#8b5e34", added: "#2c9a4b", modified: "#3b76c4", deleted: "#c2453d",
    bookmark: "#9aa1a9", error: "#e08a1e", end: "#1f8a84", informer: "#b07ad1", note: "#6b7684", life: "#6b7684",
    fault: "#fbe3c2", down: "#c9ced6", paused: "#f6ecb4", stopping: "#e3e6ea", broken: "#d5202b",
  };
  // Points that are drawn by themselves; the others are ends of bars.
  const ALONE = new Set(["commit", "compaction", "added", "modified", "deleted", "bookmark", "error", "informer", "note"]);

  const named = new Set(data.findings.flat());
  const barOf = new Map(data.bars.map((bar) => [bar.id, bar]));
  const tops = [];
  let height = AXIS;
  for (const lane of data.lanes) {
    tops.push(height);
    height += PAD * 2 + Math.max(lane.rows * ROW, 16);
  }
  const end = Math.max(data.end, 1);
  let from = -end * 0.01, to = end * 1.01;
  let width = 800, chosen = -1, shown = 0, matching = null, visible = data.events.map((_, index) => index);

  const x = (at) => GUTTER + ((at - from) / (to - from)) * (width - GUTTER);
  const timeAt = (px) => from + ((px - GUTTER) / (width - GUTTER)) * (to - from);
  const middle = (lane) => tops[lane] + (bottom(lane) - tops[lane]) / 2;
  const bottom = (lane) => (lane + 1 < tops.length ? tops[lane + 1] : height);
  const rowY = (bar) => tops[bar.lane] + PAD + bar.row * ROW;
  const shows = (index) => matching === null || matching[index];

  function pointY(point) {
    const bar = point.id === undefined ? undefined : barOf.get(point.id);
    return bar ? rowY(bar) + ROW / 2 - 1 : middle(point.lane);
  }

  // First event at or after a time.
  function lowerBound(at) {
    let low = 0, high = data.events.length;
    while (low < high) {
      const half = (low + high) >> 1;
      if (data.events[half].at < at) low = half + 1; else high = half;
    }
    return low;
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1;
    width = stage.clientWidth;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    canvas.style.height = height + "px";
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.save();
    pen.beginPath();
    pen.rect(GUTTER, 0, width - GUTTER, height);
    pen.clip();
    drawLanes();
    drawBands();
    drawAxis();
    const bars = data.bars.filter((bar) => bar.to >= from && bar.from <= to);
    if (bars.length < 250) bars.forEach(drawArrows);
    bars.forEach(drawBar);
    drawPoints();
    drawNamed();
    if (chosen >= 0) drawChosen();
    pen.restore();
    drawNames();
  }

  function drawLanes() {
    data.lanes.forEach((_, lane) => {
      pen.fillStyle = lane % 2 ? "#f7f8fa" : "#fff";
      pen.fillRect(GUTTER, tops[lane], width, bottom(lane) - tops[lane]);
    });
  }

  function drawBands() {
    for (const band of data.bands) {
      if (band.to < from || band.from > to) continue;
      const left = x(band.from), right = Math.max(x(band.to), left + 1.5);
      const everywhere = band.kind === "fault" || band.kind === "healed";
      const moment = band.from === band.to;
      const top = everywhere ? tops[band.lane] + PAD + band.row * ROW - 1 : tops[band.lane];
      const low = everywhere ? top + ROW - 1 : bottom(band.lane);
      if (everywhere) {
        pen.globalAlpha = moment ? 0.55 : 0.13;
        pen.fillStyle = band.kind === "healed" ? "#2c9a4b" : "#e9a23b";
        pen.fillRect(left, AXIS, right - left, height);
        pen.globalAlpha = 1;
      }
      pen.fillStyle = band.kind === "healed" ? "#2c9a4b" : everywhere ? "#f0b45f" : COLOR[band.kind];
      pen.fillRect(left, top, Math.max(right - left, everywhere ? 3 : 1.5), low - top);
    }
    drawBandNames();
  }

  function drawBandNames() {
    const ends = new Map();
    pen.font = "10px system-ui, 'DejaVu Sans', sans-serif";
    for (const band of data.bands) {
      if (band.to < from || band.from > to) continue;
      const everywhere = band.kind === "fault" || band.kind === "healed";
      const start = Math.max(x(band.from), GUTTER) + (band.from === band.to ? 6 : 3);
      const row = band.lane + "/" + (everywhere ? band.row : "life");
      const needs = pen.measureText(band.text).width;
      const next = everywhere ? nextStart(band) : x(band.to);
      if (start < (ends.get(row) || 0) || start + needs > next - 2) continue;
      pen.fillStyle = band.kind === "healed" ? "#17602a" : "#4a3a22";
      pen.fillText(band.text, start, tops[band.lane] + PAD + (everywhere ? band.row * ROW : 0) + 6.5);
      ends.set(row, start + needs + 4);
    }
  }

  // A name may run over the end of its band until the next band on its row begins.
  function nextStart(band) {
    const after = data.bands.filter((other) => other.lane === band.lane && other.row === band.row && other.from > band.from);
    return after.length ? Math.min(...after.map((other) => x(other.from))) : width;
  }

  function drawAxis() {
    const span = to - from, wanted = (width - GUTTER) / 110;
    const base = 10 ** Math.floor(Math.log10(span / wanted));
    const step = [1, 2, 5, 10].map((factor) => factor * base).find((size) => span / size <= wanted) || base * 10;
    const digits = Math.max(0, Math.min(9, 9 - Math.floor(Math.log10(step))));
    pen.font = "11px system-ui, 'DejaVu Sans', sans-serif";
    for (let at = Math.ceil(Math.max(from, 0) / step) * step; at <= Math.min(to, end); at += step) {
      pen.fillStyle = "#e6e9ed";
      pen.fillRect(x(at), AXIS - 6, 1, height);
      pen.fillStyle = "#5a6573";
      pen.fillText((at / 1e9).toFixed(digits) + " s", x(at) + 3, AXIS - 10);
    }
  }

  function dimmed(bar) {
    return matching !== null && !bar.events.some((index) => matching[index]);
  }

  function drawBar(bar) {
    const left = x(bar.from), right = Math.max(x(bar.to), left + 2), y = rowY(bar);
    pen.globalAlpha = dimmed(bar) ? 0.12 : 1;
    const color = bar.outcome === "ok" ? COLOR[bar.verb] : COLOR[bar.outcome];
    pen.fillStyle = color;
    if (bar.verb === "watch" && bar.outcome === "ok") {
      const opened = Math.max(x(bar.answered), left + 1);
      pen.fillRect(left, y, opened - left, ROW - 2);
      pen.globalAlpha *= 0.4;
      pen.fillRect(opened, y + 2, Math.max(right - opened, 1), 3);
    } else {
      pen.fillRect(left, y, right - left, ROW - 2);
    }
    pen.globalAlpha = 1;
    if (bar.events.some((index) => named.has(index))) {
      pen.strokeStyle = COLOR.broken;
      pen.lineWidth = 1.5;
      pen.strokeRect(left - 1, y - 1, right - left + 2, ROW);
    }
    pen.font = "10px system-ui, 'DejaVu Sans', sans-serif";
    const label = "#" + bar.id + " " + bar.label;
    if (!dimmed(bar) && bar.verb !== "watch" && right - left > pen.measureText(label).width + 6) {
      pen.fillStyle = "#fff";
      pen.fillText(label, Math.max(left, GUTTER) + 3, y + 6.5);
    }
  }

  function arrow(fromX, fromY, toX, toY, color) {
    const angle = Math.atan2(toY - fromY, toX - fromX);
    pen.strokeStyle = pen.fillStyle = color;
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(fromX, fromY);
    pen.lineTo(toX, toY);
    pen.stroke();
    pen.beginPath();
    pen.moveTo(toX, toY);
    for (const turn of [-0.4, 0.4]) pen.lineTo(toX - 6 * Math.cos(angle + turn), toY - 6 * Math.sin(angle + turn));
    pen.fill();
  }

  function drawArrows(bar) {
    if (dimmed(bar)) return;
    const y = rowY(bar) + ROW / 2, server = middle(bar.server);
    pen.globalAlpha = 0.45;
    arrow(x(bar.from), y, x(bar.from), server, COLOR[bar.verb]);
    if (bar.answered !== null && bar.outcome !== "unknown") arrow(x(bar.answered), server, x(bar.answered), y, COLOR[bar.outcome] || COLOR[bar.verb]);
    pen.globalAlpha = 1;
  }

  function drawPoints() {
    const last = lowerBound(to);
    const first = lowerBound(from);
    const messages = last - first < 3000;
    for (let index = first; index < last; index++) {
      const point = data.events[index];
      const px = x(point.at), y = pointY(point);
      pen.globalAlpha = shows(index) ? 1 : 0.08;
      if (point.mark === "message" && point.to) {
        if (messages) {
          pen.globalAlpha *= 0.25;
          arrow(px, middle(point.lane), x(point.to[1]), middle(point.to[0]), "#6b7684");
        }
        continue;
      }
      if (!ALONE.has(point.mark)) continue;
      pen.fillStyle = COLOR[point.mark];
      if (point.mark === "commit") {
        pen.beginPath();
        pen.arc(px, y, 3.2, 0, 7);
        pen.fill();
      } else if (point.mark === "compaction") {
        pen.beginPath();
        pen.moveTo(px, y - 5);
        pen.lineTo(px + 5, y);
        pen.lineTo(px, y + 5);
        pen.lineTo(px - 5, y);
        pen.fill();
      } else if (point.id === undefined) {
        pen.fillRect(px - 1, y - 4, 2, 8);
      } else {
        pen.fillRect(px - 1.25, y - 4, 2.5, 8);
      }
    }
    pen.globalAlpha = 1;
  }

  // Lines mark the finding that is shown; what others name is circled only.
  function drawNamed() {
    const lined = new Set(data.findings[shown] || []);
    for (const index of named) {
      const point = data.events[index], px = x(point.at), y = pointY(point);
      if (px < GUTTER - 8 || px > width + 8) continue;
      pen.strokeStyle = pen.fillStyle = COLOR.broken;
      pen.globalAlpha = lined.has(index) ? 1 : 0.45;
      pen.lineWidth = lined.has(index) ? 2 : 1.2;
      pen.beginPath();
      pen.arc(px, y, lined.has(index) ? 6 : 4.5, 0, 7);
      pen.stroke();
      pen.globalAlpha = 0.6;
      if (lined.has(index)) pen.fillRect(px - 0.75, AXIS, 1.5, height);
      pen.globalAlpha = 1;
    }
  }

  function drawChosen() {
    const point = data.events[chosen], px = x(point.at), y = pointY(point);
    pen.strokeStyle = "#1559c9";
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(px, y, 8.5, 0, 7);
    pen.stroke();
    pen.fillStyle = "#1559c9";
    pen.fillRect(px - 0.5, AXIS, 1, height);
  }

  function drawNames() {
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, GUTTER, height);
    data.lanes.forEach((lane, index) => {
      pen.fillStyle = index % 2 ? "#f0f2f5" : "#f7f8fa";
      pen.fillRect(0, tops[index], GUTTER - 1, bottom(index) - tops[index]);
      pen.fillStyle = "#1d2530";
      pen.font = "600 12px system-ui, 'DejaVu Sans', sans-serif";
      pen.fillText(lane.node, 8, middle(index) + 4, GUTTER - 14);
    });
    pen.fillStyle = "#d4d9df";
    pen.fillRect(GUTTER - 1, 0, 1, height);
    pen.fillRect(0, AXIS - 1, width, 1);
  }

  // The nearest event to a place on the canvas, or the bar that is there.
  function find(px, py) {
    const near = ((to - from) / (width - GUTTER)) * 7;
    const at = timeAt(px);
    let best = -1, distance = 81;
    for (let index = lowerBound(at - near); index < data.events.length && data.events[index].at <= at + near; index++) {
      const point = data.events[index];
      if (!shows(index) || point.mark === "message") continue;
      const far = (x(point.at) - px) ** 2 + (pointY(point) - py) ** 2;
      if (far < distance) [best, distance] = [index, far];
    }
    if (best >= 0) return best;
    const inside = (bar) => bar.from <= at && at <= bar.to && py >= rowY(bar) && py < rowY(bar) + ROW && !dimmed(bar);
    const bar = data.bars.find(inside);
    return bar ? bar.events[0] : -1;
  }

  function choose(index, scroll) {
    chosen = index;
    const point = data.events[index];
    const panel = element("details");
    panel.textContent = "";
    const add = (tag, text) => panel.appendChild(Object.assign(document.createElement(tag), { textContent: text }));
    add("p", "event " + index + (named.has(index) ? " (of the broken invariant)" : ""));
    add("pre", point.line.trim());
    const bar = point.id === undefined ? undefined : barOf.get(point.id);
    if (bar) {
      add("p", "request #" + bar.id + ": " + bar.events.length + " events");
      add("pre", bar.events.slice(0, 12).map((other) => data.events[other].line.trim()).join("\n") + (bar.events.length > 12 ? "\n..." : ""));
    }
    add("pre", JSON.stringify(point.event, null, 1));
    if (scroll) {
      const place = visible.indexOf(index);
      if (place >= 0) element("list").scrollTop = Math.max(0, (place - 6) * LIST_ROW);
    }
    list();
    draw();
  }

  function list() {
    const box = element("list"), rows = element("rows");
    element("room").style.height = visible.length * LIST_ROW + "px";
    const first = Math.max(0, Math.floor(box.scrollTop / LIST_ROW) - 5);
    rows.style.top = first * LIST_ROW + "px";
    rows.textContent = "";
    const count = Math.ceil((box.clientHeight || 340) / LIST_ROW) + 10;
    for (const index of visible.slice(first, first + count)) {
      const row = document.createElement("div");
      row.textContent = data.events[index].line;
      row.className = (named.has(index) ? "named " : "") + (index === chosen ? "chosen" : "");
      row.onclick = () => { center(data.events[index].at); choose(index, false); };
      rows.appendChild(row);
    }
  }

  function center(at) {
    if (at > from && at < to) return;
    const span = to - from;
    [from, to] = [at - span / 2, at + span / 2];
  }

  function filter() {
    const text = element("filter").value.trim();
    matching = null;
    if (text) {
      const keys = new Set(data.keys.flatMap((key, index) => (key.includes(text) ? [index] : [])));
      const id = /^#\d+$/.test(text) ? Number(text.slice(1)) : -1;
      const fits = (point) => (id >= 0 ? point.id === id : (point.keys || []).some((key) => keys.has(key)) || point.line.includes(text));
      matching = data.events.map(fits);
    }
    visible = data.events.flatMap((_, index) => (shows(index) ? [index] : []));
    element("shown").textContent = visible.length + " of " + data.events.length + " events";
    element("list").scrollTop = 0;
    list();
    draw();
  }

  function zoom(factor, at) {
    const span = Math.min(Math.max((to - from) * factor, 1000), end * 1.2);
    const share = (at - from) / (to - from);
    from = at - span * share;
    to = from + span;
    draw();
  }

  function fit(first, last) {
    const span = Math.max(last - first, 1000);
    [from, to] = [first - span * 0.01, last + span * 0.01];
    draw();
  }

  // Zooms to what a finding names, or, where that lies far apart, to the first of it.
  function showFinding(finding) {
    shown = finding;
    const times = data.findings[finding].map((index) => data.events[index].at);
    if (!times.length) return;
    const first = Math.min(...times), last = Math.max(...times), far = last - first > end * 0.2;
    const margin = Math.max(far ? 0 : (last - first) * 0.2, Math.min(1e9, end * 0.1));
    choose(data.findings[finding][times.indexOf(first)], true);
    fit(first - margin, (far ? first : last) + margin);
  }

  canvas.addEventListener("wheel", (event) => {
    if (event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, timeAt(event.offsetX));
  }, { passive: false });
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    drag = { px: event.offsetX, from, to, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const hint = element("hint");
    if (drag) {
      const shift = ((event.offsetX - drag.px) / (width - GUTTER)) * (drag.to - drag.from);
      if (Math.abs(event.offsetX - drag.px) > 3) drag.moved = true;
      if (drag.moved) {
        [from, to] = [drag.from - shift, drag.to - shift];
        draw();
      }
      return;
    }
    const index = find(event.offsetX, event.offsetY);
    hint.style.display = index < 0 ? "none" : "block";
    if (index >= 0) {
      hint.textContent = data.events[index].line.trim();
      hint.style.left = Math.min(event.clientX + 14, window.innerWidth - 580) + "px";
      hint.style.top = event.clientY + 16 + "px";
    }
  });
  canvas.addEventListener("pointerup", (event) => {
    const moved = drag && drag.moved;
    drag = null;
    const index = find(event.offsetX, event.offsetY);
    if (!moved && index >= 0) choose(index, true);
  });
  canvas.addEventListener("pointerleave", () => { element("hint").style.display = "none"; });
  canvas.addEventListener("dblclick", () => fit(0, end));
  element("fit").onclick = () => fit(0, end);
  element("closer").onclick = () => zoom(0.5, (from + to) / 2);
  element("wider").onclick = () => zoom(2, (from + to) / 2);
  element("filter").addEventListener("input", filter);
  element("list").addEventListener("scroll", list);
  window.addEventListener("resize", () => { list(); draw(); });
  for (const button of document.querySelectorAll("[data-finding]")) {
    button.onclick = () => showFinding(Number(button.dataset.finding));
  }
  for (const key of data.keys) element("keys").appendChild(Object.assign(document.createElement("option"), { value: key }));
  // #finding=N and #filter=TEXT open the page in a state: for links and for screenshots.
  const state = new URLSearchParams(location.hash.slice(1));
  if (state.has("filter")) element("filter").value = state.get("filter");
  filter();
  if (state.has("finding")) showFinding(Number(state.get("finding")));
  document.body.dataset.ready = "yes";
})();
