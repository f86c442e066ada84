"""Debian's Chromium over its own pipe: a page at a given width, light or dark, measured and photographed.

The protocol is Chrome DevTools' (chromedevtools.github.io/devtools-protocol): JSON objects that end with a zero byte,
on file descriptors 3 and 4. Nothing listens on a port. Scripts run beside the page's content security policy.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt install chromium)")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--remote-debugging-pipe",
    "--hide-scrollbars",
    "--no-first-run",
)
# Chromium takes commands at descriptor 3 and answers at 4.
PUT_PIPES_IN_PLACE = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD_CLOEXEC, 10) for end in sys.argv[1:3]]
for place, end in zip((3, 4), ends):
    os.dup2(end, place)
os.execv(sys.argv[3], sys.argv[3:])
"""
CONVERSATION = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")


class Browser:
    """One Chromium with one page; a context manager. `complaints` is all that the page's console heard."""

    def __init__(self) -> None:
        assert CHROMIUM is not None
        self.profile = tempfile.TemporaryDirectory(prefix="bosrow-chromium-", ignore_cleanup_errors=True)
        profile = f"--user-data-dir={self.profile.name}"
        read_here, write_there = os.pipe()
        read_there, write_here = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PUT_PIPES_IN_PLACE, str(read_there), str(write_there), CHROMIUM, *FLAGS, profile],
            pass_fds=(read_there, write_there),
            stderr=subprocess.DEVNULL,
        )
        os.close(read_there)
        os.close(write_there)
        self.commands, self.answers = os.fdopen(write_here, "wb"), os.fdopen(read_here, "rb")
        self.buffer = b""
        self.number = 0
        self.session: str | None = None
        self.events: list[dict[str, Any]] = []
        self.complaints: list[str] = []

    def __enter__(self) -> "Browser":
        (page,) = (one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self.session = None
        self.call("Browser.close")
        self.process.wait(timeout=30)
        self.commands.close()
        self.answers.close()
        self.profile.cleanup()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        message |= {"sessionId": self.session} if self.session else {}
        self.commands.write(json.dumps(message).encode() + b"\0")
        self.commands.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]

    def wait_for(self, method: str) -> None:
        """Return when an event has come since the last `open`."""
        while not any(event["method"] == method for event in self.events):
            self._next()

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            data = self.answers.read1()
            assert data, "chromium has gone"
            self.buffer += data
        message, _, self.buffer = self.buffer.partition(b"\0")
        value = json.loads(message)
        if "method" in value:
            self.events.append(value)
            if value["method"] in CONVERSATION:
                self.complaints.append(json.dumps(value["params"])[:500])
        return value

    def open(self, url: str, width: int, *, dark: bool = False, height: int = 900) -> None:
        """Load a page in a window of `width` pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.events.clear()
        self.call("Page.navigate", url=url)
        self.wait_for("Page.loadEventFired")

    def requests(self) -> list[str]:
        """The addresses that the page asked for since `open`, without those of Chromium's own pages."""
        urls = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith("chrome:")]

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def photograph(self, path: Path) -> None:
        """The whole page as a PNG file."""
        image = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(b64decode(image["data"]))


# Texts that lie on each other: boxes of the leaves of HTML and of SVG text that share more than two pixels both ways.
OVERLAPPING_TEXTS = """(() => {
  const boxes = [];
  const walker = document.createTreeWalker(document.body || document.documentElement, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!node.data.trim() || node.parentElement.closest("title, style")
        || !node.parentElement.checkVisibility()) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects())
      if (box.width > 1 && box.height > 1)
        boxes.push([box.left, box.top, box.right, box.bottom, node.data.trim().slice(0, 30)]);
  }
  boxes.sort((one, other) => one[1] - other[1]);
  const found = [];
  for (let i = 0; i < boxes.length; i++)
    for (let j = i + 1; j < boxes.length && boxes[j][1] < boxes[i][3]; j++) {
      const across = Math.min(boxes[i][2], boxes[j][2]) - Math.max(boxes[i][0], boxes[j][0]);
      const down = Math.min(boxes[i][3], boxes[j][3]) - boxes[j][1];
      if (across > 2 && down > 4) found.push(boxes[i][4] + " / " + boxes[j][4]);
    }
  return found;
})()"""
# Elements that stick out of the window, but for those inside a box that scrolls by itself.
STICKING_OUT = """(() => {
  const wide = document.documentElement.clientWidth;
  return [...document.querySelectorAll("body *")]
    .filter((one) => one.getBoundingClientRect().right > wide + 1 && !one.closest(".wide, svg"))
    .map((one) => one.tagName + "." + one.className).concat(
      document.documentElement.scrollWidth > wide ? ["the page scrolls sideways"] : []);
})()"""
