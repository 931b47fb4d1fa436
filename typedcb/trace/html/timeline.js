// The timeline: the whole run with its loss above, a stretch of it in lanes below.

const GUTTER = 118, EPOCH_LANE = 20, PASS_LANE = 14, EVENT_LANE = 34, CALLBACK_LANE = 15, MOST_LANES = 9;

class Timeline {
  constructor(selection) {
    this.selection = selection;
    this.map = $("map");
    this.lanes = $("lanes");
    this.draw = beforePaint(() => this.drawNow());
    selection.on("run window event filter hover scale theme", this.draw);
    new ResizeObserver(this.draw).observe(this.lanes);
    this.listen();
  }

  /** Where on the screen an event begins; events stand evenly, or by their time. */
  x(event, width) {
    const { from, to } = this.selection;
    const share = this.selection.byTime
      ? (this.time(event) - this.time(from)) / (this.time(to) - this.time(from) || 1) : (event - from) / (to - from);
    return GUTTER + share * (width - GUTTER);
  }

  time(event) {
    const run = this.selection.run, whole = Math.min(Math.floor(event), run.count - 1);
    const start = run.at[whole], end = whole + 1 < run.count ? run.at[whole + 1] : start + run.seconds[whole];
    return start + (end - start) * (event - whole);
  }

