// Hovering (or touching) a chart shows every curve's value at the nearest step in its legend.
for (const svg of document.querySelectorAll("svg.chart")) {
  const chart = JSON.parse(svg.dataset.chart);
  const legend = svg.parentElement.querySelectorAll(".legend .value");
  const cursor = svg.querySelector(".cursor");
  const step = svg.parentElement.querySelector(".legend .step");
  const show = (event) => {
    const box = svg.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width * chart.width;
    const wanted = chart.low + (at - chart.left) / (chart.right - chart.left) * (chart.high - chart.low);
    let x = null;
    chart.series.forEach(([xs, ys], index) => {
      let best = 0;
      for (let i = 1; i < xs.length; i++) if (Math.abs(xs[i] - wanted) < Math.abs(xs[best] - wanted)) best = i;
      legend[index].textContent = Number(ys[best].toPrecision(5));
      if (x === null || Math.abs(xs[best] - wanted) < Math.abs(x - wanted)) x = xs[best];
    });
    const place = chart.left + (x - chart.low) / (chart.high - chart.low) * (chart.right - chart.left);
    cursor.setAttribute("x1", place);
    cursor.setAttribute("x2", place);
    cursor.style.visibility = "visible";
    step.textContent = "step " + x.toLocaleString("en");
  };
  const hide = () => {
    cursor.style.visibility = "hidden";
    step.textContent = "last step";
    chart.series.forEach(([, ys], i) => { legend[i].textContent = Number(ys[ys.length - 1].toPrecision(5)); });
  };
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show);
  svg.addEventListener("pointerleave", hide);
  hide();
}
