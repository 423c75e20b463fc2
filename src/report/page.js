/* The page of pmap-report. Data is what src/report/page.c wrote; times in it are nanoseconds. Nothing of it is ever taken as HTML: all text goes
 * through textContent. */
"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);

// ---- Words ----

const sure = (x) => (Number.isFinite(x) ? x : 0);
const count = (n) => sure(n).toLocaleString("en-US");
const percent = (part, all) => {
  const p = all > 0 ? 100 * part / all : 0;
  return (p > 0 && p < 0.1 ? "<0.1" : p >= 10 || p === 0 ? p.toFixed(0) : p.toFixed(1)) + " %";
};
function time(ns) {
  const digits = (x) => (x >= 100 ? 0 : x >= 10 ? 1 : 2);
  if (ns >= 7200e9) return Math.floor(ns / 3600e9) + " h " + Math.floor(ns % 3600e9 / 60e9) + " min";
  if (ns >= 120e9) return Math.floor(ns / 60e9) + " min " + Math.floor(ns % 60e9 / 1e9) + " s";
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]])
    if (ns >= size) return (ns / size).toFixed(digits(ns / size)) + " " + unit;
  return Math.round(ns) + " ns";
}
function bytes(n) {
  if (n === undefined) return "";
  let unit = 0;
  for (; n >= 1000 && unit < 5; unit++) n /= 1000;
  return n.toFixed(unit && n < 10 ? 1 : 0) + " " + ["B", "KB", "MB", "GB", "TB", "PB"][unit];
}
const plural = (n, noun) => count(n) + " " + noun + (n === 1 ? "" : "s");
const callName = (c) => c.function + " " + c.task + (c.calls > 1 ? " (" + count(c.calls) + " calls)" : "");

// ---- Elements ----

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties))
    if (key === "style" || key.includes("-")) element.setAttribute(key, value);
    else element[key] = value;
  element.append(...children);
  return element;
}
// columns: [title, function of a row, "number" | "text" | "bar" | ""]; the first is the head of its row
function table(target, caption, columns, rows) {
  const head = make("tr", {}, ...columns.map(([title, , kind]) => make("th", { scope: "col", className: kind === "number" ? "number" : "" }, title)));
  const body = rows.map((row, index) => make("tr", {}, ...columns.map(([, get, kind], i) => {
    const value = get(row, index);
    const cell = make(i === 0 ? "th" : "td", { className: kind || "" });
    if (i === 0) cell.scope = "row";
    cell.append(value instanceof Node ? value : String(value));
    return cell;
  })));
  target.replaceChildren(make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body));
}
const bar = (share, colour) => make("div", { style: "width:" + Math.max(0, Math.min(100, 100 * share)).toFixed(1) + "%;background:var(" + (colour || "--working") + ")", title: percent(share, 1) });
const swatch = (colour) => make("span", { className: "swatch", style: "background:var(" + colour + ")" });
function figure(list, name, value, note, kind, exact) {
  list.append(make("div", { className: kind || "" }, make("dt", {}, name),
    make("dd", { "data-figure": name, "data-value": String(exact) }, value, ...(note ? [make("small", {}, note)] : []))));
}
// Text for where something ran.
const lanes = data.lanes, ranks = data.ranks;
const laneName = (l) => (ranks.length > 1 ? "rank " + ranks[lanes[l].rank].rank + " " : "") + "thread " + lanes[l].thread;
const laneLong = (l) => laneName(l) + (ranks[lanes[l].rank].host ? " on " + ranks[lanes[l].rank].host : "");
const rankLong = (r) => "rank " + ranks[r].rank + (ranks[r].host ? " on " + ranks[r].host : "");

// ---- Head and figures ----

const losses = [ // in the order of enum pmap__loss
  ["in items", "--working", "running items that succeeded"],
  ["failed items", "--failed", "running items that failed, or gave up when they were cancelled"],
  ["start-up", "--startup", "before pmap_create had made the rank ready"],
  ["transfer", "--transfer", "idle between items, while a chunk was on its way to or from the rank"],
  ["waiting", "--waiting", "idle between items otherwise: for the root to hand out, or for a stream"],
  ["imbalance", "--imbalance", "idle at the end of a call, while other threads still ran its items"],
  ["no call", "--between", "idle because the program itself was running, and no call was there"],
];
const inItems = data.losses[0] + data.losses[1];

function showHead() {
  document.title = (data.command ? data.command.split(" ")[0].split("/").pop() + " · " : "") + "pmap report";
  $("command").textContent = data.command || data.file;
  $("about").textContent = [data.started && "started " + data.started.replace("T", " ").replace("Z", " UTC"), data.file !== "the trace" && "trace " + data.file, "pmap " + data.version].filter(Boolean).join(" · ");
  $("version").textContent = data.version;
  const list = $("figures"), hosts = new Set(ranks.map((r) => r.host)).size;
  figure(list, "Run", time(data.end), plural(data.calls.reduce((n, c) => n + c.calls, 0), "call"), "", data.end);
  figure(list, "Items", count(data.items), count(Math.round(data.items / (data.end / 1e9))) + " per second", "", data.items);
  figure(list, "Failed", count(data.failed), data.skipped || data.givenUp ? [data.givenUp && count(data.givenUp) + " gave up", data.skipped && count(data.skipped) + " never begun"].filter(Boolean).join(", ") : "of " + plural(data.items, "run"), data.failed ? "bad" : "", data.failed);
  figure(list, "Threads", count(lanes.length), plural(ranks.length, "rank") + (hosts > 1 ? " on " + hosts + " hosts" : ""), "", lanes.length);
  figure(list, "Utilisation", percent(inItems, data.laneTime), "of the threads' time in items", inItems / data.laneTime > 0.8 ? "good" : "", inItems / data.laneTime);
  figure(list, "Speed-up", (inItems / data.end).toFixed(inItems / data.end < 10 ? 2 : 1) + "×", time(inItems) + " of items", "", inItems / data.end);
  const notes = [];
  const drawn = lanes.reduce((n, l) => n + l.count, 0);
  if (data.spans > data.kept)
    notes.push("There were " + count(data.spans) + " spans of items; the trace has " + count(data.kept) + ", in which neighbours are joined. Sums are exact; at the deepest zoom the timeline is coarser than the run was.");
  if (drawn < data.kept)
    notes.push("The timeline draws one by one the " + count(drawn) + " longest spans of " + count(data.kept) + ". The shorter ones are in its shades, and in all figures.");
  if (!data.complete)
    notes.push("This trace is not complete: the program ended without destroying its pool, or a rank died.");
  if (data.clockError > 1e5)
    notes.push("The clocks of the ranks agree to ±" + time(data.clockError) + ".");
  $("sampled").textContent = notes.join(" ");
  $("sampled").hidden = notes.length === 0;
}