  /** The event at a place on the screen. */
  eventAt(x, width) {
    const { from, to, run } = this.selection, share = (x - GUTTER) / (width - GUTTER);
    if (share < 0 || share > 1) return null;
    if (!this.selection.byTime) return Math.min(Math.floor(from + share * (to - from)), run.count - 1);
    const time = this.time(from) + share * (this.time(to) - this.time(from));
    let low = Math.floor(from), high = Math.ceil(to);
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.time(middle + 1) <= time) low = middle + 1; else high = middle;
    }
    return Math.min(low, run.count - 1);
  }

  callbackLanes() {
    return this.selection.run.overview.callbacks.map((callback, index) => ({ ...callback, index }))
      .filter((callback) => callback.hooks.length).slice(0, MOST_LANES);
  }

  drawNow() {
    this.ink = { text: colour("text"), quiet: colour("quiet"), line: colour("line"), raised: colour("raised"),
      accent: colour("accent"), surface: colour("surface"), bad: colour("bad") };
    this.drawMap();
    const callbacks = this.callbackLanes();
    const height = 8 + EPOCH_LANE + PASS_LANE + EVENT_LANE + 8 + callbacks.length * CALLBACK_LANE + 8;
    const { drawing, width } = prepared(this.lanes, height);
    this.drawLabels(drawing, callbacks);
    drawing.save();
    drawing.beginPath();
    drawing.rect(GUTTER, 0, width - GUTTER, height);
    drawing.clip();
    this.drawStretches(drawing, width);
    this.drawEvents(drawing, width, 8 + EPOCH_LANE + PASS_LANE);
    this.drawCallbacks(drawing, width, callbacks, 16 + EPOCH_LANE + PASS_LANE + EVENT_LANE);
    this.drawMarks(drawing, width, height);
    drawing.restore();
  }

  drawMap() {
    const { drawing, width, height } = prepared(this.map);
    const { run, from, to } = this.selection, ink = this.ink;
    const x = (event) => GUTTER + event / run.count * (width - GUTTER);
    drawing.font = "11px system-ui, sans-serif";
    drawing.fillStyle = ink.quiet;
    drawing.textBaseline = "middle";
    drawing.fillText("whole run", 16, height / 2);
    run.epochs.forEach(([start, end], place) => {
      drawing.fillStyle = place % 2 ? ink.raised : ink.surface;
      drawing.fillRect(x(start), 0, x(end) - x(start), height);
    });
    this.losses().forEach((curve) => {
      drawing.strokeStyle = SERIES_COLOURS[curve.phase === "valid" ? 1 : 0];
      drawing.lineWidth = 1.2;
      drawing.beginPath();
      curve.events.forEach((event, place) => {
        const y = height - 4 - (curve.values[place] - curve.low) / (curve.high - curve.low || 1) * (height - 8);
        place ? drawing.lineTo(x(event), y) : drawing.moveTo(x(event), y);
      });
      drawing.stroke();
    });
    drawing.fillStyle = ink.accent;
    drawing.globalAlpha = 0.12;
    drawing.fillRect(x(from), 0, Math.max(2, x(to) - x(from)), height);
    drawing.globalAlpha = 1;
    drawing.strokeStyle = ink.accent;
    drawing.strokeRect(x(from) + 0.5, 0.5, Math.max(2, x(to) - x(from)) - 1, height - 1);
  }

  losses() {
    const curves = curvesOf(this.selection.run).filter((curve) => curve.name === "fields:loss");
    const high = Math.max(...curves.map((curve) => curve.high)), low = Math.min(...curves.map((curve) => curve.low));
    return curves.map((curve) => ({ ...curve, high, low }));
  }

  drawLabels(drawing, callbacks) {
    drawing.font = "11px system-ui, sans-serif";
    drawing.textBaseline = "middle";
    const label = (text, y) => {
      drawing.fillStyle = this.ink.quiet;
      drawing.fillText(text.length > 16 ? `${text.slice(0, 15)}…` : text, 16, y);
    };
    label("epochs", 8 + EPOCH_LANE / 2);
    label("passes", 8 + EPOCH_LANE + PASS_LANE / 2);
    label("events", 8 + EPOCH_LANE + PASS_LANE + EVENT_LANE / 2);
    const top = 16 + EPOCH_LANE + PASS_LANE + EVENT_LANE;
    callbacks.forEach((callback, lane) => label(callback.name, top + (lane + 0.5) * CALLBACK_LANE));
  }

  drawStretches(drawing, width) {
    const { run, from, to } = this.selection, ink = this.ink;
    const visible = ([start, end]) => end > from && start < to;
    drawing.font = "11px system-ui, sans-serif";
    for (const [start, end] of run.epochs.filter(visible)) {
      const left = Math.max(this.x(start, width), GUTTER), right = Math.min(this.x(end, width), width);
      drawing.fillStyle = hookColour("begin_epoch");
      drawing.globalAlpha = 0.22;
      drawing.beginPath();
      drawing.roundRect(left + 0.5, 9, Math.max(1, right - left - 1), EPOCH_LANE - 3, 4);
      drawing.fill();
      drawing.globalAlpha = 1;
      if (right - left > 54) {
        drawing.fillStyle = ink.text;
        drawing.fillText(`epoch ${run.epoch[start]}`, left + 7, 8 + EPOCH_LANE / 2);
      }
    }
    for (const [start, end] of run.passes.filter(visible)) {
      const left = this.x(start, width), right = this.x(end, width), train = run.sign(start).phase === "train";
      drawing.fillStyle = hookColour(train ? "begin_batch" : "begin_validate");
      drawing.globalAlpha = 0.75;
      drawing.beginPath();
      drawing.roundRect(left + 0.5, 9 + EPOCH_LANE, Math.max(1, right - left - 1), PASS_LANE - 6, 3);
      drawing.fill();
      drawing.globalAlpha = 1;
    }
  }

  /** Events as bars: one by one where there is room, otherwise how much time each column of the screen took. */
  drawEvents(drawing, width, top) {
    const { from, to, matches, run } = this.selection, room = (width - GUTTER) / (to - from);
    if (room >= 1.5) {
      for (let event = Math.floor(from); event < Math.ceil(to) && event < run.count; event++) {
        const left = this.x(event, width), right = this.x(event + 1, width);
        drawing.fillStyle = hookColour(run.sign(event).hook);
        drawing.globalAlpha = matches[event] ? 1 : 0.15;
        drawing.fillRect(left, top, Math.max(0.6, right - left - (right - left > 4 ? 1 : 0)), EVENT_LANE);
      }
      drawing.globalAlpha = 1;
      return;
    }
    this.drawColumns(drawing, width, top);
  }

  /** Where events are many: for each narrow column the hooks' shares of its time, in the order of a batch. */
  drawColumns(drawing, width, top) {
    const { from, to, matches, run } = this.selection, wide = 4, columns = Math.ceil((width - GUTTER) / wide);
    const hooks = Object.keys(HOOK_COLOURS), rank = new Map(hooks.map((hook, place) => [hook, place]));
    const kinds = run.signatures.map((sign) => rank.get(sign.hook) ?? 0);
    const spent = new Float64Array(columns), parts = new Float64Array(columns * hooks.length);
    for (let event = Math.floor(from); event < Math.min(Math.ceil(to), run.count); event++) {
      const column = Math.min(columns - 1, Math.max(0, Math.floor((this.x(event, width) - GUTTER) / wide)));
      spent[column] += run.seconds[event];
      if (matches[event]) parts[column * hooks.length + kinds[run.signature[event]]] += run.seconds[event];
    }
    const most = spent.reduce((high, each) => Math.max(high, each), 1e-12);
    for (let column = 0; column < columns; column++) {
      if (!spent[column]) continue;
      const height = (0.3 + 0.7 * spent[column] / most) * EVENT_LANE, left = GUTTER + column * wide;
      let y = top + EVENT_LANE;
      drawing.fillStyle = this.ink.raised;
      drawing.fillRect(left, y - height, wide, height);
      for (let kind = 0; kind < hooks.length; kind++) {
        const part = height * parts[column * hooks.length + kind] / spent[column];
        if (!part) continue;
        drawing.fillStyle = HOOK_COLOURS[hooks[kind]];
        drawing.fillRect(left, y - part, wide, part);
        y -= part;
      }
    }
  }

  drawCallbacks(drawing, width, callbacks, top) {
    const { from, to, run } = this.selection, room = (width - GUTTER) / (to - from);
    const lane = new Map(callbacks.map((callback, place) => [callback.index, place]));
    drawing.strokeStyle = this.ink.line;
    for (let place = 0; place <= callbacks.length; place++) {
      drawing.beginPath();
      drawing.moveTo(GUTTER, top + place * CALLBACK_LANE + 0.5);
      drawing.lineTo(width, top + place * CALLBACK_LANE + 0.5);
      drawing.stroke();
    }
    const seen = room < 1.5 ? callbacks.map(() => new Uint8Array(Math.ceil(width) + 1)) : null;
    for (let event = Math.floor(from); event < Math.min(Math.ceil(to), run.count); event++) {
      const sign = run.sign(event), left = this.x(event, width);
      for (const callback of sign.callbacks) {
        const place = lane.get(callback);
        if (place === undefined) continue;
        if (seen) {
          if (seen[place][Math.floor(left)]) continue;
          seen[place][Math.floor(left)] = 1;
        }
        drawing.fillStyle = sign.failed ? this.ink.bad : hookColour(sign.hook);
        drawing.fillRect(left, top + place * CALLBACK_LANE + 4, Math.max(1, this.x(event + 1, width) - left - (room > 4 ? 1 : 0)), CALLBACK_LANE - 7);
      }
    }
  }

  drawMarks(drawing, width, height) {
    const { run, event, hover, from, to } = this.selection, top = 8 + EPOCH_LANE + PASS_LANE;
    drawing.fillStyle = this.ink.bad;
    let last = -9;
    for (let each = Math.floor(from); each < Math.min(Math.ceil(to), run.count); each++) {
      const sign = run.sign(each);
      if (!sign.failed && !sign.answers.some(isStop)) continue;
      const x = this.x(each + 0.5, width);
      if (x - last < 3) continue;
      last = x;
      drawing.beginPath();
      drawing.moveTo(x - 4, top - 4);
      drawing.lineTo(x + 4, top - 4);
      drawing.lineTo(x, top + 3);
      drawing.fill();
    }
    const line = (place, alpha, wide) => {
      drawing.globalAlpha = alpha;
      drawing.fillStyle = this.ink.accent;
      drawing.fillRect(this.x(place + 0.5, width) - wide / 2, 0, wide, height);
      drawing.globalAlpha = 1;
    };
    if (hover !== null) line(hover, 0.45, 1);
    if (event !== null) line(event, 1, 2);
  }

  listen() {
    const { lanes, map, selection } = this;
    const within = (canvas, pointer) => pointer.clientX - canvas.getBoundingClientRect().left;
    let grabbed = null, moved = false;
    lanes.addEventListener("pointerdown", (pointer) => {
      grabbed = { x: pointer.clientX, from: selection.from, to: selection.to };
      moved = false;
      lanes.setPointerCapture(pointer.pointerId);
    });
    lanes.addEventListener("pointermove", (pointer) => {
      if (grabbed && Math.abs(pointer.clientX - grabbed.x) > 3) {
        moved = true;
        const by = (grabbed.x - pointer.clientX) / (lanes.clientWidth - GUTTER) * (grabbed.to - grabbed.from);
        selection.window(grabbed.from + by, grabbed.to + by);
      }
      this.showTip(within(lanes, pointer), pointer);
    });
    lanes.addEventListener("pointerup", (pointer) => {
      if (grabbed && !moved) selection.select(this.eventAt(within(lanes, pointer), lanes.clientWidth));
      grabbed = null;
    });
    lanes.addEventListener("pointerleave", () => { selection.point(null); $("tip").hidden = true; });
    lanes.addEventListener("wheel", (wheel) => {
      wheel.preventDefault();
      const width = selection.to - selection.from;
      if (Math.abs(wheel.deltaX) > Math.abs(wheel.deltaY) || wheel.shiftKey) {
        const by = (wheel.deltaX || wheel.deltaY) / (lanes.clientWidth - GUTTER) * width;
        return selection.window(selection.from + by, selection.to + by);
      }
      selection.zoom(Math.exp(wheel.deltaY * 0.0016), this.eventAt(within(lanes, wheel), lanes.clientWidth) ?? undefined);
    }, { passive: false });
    const centre = (pointer) => {
      const at = (within(map, pointer) - GUTTER) / (map.clientWidth - GUTTER) * selection.run.count;
      const half = (selection.to - selection.from) / 2;
      selection.window(at - half, at + half);
    };
    map.addEventListener("pointerdown", (pointer) => { map.setPointerCapture(pointer.pointerId); centre(pointer); });
    map.addEventListener("pointermove", (pointer) => { if (pointer.buttons) centre(pointer); });
  }

  showTip(x, pointer) {
    const { selection } = this, event = this.eventAt(x, this.lanes.clientWidth), tip = $("tip");
    selection.point(event);
    tip.hidden = event === null;
    if (event === null) return;
    const sign = selection.run.sign(event);
    const lines = [`${sign.hook}  #${selection.run.number[event]}`, selection.run.place(event),
      `${duration(selection.run.at[event])} from the beginning, took ${duration(selection.run.seconds[event])}`];
    if (sign.names.length) lines.push(sign.names.join(" → "));
    if (sign.answers.length) lines.push(`answered ${sign.answers.join(", ")}`);
    tip.textContent = lines.filter(Boolean).join("\n");
    const box = $("timeline").getBoundingClientRect();
    tip.style.left = `${Math.min(x + 14, box.width - tip.offsetWidth - 8)}px`;
    tip.style.top = `${pointer.clientY - box.top + 18}px`;
  }
}
