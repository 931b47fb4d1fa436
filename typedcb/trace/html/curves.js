// Numbers over the events: the loss, cells, hyperparameters, norms. They show the stretch that the timeline shows.

const curveCache = new WeakMap();

function curvesOf(run) {
  if (!curveCache.has(run)) {
    curveCache.set(run, run.overview.curves.map((curve) => {
      const events = columnOf(curve.events, Uint32Array), values = columnOf(curve.values, Float64Array);
      let low = Infinity, high = -Infinity;
      for (const value of values) { low = Math.min(low, value); high = Math.max(high, value); }
      return { name: curve.name, phase: curve.phase, events, values, low, high };
    }));
  }
  return curveCache.get(run);
}

const GROUPS = [["Loss", /^fields:loss/], ["Cells", /^cells:/], ["Hyperparameters", /^hypers:/],
  ["Norms of all weights and gradients", /^(weights|gradients)$/], ["Norms one by one", /^(weights|gradients):/]];

class Curves {
  constructor(selection) {
    this.selection = selection;
    this.view = $("view-curves");
    this.plots = [];
    this.draw = beforePaint(() => this.drawNow());
    this.seen = new IntersectionObserver((entries) => {
      for (const entry of entries) entry.target.visible = entry.isIntersecting;
      this.draw();
    }, { root: this.view, rootMargin: "120px" });
    selection.on("run", () => { this.built = null; this.build(); });
    selection.on("window event hover theme", this.draw);
    new ResizeObserver(() => { this.build(); this.draw(); }).observe(this.view);
  }

  build() {
    if (this.view.hidden || this.built === this.selection.run) return;
    this.built = this.selection.run;
    const named = new Map();
    for (const curve of curvesOf(this.selection.run)) named.set(curve.name, [...(named.get(curve.name) || []), curve]);
    this.plots = [];
    const parts = [];
    for (const [title, pattern] of GROUPS) {
      const figures = [...named].filter(([name]) => pattern.test(name)).map(([name, curves]) => this.figure(name, curves));
      if (figures.length) parts.push(element("h2", {}, title), element("div", { class: "plots" }, ...figures));
    }
    if (!parts.length) parts.push(element("div", { class: "empty" }, "This run has no numbers to plot."));
    this.view.replaceChildren(...parts);
  }

  figure(name, curves) {
    const canvas = element("canvas", { role: "img", "aria-label": `${bare(name)} over the run` });
    const output = element("output");
    const plot = { canvas, curves, output };
    canvas.plot = plot;
    canvas.addEventListener("pointermove", (pointer) => this.selection.point(this.eventAt(plot, pointer)));
    canvas.addEventListener("pointerleave", () => this.selection.point(null));
    canvas.addEventListener("click", (pointer) => this.selection.select(this.eventAt(plot, pointer)));
    this.plots.push(plot);
    this.seen.observe(canvas);
    const marks = curves.length > 1 ? curves.map((curve, place) =>
      element("span", {}, element("i", { class: "swatch", style: `--hook:${SERIES_COLOURS[place]}` }), ` ${curve.phase}`)) : [];
    return element("figure", {}, element("figcaption", {}, element("b", { title: name }, bare(name)), ...marks, output), canvas);
  }

  /** The event of the point that is nearest to the pointer. */
  eventAt({ canvas, curves }, pointer) {
    const box = canvas.getBoundingClientRect(), { from, to } = this.selection;
    const wanted = from + (pointer.clientX - box.left - 58) / (box.width - 64) * (to - from);
    let best = null;
    for (const curve of curves) {
      const place = nearest(curve.events, wanted);
      if (place !== null && (best === null || Math.abs(curve.events[place] - wanted) < Math.abs(best - wanted))) best = curve.events[place];
    }
    return best;
  }

  drawNow() {
    if (this.view.hidden) return;
    for (const plot of this.plots) if (plot.canvas.visible) this.drawPlot(plot);
  }

  drawPlot({ canvas, curves, output }) {
    const { from, to, event, hover } = this.selection;
    const { drawing, width, height } = prepared(canvas);
    const left = 58, right = width - 6, top = 6, bottom = height - 6;
    const parts = curves.map((curve) => ({ ...curve, first: Math.max(0, lowerBound(curve.events, from) - 1),
      last: Math.min(curve.events.length, lowerBound(curve.events, to) + 1) }));
    let low = Infinity, high = -Infinity;
    for (const { values, first, last } of parts)
      for (let place = first; place < last; place++) { low = Math.min(low, values[place]); high = Math.max(high, values[place]); }
    if (low === high) { low -= Math.abs(low) * 0.1 || 1; high += Math.abs(high) * 0.1 || 1; }
    const x = (place) => left + (place - from) / (to - from) * (right - left);
    const y = (value) => bottom - (value - low) / (high - low) * (bottom - top);
    drawing.font = "10px ui-monospace, monospace";
    drawing.fillStyle = colour("quiet");
    drawing.textAlign = "right";
    drawing.strokeStyle = colour("line");
    for (const share of [0, 0.5, 1]) {
      const value = low + (high - low) * share, at = Math.round(y(value)) + 0.5;
      drawing.beginPath(); drawing.moveTo(left, at); drawing.lineTo(right, at); drawing.stroke();
      if (Number.isFinite(value)) drawing.fillText(axisNumber(value, high - low), left - 5, Math.min(bottom, Math.max(top + 7, at + 3)));
    }
    drawing.save();
    drawing.beginPath(); drawing.rect(left, 0, right - left, height); drawing.clip();
    parts.forEach(({ events, values, first, last }, series) => {
      drawing.strokeStyle = drawing.fillStyle = SERIES_COLOURS[series % SERIES_COLOURS.length];
      drawing.lineWidth = 1.5;
      drawing.lineJoin = "round";
      drawing.beginPath();
      for (let place = first; place < last; place++)
        place === first ? drawing.moveTo(x(events[place]), y(values[place])) : drawing.lineTo(x(events[place]), y(values[place]));
      drawing.stroke();
      if (last - first < 40) for (let place = first; place < last; place++) {
        drawing.beginPath(); drawing.arc(x(events[place]), y(values[place]), 2.2, 0, 7); drawing.fill();
      }
    });
    const at = hover ?? event;
    if (at !== null) {
      drawing.strokeStyle = colour("accent");
      drawing.lineWidth = 1;
      drawing.beginPath(); drawing.moveTo(x(at), 0); drawing.lineTo(x(at), height); drawing.stroke();
    }
    drawing.restore();
    output.textContent = curves.map((curve) => at === null ? curve.values.at(-1) : curve.values[lowerBound(curve.events, at + 1) - 1])
      .filter((value) => value !== undefined).map(shortNumber).join(" / ");
  }
}

/** The place of the first that is not below `wanted`. */
function lowerBound(sorted, wanted) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < wanted) low = middle + 1; else high = middle;
  }
  return low;
}

function nearest(sorted, wanted) {
  if (!sorted.length) return null;
  const place = Math.min(lowerBound(sorted, wanted), sorted.length - 1);
  return place > 0 && wanted - sorted[place - 1] < sorted[place] - wanted ? place - 1 : place;
}