function showAdvice() {
  const list = $("advice");
  $("advice-note").hidden = !data.advice.some((a) => a.share > 0);
  if (data.advice.length === 0) {
    const text = data.items === 0 ? "No item ran in this run."
      : "Threads were in items for " + percent(inItems, data.laneTime) + " of their time. Nothing that is known to waste time would have saved more than 3 % of this run.";
    list.append(make("li", { className: "fine" }, make("div", {}, make("h3", {}, "Nothing to improve was found"), make("p", {}, text))));
  }
  for (const a of data.advice)
    list.append(make("li", { "data-topic": a.topic },
      make("div", { className: "gain" }, ...(a.share > 0 ? [percent(a.share, 1), make("small", {}, time(a.saved))] : ["threads", make("small", {}, "saved")])),
      make("div", {}, make("h3", {}, a.title), make("p", {}, a.text))));
}

function showLosses() {
  const all = data.laneTime;
  $("lossbar").append(...losses.map(([name, colour], l) => [name, colour, data.losses[l]]).filter(([, , lost]) => lost > 0).map(([name, colour, lost]) =>
    make("span", { style: "flex:" + lost / all + " 1 0;background:var(" + colour + ")", title: name + ": " + percent(lost, all) }, lost / all > 0.07 ? percent(lost, all) : "")));
  table($("losses"), "All threads together had " + time(all) + ".", [
    ["", ([name, colour]) => make("span", {}, swatch(colour), name)],
    ["share", (_, l) => percent(data.losses[l], all), "number"],
    ["time", (_, l) => make("span", { "data-loss": losses[l][0], "data-value": String(data.losses[l]) }, time(data.losses[l])), "number"],
    ["", ([, , what]) => what, "text"],
  ], losses);
}

// ---- Lanes: spans and bins ----

// A column is an array, of differences or not, or a value for all.
const column = (lane, key, differences) => {
  const values = lane[key], out = new Float64Array(lane.count);
  let before = 0;
  for (let i = 0; i < lane.count; i++) {
    const value = Array.isArray(values) ? values[i] : values;
    before = differences ? before + value : value;
    out[i] = before;
  }
  return out;
};
for (const lane of lanes)
  Object.assign(lane, { begin: column(lane, "b", true), length: column(lane, "d"), pause: column(lane, "y"), item: column(lane, "i", true), n: column(lane, "n"),
    call: column(lane, "c"), bad: column(lane, "x"), attempt: column(lane, "a"), task: column(lane, "t") });
