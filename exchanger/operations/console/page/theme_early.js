// Sets the chosen colours before anything is drawn, so that nothing flashes. A classic script, since modules run later.
try {
  const chosen = localStorage.getItem("exchanger-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Without storage the system's colours are used.
}
