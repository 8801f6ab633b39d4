"use strict";
(() => {
  const data = JSON.parse(document.getElementById("chart-data").textContent);
  // Configurations: Okabe and Ito's palette, told apart by colour-blind readers too, lightened on a dark page; the last
  // one follows the text. Kinds of bytes are no configurations and look like none: Tol's light scheme, fit for both pages.
  const GROUPS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
  const ON_DARK = { "#0072b2": "#3d9be0", "#d55e00": "#f07a2b", "#009e73": "#1fbf93", "#56b4e9": "#a5d8f7" };
  const KINDS = ["#77aadd", "#ee8866", "#eedd88", "#ffaabb", "#99ddff", "#44bb99", "#bbcc33", "#aaaaaa"];
  const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]];
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const phone = window.matchMedia("(max-width: 720px)"); // as in the style sheet
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const groupColour = (index) => {
    const colour = [...GROUPS, css("--ink")][index % (GROUPS.length + 1)];
    return (dark.matches && ON_DARK[colour]) || colour;
  };
  const dash = (index) => DASHES[Math.floor(index / (GROUPS.length + 1)) % DASHES.length];

  // A unit for all of an axis: its ticks stay round numbers.
  const unitFor = (largest, names, base) => {
    let at = 0;
    while (largest >= base ** (at + 1) && at < names.length - 1) at += 1;
    return { name: names[at], size: base ** at };
  };
  const byteUnit = (largest) => unitFor(largest, ["bytes", "KiB", "MiB", "GiB", "TiB"], 1024);
  const flopUnit = (largest) => unitFor(largest, ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"], 1000);
  const timeUnit = (largest) => (largest >= 7200 ? { name: "h", size: 3600 } : largest >= 120 ? { name: "min", size: 60 } : { name: "s", size: 1 });
  const plain = (value) => String(Number(value.toPrecision(3)));

  // The end of a bar says how long it is.
  const TOTAL_WIDTH = 70;
  const totalsBeside = (totals, unit) => ({
    id: "totals",
    afterDatasetsDraw: ({ ctx, scales }) => {
      ctx.save();
      ctx.fillStyle = css("--ink");
      ctx.font = `12px ${Chart.defaults.font.family}`;
      ctx.textBaseline = "middle";
      totals.forEach((total, at) => {
        const own = byteUnit(total);
        const text = total ? `${plain(total / own.size)} ${own.name}` : "unknown";
        ctx.fillText(text, scales.x.getPixelForValue(total / unit.size) + 6, scales.y.getPixelForValue(at));
      });
      ctx.restore();
    },
  });

  let charts = [];
  const hidden = new Set(); // configurations whose curves the reader has switched off

  function axis(title, logarithmic) {
    return {
      type: logarithmic ? "logarithmic" : "linear",
      title: { display: true, text: title },
      grid: { color: css("--rule") },
      ticks: { maxTicksLimit: 7, maxRotation: 0, callback: (value) => plain(value) },
    };
  }

  function curves(id, key, title, unitOf) {
    const canvas = document.getElementById(id);
    const shown = data.curves.map((curve, index) => ({ curve, index })).filter(({ curve }) => curve[key].length);
    if (!shown.length) { canvas.closest("figure").remove(); return; }
    const unit = unitOf(Math.max(...shown.flatMap(({ curve }) => curve[key])));
    const ends = shown.map(({ curve }) => curve[key][curve[key].length - 1]);
    // A decade between the cheapest and the dearest: on a linear axis the cheap ones would be a wall.
    const logarithmic = key !== "rounds" && Math.max(...ends) > 10 * Math.min(...ends);
    const datasets = shown.flatMap(({ curve, index }) => {
      const colour = groupColour(index);
      const points = (values) => values.map((y, at) => ({ x: curve[key][at] / unit.size, y }));
      const band = { borderWidth: 0, pointRadius: 0, pointHitRadius: 0, group: index, hidden: hidden.has(index), band: true };
      const isPoint = curve.mean.length === 1;
      return [
        { ...band, label: "", data: points(curve.low), fill: false },
        { ...band, label: "", data: points(curve.high), fill: "-1", backgroundColor: `${colour}${data.labels.length > 7 ? "0d" : "22"}` },
        {
          label: data.labels[index], data: points(curve.mean), group: index, hidden: hidden.has(index), borderColor: colour, backgroundColor: colour,
          borderWidth: 2, borderDash: dash(index), pointRadius: isPoint ? 4 : 0, pointHitRadius: 8, tension: 0,
        },
      ];
    });
    charts.push(new Chart(canvas, {
      type: "line",
      data: { datasets },
      options: {
        parsing: false, animation: false, maintainAspectRatio: false,
        interaction: { mode: "nearest", intersect: false },
        scales: {
          x: axis(`${title}${unit.name ? ` (${unit.name}${logarithmic ? ", logarithmic" : ""})` : ""}`, logarithmic),
          y: axis(data.quality.axis, data.quality.logarithmic),
        },
        plugins: {
          legend: { display: false }, // one for all three charts, above them
          tooltip: {
            filter: (item) => !item.dataset.band,
            callbacks: {
              title: (items) => (items.length ? `${title}: ${plain(items[0].parsed.x)} ${unit.name}`.trim() : ""),
              label: (item) => `${item.dataset.label}: ${item.parsed.y.toFixed(data.quality.decimals)}${data.quality.unit}`,
            },
          },
        },
      },
    }));
  }

  function bars(id, stacks) {
    const canvas = document.getElementById(id);
    if (!stacks.length) { (canvas.closest(".charts") ? canvas.closest("figure") : canvas.closest("section")).remove(); return; }
    const totals = data.labels.map((_, at) => stacks.reduce((sum, stack) => sum + stack.values[at], 0));
    const unit = byteUnit(Math.max(...totals));
    // On a phone a long label takes a line for each setting: cut off, it would name nothing.
    const labels = data.labels.map((label) => (phone.matches && label.includes(", ") ? label.split(", ") : label));
    const lines = Math.max(...labels.map((label) => (Array.isArray(label) ? label.length : 1)));
    canvas.parentElement.style.height = `${112 + (18 + 16 * lines) * labels.length}px`;
    charts.push(new Chart(canvas, {
      type: "bar",
      data: {
        labels,
        datasets: stacks.map(({ kind, colour, values }) => ({
          label: kind.replaceAll("_", " "), data: values.map((value) => value / unit.size),
          backgroundColor: KINDS[colour % KINDS.length], maxBarThickness: 22,
        })),
      },
      options: {
        indexAxis: "y", animation: false, maintainAspectRatio: false, layout: { padding: { right: TOTAL_WIDTH } },
        interaction: { mode: "nearest", axis: "y", intersect: true },
        scales: {
          x: { ...axis(unit.name, false), stacked: true },
          y: { stacked: true, grid: { display: false }, ticks: { autoSkip: false } },
        },
        plugins: {
          legend: { position: "bottom", labels: { boxWidth: 10, boxHeight: 10 } },
          tooltip: { callbacks: { label: (item) => `${item.dataset.label}: ${plain(item.parsed.x)} ${unit.name}` } },
        },
      },
      plugins: [totalsBeside(totals, unit)],
    }));
  }

  function draw() {
    charts.forEach((chart) => chart.destroy());
    charts = [];
    Chart.defaults.color = css("--quiet");
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    Chart.defaults.font.size = 12;
    curves("rounds", "rounds", "round", () => ({ name: "", size: 1 }));
    curves("uplink-curve", "uplink", "uplink", byteUnit);
    if (document.getElementById("simulated")) curves("simulated", "simulated", "simulated time", timeUnit);
    curves("compute", "compute", "client compute", flopUnit);
    bars("memory", data.memory);
    bars("uplink", data.uplink);
    bars("downlink", data.downlink);
    document.querySelectorAll(".swatch line").forEach((line) => {
      const index = Number(line.parentElement.dataset.group);
      line.setAttribute("stroke", groupColour(index));
      line.setAttribute("stroke-dasharray", dash(index).join(" "));
    });
  }

  function sortBy(table, column, ascending) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, at) => heading.setAttribute("aria-sort", at !== column ? "none" : ascending ? "ascending" : "descending"));
    const isText = headings[column].classList.contains("text");
    const value = (row) => row.cells[column].dataset.value;
    const rows = [...table.tBodies[0].rows].sort((first, second) => {
      const [a, b] = [value(first), value(second)];
      if (a === "" || b === "") return (a === "") - (b === ""); // unknown last, either way
      const order = isText ? a.localeCompare(b) : Number(a) - Number(b);
      return ascending ? order : -order;
    });
    table.tBodies[0].append(...rows);
  }

  document.querySelectorAll("table.sortable").forEach((table) => {
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      heading.querySelector("button").addEventListener("click", () => {
        // Numbers are asked for largest first, names from A, and what is better when it is less from the least.
        const current = heading.getAttribute("aria-sort");
        const rising = heading.classList.contains("text") || heading.classList.contains("least-first");
        const ascending = current === "none" ? rising : current === "descending";
        sortBy(table, column, ascending);
      });
    });
  });
  document.querySelectorAll(".legend button").forEach((button, index) => {
    button.addEventListener("click", () => {
      if (!hidden.delete(index)) hidden.add(index);
      button.setAttribute("aria-pressed", String(!hidden.has(index)));
      charts.filter((chart) => chart.config.type === "line").forEach((chart) => {
        chart.data.datasets.forEach((set, at) => chart.setDatasetVisibility(at, !hidden.has(set.group)));
        chart.update();
      });
    });
  });
  dark.addEventListener("change", draw);
  phone.addEventListener("change", draw);
  draw();
})();