const letters = new Map([..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"].map((c, i) => [c.charCodeAt(0), i / 63]));
// Sums of the shares of the bins before each bin, so that any time has its mean at once.
function sums(texts) {
  const out = new Float32Array(data.bins + 1);
  for (let b = 0; b < data.bins; b++) {
    let share = 0;
    for (const text of texts) share += letters.get(text.charCodeAt(b));
    out[b + 1] = out[b] + share / texts.length;
  }
  return out;
}
const laneSums = data.busyBins.map((text) => sums([text]));
const allSums = lanes.length ? sums(data.busyBins) : new Float32Array(data.bins + 1);
const rankLanes = ranks.map((_, r) => lanes.map((lane, l) => l).filter((l) => lanes[l].rank === r));
let rankSums = null; // when they are drawn first
function mean(prefix, from, to) { // of bins, as fractions; linear inside of a bin
  const at = (x) => {
    const b = Math.max(0, Math.min(data.bins, x)), whole = Math.floor(b);
    return whole >= data.bins ? prefix[data.bins] : prefix[whole] + (b - whole) * (prefix[whole + 1] - prefix[whole]);
  };
  return to > from ? Math.max(0, Math.min(1, (at(to) - at(from)) / (to - from))) : 0;
}
const toBin = (t) => t / data.end * data.bins;
function firstSpan(lane, t) { // the first that ends after t
  let low = 0, high = lane.count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (lane.begin[middle] + lane.length[middle] <= t) low = middle + 1; else high = middle;
  }
  return low;
}
const taskNames = [...new Set(data.tasks.map((t) => t.task))];
const colourOf = (task) => "--task" + (Math.max(0, taskNames.indexOf(task)) % 8);
function describe(l, i) {
  const lane = lanes[l], n = lane.n[i], busy = lane.length[i] - lane.pause[i];
  const what = data.names[lane.task[i]] + (n > 1 ? ", " + count(n) + " items from " + count(lane.item[i]) + " on" : ", item " + count(lane.item[i]));
  return [what, time(lane.length[i]) + (n > 1 ? ", " + time(busy / n) + " an item" : "") + ", at " + time(lane.begin[i]), laneLong(l),
    lane.bad[i] ? (lane.bad[i] === 1 ? "failed" : "gave up") : "", lane.attempt[i] > 1 ? "attempt " + lane.attempt[i] : ""].filter(Boolean);
}

// ---- The timeline ----

const box = $("timeline"), canvas = $("lanes"), overview = $("overview"), tip = $("tip");
const view = { from: 0, to: data.end, byRank: lanes.length > 64 && ranks.length > 1, row: -1, span: -1 };
const least = Math.max(10, data.end / 1e7); // ns in a view; no trace is finer
let colours = {}, rowHeight = 18, gutter = 84, strip = 0, axis = 22;
// Calls and phases are bars above the lanes, those at the same time below each other, four rows at most.
const bars = [...data.calls.map((c) => ({ begin: c.begin, end: c.end, colour: c.status === "PMAP_OK" ? "--task" + Math.max(0, data.tasks.findIndex((t) => t.task === c.task)) % 8 : "--failed",
  name: callName(c), text: [callName(c), plural(c.items, "item") + " in " + time(c.end - c.begin) + ", " + (c.chunksize ? "chunksize " + count(c.chunksize) : "chunks as the library chose"), c.status].join("\n") })),
  ...data.phases.map((p) => ({ begin: p.begin, end: p.end, colour: "--between", name: p.name, text: p.name + " of call " + p.call + "\n" + time(p.end - p.begin) }))];
const callRows = [];
for (const bar of bars.sort((a, b) => a.begin - b.begin || b.end - a.end)) {
  let row = callRows.findIndex((end) => end <= bar.begin);
  if (row < 0) row = callRows.length < 4 ? callRows.push(0) - 1 : 3;
  callRows[row] = Math.max(callRows[row], bar.end);
  bar.row = row;
}
const rows = () => (view.byRank ? ranks.length : lanes.length);
const rowSums = (row) => {
  if (!view.byRank) return laneSums[row];
  if (!rankSums) rankSums = rankLanes.map((list) => sums(list.map((l) => data.busyBins[l])));
  return rankSums[row];
};
const rowName = (row, narrow) => (view.byRank ? (narrow ? "r" + ranks[row].rank : "rank " + ranks[row].rank)
  : ranks.length > 1 ? (narrow ? "r" + ranks[lanes[row].rank].rank + " t" + lanes[row].thread : "rank " + ranks[lanes[row].rank].rank + " t" + lanes[row].thread) : (narrow ? "t" : "thread ") + lanes[row].thread);

function readColours() {
  const style = getComputedStyle(document.documentElement);
  colours = {};
  for (const name of ["--ink", "--faint", "--line", "--lane", "--card", "--accent", "--working", "--failed", "--startup", "--between", ...[0, 1, 2, 3, 4, 5, 6, 7].map((t) => "--task" + t)])
    colours[name] = style.getPropertyValue(name).trim();
}
function fit(element, height) { // the canvas in device pixels; what is drawn is in CSS pixels
  const scale = window.devicePixelRatio || 1, width = element.clientWidth;
  if (element.width !== Math.round(width * scale) || element.height !== Math.round(height * scale)) {
    element.width = Math.round(width * scale);
    element.height = Math.round(height * scale);
  }
  const to = element.getContext("2d");
  to.setTransform(scale, 0, 0, scale, 0, 0);
  to.clearRect(0, 0, width, height);
  return [to, width];
}
function layout() {
  const n = Math.max(1, rows());
  gutter = box.clientWidth < 560 ? 46 : ranks.length > 1 && !view.byRank ? 92 : 76;
  rowHeight = Math.max(6, Math.min(26, Math.floor(460 / n)));
  strip = callRows.length ? callRows.length * 16 + 4 : 0;
  const height = strip + n * rowHeight + axis, shown = Math.min(height, Math.max(280, Math.round(window.innerHeight * 0.75)));
  box.style.height = shown + 2 + "px";
  $("tall").style.height = height + "px";
  canvas.style.height = shown + "px";
}
const plotWidth = () => canvas.clientWidth - gutter;
const toX = (t) => gutter + (t - view.from) / (view.to - view.from) * plotWidth();
const toTime = (x) => view.from + (x - gutter) / plotWidth() * (view.to - view.from);

function niceStep(span, parts) {
  const raw = span / parts, power = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((m) => m * power).find((step) => step >= raw);
}
function tickText(t, step, until) { // all ticks of an axis in one unit
  const [unit, size] = [["s", 1e9], ["ms", 1e6], ["µs", 1e3], ["ns", 1]].find(([, s]) => until >= s) || ["ns", 1];
  return (t / size).toFixed(Math.max(0, Math.min(9, Math.ceil(-Math.log10(step / size) - 1e-9)))) + " " + unit;
}
function drawAxis(to, from, until, left, width, y, height) {
  const step = niceStep(until - from, Math.max(2, width / 110));
  to.fillStyle = colours["--faint"];
  to.strokeStyle = colours["--line"];
  to.font = "11px system-ui, sans-serif";
  to.textAlign = "left";
  to.textBaseline = "top";
  for (let t = Math.ceil(from / step) * step; t <= until; t += step) {
    const x = Math.round(left + (t - from) / (until - from) * width) + 0.5, text = tickText(t, step, until);
    to.beginPath();
    to.moveTo(x, y);
    to.lineTo(x, y + height);
    to.stroke();
    if (x + 4 + to.measureText(text).width < left + width) to.fillText(text, x + 3, y + 2);
  }
}
// Shades: how busy the row was in each pixel, in the colour of what its first lane ran there.
function colourAt(l, t) {
  const lane = lanes[l], i = Math.min(lane.count - 1, firstSpan(lane, t));
  return colourOf(i >= 0 ? data.names[lane.task[i]] : "");
}
function drawShades(to, row, y, height, width) {
  const prefix = rowSums(row), b0 = toBin(view.from), perPixel = toBin(view.to - view.from) / plotWidth(), lane = view.byRank ? rankLanes[row][0] : row;
  for (let x = 0, start = 0, shade = -1, colour = ""; x <= width; x++) {
    const now = x < width ? Math.ceil(16 * mean(prefix, b0 + x * perPixel, b0 + (x + 1) * perPixel)) : -1;
    const next = taskNames.length > 1 && now > 0 ? colourAt(lane, toTime(gutter + x)) : "--task0";
    if (now === shade && next === colour) continue;
    if (shade > 0) {
      to.fillStyle = colours[colour];
      to.globalAlpha = 0.12 + 0.88 * shade / 16;
      to.fillRect(gutter + start, y, x - start, height);
    }
    shade = now;
    colour = next;
    start = x;
  }
  to.globalAlpha = 1;
}
function drawSpans(to, l, y, height, pixel) {
  const lane = lanes[l];
  let lastX = -1;
  for (let i = firstSpan(lane, view.from); i < lane.count && lane.begin[i] < view.to; i++) {
    const x = Math.max(gutter, toX(lane.begin[i])), end = Math.min(gutter + plotWidth(), toX(lane.begin[i] + lane.length[i]));
    if (end - lastX < 0.5 && !lane.bad[i]) continue; // it would be drawn on the same pixel again
    to.globalAlpha = lane.length[i] > 0 ? 0.25 + 0.75 * (1 - lane.pause[i] / lane.length[i]) : 1;
    to.fillStyle = lane.bad[i] ? colours["--failed"] : colours[colourOf(data.names[lane.task[i]])];
    to.fillRect(x, y, Math.max(0.7, end - x - (end - x > 3 ? 0.8 : 0)), height);
    lastX = end;
  }
  to.globalAlpha = 1;
}
function drawCalls(to, width) {
  to.font = "11px system-ui, sans-serif";
  to.textBaseline = "middle";
  to.textAlign = "left";
  for (const bar of bars) {
    if (bar.end < view.from || bar.begin > view.to) continue;
    const x = Math.max(gutter, toX(bar.begin)), end = Math.min(width, toX(bar.end)), y = 2 + bar.row * 16;
    to.globalAlpha = 0.22;
    to.fillStyle = colours[bar.colour];
    to.fillRect(x, y, Math.max(1, end - x - 1), 14);
    to.globalAlpha = 1;
    to.fillRect(x, y, Math.min(2, Math.max(1, end - x)), 14);
    if (end - x > 36) {
      to.save();
      to.beginPath();
      to.rect(x, y, end - x - 4, 14);
      to.clip();
      to.fillStyle = colours["--ink"];
      to.fillText(bar.name, x + 5, y + 7.5);
      to.restore();
    }
  }
}
// One by one where there is room for that, in shades where there are many to a pixel.
function spansFit(l) {
  const lane = lanes[l], first = firstSpan(lane, view.from), last = firstSpan(lane, view.to);
  return last - first <= plotWidth() / 3;
}
// Failures are seen at any zoom, if not all of very many.
function drawFailures(to, row, y, height) {
  to.fillStyle = colours["--failed"];
  for (const s of data.failures) {
    if ((view.byRank ? lanes[s.lane].rank : s.lane) !== row || s.end < view.from || s.begin > view.to) continue;
    const x = Math.max(gutter, toX(s.begin));
    to.fillRect(x, y, Math.max(2, Math.min(gutter + plotWidth(), toX(s.end)) - x), height);
  }
}
function draw() {
  const height = canvas.clientHeight, [to, width] = fit(canvas, height), scroll = box.scrollTop, bottom = height - axis;
  const first = Math.max(0, Math.floor(scroll / rowHeight)), gap = rowHeight > 9 ? 2 : 1, narrow = gutter < 60;
  to.save();
  to.beginPath();
  to.rect(0, strip, width, bottom - strip);
  to.clip();
  for (let row = first; row < rows(); row++) {
    const y = strip + row * rowHeight - scroll;
    if (y > bottom) break;
    to.fillStyle = colours["--lane"];
    to.fillRect(gutter, y, width - gutter, rowHeight - gap);
    const one = view.byRank ? -1 : row;
    const rank = ranks[one < 0 ? row : lanes[row].rank];
    if (rank.ready > view.from) {
      to.globalAlpha = 0.3;
      to.fillStyle = colours["--startup"];
      to.fillRect(gutter, y, Math.min(width, toX(rank.ready)) - gutter, rowHeight - gap);
      to.globalAlpha = 1;
    }
    if (one >= 0 && spansFit(one)) {
      if (data.kept > lanes.reduce((n, l) => n + l.count, 0)) drawShades(to, row, y, rowHeight - gap, width - gutter);
      drawSpans(to, one, y, rowHeight - gap);
    } else {
      drawShades(to, row, y, rowHeight - gap, width - gutter);
      drawFailures(to, row, y, rowHeight - gap);
    }
    if (rank.lost >= 0 && rank.lost < view.to) {
      to.fillStyle = colours["--failed"];
      to.fillRect(Math.max(gutter, toX(rank.lost)), y, 3, rowHeight - gap);
    }
    const every = Math.ceil(13 / rowHeight);
    if (row % every === 0) {
      to.fillStyle = row === view.row ? colours["--accent"] : colours["--faint"];
      to.font = (row === view.row ? "bold " : "") + "11px system-ui, sans-serif";
      to.textAlign = "left";
      to.textBaseline = "middle";
      to.fillText(rowName(row, narrow), 6, y + Math.max(6, (rowHeight - gap) / 2));
    }
    if (row === view.row) {
      to.strokeStyle = colours["--accent"];
      to.lineWidth = 1.5;
      to.strokeRect(gutter + 0.75, y - 0.25, width - gutter - 1.5, rowHeight - gap + 0.5);
      if (view.span >= 0 && one >= 0) {
        const lane = lanes[one], x = toX(lane.begin[view.span]), end = toX(lane.begin[view.span] + lane.length[view.span]);
        to.lineWidth = 3;
        to.strokeStyle = colours["--ink"];
        to.strokeRect(x - 1, y - 1, Math.max(2, end - x) + 2, rowHeight - gap + 2);
      }
      to.lineWidth = 1;
    }
  }
  to.restore();
  drawCalls(to, width);
  if (!view.byRank && !narrow && strip) {
    to.fillStyle = colours["--faint"];
    to.textAlign = "left";
    to.fillText("calls", 6, 10);
  }
  drawAxis(to, view.from, view.to, gutter, plotWidth(), bottom, axis);
  drawOverview();
  const whole = view.to - view.from >= data.end * 0.999999;
  $("showing").textContent = whole ? "the whole run, " + time(data.end) : time(view.to - view.from) + " from " + time(view.from) + " on (" + percent(view.to - view.from, data.end) + " of the run)";
  box.dataset.from = view.from;
  box.dataset.to = view.to;
}
function drawOverview() {
  const height = overview.clientHeight, [to, width] = fit(overview, height), plot = width - gutter, low = height - 16;
  to.fillStyle = colours["--lane"];
  to.fillRect(gutter, 0, plot, low);
  to.fillStyle = colours["--working"];
  to.beginPath();
  to.moveTo(gutter, low);
  for (let x = 0; x <= plot; x++)
    to.lineTo(gutter + x, low - low * mean(allSums, x / plot * data.bins, Math.min(data.bins, (x + 1) / plot * data.bins)));
  to.lineTo(gutter + plot, low);
  to.fill();
  const from = gutter + view.from / data.end * plot, until = gutter + view.to / data.end * plot;
  to.globalAlpha = 0.72;
  to.fillStyle = colours["--card"];
  to.fillRect(gutter, 0, from - gutter, low);
  to.fillRect(until, 0, width - until, low);
  to.globalAlpha = 1;
  to.strokeStyle = colours["--accent"];
  to.lineWidth = 2;
  to.strokeRect(from, 1, Math.max(2, until - from), low - 2);
  to.lineWidth = 1;
  to.fillStyle = colours["--faint"];
  to.font = "11px system-ui, sans-serif";
  to.textAlign = "left";
  to.textBaseline = "top";
  to.fillText("busy", 6, 2);
  to.fillText("100 %", 6, 16);
  to.textBaseline = "bottom";
  to.fillText("0", 6, low);
  drawAxis(to, 0, data.end, gutter, plot, low, 4);
}
let queued = false;
function redraw() {
  if (queued) return;
  queued = true;
  requestAnimationFrame(() => { queued = false; draw(); });
}
function show(from, to) {
  const length = Math.min(data.end, Math.max(least, to - from));
  const middle = (from + to) / 2;
  view.from = Math.max(0, Math.min(data.end - length, middle - length / 2));
  view.to = view.from + length;
  redraw();
}
const zoom = (factor, around = (view.from + view.to) / 2) => show(around - (around - view.from) / factor, around + (view.to - around) / factor);
const pan = (part) => show(view.from + part * (view.to - view.from), view.to + part * (view.to - view.from));
function setRows(byRank) {
  view.byRank = byRank;
  view.row = view.span = -1;
  $("rows-ranks").setAttribute("aria-pressed", byRank);
  $("rows-threads").setAttribute("aria-pressed", !byRank);
  box.scrollTop = 0;
  layout();
  redraw();
}
function select(row, span) {
  view.row = row;
  view.span = span;
  const y = strip + row * rowHeight;
  if (y < box.scrollTop + strip) box.scrollTop = y - strip;
  if (y + rowHeight > box.scrollTop + box.clientHeight - axis) box.scrollTop = y + rowHeight - box.clientHeight + axis;
  if (span >= 0 && !view.byRank) {
    const lane = lanes[row], begin = lane.begin[span], end = begin + lane.length[span];
    if (begin < view.from || end > view.to) show(begin - (view.to - view.from) / 2, begin + (view.to - view.from) / 2);
    $("selected").textContent = describe(row, span).join(" · ");
  } else if (view.byRank)
    $("selected").textContent = rankLong(row) + ": " + plural(ranks[row].items, "item") + ", in items for " + percent(ranks[row].busy, data.end * ranks[row].threads) + " of the run";
  else
    $("selected").textContent = laneLong(row) + ": " + plural(lanes[row].items, "item") + ", in items for " + percent(lanes[row].busy, data.end) + " of the run";
  redraw();
}
function step(by) { // to the next item in the row, or the one before
  if (view.byRank || rows() === 0) return;
  const row = Math.max(0, view.row), lane = lanes[row];
  if (lane.count === 0) return;
  const span = view.span < 0 ? Math.min(lane.count - 1, firstSpan(lane, view.from)) : Math.max(0, Math.min(lane.count - 1, view.span + by));
  select(row, span);
}
function zoomToItem() {
  if (view.row < 0 || view.span < 0) return;
  const lane = lanes[view.row], begin = lane.begin[view.span], length = Math.max(least / 4, lane.length[view.span]);
  show(begin - length, begin + 2 * length);
}
const keys = {
  "+": () => zoom(2), "=": () => zoom(2), "-": () => zoom(0.5), "−": () => zoom(0.5), "_": () => zoom(0.5), "0": () => show(0, data.end), Home: () => show(0, data.end),
  ArrowLeft: () => pan(-0.25), ArrowRight: () => pan(0.25), ArrowUp: () => rows() && select(Math.max(0, view.row - 1), -1),
  ArrowDown: () => rows() && select(Math.min(rows() - 1, view.row + 1), -1), n: () => step(1), p: () => step(-1), Enter: zoomToItem,
};
box.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});

