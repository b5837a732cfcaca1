"""Chromium without a display, as Debian's packages chromium and chromium-driver install it."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# These stop everything that a browser does unasked, such as looking for updates.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def programs() -> tuple[str, str]:
    """Return the paths of the browser and its driver. :raises RuntimeError: one of them is missing."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if not browser or not driver:
        missing = " and ".join(name for name, found in (("Chromium", browser), ("chromedriver", driver)) if not found)
        raise RuntimeError(
            f"The tests of the HTML report need {missing} on PATH. Run: make browser, or install the packages chromium "
            "and chromium-driver (Debian), or chromium-browser and chromium-chromedriver (Ubuntu)."
        )
    return browser, driver


class Browser:
    """A running browser with one page."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self._driver = driver
        self.command("Performance.enable")
        self.command("Profiler.enable")
        self.command("Profiler.startPreciseCoverage", callCount=True, detailed=False)

    def open(self, path: Path, *, width: int = 1280, height: int = 900, **media: str) -> None:
        """Open a file.

        :param media: CSS media features with underscores, such as ``prefers_color_scheme="dark"``; ``type="print"``.
        """
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items() if name != "type"]
        self.command("Emulation.setEmulatedMedia", media=media.get("type", ""), features=features)
        self.resize(width, height)
        self._driver.get("about:blank")  # else another fragment of the same file would not load it again
        self.console()
        self._driver.get(path.as_uri())

    def resize(self, width: int, height: int = 900) -> None:
        size = {"width": width, "height": height}
        self.command("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=False)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run JavaScript in the page and return its result. If that is a promise, wait for it."""
        return self._driver.execute_async_script(
            "const done = arguments[arguments.length - 1];"
            f"(async function () {{ {script} }}).apply(null, [...arguments].slice(0, -1))"
            ".then((value) => done({value}), (error) => done({error: String(error)}))",
            *arguments,
        )

    def value(self, script: str, *arguments: Any) -> Any:
        """Return the value of an expression in the page."""
        answer = self.run(f"return {script};", *arguments)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["value"]

    def command(self, command: str, **parameters: Any) -> Any:
        """Give a command of the Chrome DevTools Protocol."""
        return self._driver.execute_cdp_cmd(command, parameters)

    def work(self) -> tuple[int, int]:
        """Return how many functions of the page were called since the last time, and how often it was laid out so far.

        The first is the same on a slow machine, which seconds are not, and the second differs by a few.
        """
        scripts = self.command("Profiler.takePreciseCoverage")["result"]
        functions = [each for script in scripts if script["url"].startswith("file:") for each in script["functions"]]
        metrics = {each["name"]: each["value"] for each in self.command("Performance.getMetrics")["metrics"]}
        return sum(int(each["ranges"][0]["count"]) for each in functions), int(metrics["LayoutCount"])

    def press(self, key: str, *, code: int, shift: bool = False, text: str = "") -> None:
        """Press a key, as a person does."""
        event = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.command("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **event)
        self.command("Input.dispatchKeyEvent", type="keyUp", **event)

    def write(self, text: str) -> None:
        """Type a text into the element that has the focus."""
        self.command("Input.insertText", text=text)

    def console(self) -> list[str]:
        """Return the messages of the console since the last call, such as errors and refusals."""
        return [entry["message"] for entry in self._driver.get_log("browser")]

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Write a picture of the page. :param whole: include the parts below the first screen."""
        shot = self.command("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self) -> bytes:
        """Return the page as it is printed."""
        return base64.b64decode(self.command("Page.printToPDF", printBackground=True)["data"])


@contextmanager
def running(profile: Path) -> Iterator[Browser]:
    """Start a browser with an empty profile, and stop it."""
    browser, driver = programs()
    options = Options()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(executable_path=driver))
    try:
        started.set_script_timeout(60)
        yield Browser(started)
    finally:
        started.quit()
