// A box that scrolls can be reached and scrolled with the keyboard. Boxes change with the width and when tables load.
(() => {
  const boxes = ".cell_output, .cell_output pre, .cell_input pre, .highlight pre, .pst-scrollable-table-container, " +
    ".dt-scroll-body, div.math, .table-scroll";
  const reach = () => document.querySelectorAll(`article :is(${boxes})`).forEach((box) => {
    const scrolls = box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).overflowX !== "visible";
    if (scrolls && box.tabIndex < 0) {
      box.tabIndex = 0;
      if (!box.hasAttribute("role")) box.setAttribute("role", "region");
      if (!box.hasAttribute("aria-label")) box.setAttribute("aria-label", "scrolls sideways");
    }
  });
  addEventListener("load", () => {
    reach();
    addEventListener("resize", reach);
    document.querySelectorAll("article .cell_output").forEach((output) =>
      new MutationObserver(reach).observe(output, { childList: true, subtree: true }));
    document.querySelectorAll("article details").forEach((folded) => folded.addEventListener("toggle", reach));
  });
})();
// Escape hides the definition of a term; the next one shows again.
(() => {
  const content = () => document.querySelector(".bd-content");
  addEventListener("keydown", (event) => event.key === "Escape" && content()?.classList.add("no-definitions"));
  ["mouseover", "focusin"].forEach((kind) =>
    addEventListener(kind, () => content()?.classList.remove("no-definitions")));
})();
