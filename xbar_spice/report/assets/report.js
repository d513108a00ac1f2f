"use strict";
// The page holds its numbers and its plotting library compressed; without a script, and on paper, it shows images.
const unpack = async id => {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), letter => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
};
const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
};

// --- numbers as texts: as xbar_spice/report/cells.py writes them -----------------------------------------------------

const plain = value => String(Number(value.toPrecision(4)));
const FORMS = {
  text: String,
  exact: String,
  number: plain,
  percent: value => value === 0 ? "0" : Math.abs(value) < 1e-5 ? value.toExponential(1)
    : `${Number((100 * value).toPrecision(2))}\u00a0%`,
  share: value => `${Number((100 * value).toPrecision(4))}\u00a0%`,
  cosine: value => value.toFixed(5),
  degree: value => `${Number(value.toPrecision(3))}°`,
};
const show = (form, value) => value === null || value === "" ? "-" : FORMS[form](value);

// --- tables: only the rows in sight are in the page ------------------------------------------------------------------

const ROW = 28, AROUND = 12;  // pixels of a row; rows drawn beyond the edges

function table(holder, content) {
  const scroll = holder.querySelector(".scroll"), element = scroll.querySelector("table"), body = element.tBodies[0];
  const columns = content.columns, count = columns.length ? columns[0].values.length : 0;
  const texts = (row, column) => column.texts ? column.texts[row] : show(column.form, column.values[row]);
  const every = Array.from({length: count}, (_, row) => row);
  let rows = every, sorted = null, first = -1;
  const draw = force => {
    const start = Math.max(0, Math.floor(scroll.scrollTop / ROW) - AROUND);
    if (!force && start === first) return;
    first = start;
    const end = Math.min(rows.length, start + Math.ceil(scroll.clientHeight / ROW) + 2 * AROUND);
    const space = height => make("tr", {class: "space", "aria-hidden": "true"},
      make("td", {colspan: columns.length, style: `height:${height}px`}));
    const drawn = rows.slice(start, end).map((row, place) => make("tr",
      {"aria-rowindex": start + place + 2, ...(content.bad?.[row] ? {class: "bad"} : {})},
      ...columns.map(column => make("td", column.form === "text" ? {} : {class: "number"}, texts(row, column)))));
    body.replaceChildren(space(start * ROW), ...drawn, space((rows.length - end) * ROW));
  };
  const say = holder.querySelector(".count");
  const order = () => {
    if (sorted) {
      const {column, down} = sorted, values = columns[column].values, sign = down ? -1 : 1;
      const missing = value => value === null || value === "";
      rows.sort((a, b) => missing(values[a]) || missing(values[b]) ? missing(values[a]) - missing(values[b])
        : (typeof values[a] === "number" && typeof values[b] === "number" ? values[a] - values[b]
          : String(values[a]).localeCompare(String(values[b]), undefined, {numeric: true})) * sign || a - b);
    }
    element.setAttribute("aria-rowcount", rows.length + 1);
    if (say) say.textContent = `${rows.length} of ${count} rows`;
    draw(true);
  };
  const filter = holder.querySelector("input[type=search]");
  filter?.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const row_text = row => columns.map(column => `${column.title} ${texts(row, column)}`).join(" ").toLowerCase();
    const tests = words.map(word => {
      const bound = word.match(/^(.+?)(<=|>=|<|>|=)(-?[\d.e+-]+)$/);
      const chosen = bound && columns.find(column => column.title.toLowerCase().replace(/\s+/g, "").includes(bound[1]));
      if (!chosen) return row => row_text(row).includes(word);
      const number = Number(bound[3]), sign = bound[2];
      return row => {
        const value = chosen.values[row];
        if (value === null || value === "") return false;
        return sign === "<" ? value < number : sign === ">" ? value > number : sign === "<=" ? value <= number
          : sign === ">=" ? value >= number : value === number;
      };
    });
    rows = every.filter(row => tests.every(test => test(row)));
    scroll.scrollTop = 0;
    order();
  });
  [...element.tHead.rows[0].cells].forEach((heading, column) => {
    const button = make("button", {type: "button"}, ...heading.childNodes);
    heading.replaceChildren(button);
    // A button is not repeated on the next sheet of paper, a text is.
    addEventListener("beforeprint", () => heading.replaceChildren(columns[column].title));
    addEventListener("afterprint", () => heading.replaceChildren(button));
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      for (const other of element.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      sorted = {column, down};
      rows = [...rows];
      order();
    });
  });
  const paper = body.cloneNode(true);
  scroll.addEventListener("scroll", () => requestAnimationFrame(() => draw(false)), {passive: true});
  addEventListener("beforeprint", () => body.replaceChildren(...paper.cloneNode(true).rows));
  addEventListener("afterprint", () => draw(true));
  order();
}

// --- figures ---------------------------------------------------------------------------------------------------------

const INK = "#22272e", GRID = "#e5e7eb";
const HUES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];  // Okabe and Ito
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];
const RAMP = ["#5ec962", "#35b779", "#21918c", "#2c728e", "#3b528b", "#472d7b", "#440154"];
const shade = (index, count, ordered) => ordered && count > 1 ? RAMP[Math.round(index * (RAMP.length - 1) / (count - 1))]
  : HUES[index % HUES.length];
