// One event: what it carried, and what every callback made of it and of everything else.

class Details {
  constructor(selection) {
    this.selection = selection;
    this.panel = $("details");
    selection.on("event run", () => this.show());
    this.show();
  }

  async show() {
    const { run, event } = this.selection;
    if (event === null) return this.panel.replaceChildren(this.welcome());
    const whole = await run.event(event);
    if (event !== this.selection.event || run !== this.selection.run) return; // another one was chosen meanwhile
    const sign = run.sign(event);
    this.panel.replaceChildren(
      element("h1", { style: `--hook:${hookColour(sign.hook)}` }, element("i"), sign.hook),
      element("p", { class: "place" }, [run.place(event), `event ${run.number[event]}`,
        `${duration(run.at[event])} from the beginning`, `took ${duration(run.seconds[event])}`].filter(Boolean).join("  ·  ")),
      ...problems(run, whole),
      ...this.since(whole),
      ...this.matrix(run, whole),
      this.known(whole));
    this.panel.scrollTop = 0;
  }

  welcome() {
    const error = this.selection.run.overview.end?.error;
    return element("div", {}, error ? problem(error, "The run failed") : null, element("div", { class: "empty" }, "Choose an event in the timeline or in the list. ",
      element("kbd", {}, "j"), element("kbd", {}, "k"), " go through the events, ", element("kbd", {}, "?"), " shows all keys."));
  }

  /** What changed in nobody's turn: by the model, the optimizer and the loop. */
  since(whole) {
    const names = Object.keys(whole.before).filter((name) => whole.known[name] !== undefined);
    if (!names.length) return [];
    return [element("h2", {}, "Since the event before, by the model, the optimizer and the loop"), element("div", { class: "scroll" },
      element("table", {}, element("tbody", {}, ...names.map((name) => element("tr", {},
        element("th", { scope: "row" }, bare(name)), cell(whole.known[name], "same"), cell(whole.before[name], "new"))))))];
  }

  /** Fields and whatever changed, as rows; a column for the event as it came, and one for each callback. */
  matrix(run, whole) {
    const came = { ...whole.known, ...whole.before };
    for (const [name, value] of Object.entries(whole.fields)) came[`fields:${name}`] = value;
    const names = [...Object.keys(whole.fields).map((name) => `fields:${name}`)];
    for (const call of whole.calls)
      for (const name of [...Object.keys(call.fields).map((field) => `fields:${field}`), ...Object.keys(call.changed)])
        if (!names.includes(name)) names.push(name);
    if (!names.length && !whole.calls.length) return [];
    const longest = Math.max(...whole.calls.map((call) => call.seconds), 1e-12);
    const columns = [];
    let now = came;
    for (const call of whole.calls) {
      const next = { ...now, ...call.changed };
      for (const [name, value] of Object.entries(call.fields)) next[`fields:${name}`] = value;
      columns.push([now, next]);
      now = next;
    }
    const head = element("tr", {}, element("th", {}, ""), element("th", { scope: "col" }, "as it came"), ...whole.calls.map((call) =>
      element("th", { scope: "col" }, run.overview.callbacks[call.callback].name,
        call.answer ? element("span", { class: isStop(call.answer) ? "tag stop" : "tag answer", style: "margin-left:6px" }, call.answer) : null,
        element("small", {}, `${duration(call.seconds)}${call.reason ? ` · ${call.reason}` : ""}`),
        element("div", { class: "bar" }, element("i", { style: `width:${100 * call.seconds / longest}%` })))));
    const rows = names.map((name) => element("tr", {}, element("th", { scope: "row" }, bare(name)), cell(came[name], ""),
      ...columns.map(([before, after]) => after[name] === before[name] ? element("td", { class: "same" }, "=") : cell(after[name], "new"))));
    return [element("h2", {}, whole.calls.length ? "The event, and after each callback" : "The event"),
      element("div", { class: "scroll" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)))];
  }

  known(whole) {
    const after = { ...whole.known };
    learn(after, whole);
    const names = Object.keys(after).sort();
    const before = whole.known;
    return element("details", {}, element("summary", {}, `Everything known by then (${names.length})`), element("div", { class: "scroll" },
      element("table", {}, element("thead", {}, element("tr", {}, ...["", "before", "after"].map((word) => element("th", { scope: "col" }, word)))),
        element("tbody", {}, ...names.map((name) => element("tr", {}, element("th", { scope: "row" }, name.replace(":", " ")),
          cell(before[name], "same"), before[name] === after[name] ? element("td", { class: "same" }, "=") : cell(after[name], "new")))))));
  }
}

const cell = (value, kind) =>
  element("td", { class: kind }, element("span", { class: "value" }, value === undefined ? "–" : value));

const problems = (run, whole) => whole.calls.filter((call) => call.error)
  .map((call) => problem(call.error, run.overview.callbacks[call.callback].name));

const problem = (error, who) => element("div", { class: "problem" }, `${who}: `, element("b", {}, error.kind),
  error.message ? ` ${error.message}` : "", element("div", { class: "place" }, error.place));
