"use strict";
(() => {
  const data = JSON.parse(document.getElementById("chart-data").textContent);
  // Okabe and Ito's palette, told apart by colour-blind readers too; the last one follows the text.
  const GROUPS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
  const KINDS = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#0072b2", "#d55e00", "#999999", "#f0e442"];
  const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]];
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const groupColour = (index) => [...GROUPS, css("--ink")][index % (GROUPS.length + 1)];
  const dash = (index) => DASHES[Math.floor(index / (GROUPS.length + 1)) % DASHES.length];

  // A unit for all of an axis: its ticks stay round numbers.
  const unitFor = (largest, names, base) => {
    let at = 0;
    while (largest >= base ** (at + 1) && at < names.length - 1) at += 1;
    return { name: names[at], size: base ** at };
  };
  const byteUnit = (largest) => unitFor(largest, ["bytes", "KiB", "MiB", "GiB", "TiB"], 1024);
  const flopUnit = (largest) => unitFor(largest, ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"], 1000);
  const plain = (value) => String(Number(value.toPrecision(3)));

  let charts = [];

  function axis(title, logarithmic) {
    return {
      type: logarithmic ? "logarithmic" : "linear",
      title: { display: true, text: title },
      grid: { color: css("--rule") },
      ticks: { maxTicksLimit: 7, maxRotation: 0, callback: (value) => plain(value) },
    };
  }

  function curves(id, key, unitOf) {
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
      const band = { borderWidth: 0, pointRadius: 0, pointHitRadius: 0, group: index, band: true };
      const isPoint = curve.mean.length === 1;
      return [
        { ...band, label: "", data: points(curve.low), fill: false },
        { ...band, label: "", data: points(curve.high), fill: "-1", backgroundColor: `${colour}22` },
        {
          label: data.labels[index], data: points(curve.mean), group: index, borderColor: colour, backgroundColor: colour,
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
        scales: { x: axis(unit.name, logarithmic), y: axis("test accuracy (%)", false) },
        plugins: {
          legend: {
            position: "bottom",
            labels: { usePointStyle: true, pointStyle: "line", filter: (item, all) => !all.datasets[item.datasetIndex].band },
            onClick: (_, item, legend) => {
              const group = datasets[item.datasetIndex].group;
              datasets.forEach((set, at) => {
                if (set.group === group) legend.chart.setDatasetVisibility(at, !legend.chart.isDatasetVisible(at));
              });
              legend.chart.update();
            },
          },
          tooltip: {
            filter: (item) => !item.dataset.band,
            callbacks: {
              title: (items) => (items.length ? `${plain(items[0].parsed.x)} ${unit.name}` : ""),
              label: (item) => `${item.dataset.label}: ${item.parsed.y.toFixed(1)}%`,
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
    canvas.parentElement.style.height = `${112 + 34 * data.labels.length}px`;
    charts.push(new Chart(canvas, {
      type: "bar",
      data: {
        labels: data.labels,
        datasets: stacks.map(({ kind, colour, values }) => ({
          label: kind.replaceAll("_", " "), data: values.map((value) => value / unit.size),
          backgroundColor: KINDS[colour % KINDS.length], maxBarThickness: 22,
        })),
      },
      options: {
        indexAxis: "y", animation: false, maintainAspectRatio: false,
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
    }));
  }

  function draw() {
    charts.forEach((chart) => chart.destroy());
    charts = [];
    Chart.defaults.color = css("--quiet");
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    Chart.defaults.font.size = 12;
    curves("rounds", "rounds", () => ({ name: "round", size: 1 }));
    curves("uplink-curve", "uplink", byteUnit);
    curves("compute", "compute", flopUnit);
    bars("memory", data.memory);
    bars("uplink", data.uplink);
    bars("downlink", data.downlink);
    document.querySelectorAll(".swatch").forEach((mark) => { mark.style.background = groupColour(Number(mark.dataset.group)); });
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
        // Numbers are asked for largest first, names from A.
        const current = heading.getAttribute("aria-sort");
        const ascending = current === "none" ? heading.classList.contains("text") : current === "descending";
        sortBy(table, column, ascending);
      });
    });
  });
  dark.addEventListener("change", draw);
  draw();
})();