// What is under the pointer: a call, or an item.
function find(x, y) {
  const t = toTime(x);
  if (x < gutter || y > canvas.clientHeight - axis) return null;
  if (y < strip) {
    return bars.find((b) => b.row === Math.floor((y - 2) / 16) && b.begin <= t && t < b.end) || null;
  }
  const row = Math.floor((y - strip + box.scrollTop) / rowHeight);
  if (row < 0 || row >= rows()) return null;
  const bin = toBin(t);
  if (!view.byRank) {
    const lane = lanes[row], slack = 3 / plotWidth() * (view.to - view.from), i = firstSpan(lane, t);
    for (const candidate of [i, i - 1])
      if (candidate >= 0 && candidate < lane.count && lane.begin[candidate] - slack <= t && t <= lane.begin[candidate] + lane.length[candidate] + slack)
        return { row, span: candidate, text: describe(row, candidate).join("\n") };
  }
  return { row, span: -1, text: (view.byRank ? rankLong(row) : laneLong(row)) + "\n" + percent(mean(rowSums(row), Math.floor(bin), Math.floor(bin) + 1), 1) + " busy at " + time(t) };
}
function showTip(event) {
  const at = box.getBoundingClientRect(), found = find(event.clientX - at.left - 1, event.clientY - at.top - 1);
  tip.hidden = !found;
  if (!found) return;
  tip.textContent = found.text;
  const width = tip.offsetWidth, height = tip.offsetHeight;
  tip.style.left = Math.max(4, Math.min(window.innerWidth - width - 4, event.clientX + 14)) + "px";
  tip.style.top = (event.clientY + 18 + height > window.innerHeight ? event.clientY - height - 10 : event.clientY + 18) + "px";
}
const pointers = new Map();
let drag = null;
function beginDrag() {
  const xs = [...pointers.values()].map((p) => p.x - box.getBoundingClientRect().left);
  drag = xs.length ? { from: view.from, to: view.to, at: xs.map((x) => toTime(x)), moved: drag ? drag.moved : false } : null;
}
box.addEventListener("pointerdown", (event) => {
  if (event.button > 0) return;
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  drag = null;
  beginDrag();
});
box.addEventListener("pointermove", (event) => {
  const pointer = pointers.get(event.pointerId);
  if (!pointer) { showTip(event); return; }
  if (Math.abs(event.clientX - pointer.x) > 3 && !drag.moved) { drag.moved = true; box.classList.add("dragging"); box.setPointerCapture(event.pointerId); }
  if (!drag.moved) return;
  pointer.x = event.clientX;
  tip.hidden = true;
  const left = box.getBoundingClientRect().left, xs = [...pointers.values()].map((p) => p.x - left);
  if (xs.length === 1) { // the time under the pointer stays there
    const length = drag.to - drag.from, from = drag.at[0] - (xs[0] - gutter) / plotWidth() * length;
    show(Math.max(0, Math.min(data.end - length, from)), Math.max(0, Math.min(data.end - length, from)) + length);
  } else if (Math.abs(xs[1] - xs[0]) > 5) { // likewise for two fingers
    const perPixel = Math.abs((drag.at[1] - drag.at[0]) / (xs[1] - xs[0])), from = drag.at[0] - (xs[0] - gutter) * perPixel;
    show(from, from + plotWidth() * perPixel);
  }
});
function endDrag(event) {
  if (!pointers.delete(event.pointerId)) return;
  const click = drag && !drag.moved && event.type === "pointerup";
  if (click) {
    const at = box.getBoundingClientRect(), found = find(event.clientX - at.left - 1, event.clientY - at.top - 1);
    if (found && found.row >= 0) select(found.row, found.span);
  }
  box.classList.remove("dragging");
  beginDrag();
}
for (const type of ["pointerup", "pointercancel"]) box.addEventListener(type, endDrag);
box.addEventListener("pointerleave", () => { tip.hidden = true; });
box.addEventListener("dblclick", (event) => zoom(3, toTime(event.clientX - box.getBoundingClientRect().left)));
box.addEventListener("wheel", (event) => {
  if (event.ctrlKey || event.metaKey) {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * 0.004), toTime(event.clientX - box.getBoundingClientRect().left));
  } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    event.preventDefault();
    pan(event.deltaX / plotWidth());
  }
}, { passive: false });
box.addEventListener("scroll", redraw);
let brush = null;
const overviewTime = (event) => Math.max(0, Math.min(1, (event.clientX - overview.getBoundingClientRect().left - gutter) / (overview.clientWidth - gutter))) * data.end;
overview.addEventListener("pointerdown", (event) => { brush = overviewTime(event); overview.setPointerCapture(event.pointerId); });
overview.addEventListener("pointermove", (event) => {
  if (brush === null) return;
  const now = overviewTime(event);
  if (Math.abs(now - brush) > data.end / 200) show(Math.min(brush, now), Math.max(brush, now));
});
overview.addEventListener("pointerup", (event) => {
  const now = overviewTime(event);
  if (brush !== null && Math.abs(now - brush) <= data.end / 200) show(now - (view.to - view.from) / 2, now + (view.to - view.from) / 2);
  brush = null;
});
overview.addEventListener("pointercancel", () => { brush = null; });
overview.addEventListener("dblclick", () => show(0, data.end));
$("zoom-in").onclick = () => zoom(2);
$("zoom-out").onclick = () => zoom(0.5);
$("pan-left").onclick = () => pan(-0.25);
$("pan-right").onclick = () => pan(0.25);
$("zoom-all").onclick = () => show(0, data.end);
$("rows-ranks").onclick = () => setRows(true);
$("rows-threads").onclick = () => setRows(false);

