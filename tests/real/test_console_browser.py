"""A real browser works with the console through s3gate: log in, list, upload, live updates.

The same steps directly at one node and through the proxy must look the same on the page. When the
node that holds the page's WebSocket dies, the page must find another one.
"""

import contextlib
import hashlib
import os
import pathlib
import random
import re
import shutil
import subprocess
import tempfile

import pytest

from support_real import (
    ADDRESSES,
    S3gate,
    end_process,
    require,
    require_program,
    wait_until,
)

try:
    from selenium import webdriver
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.chrome.service import Service
except ImportError:
    webdriver = None

FOLDER = pathlib.Path(__file__).resolve().parent / "console"
NODES = 6
PATIENCE = 120  # a longer wait only ends a failed test
PASSWORD = "sesame & more"
CHROMIUM = (
    "--headless",
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--window-size=1000,900",
)


class Cluster:
    """Six nodes of the console, each a process with its own address, over one folder."""

    def __init__(self):
        self.store = pathlib.Path(tempfile.mkdtemp(prefix="s3gate-console-"))
        self.addresses = [f"{ADDRESSES.take()}:9001" for _ in range(NODES)]
        self._processes = {}
        try:
            for number in range(1, NODES + 1):
                self.start(f"node{number}")
        except BaseException:
            self.stop()
            raise

    def start(self, name):
        host, port = self.addresses[int(name[4:]) - 1].rsplit(":", 1)
        process = subprocess.Popen(
            ["node", str(FOLDER / "node.js"), name, host, port, str(self.store)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "NODE_PATH": "/usr/share/nodejs",
                "CONSOLE_PBKDF_PASSPHRASE": "the deployment's id",
            },
        )
        self._processes[name] = process
        if process.stdout.readline().strip() != "READY":
            pytest.fail(f"{name} did not start")

    def kill(self, name):
        self._processes[name].kill()
        self._processes[name].wait(10)

    def empty(self):
        for file in self.store.iterdir():
            file.unlink()
        (self.store / "welcome.txt").write_text("Hello\n")

    def stop(self):
        for process in self._processes.values():
            end_process(process)
            process.stdout.close()
        shutil.rmtree(self.store, ignore_errors=True)


class Browser:
    """Chromium with its own profile. Queries are repeated while the page is being replaced."""

    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="s3gate-chromium-")
        options = webdriver.ChromeOptions()
        options.binary_location = require_program("chromium")
        for argument in (*CHROMIUM, f"--user-data-dir={self.profile}"):
            options.add_argument(argument)
        self._service = Service(require_program("chromedriver"))
        try:
            self.driver = webdriver.Chrome(service=self._service, options=options)
            self.driver.set_page_load_timeout(PATIENCE)
        except BaseException:
            self._service.stop()
            shutil.rmtree(self.profile, ignore_errors=True)
            raise

    def forget(self):
        self.driver.get("about:blank")
        self.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})

    def close(self):
        with contextlib.suppress(WebDriverException):
            self.driver.quit()
        shutil.rmtree(self.profile, ignore_errors=True)

    def evaluate(self, script):
        with contextlib.suppress(WebDriverException):
            return self.driver.execute_script(f"return {script}")
        return None

    def text(self, name):
        return self.evaluate(f"document.getElementById('{name}').textContent") or ""

    def wait(self, script, what):
        return wait_until(lambda: self.evaluate(script), PATIENCE, what)

    def wait_text(self, name, pattern):
        return wait_until(
            lambda: re.search(pattern, self.text(name)), PATIENCE, f"{name} matching {pattern}"
        )

    def click(self, name):
        self.driver.find_element("id", name).click()

    def type(self, name, text):
        field = self.driver.find_element("id", name)
        field.clear()
        field.send_keys(text)

    def wait_page(self, status):
        """Waits until the page is loaded and knows whether a user is logged in."""
        self.wait(f"document.body.dataset.ready === '{status}'", f"a page with {status}")

    def rows(self):
        """The table of objects on the page."""
        return self.evaluate(
            "[...document.querySelectorAll('#objects tr')]"
            ".map((row) => [...row.cells].map((cell) => cell.textContent))"
        )

    def wait_rows(self, names):
        wait_until(
            lambda: [row[0] for row in self.rows() or []] == names, PATIENCE, f"objects {names}"
        )
        return self.rows()

    def log_in(self, url):
        self.driver.get(url)
        self.wait_page(401)
        self.type("user", "admin")
        self.type("password", PASSWORD)
        self.click("enter")
        self.wait_page(200)
        return self.wait_text("live", r"from (node\d) \(connection 1\)").group(1)

    def upload(self, file):
        data = file.read_bytes()
        self.driver.find_element("id", "file").send_keys(str(file))
        self.click("upload")
        digest = hashlib.sha256(data).hexdigest()
        self.wait_text("uploaded", f"^201 {re.escape(file.name)} {len(data)} {digest}$")
        return self.text("uploaded")

    def served(self, what):
        """Names of the nodes that answered `what`, as the page says."""
        items = self.evaluate(
            "[...document.querySelectorAll('#served li')].map((i) => i.textContent)"
        )
        return {item.split(": ")[1].split(" ")[0] for item in items if item.startswith(f"{what}: ")}

    @property
    def failures(self):
        return int(self.evaluate("document.body.dataset.failures") or 0)

    def screenshot(self, name):
        """Written to $S3GATE_REPORT_DIR, if set."""
        folder = os.environ.get("S3GATE_REPORT_DIR")
        if folder:
            pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
            assert self.driver.save_screenshot(str(pathlib.Path(folder) / name))


