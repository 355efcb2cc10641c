// What scrolls sideways can be reached by keyboard: formulas, code and outputs that are wider than the page.
function reachable() {
  for (const region of document.querySelectorAll("mjx-container[display], pre, .cell_output, .pst-scrollable-table-container")) {
    if (region.scrollWidth > region.clientWidth || region.scrollHeight > region.clientHeight) region.tabIndex = 0;
  }
}
window.addEventListener("load", () => (window.MathJax?.startup?.promise ?? Promise.resolve()).then(reachable));
window.addEventListener("resize", reachable);
