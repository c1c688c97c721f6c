// A click on an image says where a finding is; the slice that is chosen is the one that is shown.
"use strict";

function field(prefix, name) {
  return document.querySelector(`[name="${prefix}.${name}"]`);
}

for (const picture of document.querySelectorAll("svg.pick")) {
  const prefix = picture.dataset.prefix;
  picture.addEventListener("click", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(picture.getScreenCTM().inverse());
    field(prefix, "column").value = at.x.toFixed(1);
    field(prefix, "row").value = at.y.toFixed(1);
    const mark = picture.querySelector(".picked");
    mark.setAttribute("cx", at.x);
    mark.setAttribute("cy", at.y);
    mark.setAttribute("r", picture.viewBox.baseVal.width / 60);
    const add = field(prefix, "add");
    if (add) add.checked = true;
    const details = field(prefix, "column").closest("details");
    if (details) details.open = true;
  });
}

for (const slices of document.querySelectorAll("select.slices")) {
  const picture = slices.closest("details").querySelector("svg.pick");
  slices.addEventListener("change", () => {
    const place = `/series/${slices.selectedOptions[0].dataset.series}/instances/${slices.value}`;
    const image = picture.querySelector("image");
    const query = image.getAttribute("href").split("?")[1];
    image.setAttribute("href", `${picture.dataset.base}${place}/rendered?${query}`);
    picture.querySelector(".picked").setAttribute("r", 0);
  });
}