const LAYOUT = {
  font: {family: "system-ui, sans-serif", size: 13, color: INK}, paper_bgcolor: "white", plot_bgcolor: "white",
  margin: {l: 70, r: 15, t: 40, b: 60}, hoverlabel: {align: "left"}, legend: {orientation: "h", y: 1.02, yanchor: "bottom"},
};
const AXIS = {exponentformat: "power", gridcolor: GRID, linecolor: "#6b7280", ticks: "outside", automargin: true, zeroline: false};
const options = name => ({responsive: true, displaylogo: false, displayModeBar: innerWidth > 640, modeBarButtonsToRemove: ["select2d", "lasso2d"],
  toImageButtonOptions: {format: "svg", filename: name}});

const low_of = values => values.low ?? values.median, high_of = values => values.high ?? values.median;

const CURVES = 7;  // that can be told apart; of an axis with more values they are chosen at equal distances
const spread = count => count <= CURVES ? [...Array(count).keys()]
  : Array.from({length: CURVES}, (_, k) => Math.round(k * (count - 1) / (CURVES - 1)));
const ends = values => [values.reduce((a, b) => Math.min(a, b), Infinity), values.reduce((a, b) => Math.max(a, b), -Infinity)];

// A logarithm shows nothing of values that lie close together: ticks at equal distances.
function close_axis(low, high, form) {
  const room = 0.15 * (high - low) || 0.1 * high, rough = (high - low + 2 * room) / 5;
  const unit = 10 ** Math.floor(Math.log10(rough)), step = unit * [1, 2, 5, 10].find(part => part * unit >= rough);
  const ticks = [];
  for (let place = Math.ceil((low - room) / step); place * step <= high + room; place++) ticks.push(place * step);
  const text = value => form === "percent" ? `${Number((100 * value).toPrecision(4))}\u00a0%` : show(form, value);
  return {type: "linear", range: [low - room, high + room], tickvals: ticks, ticktext: ticks.map(text)};
}

// Ticks at round numbers, as many as there is room for.
function log_axis(values, form) {
  const [least, most] = ends(values), low = least / 1.25, high = most * 1.25;
  if (most < 2 * least) return close_axis(least, most, form);
  const parts = high > 1e4 * low ? [1] : high > 6 * low ? [1, 2, 5] : [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8];
  const ticks = [];
  for (let decade = Math.floor(Math.log10(low)); decade <= Math.log10(high); decade++) {
    for (const part of parts) if (part * 10 ** decade >= low && part * 10 ** decade <= high) ticks.push(part * 10 ** decade);
  }
  const text = value => form === "percent" && value < 1e-4 ? value.toExponential(0)
    : form === "exact" ? plain(value) : show(form, value);
  return {type: "log", range: [Math.log10(low), Math.log10(high)], tickvals: ticks, ticktext: ticks.map(text)};
}

function linear_axis(values, form) {
  const [low, high] = ends(values);
  if (form !== "share") return {type: "linear", rangemode: "tozero"};
  const room = Math.max(0.02, 0.1 * (high - low));
  return {type: "linear", range: [Math.max(-0.02, low - room), Math.min(1.02, high + room)], tickformat: ".3~%"};
}

