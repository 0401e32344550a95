"""The alert rules, the dashboard and their page: each alert fires in a test, and whatever they ask
for is a metric."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

from support.checkout import ROOT

RULES = ROOT / "config" / "prometheus" / "s3gate-alerts.yml"
TESTS = ROOT / "config" / "prometheus" / "s3gate-alerts.test.yml"
SCRAPE = ROOT / "config" / "prometheus" / "scrape.yml"
DASHBOARD = ROOT / "config" / "grafana" / "s3gate.json"
PAGE = (ROOT / "docs" / "metrics.md").read_text()
NAME = re.compile(r"\b((?:s3gate|process)_\w+)")


def rules():
    return yaml.safe_load(RULES.read_text())["groups"][0]["rules"]


def promtool(*arguments):
    if shutil.which("promtool") is None:
        pytest.skip("promtool (Debian's prometheus) is not installed")
    done = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_are_valid_and_their_tests_pass():
    assert f"{len(rules())} rules found" in promtool("check", "rules", RULES)
    assert "SUCCESS" in promtool("test", "rules", TESTS)


def test_the_scrape_example_is_valid():
    promtool("check", "config", SCRAPE)


def test_each_alert_fires_in_a_test():
    cases = [
        case
        for test in yaml.safe_load(TESTS.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    fired = {case["alertname"] for case in cases if case["exp_alerts"]}
    assert {rule["alert"] for rule in rules()} == fired


def listed_alerts():
    """By metric, as the page has them."""
    rows = re.findall(r"^\| `((?:s3gate|process)_\w+)` \|.*\| ([^|]*) \|$", PAGE, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", alerts)) for name, alerts in rows}


def metric_of(name):
    """The metric of a series: a histogram has three kinds of them."""
    return re.sub(r"_seconds_(bucket|sum|count)$", "_seconds", name)


def test_the_page_says_which_alert_looks_at_a_metric():
    listed = listed_alerts()
    for rule in rules():
        for name in NAME.findall(rule["expr"]):
            assert rule["alert"] in listed[metric_of(name)], (rule["alert"], name)
        assert f"| `{rule['alert']}` |" in PAGE
    known = {rule["alert"] for rule in rules()}
    assert {alert for alerts in listed.values() for alert in alerts} <= known


def test_the_dashboard_asks_for_metrics_that_exist():
    dashboard = json.loads(DASHBOARD.read_text())
    listed = listed_alerts()
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [str(v.get("query")) for v in dashboard["templating"]["list"]]
    names = {metric_of(name) for query in queries for name in NAME.findall(query)}
    assert len(names) > 20 and names <= set(listed)
