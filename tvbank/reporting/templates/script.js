"use strict";
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  // Light, dark, or as the system has it.
  const button = document.getElementById("theme"), themes = ["", "light", "dark"];
  const names = ["as the system", "light", "dark"];
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = (themes.indexOf(document.documentElement.dataset.theme || "") + 1) % 3;
    if (themes[next]) document.documentElement.dataset.theme = themes[next];
    else delete document.documentElement.dataset.theme;
    button.textContent = "Colours: " + names[next];
  });

  // Figures of one group take one place: a list for each thing that can be chosen.
  const groups = new Map();
  for (const figure of all("figure[data-group]")) {
    const group = figure.dataset.group;
    if (!groups.has(group)) groups.set(group, []);
    groups.get(group).push(figure);
  }
  for (const [group, figures] of groups) {
    const keys = Object.keys(figures[0].dataset).filter((key) => key !== "group");
    const field = document.createElement("fieldset"), lists = [];
    field.id = "choose-" + group;
    const show = () => {
      const fits = (figure) => lists.every((list) => figure.dataset[list.name] === list.value);
      let shown = figures.find(fits);
      if (!shown) { // what the last list has is not there of this task
        shown = figures.find((figure) => figure.dataset[lists[0].name] === lists[0].value);
        lists.forEach((list) => { list.value = shown.dataset[list.name]; });
      }
      figures.forEach((figure) => { figure.hidden = figure !== shown; });
    };
    for (const key of keys) {
      const label = document.createElement("label"), list = document.createElement("select");
      list.name = key;
      for (const value of new Set(figures.map((figure) => figure.dataset[key]))) {
        const option = document.createElement("option");
        option.value = option.textContent = value;
        list.append(option);
      }
      list.addEventListener("change", show);
      label.append(key + " ", list);
      field.append(label);
      lists.push(list);
    }
    figures[0].before(field);
    show();
  }

  // A cursor in every picture: the pointer or the arrow keys move it, a line says what is there.
  for (const svg of all("svg[data-kind]")) {
    const figure = svg.closest("figure"), said = figure.querySelector("output");
    const cursor = svg.querySelector(".cursor");
    const [x, y, w, h] = ["x", "y", "w", "h"].map((side) => Number(svg.dataset[side]));
    const head = all("thead th", figure), body = all("tbody tr", figure);
    const columns = head.length - 1, rows = body.length;
    let row = -1, column = -1;
    const move = (newRow, newColumn) => {
      if (!rows || !columns) return;
      row = Math.max(0, Math.min(rows - 1, newRow));
      column = Math.max(0, Math.min(columns - 1, newColumn));
      const place = { x: x + column * w, y: y + row * h, width: w, height: h };
      for (const [side, value] of Object.entries(place)) cursor.setAttribute(side, value);
      const cells = body[row].children, bars = svg.dataset.kind === "bars";
      const where = bars ? "" : ", " + head[column + 1].textContent;
      said.textContent = cells[0].textContent + where + ": " + cells[column + 1].textContent;
    };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const at = [(event.clientX - box.left) * svg.viewBox.baseVal.width / box.width,
        (event.clientY - box.top) * svg.viewBox.baseVal.height / box.height];
      const found = [Math.floor((at[1] - y) / h), Math.floor((at[0] - x) / w)];
      if (found[0] >= 0 && found[0] < rows && found[1] >= 0 && found[1] < columns) move(...found);
    });
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    svg.addEventListener("keydown", (event) => {
      if (event.key in steps) move(row + steps[event.key][0], column + steps[event.key][1]);
      else if (event.key === "Home") move(0, 0);
      else if (event.key === "End") move(rows - 1, columns - 1);
      else return;
      event.preventDefault();
    });
    svg.addEventListener("focus", () => { if (row < 0) move(0, 0); });
  }
})();
