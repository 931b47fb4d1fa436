// The list of the events that are wanted; only the rows that can be seen are there.

const ROW = 26;

class EventList {
  constructor(selection) {
    this.selection = selection;
    this.list = $("list");
    this.draw = beforePaint(() => this.drawNow());
    this.list.addEventListener("scroll", this.draw);
    new ResizeObserver(this.draw).observe(this.list);
    selection.on("filter run", () => { this.list.scrollTop = 0; this.draw(); });
    selection.on("event", () => { this.reveal(); this.draw(); });
  }

  reveal() {
    const { selection, list } = this;
    if (selection.event === null) return;
    const top = selection.rank(selection.event) * ROW;
    if (top < list.scrollTop || top + ROW > list.scrollTop + list.clientHeight)
      list.scrollTop = top - list.clientHeight / 2;
  }

  drawNow() {
    const { selection, list } = this, rows = $("rows"), found = selection.found;
    rows.style.height = `${found.length * ROW}px`;
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 6);
    const last = Math.min(found.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + 6);
    const shown = [];
    for (let rank = first; rank < last; rank++) shown.push(this.row(found[rank], rank));
    if (!found.length) shown.push(element("div", { class: "empty" }, "No event is like that."));
    rows.replaceChildren(...shown);
    if (selection.event !== null) list.setAttribute("aria-activedescendant", `event-${selection.event}`);
  }

  row(event, rank) {
    const { run } = this.selection, sign = run.sign(event), epoch = run.epoch[event], batch = run.batch[event];
    const where = [epoch >= 0 ? `${sign.phase ? `${sign.phase} ` : "epoch "}${epoch}` : "", batch >= 0 ? batch : ""];
    return element("div",
      { class: "row", id: `event-${event}`, role: "option", style: `top:${rank * ROW}px`,
        "aria-selected": String(event === this.selection.event), "aria-posinset": rank + 1,
        "aria-setsize": this.selection.found.length, click: () => this.selection.select(event) },
      element("span", { class: "number" }, `#${run.number[event]}`),
      hookName(sign.hook),
      element("span", { class: "where" }, where.filter((each) => each !== "").join(" · ")),
      element("span", { class: "tags" }, ...tagsOf(sign)),
      element("span", { class: "took" }, duration(run.seconds[event])));
  }
}

const hookName = (hook) =>
  element("span", { class: "hook", style: `--hook:${hookColour(hook)}` }, element("i"), hook);

function tagsOf(sign) {
  const tags = sign.answers.map((answer) => element("span", { class: isStop(answer) ? "tag stop" : "tag answer" }, answer));
  if (sign.failed) tags.unshift(element("span", { class: "tag error" }, "error"));
  const cells = sign.changed.filter((name) => !/^(weights|gradients):|^fields:/.test(name)).map(bare);
  if (cells.length) tags.push(element("span", { class: "tag change", title: cells.join("\n") }, cells.length > 2 ? `${cells.length} changed` : cells.join(", ")));
  return tags;
}

/** A key without its kind: `SmoothLoss.mean` for `cells:SmoothLoss.mean`. */
const bare = (key) => key.replace(/^(cells|fields|hypers):/, "");

class Filters {
  constructor(selection) {
    const apply = () => selection.filter();
    $("query").addEventListener("input", () => { selection.query = $("query").value; apply(); });
    for (const [id, name] of [["only-changes", "onlyChanges"], ["only-answers", "onlyAnswers"]])
      $(id).addEventListener("change", () => { selection[name] = $(id).checked; apply(); });
    for (const [phase, word] of [["train", "train"], ["valid", "valid"], ["", "outside of batches"]]) {
      const chip = element("button", { type: "button", "aria-pressed": "true", click: () => {
        const on = !selection.phases.has(phase);
        on ? selection.phases.add(phase) : selection.phases.delete(phase);
        chip.setAttribute("aria-pressed", String(on));
        apply();
      } }, word);
      $("phases").append(chip);
    }
    selection.on("filter run", () => {
      const { found, run } = selection;
      $("found").textContent = found.length === run.count ? `${counted(run.count)} events`
        : `${counted(found.length)} of ${counted(run.count)} events`;
    });
  }
}
