// A run as it was packed: columns for all events at once, chunks for the events one by one.

class Run {
  constructor(overview, which) {
    this.overview = overview;
    this.which = which;
    this.count = overview.count;
    const columns = overview.columns;
    this.signature = columnOf(columns.signature, Uint32Array);
    this.number = columnOf(columns.number, Uint32Array);
    this.epoch = columnOf(columns.epoch, Int32Array);
    this.batch = columnOf(columns.batch, Int32Array);
    this.at = columnOf(columns.at, Float64Array);
    this.seconds = columnOf(columns.seconds, Float32Array);
    this.signatures = overview.signatures.map(([hook, phase, callbacks, answers, changed, before, failed]) => {
      const names = callbacks.map((callback) => overview.callbacks[callback].name);
      const text = [hook, phase, ...names, ...answers, ...changed, failed ? "error" : ""].join(" ").toLowerCase();
      return { hook, phase, callbacks, names, answers, changed, before, failed, text };
    });
    this.epochs = this.stretches((place) => this.epoch[place], (place) => this.epoch[place] >= 0);
    this.passes = this.stretches(
      (place) => `${this.epoch[place]} ${this.sign(place).phase}`, (place) => this.batch[place] >= 0);
    this.unpacked = new Map();
  }

  sign(place) { return this.signatures[this.signature[place]]; }

  /** Stretches of events that have the same key, as [first, last + 1]. */
  stretches(keyOf, counts) {
    const found = [];
    let key = null, start = 0;
    for (let place = 0; place <= this.count; place++) {
      const next = place < this.count && counts(place) ? keyOf(place) : null;
      if (next === key) continue;
      if (key !== null) found.push([start, place]);
      key = next;
      start = place;
    }
    return found;
  }

  /** Where the event is, in words. */
  place(event) {
    const words = [];
    if (this.epoch[event] >= 0) words.push(`epoch ${this.epoch[event]}`);
    if (this.batch[event] >= 0) words.push(`batch ${this.batch[event]}`);
    if (this.sign(event).phase) words.push(this.sign(event).phase);
    return words.join(", ");
  }

  /** Whether an event is the first that was recorded of a batch. */
  begins(place) {
    if (this.batch[place] < 0) return false;
    return place === 0 || this.sign(place).hook === "begin_batch" || this.batch[place] !== this.batch[place - 1]
      || this.epoch[place] !== this.epoch[place - 1] || this.sign(place).phase !== this.sign(place - 1).phase;
  }

  async chunk(number) {
    if (!this.unpacked.has(number)) {
      if (this.unpacked.size > 24) this.unpacked.delete(this.unpacked.keys().next().value);
      this.unpacked.set(number, inflated($(`chunk-${this.which}-${number}`).textContent).then(JSON.parse));
    }
    return this.unpacked.get(number);
  }

  /** An event whole, with all that was known before it. */
  async event(place) {
    const size = this.overview.chunk;
    const { known, events } = await this.chunk(Math.floor(place / size));
    const before = { ...known }, first = place - place % size;
    for (let earlier = first; earlier < place; earlier++) {
      if (this.begins(earlier)) forget(before);
      learn(before, events[earlier - first]);
    }
    if (this.begins(place)) forget(before);
    return { ...events[place - first], known: before };
  }
}

/** Forgets what the batch before carried. */
function forget(known) {
  for (const name of ["xb", "yb", "pred", "loss"]) delete known[`fields:${name}`];
}

/** Adds to what is known what an event says. */
function learn(known, event) {
  Object.assign(known, event.before);
  for (const [name, value] of Object.entries(event.fields)) known[`fields:${name}`] = value;
  for (const call of event.calls) {
    Object.assign(known, call.changed);
    for (const [name, value] of Object.entries(call.fields)) known[`fields:${name}`] = value;
  }
}
