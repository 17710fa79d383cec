// Light or dark, before anything is painted: as the system has it unless the reader chose otherwise.
//
// A classic script, since a module would run after the first paint and the page would flash. The choice is the only
// thing that this page keeps in the browser.
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
        /* Private windows may refuse; the choice then holds until the page is left. */
      }
      apply(choice);
    },
  };
})();