function showLegend() {
  const entry = (colour, text) => make("li", {}, swatch(colour), text);
  $("legend").append(...taskNames.slice(0, 12).map((task) => entry(colourOf(task), task)),
    ...(taskNames.length > 12 ? [make("li", {}, "… " + (taskNames.length - 12) + " more tasks")] : []),
    ...(data.failed + data.givenUp ? [entry("--failed", "failed")] : []), ...(ranks.some((r) => r.ready > 0) ? [entry("--startup", "start-up")] : []),
    make("li", {}, "paler: busy for a part of the time"));
}
function showTimelineTables() {
  const parts = Math.min(40, data.bins);
  table($("utilisation"), "The run in " + parts + " equal parts.", [
    ["from", (p) => time(p / parts * data.end)], ["until", (p) => time((p + 1) / parts * data.end)],
    ["threads busy", (p) => (lanes.length * mean(allSums, p / parts * data.bins, (p + 1) / parts * data.bins)).toFixed(1), "number"],
    ["utilisation", (p) => percent(mean(allSums, p / parts * data.bins, (p + 1) / parts * data.bins), 1), "number"],
    ["", (p) => bar(mean(allSums, p / parts * data.bins, (p + 1) / parts * data.bins)), "bar"],
  ], [...Array(parts).keys()]);
  const most = 1000;
  table($("threads"), lanes.length > most ? "The first " + most + " of " + count(lanes.length) + "." : "", [
    ["thread", (_, l) => laneLong(l)], ["items", (lane) => count(lane.items), "number"], ["time in items", (lane) => time(lane.busy), "number"],
    ["utilisation", (lane) => percent(lane.busy, data.end), "number"], ["", (lane) => bar(lane.busy / data.end), "bar"],
  ], lanes.slice(0, most));
}
function showInView() { // made when it is opened
  const found = [];
  for (let l = 0; l < lanes.length && found.length < 200; l++)
    for (let i = firstSpan(lanes[l], view.from); i < lanes[l].count && lanes[l].begin[i] < view.to && found.length < 200; i++) found.push([l, i]);
  table($("inview"), found.length === 200 ? "The first 200; zoom in for others." : plural(found.length, "span") + " in view.", [
    ["where", ([l]) => laneName(l)], ["what", ([l, i]) => describe(l, i)[0]], ["begin", ([l, i]) => time(lanes[l].begin[i]), "number"], ["time", ([l, i]) => time(lanes[l].length[i]), "number"],
    ["", ([l, i]) => (lanes[l].bad[i] ? "failed" : "")],
  ], found);
}
$("inview").closest("details").addEventListener("toggle", showInView);

