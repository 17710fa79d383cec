// Sets light or dark colours before the first paint: those of the system unless the user chose
// otherwise.
//
// A classic script, because a module runs after the first paint and the page would flash. The
// choice is the only data that this page stores in the browser.
(() => {
  const KEY = "semantik-theme";
  const root = document.documentElement;
  const read = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  };
  const apply = (choice) => {
    if (choice === "light" || choice === "dark") root.dataset.theme = choice;
    else delete root.dataset.theme;
  };
  apply(read());
  window.semantikTheme = {
    choice: () => root.dataset.theme ?? "system",
    choose(choice) {
      try {
        choice === "system" ? localStorage.removeItem(KEY) : localStorage.setItem(KEY, choice);
      } catch {
        /* Private windows may deny storage; the choice then lasts until the page is left. */
      }
      apply(choice);
    },
  };
})();
