"""JupyterLab in a browser, as a user has it: a real server, a real Chromium, real keys and clicks.

write_notebook(folder / "one.ipynb", ["x = 6 * 7"])
with server(folder) as lab, browser() as chromium, closing(Tab(chromium)) as tab:
    tab.open(lab, "one.ipynb")
    tab.run_all()
    assert tab.run("x + 1") == "43"
    assert not tab.errors and not tab.elsewhere
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import psutil
from nbformat import v4

if TYPE_CHECKING:
    from playwright.sync_api import Browser, WebSocket

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --autoplay-policy=no-user-gesture-required --mute-audio""".split()
PATIENCE = 60.0  # seconds: a busy machine may need many


def write_notebook(path: Path, cells: Sequence[str]) -> Path:
    "A notebook of cells of Python that have not been run."
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book = v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in cells], metadata={"kernelspec": kernel})
    path.write_text(v4.writes(book), encoding="utf-8")
    return path


class Server(NamedTuple):
    folder: Path
    url: str  # http://127.0.0.1:PORT
    token: str


@contextmanager
def server(folder: Path) -> Iterator[Server]:
    "JupyterLab over a folder. Its settings and logs are in a temporary one, and no process of it stays behind."
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    lab = Server(folder, f"http://127.0.0.1:{port}", secrets.token_hex(16))
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={lab.token}"]
    command += ["--LabApp.extension_manager=readonly", "--LabApp.expose_app_in_browser=True"]  # window.jupyterapp
    command += ["--ServerApp.shutdown_no_activity_timeout=600", "--MappingKernelManager.cull_idle_timeout=600"]
    with tempfile.TemporaryDirectory(prefix="lab-", ignore_cleanup_errors=True) as own:
        env = {key: value for key, value in os.environ.items() if not key.startswith(("JUPYTER", "JPY_"))}
        names = [f"JUPYTER{kind}_DIR" for kind in ("_CONFIG", "_RUNTIME", "_DATA", "LAB_WORKSPACES", "LAB_SETTINGS")]
        env |= {name: os.path.join(own, name) for name in (*names, "IPYTHONDIR")}
        settings = Path(env["JUPYTERLAB_SETTINGS_DIR"], "@jupyterlab", "apputils-extension")
        settings.mkdir(parents=True)  # without these, a window of news covers a corner of the page
        (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
        with Path(own, "log").open("w") as log:
            process = psutil.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            end = time.monotonic() + PATIENCE
            while not list(Path(env["JUPYTER_RUNTIME_DIR"]).glob("jpserver-*.json")):  # written when it listens
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"JupyterLab did not start:\n{Path(own, 'log').read_text()[-2000:]}")
                time.sleep(0.1)
            yield lab
        finally:
            with suppress(psutil.NoSuchProcess):
                family = process.children(recursive=True)  # kernels are groups of their own
                process.terminate()
                for child in reversed(psutil.wait_procs([process, *family], timeout=10)[1]):
                    child.kill()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 9)


def missing() -> str:
    "What keeps a browser from being started, in one sentence; empty if nothing does."
    if find_spec("playwright") is None:
        return "The browser tests need playwright: pip install -e '.[dev]'"
    return "" if any(map(shutil.which, CHROMIUM)) else f"The browser tests need {' or '.join(CHROMIUM)}: make browser"


@contextmanager
def browser() -> Iterator[Browser]:
    "Chromium without a window; sound plays, but nobody hears it."
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, CHROMIUM)))
    with sync_playwright() as it, it.chromium.launch(executable_path=path, headless=True, args=FLAGS) as started:
        yield started


IDLE = """async ([path, ms]) => {
    const idle = session => session.path == path && session.kernel?.execution_state == 'idle'
    for (const end = Date.now() + ms; Date.now() < end; await new Promise(done => setTimeout(done, 100)))
        if ((await (await fetch('/api/sessions')).json()).some(idle)) return
    throw new Error(`no kernel for ${path}`)
}"""
# The commands behind the menu. They answer when the kernel is done; the outputs of what was run come back.
RUN = """async ([command, source, ms]) => {
    const { content } = jupyterapp.shell.currentWidget
    if (source) {
        content.model.sharedModel.insertCell(content.widgets.length, { cell_type: 'code', source })
        content.activeCellIndex = content.widgets.length - 1
    }
    const late = new Promise((_, fail) => setTimeout(fail, ms, new Error(`${command}: not done`)))
    await Promise.race([jupyterapp.commands.execute(command), late])
    return content.widgets.slice(source ? -1 : 0).flatMap(cell => cell.model.outputs?.toJSON() ?? [])
}"""