// ---- Item times ----

function svg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}
// Two steps to a doubling are enough for the eye, one if there are many.
function coarser() {
  const all = data.histogram.filter(([, to]) => to > 0), wide = all.length > 60 ? 1 : 2, bins = new Map();
  for (const [from, to, items] of all) {
    const step = Math.floor(Math.log2(Math.max(1, from)) * wide + 1e-6), bin = bins.get(step) || { from: 2 ** (step / wide), to: 2 ** ((step + 1) / wide), items: 0, time: 0 };
    bin.items += items;
    bin.time += items * (from + to) / 2;
    bins.set(step, bin);
  }
  const steps = [...bins.keys()];
  return steps.length ? Array.from({ length: Math.max(...steps) - Math.min(...steps) + 1 }, (_, i) => bins.get(Math.min(...steps) + i) || { from: 2 ** ((Math.min(...steps) + i) / wide), to: 2 ** ((Math.min(...steps) + i + 1) / wide), items: 0, time: 0 }) : [];
}
function showHistogram() {
  const bins = coarser(), items = bins.reduce((n, b) => n + b.items, 0), busy = bins.reduce((n, b) => n + b.time, 0), t = data.times;
  for (const [name, value] of [["shortest", t.shortest], ["median", t.median], ["mean", data.items ? data.busy / data.items : 0], ["90 % within", t.p90], ["99 % within", t.p99], ["longest", t.longest]])
    figure($("quantiles"), name, time(value), "", "", value);
  const narrow = $("histogram").clientWidth < 560, width = narrow ? 420 : 960, height = narrow ? 250 : 270, left = 40, half = (height - 50) / 2, middle = 14 + half;
  const most = Math.max(1e-9, ...bins.map((b) => Math.max(b.items / items, b.time / busy || 0))), each = Math.min(120, (width - left - 8) / Math.max(1, bins.length)), start = left + (width - left - 8 - each * bins.length) / 2;
  const chart = svg("svg", { viewBox: "0 0 " + width + " " + height, role: "img", "aria-label": "Histogram of item times: above, the share of items; below, the share of the time that they took" });
  const label = (x, y, text, anchor) => chart.append(svg("text", { x, y, "text-anchor": anchor || "start" }, text));
  bins.forEach((b, i) => {
    const x = start + i * each, up = half * b.items / items / most, down = half * (busy ? b.time / busy : 0) / most;
    const text = time(b.from) + " to " + time(b.to) + ": " + plural(b.items, "item") + " (" + percent(b.items, items) + "), " + percent(b.time, busy) + " of the time";
    chart.append(svg("g", {}, svg("title", {}, text), svg("rect", { x, y: 14, width: each, height: 2 * half, fill: "transparent" }),
      svg("rect", { x: x + 0.5, y: middle - up, width: Math.max(1, each - 1), height: up, style: "fill:var(--task0)" }),
      svg("rect", { x: x + 0.5, y: middle, width: Math.max(1, each - 1), height: down, style: "fill:var(--task1)" })));
  });
  chart.append(svg("line", { x1: left, x2: width - 8, y1: middle, y2: middle, class: "axis" }));
  const every = Math.ceil((narrow ? 74 : 84) / each);
  bins.forEach((b, i) => { if (i % every === 0) label(start + i * each, height - 18, time(b.from)); });
  label(left - 6, 22, percent(most, 1), "end");
  label(left - 6, middle + 4, "0", "end");
  label(left - 6, 14 + 2 * half, percent(most, 1), "end");
  $("histogram").append(chart, make("ul", { className: "legend" }, make("li", {}, swatch("--task0"), "upwards: share of the items"), make("li", {}, swatch("--task1"), "downwards: share of the time that they took")));
  table($("histogram-table"), "Items that were gathered count with their mean.", [
    ["from", (b) => time(b.from)], ["to", (b) => time(b.to)], ["items", (b) => count(b.items), "number"], ["share", (b) => percent(b.items, items), "number"], ["of the time", (b) => percent(b.time, busy), "number"],
  ], bins.filter((b) => b.items > 0));
}

