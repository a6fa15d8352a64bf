// Runs before anything is drawn: the page never flashes in the other theme.
const root = document.documentElement;
const prefers = matchMedia("(prefers-color-scheme: dark)");
const apply = () => {
  const choice = root.dataset.choice;
  root.dataset.theme = choice === "auto" ? (prefers.matches ? "dark" : "light") : choice;
  try { document.cookie = `bouillon_ground=${root.dataset.theme}; SameSite=Strict; Max-Age=31536000`; } catch { /* a saved report has no cookies */ }
  window.dispatchEvent(new Event("bouillon-theme"));
};
prefers.addEventListener("change", apply);
window.setTheme = (choice) => { root.dataset.choice = choice; apply(); };
apply();
