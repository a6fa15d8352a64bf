// The connection to the server: when it is lost the page says so and keeps what it shows; when the server answers again the
// page is loaded anew from its address, which holds the whole state.
const {listen, model, byId} = bouillon;
const SOON = 1000, LATE = 10_000, NEVER = 30_000;   // milliseconds
let timer = null, delay = SOON, asking = false;

function tell(text) {
  const banner = byId("connection");
  banner.querySelector("p").textContent = text;
  banner.hidden = false;
}

async function ask() {
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  try {
    await fetch("static/js/bokeh.min.js", {method: "HEAD", cache: "no-store"});
    location.reload();
  } catch {
    timer = setTimeout(ask, delay);
    delay = Math.min(LATE, 2 * delay);
  }
  asking = false;
}

function lost() {
  if (bouillon.isLost) return;
  bouillon.isLost = true;
  tell("The connection to the server is lost. What you see stays as it is; the page goes on by itself as soon as the server answers.");
  ask();
}

listen("do reconnect", () => { delay = SOON; ask(); });
for (const sign of ["online", "visibilitychange", "pageshow"])
  addEventListener(sign, () => { if (bouillon.isLost && !document.hidden) ask(); }, true);
listen("start", () => { if (model("bridge")) Bokeh.documents[0].on_event("connection_lost", lost); });
setTimeout(() => {
  if (window.Bokeh && window.bouillonReady === undefined && !Bokeh.documents.length)
    tell("The page gets no connection to the server: ask whoever started it whether it allows this address (--allow-websocket-origin).");
}, NEVER);
