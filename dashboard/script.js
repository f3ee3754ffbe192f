// Live data: the node renders, this puts it in its place.
for (const place of document.querySelectorAll("[data-live]")) {
  const state = place.parentElement.querySelector(".state");
  const events = new EventSource(place.dataset.live);
  events.addEventListener("open", () => { state.textContent = "live"; });
  events.addEventListener("error", () => { state.textContent = "connecting again"; });
  events.addEventListener("gone", (event) => { state.textContent = event.data; events.close(); });
  events.addEventListener("message", (event) => {
    place.innerHTML = event.data;
    place.dataset.updates = Number(place.dataset.updates || 0) + 1;
  });
}