@pytest.fixture(scope="module", name="cluster")
def cluster_fixture():
    require(webdriver is not None, "not installed: python3-selenium")
    require_program("node", "chromium", "chromedriver")
    found = subprocess.run(
        ["node", "-e", "require('ws')"],
        env={**os.environ, "NODE_PATH": "/usr/share/nodejs"},
        capture_output=True,
        check=False,
    )
    require(found.returncode == 0, "not installed: node-ws")
    nodes = Cluster()
    yield nodes
    nodes.stop()


@pytest.fixture(scope="module", name="console")
def console_fixture(cluster):
    """The daemon before the six nodes, with config/sites/console01-minio.yaml."""
    site = {
        "name": "console",
        "type": "http",
        "listen": [f"{ADDRESSES.take()}:9001"],
        "balance": {"method": "least_conn"},
        "backends": {"servers": cluster.addresses},
        "passive": {"max_fails": 3, "fail_timeout": "30s"},
        "upgrade": True,
        "headers": {"set": {"X-NginX-Proxy": "true"}},
    }
    with S3gate([site], {"workers": 2}) as gate:
        yield gate


@pytest.fixture(scope="module", name="chromium")
def chromium_fixture(cluster):
    del cluster  # the fixture must be up
    browser = Browser()
    yield browser
    browser.close()


@pytest.fixture(name="browser")
def browser_fixture(chromium, cluster):
    """One browser for all tests, without a page and without cookies."""
    chromium.forget()
    cluster.empty()
    return chromium


def made_file(folder, name, size, seed):
    file = folder / name
    file.write_bytes(random.Random(seed).randbytes(size))
    return file


def visit(browser, cluster, url, folder):
    """All steps of a user and their visible results, which do not depend on the serving node."""
    cluster.empty()
    seen = {}
    browser.forget()
    browser.driver.get(url)
    browser.wait_page(401)
    seen["title"] = browser.driver.title
    browser.type("user", "admin")
    browser.type("password", "wrong")
    browser.click("enter")
    browser.wait("location.hash === '#wrong' && document.body.dataset.ready === '401'", "refusal")
    seen["refused"] = browser.driver.find_element("id", "wrong").is_displayed()
    browser.log_in(url)
    seen["cookies"] = [
        (cookie["name"], cookie["httpOnly"], cookie["sameSite"])
        for cookie in browser.driver.get_cookies()
    ]
    seen["user"] = browser.text("who")
    seen["first list"] = browser.wait_rows(["welcome.txt"])
    small = made_file(folder, "small file.bin", 1000, 1)
    large = made_file(folder, "large.bin", 8 * 1024 * 1024, 2)
    seen["small"] = browser.upload(small)
    # The row appears with the live update, not with the upload's answer.
    seen["second list"] = browser.wait_rows(["small file.bin", "welcome.txt"])
    seen["large"] = browser.upload(large)
    seen["third list"] = browser.wait_rows(["large.bin", "small file.bin", "welcome.txt"])
    seen["stored"] = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(cluster.store.iterdir())
    }
    browser.driver.refresh()
    browser.wait_page(200)
    browser.wait_text("live", r"\(connection 1\)")
    seen["list after a reload"] = browser.wait_rows(["large.bin", "small file.bin", "welcome.txt"])
    seen["failures"] = browser.failures
    browser.click("leave")
    browser.wait_page(401)
    seen["after logging out"] = browser.driver.get_cookies()
    return seen


def test_the_same_as_without_a_proxy(browser, cluster, console, tmp_path):
    direct = visit(browser, cluster, f"http://{cluster.addresses[0]}/", tmp_path)
    assert direct["refused"] and direct["cookies"] == [("token", True, "Lax")]
    assert len(direct["stored"]) == 3 and direct["failures"] == 0
    proxied = visit(browser, cluster, console.url + "/", tmp_path)
    assert proxied == direct
    entries = console.wait_entries(lambda entry: entry["request"] == "/api/v1/upload", 2)
    assert {entry["status"] for entry in entries} == {201}


def test_any_node_serves_any_session(browser, cluster, console):
    """Requests of one session are spread over the nodes, first to those that are less busy than the
    one with the WebSocket. Each node sees the browser's Host and the field that the configuration
    adds."""
    holder = browser.log_in(console.url + "/")
    others = {f"node{number}" for number in range(1, NODES + 1)} - {holder}
    for _ in range(5 * NODES):
        browser.evaluate("ask('GET', '/api/v1/seen', null, (_, seen) => { window.seen = seen; })")
    wait_until(
        lambda: browser.served("GET /api/v1/seen") >= others, PATIENCE, "all others were asked"
    )
    seen = browser.wait("window.seen", "what a node saw")
    assert seen["host"] == console.address
    assert seen["x-nginx-proxy"] == "true"
    assert seen["cookie"].startswith("token=")
    assert browser.failures == 0


def test_the_page_survives_its_node(browser, cluster, console, tmp_path):
    """The node with the WebSocket is killed: the page learns of it (long before tunnel_idle),
    connects again through s3gate, another node answers, and live updates continue."""
    holder = browser.log_in(console.url + "/")
    assert browser.wait_rows(["welcome.txt"])
    cluster.kill(holder)
    try:
        again = browser.wait_text("live", r"from (node\d) \(connection 2\)").group(1)
        assert again != holder
        for number in range(3):
            browser.upload(made_file(tmp_path, f"after-{number}.bin", 50_000, number))
        browser.wait_rows(["after-0.bin", "after-1.bin", "after-2.bin", "welcome.txt"])
        assert browser.failures == 0
        assert browser.served("WebSocket") == {holder, again}
        assert holder not in browser.served("POST /api/v1/upload")
        browser.screenshot("console-after-node-died.png")
    finally:
        cluster.start(holder)