// ---- Tables ----

function goTo(l, begin, end) {
  return make("button", { title: "Show it in the timeline", "aria-label": "Show in the timeline", onclick: () => {
    if (view.byRank) setRows(false);
    const length = Math.max(least / 4, end - begin);
    show(begin - length, begin + 2 * length);
    const i = firstSpan(lanes[l], begin);
    select(l, i < lanes[l].count && lanes[l].begin[i] <= end ? i : -1);
    $("timeline-section").scrollIntoView();
    box.focus({ preventScroll: true });
  } }, "show");
}
const itemText = (s) => (s.n > 1 ? count(s.item) + " … (" + count(s.n) + ")" : count(s.item));
function showTables() {
  const most = 200, longest = [...data.calls].sort((a, b) => b.end - b.begin - (a.end - a.begin)).slice(0, most).sort((a, b) => a.begin - b.begin);
  const has = (key) => longest.some((c) => c[key] > 0);
  const spent = (c) => c.losses.reduce((a, b) => a + b, 0);
  table($("calls"), data.callsInTrace > longest.length ? "The " + longest.length + " longest of " + count(data.callsInTrace) + "." : "", [
    ["call", (c) => callName(c)], ["begin", (c) => time(c.begin), "number"], ["time", (c) => time(c.end - c.begin), "number"], ["items", (c) => count(c.items), "number"],
    ["chunksize", (c) => (c.chunksize ? count(c.chunksize) : "auto"), "number"], ["in items", (c) => percent(c.losses[0] + c.losses[1], spent(c)), "number"],
    ["waiting", (c) => percent(c.losses[3] + c.losses[4], spent(c)), "number"], ["imbalance", (c) => percent(c.losses[5], spent(c)), "number"],
    ...[["failed", "failed"], ["gave up", "givenUp"], ["not begun", "skipped"], ["from journal", "known"], ["retries", "retried"]].filter(([, key]) => has(key)).map(([title, key]) => [title, (c) => count(c[key]), "number"]),
    ["status", (c) => make("span", { className: c.status === "PMAP_OK" ? "" : "bad-text" }, c.status)],
  ], longest);
  const where = (s) => (s.lane < lanes.length ? laneName(s.lane) : "");
  table($("slowest"), data.slowest.some((s) => s.n > 1) ? "Of items that were gathered or joined, the longest that is known." : "", [
    ["item", itemText], ["task", (s) => s.task], ["time", (s) => make("span", { "data-slowest": s.item, "data-value": s.longest }, time(s.longest)), "number"], ["", (s) => bar(s.longest / (data.slowest[0].longest || 1), "--task0"), "bar"],
    ["begin", (s) => time(s.begin), "number"], ["where", where], ["", (s) => goTo(s.lane, s.begin, s.end)],
  ], data.slowest);
  const errors = data.calls.filter((c) => c.error);
  if (data.failedSpans + data.givenUp + errors.length === 0)
    $("failures-box").replaceChildren(make("p", {}, "None: all " + plural(data.items, "item") + " succeeded."));
  else
    table($("failures"), errors.slice(0, 5).map((c) => callName(c) + ": " + c.error).join("\n") + (data.failures.length < data.failedSpans ? "\nThe first " + data.failures.length + " of " + count(data.failedSpans) + "." : ""), [
      ["item", itemText], ["task", (s) => s.task], ["what", (s) => make("span", { className: "bad-text" }, s.failed ? (s.n > 1 ? count(s.failed) + " failed" : "failed") : "gave up")],
      ["attempt", (s) => s.attempt, "number"], ["time", (s) => time(s.end - s.begin), "number"], ["begin", (s) => time(s.begin), "number"], ["where", where], ["", (s) => goTo(s.lane, s.begin, s.end)],
    ], data.failures);
  const many = ranks.length > 1, mean1 = (r) => (r.items ? r.busy / r.items : 0);
  table($("ranks"), "", [
    ["rank", (r) => r.rank], ["host", (r) => r.host], ["threads", (r) => r.threads, "number"], ["ready after", (r) => time(r.ready), "number"], ["items", (r) => count(r.items), "number"], ["mean item", (r) => time(mean1(r)), "number"],
    ["in items", (r) => percent(r.busy, data.end * r.threads), "number"], ["", (r) => bar(r.busy / (data.end * r.threads)), "bar"],
    ...(many ? [["chunks", (r) => (r.chunks ? count(r.chunks) : ""), "number"], ["items sent", (r) => (r.chunks ? bytes(r.bytesOut) : ""), "number"], ["results back", (r) => (r.chunks ? bytes(r.bytesIn) : ""), "number"]] : []),
    ...(ranks.some((r) => r.lost >= 0) ? [["", (r) => (r.lost >= 0 ? make("span", { className: "bad-text" }, "died at " + time(r.lost)) : "")]] : []),
  ], ranks);
  if (data.phases.length) {
    $("phases-section").hidden = false;
    const longestPhase = Math.max(...data.phases.map((p) => p.end - p.begin)), known = (key) => data.phases.some((p) => p[key] !== undefined);
    table($("phases"), "", [
      ["phase", (p) => p.name], ["call", (p) => p.call, "number"], ["begin", (p) => time(p.begin), "number"], ["time", (p) => time(p.end - p.begin), "number"], ["", (p) => bar((p.end - p.begin) / longestPhase, "--task2"), "bar"],
      ...[["items", "items", count], ["records in", "recordsIn", count], ["records out", "recordsOut", count], ["bytes in", "bytesIn", bytes], ["bytes out", "bytesOut", bytes], ["between ranks", "bytesSent", bytes], ["spilled", "bytesSpilled", bytes]]
        .filter(([, key]) => known(key)).map(([title, key, say]) => [title, (p) => (p[key] === undefined ? "" : say(p[key])), "number"]),
    ], data.phases);
  }
}

showHead();
showAdvice();
showLosses();
showLegend();
showTimelineTables();
showHistogram();
showTables();
readColours();
$("row-choice").hidden = ranks.length < 2 || ranks.length === lanes.length;
if (ranks.length === lanes.length) view.byRank = false;
setRows(view.byRank);
new ResizeObserver(() => { layout(); redraw(); }).observe(box.parentElement);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); redraw(); });
document.documentElement.dataset.ready = "yes";
})();
