// What is looked at: the run, the event, the stretch of the timeline, and which events are wanted.

class Selection extends EventTarget {
  constructor(run) {
    super();
    this.query = "";
    this.phases = new Set(["train", "valid", ""]);
    this.onlyChanges = false;
    this.onlyAnswers = false;
    this.byTime = false;
    this.show(run);
  }

  show(run) {
    this.run = run;
    this.event = null;
    this.hover = null;
    this.from = 0;
    this.to = run.count;
    this.filter();
    this.tell("run");
  }

  tell(what) { this.dispatchEvent(new Event(what)); }

  on(what, listener) { for (const each of what.split(" ")) this.addEventListener(each, listener); }

  /** Selects an event, and brings it into the timeline's window. */
  select(event) {
    if (event === null || event < 0 || event >= this.run.count) return;
    this.event = event;
    const width = this.to - this.from;
    if (event < this.from || event >= this.to) this.window(event - width / 2, event + width / 2);
    this.tell("event");
  }

  point(event) {
    if (event === this.hover) return;
    this.hover = event;
    this.tell("hover");
  }

  /** Sets the stretch of events that the timeline and the curves show. */
  window(from, to) {
    const width = Math.min(Math.max(to - from, Math.min(12, this.run.count)), this.run.count);
    this.from = Math.min(Math.max(0, from), this.run.count - width);
    this.to = this.from + width;
    this.tell("window");
  }

  zoom(factor, around = this.event ?? (this.from + this.to) / 2) {
    this.window(around - (around - this.from) * factor, around + (this.to - around) * factor);
  }

  /** Finds the events that are wanted: each word of the query narrows them down. */
  filter() {
    const run = this.run, words = this.query.toLowerCase().split(/\s+/).filter(Boolean);
    const ranges = [], texts = [];
    for (const word of words) {
      const range = /^(epoch|batch|number|#):?(\d+)(?:-(\d+))?$/.exec(word);
      if (range) ranges.push([range[1], Number(range[2]), Number(range[3] ?? range[2])]);
      else texts.push(word);
    }
    const columns = { epoch: run.epoch, batch: run.batch, number: run.number, "#": run.number };
    const wanted = run.signatures.map((sign) =>
      this.phases.has(sign.phase) && texts.every((text) => sign.text.includes(text))
      && (!this.onlyChanges || sign.changed.length > 0)
      && (!this.onlyAnswers || sign.answers.length > 0 || sign.failed));
    const found = new Uint32Array(run.count);
    this.matches = new Uint8Array(run.count);
    let size = 0;
    for (let event = 0; event < run.count; event++) {
      if (!wanted[run.signature[event]]) continue;
      if (!ranges.every(([name, low, high]) => columns[name][event] >= low && columns[name][event] <= high)) continue;
      this.matches[event] = 1;
      found[size++] = event;
    }
    this.found = found.subarray(0, size);
    this.tell("filter");
  }

  /** The place among the found events of the first that is not before `event`. */
  rank(event) {
    let low = 0, high = this.found.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.found[middle] < event) low = middle + 1; else high = middle;
    }
    return low;
  }

  /** Selects the found event that is so many further. */
  step(by) {
    if (!this.found.length) return;
    if (this.event === null) return this.select(this.found[by > 0 ? 0 : this.found.length - 1]);
    const rank = this.rank(this.event), hit = this.found[rank] === this.event;
    const next = by > 0 ? rank + by - (hit ? 0 : 1) : rank + by;
    this.select(this.found[Math.min(Math.max(0, next), this.found.length - 1)]);
  }

  /** Selects the first event of the next or the previous stretch: a batch, say. */
  leap(starts, by) {
    const at = this.event ?? -1;
    const next = by > 0 ? starts.find((start) => start > at) : starts.findLast((start) => start < at);
    if (next !== undefined) this.select(next);
  }

  batchStarts() {
    this.starts ??= new Map();
    if (!this.starts.has(this.run)) {
      const run = this.run, starts = [];
      for (let event = 0; event < run.count; event++)
        if (run.batch[event] >= 0 && (event === 0 || run.batch[event] !== run.batch[event - 1])) starts.push(event);
      this.starts.set(run, starts);
    }
    return this.starts.get(this.run);
  }
}
