"""A served viewer and a real Chromium for tests and benchmarks."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = Path(os.environ.get("BOUILLON_CHROMIUM", "/usr/bin/chromium"))
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 180_000
"""How long a page may take for anything [ms]: only what never comes takes so long, however busy the machine is."""
READY = "window.bouillonReady !== undefined"
DRAWN = """new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"""
VIEWER = Path(__file__).parents[2] / "viewer"


def why_not() -> str:
    """Why no browser can be driven here; empty if one can."""
    if not CHROMIUM.exists():
        return f"{CHROMIUM} is missing: apt-get install chromium"
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is missing: pip install playwright"
    return ""


def node() -> str:
    """Return the program that runs JavaScript: Playwright brings one."""
    from playwright._impl._driver import compute_driver_executable

    return str(compute_driver_executable()[0])


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(results: Path, log: Path, port: int = 0, program: Path = VIEWER) -> Iterator[str]:
    """Run `panel serve` on a port of this machine, by default a free one; yields the page's address.

    The log has its output. The program is the viewer, or somebody's page that has its parts.
    """
    port = port or free_port()
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "panel", "serve", str(program), "--port", str(port), "--address", "127.0.0.1"],
            cwd=VIEWER.parent,
            env={**os.environ, "BOUILLON_RESULTS": str(results)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait(f"http://127.0.0.1:{port}/static/js/bokeh.min.js", server, log)
        yield f"http://127.0.0.1:{port}/{program.stem}"
    finally:
        server.terminate()
        server.wait()


def _wait(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    while server.poll() is None:
        try:
            urllib.request.urlopen(address).close()
        except OSError:
            time.sleep(0.1)  # nobody listens yet
        else:
            return
    raise RuntimeError(f"The server did not come up:\n{log.read_text()}")


def errors_of_ours(log: Path) -> list[str]:
    """Lines of tracebacks through the viewer. Bokeh has one of its own when a browser leaves while it connects."""
    return [line for line in log.read_text().splitlines() if f'File "{VIEWER}' in line]


class Visitor:
    """A page in the browser, and everything it complained about."""

    def __init__(self, page: Any) -> None:
        self.page = page
        page.set_default_timeout(PATIENCE)
        page.set_default_navigation_timeout(PATIENCE)
        self.complaints: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def open(self, address: str) -> Visitor:
        """Go there and wait until the map is drawn."""
        self.page.goto(address, wait_until="commit")
        self.page.wait_for_function(READY)
        return self

    def run(self, code: str) -> Any:
        """Evaluate JavaScript."""
        return self.page.evaluate(code)

    def until(self, code: str) -> None:
        """Wait until an expression is true."""
        self.page.wait_for_function(code)

    def settle(self, act: Callable[[], Any]) -> None:
        """Do something that asks the server, and wait until all that it asked is answered and shown.

        The first update that comes may be another's: of results that arrived, or of what was asked before.
        """
        before = self.run("bouillon.sent()")
        act()
        self.until(f"bouillon.sent() > {before} && bouillon.answered() === bouillon.sent()")

    def drawn(self) -> None:
        """Wait until the browser has shown two more frames: what was asked for before is in the second at the latest."""
        self.run(DRAWN)

    def point(self, plot: str, key: str) -> tuple[float, float]:
        """Where a model is drawn, in pixels of the page."""
        source = "nodes" if plot == "map" else "models"
        x, y = self.run(
            f"""(() => {{
                const data = bouillon.model("{source}").data, at = data.key.indexOf("{key}");
                const frame = bouillon.view("{plot}").frame, box = document.getElementById("{plot}").getBoundingClientRect();
                return [box.left + frame.x_scale.compute(data.x[at]), box.top + frame.y_scale.compute(data.y[at])];
            }})()"""
        )
        return x, y

    def click(self, plot: str, key: str, **options: Any) -> None:
        """Click a model in a plot."""
        x, y = self.point(plot, key)
        modifiers = options.pop("modifiers", [])
        for name in modifiers:
            self.page.keyboard.down(name)
        self.page.mouse.click(x, y, **options)
        for name in modifiers:
            self.page.keyboard.up(name)

    def drag(self, start: tuple[float, float], stop: tuple[float, float], steps: int = 8) -> None:
        """Press, move, release."""
        self.page.mouse.move(*start)
        self.page.mouse.down()
        self.page.mouse.move(*stop, steps=steps)
        self.page.mouse.up()

    def texts(self, selector: str) -> list[str]:
        """Visible texts of all matching elements."""
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]
