// The fan chart with a cursor: the same numbers as the SVG of the server, which stays where this script cannot run.

const HEIGHT = 288;
let shown = null; // what is drawn, so that a refresh that changed nothing draws nothing

export function draw() {
  const figure = document.getElementById("fan");
  const place = document.getElementById("fan-drawing");
  if (!figure || !window.uPlot || shown?.text === figure.dataset.fan) return;
  const label = shown?.label ?? place.firstElementChild.getAttribute("aria-label");
  shown?.chart.destroy();
  place.replaceChildren();
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", label);
  const fan = JSON.parse(figure.dataset.fan);
  shown = { text: figure.dataset.fan, label, chart: new uPlot(options(fan, place), columns(fan), place) };
  read(shown.chart, fan);
  watch.observe(place);
}

const watch = new ResizeObserver(([entry]) => fit(entry.target));

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  if (shown) shown.text = null;
  draw();
});

function fit(place) {
  const width = place.clientWidth;
  if (shown && width && width !== shown.chart.width) shown.chart.setSize({ width, height: HEIGHT });
}

function columns(fan) {
  return [fan.ages, fan.high, fan.median, fan.low];
}

function options(fan, place) {
  const ink = (name) => colour(place, name);
  const axis = { stroke: ink("--muted"), grid: { stroke: ink("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  const line = (width) => ({ stroke: ink("--curve"), width, points: { show: false } });
  return {
    width: place.clientWidth,
    height: HEIGHT,
    padding: [12, 8, 0, 0],
    scales: { x: { time: false, range: [0, fan.end] }, y: { range: [0, fan.top] } },
    series: [
      {},
      line(0),
      line(1.5),
      line(0),
    ],
    bands: [{ series: [1, 3], fill: ink("--band") }],
    axes: [
      { ...axis, label: `age [${fan.unit}]`, labelSize: 20, labelFont: "12px system-ui", size: 32, values: (_, at) => at.map(number) },
      { ...axis, label: `remaining life [${fan.unit}]`, labelSize: 20, labelFont: "12px system-ui", size: 48, values: (_, at) => at.map(number) },
    ],
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
    legend: { show: false },
    hooks: {
      setCursor: [(chart) => read(chart, fan)],
      drawAxes: [(chart) => paint(chart, () => today(chart, fan, ink))],
      draw: [(chart) => paint(chart, () => [past, horizon, truth, marks].forEach((shape) => shape(chart, fan, ink)))],
    },
  };
}

// The forecast under the cursor, in the words of the page.
function read(chart, fan) {
  const place = document.getElementById("fan-readout");
  place.textContent = fan.told[chart.cursor.idx] ?? "Point at the chart to read what was said.";
}

function past(chart, fan, ink) {
  for (const at of fan.past) {
    line(chart, [[fan.ages[at], fan.median[at]], [fan.ages[at] + fan.median[at], 0]], ink("--faint"), 1);
  }
}

function horizon(chart, fan, ink) {
  if (fan.top > fan.horizon) line(chart, [[0, fan.horizon], [fan.end, fan.horizon]], ink("--strong-line"), 1, [3, 3]);
}

function today(chart, fan, ink) {
  if (!fan.now) return;
  const [low, median, high] = fan.now;
  const { ctx } = chart;
  trace(chart, [[fan.age, low], [fan.age, high], [fan.age + high, 0], [fan.age + low, 0]]);
  ctx.globalAlpha = 0.4;
  ctx.fillStyle = ink("--today");
  ctx.fill();
  ctx.globalAlpha = 1;
  line(chart, [[fan.age, median], [fan.age + median, 0]], ink("--curve"), 1.5, [5, 3]);
  line(chart, [[fan.age, 0], [fan.age, fan.top]], ink("--strong-line"), 1, [2, 3]);
}

function truth(chart, fan, ink) {
  if (fan.ended != null) line(chart, [[0, fan.ended], [fan.ended, 0]], ink("--ink"), 2);
}

function marks(chart, fan, ink) {
  const { ctx } = chart;
  for (const mark of fan.marks) {
    const [x, y] = [chart.valToPos(mark.age, "x", true), chart.valToPos(0, "y", true)];
    const size = 5 * devicePixelRatio;
    const corners = { alert: [[-1, 0], [1, 0], [0, -1.8]], failed: [[-0.3, -1], [0.3, -1], [0.3, 0], [-0.3, 0]] }[mark.kind]
      ?? [[0, -2], [1, -1], [0, 0], [-1, -1]];
    ctx.beginPath();
    corners.forEach(([dx, dy], at) => ctx[at ? "lineTo" : "moveTo"](x + dx * size, y + dy * size));
    ctx.closePath();
    ctx.fillStyle = ink({ alert: "--shift", failed: "--now" }[mark.kind] ?? "--muted");
    ctx.fill();
  }
}

function paint(chart, shapes) {
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  shapes();
  ctx.restore();
}

function line(chart, points, stroke, width, dash = []) {
  trace(chart, points);
  chart.ctx.strokeStyle = stroke;
  chart.ctx.lineWidth = width * devicePixelRatio;
  chart.ctx.setLineDash(dash.map((length) => length * devicePixelRatio));
  chart.ctx.stroke();
  chart.ctx.setLineDash([]);
}

function trace(chart, points) {
  chart.ctx.beginPath();
  points.forEach(([x, y], at) => chart.ctx[at ? "lineTo" : "moveTo"](chart.valToPos(x, "x", true), chart.valToPos(y, "y", true)));
}

function number(value) {
  return value.toLocaleString("en", { maximumSignificantDigits: 3 });
}

function colour(place, name) {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  place.append(probe);
  const resolved = getComputedStyle(probe).color;
  probe.remove();
  return resolved;
}
