"""A real Prometheus scrapes under load, and every query of the rules and of the dashboard has an
answer. S3GATE_PROMETHEUS_SECONDS: how long (scripts/nightly: a minute)."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request

import pytest
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support.admin import admin_at, free_address  # noqa: E402
from support.backend import ScriptedBackend  # noqa: E402
from support.checkout import ROOT  # noqa: E402
from support.config import free_port, make_config, make_site  # noqa: E402
from support.daemon import Daemon  # noqa: E402
from support.waiting import wait_until  # noqa: E402

SECONDS = float(os.environ.get("S3GATE_PROMETHEUS_SECONDS", "12"))
RULES = ROOT / "config" / "prometheus" / "s3gate-alerts.yml"
DASHBOARD = ROOT / "config" / "grafana" / "s3gate.json"


def answer(exchange):
    """Every tenth request is an error, and a retry."""
    exchange.read_body()
    is_bad = exchange.request.target.startswith("/b/bad")
    exchange.respond(500 if is_bad else 200, body=b"x" * 100)


class Prometheus:
    def __init__(self, folder, target):
        self.address = f"127.0.0.1:{free_port()}"
        config = {
            "global": {
                "scrape_interval": "1s",
                "scrape_timeout": "1s",
                "evaluation_interval": "1s",
            },
            "rule_files": [str(RULES)],
            "scrape_configs": [{"job_name": "s3gate", "static_configs": [{"targets": [target]}]}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))
        self.log = open(folder / "prometheus.log", "wb")
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.address}",
            ],
            stdout=self.log,
            stderr=self.log,
        )

    def get(self, path, **query):
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=20) as reply:
            return json.load(reply)["data"]

    def query(self, text):
        return self.get("query", query=text)["result"]

    def is_up(self):
        try:
            return [sample["value"][1] for sample in self.query("up")] == ["1"]
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()


@pytest.fixture(name="stage")
def stage_fixture(tmp_path):
    """(daemon, Prometheus), with every key that has series."""
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed")
    backends = [ScriptedBackend(answer, f"b{i}") for i in range(2)]
    address = free_address()
    site = make_site(backends, balance={"method": "round_robin"}, backends={"max_connections": 50})
    daemon = Daemon(make_config([site], admin=admin_at(address)))
    prometheus = Prometheus(tmp_path, address)
    try:
        yield daemon, prometheus
    finally:
        prometheus.stop()
        daemon.finish()
        for backend in backends:
            backend.stop()


def load(daemon, stop):
    number = 0
    while not stop.is_set():
        with daemon.client() as client:
            for _ in range(20):
                number += 1
                kind = "bad" if number % 10 == 0 else "good"
                client.request("GET", f"/b/{kind}{number}")


def dashboard_queries():
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            query = re.sub(r"\$(instance|site|group)", ".*", target["expr"])
            yield query.replace("$__rate_interval", "10s")


def selectors():
    """Of the rules, which have no result while all is well: each selector with its labels."""
    for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]:
        expression = re.sub(r"\[\w+\]", "", rule["expr"])
        yield from re.findall(r"\b(?:s3gate_|process_|up\b)\w*(?:\{[^}]*\})?", expression)


def test_every_query_has_series(stage):
    daemon, prometheus = stage
    stop = threading.Event()
    threads = [threading.Thread(target=load, args=[daemon, stop]) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        wait_until(prometheus.is_up, what="the first scrape")
        time.sleep(SECONDS)  # what a rate needs is time
        for query in [*dashboard_queries(), *selectors()]:
            assert prometheus.query(query), query
        rules = prometheus.get("rules")["groups"][0]["rules"]
        assert {rule["health"] for rule in rules} == {"ok"}, rules
        assert min(float(s["value"][1]) for s in prometheus.query("min_over_time(up[1h])")) == 1
        slowest = prometheus.query("max_over_time(scrape_duration_seconds[1h])")[0]["value"][1]
        print(f"slowest scrape: {slowest} s")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    firing = {alert["labels"]["alertname"] for alert in prometheus.get("alerts")["alerts"]}
    assert not firing & {"S3gateDown", "S3gateUnhealthy", "S3gateNoUsableServer"}, firing
