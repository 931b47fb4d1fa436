// The page as a whole: its views, its keys, its colours.

const overview = JSON.parse($("overview").textContent);
const runs = overview.runs.map((run, which) => new Run(run, which));
const selection = new Selection(runs[0]);
const timeline = new Timeline(selection);
new EventList(selection);
new Filters(selection);
new Details(selection);
const curves = new Curves(selection);
new Costs(selection);
new About(selection);

$("file").textContent = overview.file;
$("run").hidden = runs.length < 2;
$("run").append(...runs.map((run, which) => element("option", { value: which }, `run ${which + 1}: ${run.overview.kind}, ${counted(run.count)} events`)));
$("run").addEventListener("change", () => selection.show(runs[Number($("run").value)]));
selection.on("run", () => {
  const { end, count } = selection.run.overview, cut = overview.cut && !end ? "killed, or under way" : "not ended";
  $("outcome").className = `outcome ${end ? end.outcome : "killed"}`;
  $("outcome").textContent = end ? `${end.outcome} · ${duration(end.seconds)} · ${counted(count)} events` : `${cut} · ${counted(count)} events`;
});

const VIEWS = ["events", "curves", "costs", "about"];
function view(name) {
  for (const each of VIEWS) {
    $(`view-${each}`).hidden = each !== name;
    const tab = document.querySelector(`[data-view=${each}]`);
    tab.setAttribute("aria-selected", String(each === name));
    tab.tabIndex = each === name ? 0 : -1;
  }
  $("filters").style.display = name === "events" ? "" : "none";
  if (name === "curves") { curves.build(); curves.draw(); }
}
for (const tab of document.querySelectorAll("[data-view]")) tab.addEventListener("click", () => view(tab.dataset.view));

function theme(name) {
  document.documentElement.dataset.theme = name;
  selection.tell("theme");
}
const preferred = matchMedia("(prefers-color-scheme: dark)");
preferred.addEventListener("change", () => theme(preferred.matches ? "dark" : "light"));
const otherTheme = () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
$("theme").addEventListener("click", otherTheme);

function scale(byTime) {
  selection.byTime = byTime;
  $("scale").textContent = byTime ? "↔ by time" : "↔ evenly";
  selection.tell("scale");
}
$("scale").addEventListener("click", () => scale(!selection.byTime));

const KEYS = [
  [["j", "↓"], "next event that is wanted", () => selection.step(1)],
  [["k", "↑"], "previous one", () => selection.step(-1)],
  [["PageDown"], "twenty further", () => selection.step(20)],
  [["PageUp"], "twenty back", () => selection.step(-20)],
  [["n"], "next batch", () => selection.leap(selection.batchStarts(), 1)],
  [["p"], "previous batch", () => selection.leap(selection.batchStarts(), -1)],
  [["e"], "next epoch", () => selection.leap(selection.run.epochs.map(([start]) => start), 1)],
  [["E"], "previous epoch", () => selection.leap(selection.run.epochs.map(([start]) => start), -1)],
  [["Home"], "first event", () => selection.select(0)],
  [["End"], "last event", () => selection.select(selection.run.count - 1)],
  [["+", "="], "look closer", () => selection.zoom(0.6)],
  [["-"], "look from further away", () => selection.zoom(1 / 0.6)],
  [["0"], "the whole run", () => selection.window(0, selection.run.count)],
  [["←"], "move to the left", () => shift(-0.15)],
  [["→"], "move to the right", () => shift(0.15)],
  [["x"], "space events evenly, or by time", () => scale(!selection.byTime)],
  [["/"], "search", () => { view("events"); $("query").focus(); $("query").select(); }],
  [["1", "2", "3", "4"], "events, curves, callbacks, run", (key) => view(VIEWS[Number(key) - 1])],
  [["t"], "dark or light", otherTheme],
  [["?"], "these keys", () => $("help").showModal()],
];
const ARROWS = { ArrowDown: "↓", ArrowUp: "↑", ArrowLeft: "←", ArrowRight: "→" };
function shift(share) {
  const by = share * (selection.to - selection.from);
  selection.window(selection.from + by, selection.to + by);
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help").open) return;
  if (event.target.matches("input[type=search], select")) {
    if (event.key === "Escape") { $("query").value = selection.query = ""; selection.filter(); $("list").focus(); }
    else if (event.key === "Enter") { selection.step(1); $("list").focus(); event.preventDefault(); }
    return;
  }
  const name = ARROWS[event.key] || event.key, found = KEYS.find(([keys]) => keys.includes(name));
  if (!found) return;
  event.preventDefault();
  found[2](name);
});
$("help").append(element("b", {}, "Keys"), element("dl", {}, ...KEYS.flatMap(([keys, does]) =>
  [element("dt", {}, ...keys.map((key) => element("kbd", {}, key))), element("dd", {}, does)])));
$("help").addEventListener("click", () => $("help").close());
$("help-button").addEventListener("click", () => $("help").showModal());

theme(preferred.matches ? "dark" : "light");
scale(false);
view("events");
selection.show(runs[0]);
requestAnimationFrame(() => requestAnimationFrame(() => { document.documentElement.dataset.ready = String(Math.round(performance.now())); }));
