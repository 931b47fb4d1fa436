// What every callback costs.

class Costs {
  constructor(selection) {
    this.selection = selection;
    this.view = $("view-costs");
    this.by = "total";
    this.down = true;
    selection.on("run", () => this.show());
  }

  rows() {
    const { overview } = this.selection.run;
    const rows = overview.callbacks.map((callback, index) => {
      const hooks = Object.entries(overview.costs[index]).sort(([, one], [, other]) => other[1] - one[1]);
      const calls = hooks.reduce((sum, [, [count]]) => sum + count, 0), total = hooks.reduce((sum, [, [, time]]) => sum + time, 0);
      return { name: callback.name, index, hooks, calls, total, mean: calls ? total / calls : 0 };
    });
    const sign = this.down ? -1 : 1;
    return rows.sort((one, other) => sign * (typeof one[this.by] === "string" ? one[this.by].localeCompare(other[this.by]) : one[this.by] - other[this.by]));
  }

  show() {
    const rows = this.rows(), sum = rows.reduce((total, row) => total + row.total, 0) || 1;
    const { run } = this.selection, whole = run.overview.end?.seconds ?? (run.count ? run.at[run.count - 1] : 0);
    const head = [["name", "callback", ""], ["calls", "calls", "number"], ["mean", "a call", "number"], ["total", "in all", "number"]];
    const heads = head.map(([by, word, kind]) => element("th", { scope: "col", class: kind,
      "aria-sort": this.by === by ? (this.down ? "descending" : "ascending") : "none" }, element("button", { click: () => this.sort(by) }, word)));
    const body = rows.map((row) => element("tr", {},
      element("th", { scope: "row" }, row.name), element("td", { class: "number" }, counted(row.calls)),
      element("td", { class: "number" }, row.calls ? duration(row.mean) : "–"), element("td", { class: "number" }, duration(row.total)),
      element("td", {}, `${(100 * row.total / sum).toFixed(1)} %`, element("div", { class: "bar" }, element("i", { style: `width:${100 * row.total / sum}%` }))),
      element("td", {}, ...row.hooks.map(([hook, [calls, seconds]]) => element("div", {}, hookName(hook), ` ${counted(calls)} × ${duration(seconds / calls)}`)))));
    this.view.replaceChildren(
      element("h2", {}, `All callbacks took ${duration(sum)} of ${duration(whole)}`),
      element("div", { class: "scroll" }, element("table", {}, element("thead", {}, element("tr", {}, ...heads,
        element("th", { scope: "col" }, "share of all callbacks"), element("th", { scope: "col" }, "at"))), element("tbody", {}, ...body))));
  }

  sort(by) {
    this.down = this.by === by ? !this.down : by !== "name";
    this.by = by;
    this.show();
  }
}