class Tab:
    "A page of the browser, with what it complained of and what it fetched."

    def __init__(self, browser: Browser) -> None:
        self.errors: list[str] = []  # console errors and uncaught exceptions
        self.requests: list[str] = []  # every address
        self._traffic: Counter[str] = Counter()
        self.page = browser.new_page(viewport={"width": 1400, "height": 1000})
        self.page.set_default_timeout(1000 * PATIENCE)
        self.page.on("console", lambda it: self.errors.append(it.text) if it.type == "error" else None)
        self.page.on("pageerror", lambda it: self.errors.append(str(it)))
        self.page.context.on("request", lambda it: self.requests.append(it.url))
        self.page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        self.requests.append(socket.url)
        socket.on("framereceived", lambda it: self._traffic.update(frames_received=1, bytes_received=len(it)))
        socket.on("framesent", lambda it: self._traffic.update(frames_sent=1, bytes_sent=len(it)))

    def traffic(self) -> Counter[str]:
        "Of all websockets up to now: `frames_` and `bytes_`, `received` and `sent`. Subtract an earlier count."
        self.page.evaluate("0")  # what happened in the page comes in before its answer
        return self._traffic.copy()

    @property
    def elsewhere(self) -> list[str]:
        "Requests that left this machine."
        return [it for it in self.requests if not re.match(r"(http|ws)://127\.0\.0\.1[:/]|(data|blob|file):", it)]

    def shot(self, name: str) -> Path:
        "A screenshot, in the folder SONIC_SHOTS or a temporary one."
        path = Path(os.environ.get("SONIC_SHOTS") or tempfile.mkdtemp(prefix="sonic-shot-"), f"{name}.png")
        self.page.screenshot(path=path)
        return path

    def open(self, lab: Server, path: str) -> None:
        "A notebook in JupyterLab, until its kernel is ready."
        self.page.goto(f"{lab.url}/lab/tree/{quote(path)}?token={lab.token}&reset")
        self.page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook")
        # the page calls a kernel idle too early, and a run then opens a dialog that asks for a kernel: ask the server
        self.page.evaluate(IDLE, [path, 1000 * PATIENCE])
        self.settle()

    def settle(self) -> None:
        "Until page and kernel have said all: a widget holds changes back while the kernel is busy."
        seen = None
        for _ in range(int(5 * PATIENCE)):
            if seen == (seen := self.traffic()):
                return
            self.page.locator("#jp-main-statusbar", has_text="| Idle").wait_for()
            self.page.wait_for_timeout(200)
        raise TimeoutError("messages without end")

    def _run(self, command: str, source: str = "") -> list[dict[str, Any]]:
        outputs = self.page.evaluate(RUN, [f"notebook:{command}", source, 1000 * PATIENCE])
        for failed in (it for it in outputs if it["output_type"] == "error"):
            raise AssertionError(re.sub(r"\x1b\[[\d;]*m", "", "\n".join(failed["traceback"])))
        return outputs

    def run_all(self) -> None:
        "Every cell, until the last has its number. A cell that fails is an AssertionError with its traceback."
        self._run("run-all-cells")
        self.page.locator(".jp-CodeCell").last.locator(".jp-InputPrompt", has_text=re.compile(r"\[\d+\]:")).wait_for()

    def run(self, source: str) -> str:
        "The text that a new last cell of Python puts out; the cell takes the focus."
        outputs = self._run("run-cell", source)
        return "".join("".join(it.get("text") or it.get("data", {}).get("text/plain", "")) for it in outputs)

    def close(self) -> None:
        "The page, and its kernel."
        self.page.evaluate("() => window.jupyterapp?.shell.currentWidget?.context?.sessionContext.shutdown()")
        self.page.close()


def wait(tab: Tab, expression: str) -> None:
    "Until something is true in the page; a page with a strict policy cannot be asked to wait by itself."
    for _ in range(600):
        if tab.page.evaluate(expression):
            return
        tab.page.wait_for_timeout(50)
    raise AssertionError(f"{expression} did not become true")
