// What a run was run with.

class About {
  constructor(selection) {
    this.selection = selection;
    this.view = $("view-about");
    selection.on("run", () => this.show());
  }

  show() {
    const { overview } = this.selection.run;
    const started = new Date(overview.started * 1000);
    const callbacks = overview.callbacks.map((callback, place) => element("tr", {},
      element("td", { class: "number" }, String(place + 1)), element("th", { scope: "row" }, callback.name), element("td", {}, callback.module),
      element("td", {}, ...Object.entries(callback.settings).map(([name, value]) => element("div", {}, `${name} = ${value}`))),
      element("td", {}, ...Object.entries(callback.cells).map(([name, reset]) => element("div", {}, `${name}, reset with ${reset}`))),
      element("td", {}, ...callback.hooks.map((hook) => element("div", {}, hookName(hook))))));
    this.view.replaceChildren(
      element("h2", {}, "Callbacks, in the order in which they run"),
      element("div", { class: "scroll" }, element("table", {}, element("thead", {}, element("tr", {},
        ...["", "callback", "module", "settings", "cells", "hooks"].map((word) => element("th", { scope: "col" }, word)))), element("tbody", {}, ...callbacks))),
      element("div", { class: "columns" },
        this.pairs("Run", { kind: overview.kind, started: started.toLocaleString(), events: counted(overview.count),
          ...(overview.end ? { outcome: overview.end.outcome, took: duration(overview.end.seconds), ...(overview.end.reason ? { reason: overview.end.reason } : {}) } : { outcome: "none: it was killed, or is under way" }) }),
        this.pairs("Versions", overview.versions), this.pairs("Machine", overview.host), this.pairs("Random numbers", overview.seeds),
        this.pairs("Model", overview.model), this.pairs("Optimizer", overview.optimizer), this.pairs("Recorded", overview.options)));
  }

  pairs(title, values) {
    const rows = Object.entries(values).map(([name, value]) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, element("span", { class: "value" }, String(value)))));
    return element("div", {}, element("h2", {}, title), element("div", { class: "scroll" }, element("table", {}, element("tbody", {}, ...rows))));
  }
}