function curves(holder, figure, points) {
  const chart = holder.querySelector(".chart"), controls = holder.querySelector(".controls"), axes = points.axes;
  const state = {measure: figure.measures[0].column, x: figure.x, curves: figure.curves, at: axes.map(() => 0)};
  const select = (label, choices, value, change) => {
    const element = make("select", {}, ...choices.map(([key, text]) => make("option", {value: key}, text)));
    element.value = String(value);
    element.addEventListener("change", () => { change(element.value); fill(); });
    controls.append(make("label", {}, label, element));
  };
  const fill = () => {
    controls.replaceChildren();
    if (figure.measures.length > 1) select("of", figure.measures.map(one => [one.column, one.title]), state.measure,
      value => { state.measure = value; });
    const named = axes.map((axis, k) => [k, axis.name]).filter(([k]) => axes[k].values.length > 1);
    if (named.length > 1) {
      select("along", named, state.x, value => { if (+value === state.curves) state.curves = state.x; state.x = +value; });
      select("curves", [[-1, "none"], ...named.filter(([k]) => k !== state.x)], state.curves,
        value => { state.curves = +value; });
    }
    for (const [k] of named) if (k !== state.x && k !== state.curves) {
      select(axes[k].heading, axes[k].texts.map((text, v) => [v, text]), state.at[k], value => { state.at[k] = +value; });
    }
    draw();
  };
  const draw = () => {
    const {x, curves: by, measure} = state, values = points.measures[measure], axis = axes[x];
    const title = figure.measures.find(one => one.column === measure);
    const chosen = points.codes.map((_, p) => p).filter(p => points.codes[p].every((code, k) =>
      k === x || k === by || axes[k].values.length === 1 || code === state.at[k]) && values.median[p] !== null);
    const across = p => axis ? (axis.numeric ? axis.sizes[points.codes[p][x]] : axis.texts[points.codes[p][x]]) : "";
    const groups = by >= 0 ? spread(axes[by].texts.length).map(v =>
      [axes[by].texts[v], chosen.filter(p => points.codes[p][by] === v)]) : [["", chosen]];
    const shown = groups.flatMap(([, members]) => members);
    const log = figure.log && shown.some(p => values.median[p] > points.nothing);
    const seen = value => log && value <= points.nothing ? null : value;
    const traces = [];
    const ordered = by >= 0 && axes[by].numeric;
    groups.forEach(([text, members], index) => {
      const sorted = members.sort((a, b) => axis?.numeric ? across(a) - across(b)
        : axis ? points.codes[a][x] - points.codes[b][x] : 0);
      if (!sorted.length) return;
      const colour = shade(index, groups.length, ordered), group = `g${index}`;
      const xs = sorted.map(across), low = low_of(values), high = high_of(values);
      if (sorted.some(p => low[p] !== high[p])) traces.push({
        x: [...xs, ...[...xs].reverse()], hoverinfo: "skip", showlegend: false, legendgroup: group, type: "scatter",
        y: [...sorted.map(p => seen(high[p])), ...[...sorted].reverse().map(p => seen(low[p]) ?? seen(values.median[p]))],
        fill: "toself", fillcolor: colour + "2e", line: {width: 0}, mode: "lines",
      });
      const form = value => show(title.form, value);
      traces.push({
        x: xs, y: sorted.map(p => seen(values.median[p])), name: by >= 0 ? `${axes[by].name} ${text}` : title.title,
        legendgroup: group, mode: xs.length > 40 ? "lines" : "lines+markers", type: "scatter", showlegend: by >= 0,
        line: {color: colour, dash: DASHES[index % DASHES.length], width: 2},
        marker: {symbol: SYMBOLS[index % SYMBOLS.length], size: 8, color: colour},
        customdata: sorted.map(p => `${form(values.median[p])}${low[p] !== high[p]
          ? ` (quartiles ${form(low[p])} to ${form(high[p])})` : ""}<br>${points.chips[p]} chip${points.chips[p] === 1 ? "" : "s"}`),
        hovertemplate: `%{fullData.name}<br>${axis ? `${axis.name} %{x}<br>` : ""}%{customdata}<extra></extra>`,
      });
    });
    if (figure.reference && points.measures[figure.reference]) {
      const reference = points.measures[figure.reference].median;
      const sorted = [...shown].sort((a, b) => axis?.numeric ? across(a) - across(b) : 0);
      traces.push({x: sorted.map(across), y: sorted.map(p => reference[p]), mode: "lines", type: "scatter",
        name: figure.reference_title, line: {color: INK, dash: "dash", width: 1.5}});
    }
    const sizes = axis?.numeric ? [...new Set(shown.map(across))].sort((a, b) => a - b) : [];
    const wide = sizes.length > 1 && sizes[0] > 0 && sizes.at(-1) >= 4 * sizes[0];
    const drawn = shown.flatMap(p => [low_of(values)[p], values.median[p], high_of(values)[p]]).filter(
      v => v !== null && (!log || v > points.nothing));
    Plotly.react(chart, traces, {...LAYOUT,
      xaxis: {...AXIS, title: {text: axis?.label ?? ""}, ...(wide ? log_axis(sizes, "exact") : {type: axis?.numeric ? "linear" : "category"}),
        ...(sizes.length && sizes.length <= 12 ? {tickvals: sizes, ticktext: sizes.map(String)} : {})},
      yaxis: {...AXIS, title: {text: figure.measures.length > 1 && !figure.log ? title.title : figure.label},
        ...(log ? log_axis(drawn, title.form) : linear_axis(drawn, title.form))},
    }, options(holder.id));
  };
  fill();
}

function drawing(holder, figure) {
  const spec = figure.plot, axes = Object.fromEntries(Object.entries(spec.layout).filter(([key]) => /^[xy]axis/.test(key))
    .map(([key, value]) => [key, {...AXIS, ...value}]));
  Plotly.newPlot(holder.querySelector(".chart"), spec.data, {...LAYOUT, ...spec.layout, ...axes}, options(holder.id));
}

(async () => {
  if (typeof DecompressionStream === "undefined") return;
  const page = JSON.parse(await unpack("numbers"));
  document.documentElement.classList.add("js");
  for (const [id, content] of Object.entries(page.tables)) table(document.getElementById(id), content);
  const library = make("script");
  library.textContent = await unpack("library");
  document.head.append(library);
  const draw = id => {
    const holder = document.getElementById(id), figure = page.figures[id];
    holder.classList.add("live");
    figure.plot ? drawing(holder, figure) : curves(holder, figure, page.points);
  };
  const watch = new IntersectionObserver(entries => entries.filter(entry => entry.isIntersecting).forEach(entry => {
    watch.unobserve(entry.target);
    draw(entry.target.id);
  }), {rootMargin: "400px"});
  for (const id of Object.keys(page.figures)) watch.observe(document.getElementById(id));
})();
