"""A headless Chromium, driven through a pipe by the DevTools protocol: no port, no driver."""

import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

PATIENCE = 60  # seconds for any one thing; shared machines are slow


def executable() -> str | None:
    """Return the path of a Chromium or Chrome, if there is one."""
    names = ("chromium", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


class Chromium:
    """One page of one browser with a profile of its own; a context manager.

    Parameters
    ----------
    profile : folder for the browser's data; a second browser with the same folder remembers
    downloads : folder that receives downloads
    """

    def __init__(self, profile: Path, downloads: Path):
        self.profile, self.downloads = profile, downloads
        self.number, self.events, self.waiting = 0, [], b""

    def __enter__(self) -> "Chromium":
        # The browser reads commands from descriptor 3 and writes answers to 4, each ended by NUL.
        commands, self.out = os.pipe()
        self.back, answers = os.pipe()
        options = ["--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run"]
        options += ["--disable-dev-shm-usage", "--disable-background-networking", "--mute-audio"]
        options += ["--no-sandbox"] if os.geteuid() == 0 else []
        command = [executable(), *options, f"--user-data-dir={self.profile}", "about:blank"]
        redirect = f'exec "$@" 3<&{commands} 4>&{answers}'
        self.process = subprocess.Popen(
            ["bash", "-c", redirect, "bash", *command],
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(commands)
        os.close(answers)
        self.session = None
        try:
            target = self("Target.createTarget", url="about:blank")["targetId"]
            attached = self("Target.attachToTarget", targetId=target, flatten=True)
            self("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))
            self.session = attached["sessionId"]
            for domain in ("Page", "Runtime", "Network", "Log"):
                self(f"{domain}.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        try:
            self.session = None
            self("Browser.close")
            self.process.wait(10)
        except (OSError, RuntimeError, TimeoutError, subprocess.TimeoutExpired):
            os.killpg(self.process.pid, signal.SIGKILL)  # its own group, and nothing else
            self.process.wait(10)
        os.close(self.out)
        os.close(self.back)

    def __call__(self, method: str, **params) -> dict:
        """Send a command and return its result; what happens meanwhile goes to `events`."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while True:
            reply = self.read(end)
            if reply.get("id") != self.number:
                self.events.append(reply)
            elif "error" in reply:
                raise RuntimeError(f"{method}: {reply['error']}")
            else:
                return reply["result"]

    def read(self, end: float) -> dict:
        """Return the browser's next message."""
        while b"\0" not in self.waiting:
            if not select.select([self.back], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            part = os.read(self.back, 1 << 20)
            if not part:
                raise RuntimeError("the browser ended")
            self.waiting += part
        message, self.waiting = self.waiting.split(b"\0", 1)
        return json.loads(message)

    def open(self, url: str) -> None:
        """Go to a page and wait until it has been loaded; the page before may be the same."""
        self("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def reload(self) -> None:
        """Load the page again."""
        self.eval("window.before = true")
        self("Page.reload")
        self.until("window.before === undefined && document.readyState === 'complete'")

    def eval(self, expression: str):
        """Return the value of an expression in the page."""
        done = self("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in done:
            raise RuntimeError(f"{expression}: {done['exceptionDetails']}")
        return done["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until an expression in the page is true."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            try:
                if self.eval(expression):
                    return
            except RuntimeError:
                pass  # between two pages
            time.sleep(0.05)
        raise TimeoutError(expression)

    def press(self, key: str) -> None:
        """Press and release one key, as a keyboard does: "r", "Enter", "ArrowLeft"."""
        codes = {"Enter": 13, "Tab": 9, "ArrowLeft": 37, "ArrowRight": 39, "ArrowDown": 40, " ": 32}
        key_code = codes.get(key) or (ord(key.upper()) if key.isalnum() else 0)
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        about = {"key": key, "windowsVirtualKeyCode": key_code}
        self("Input.dispatchKeyEvent", type="keyDown", text=text, **about)
        self("Input.dispatchKeyEvent", type="keyUp", **about)

    def write(self, text: str) -> None:
        """Press one key after the other."""
        for letter in text:
            self.press(letter)

    def tap(self, selector: str) -> None:
        """Touch the middle of an element with a finger."""
        box = f"(b => [b.x + b.width / 2, b.y + b.height / 2])({selector}.getBoundingClientRect())"
        self.eval(f"{selector}.scrollIntoView({{block: 'center'}})")
        x, y = self.eval(box)
        self("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def screen(self, width: int, height: int, touch: bool = False) -> None:
        """Take the size of a screen in CSS pixels, and its fingers."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=height,
             deviceScaleFactor=1, mobile=touch)  # fmt: skip
        self("Emulation.setTouchEmulationEnabled", enabled=touch)

    def downloaded(self) -> Path:
        """Wait for the one file that the page downloads, and return it."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.eval("0")  # lets the browser go on
            if files := list(self.downloads.glob("*.csv")):
                return files[0]
            time.sleep(0.05)
        raise TimeoutError("no file was downloaded")
