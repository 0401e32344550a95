"""Sockets of an address that left stay bound for a moment, so that a handshake in progress can end.
In an upgrade they belong to another process, and are no obstacle for an address that comes back.
"""

import copy

import pytest

from support.client import RawClient
from support.config import free_port
from support.ctl import ctl


@pytest.fixture(name="two")
def two_fixture(serve):
    """(daemon, a configuration with two addresses, one without the second one)."""
    daemon, _ = serve()
    without = copy.deepcopy(daemon.config)
    both = copy.deepcopy(daemon.config)
    both["sites"][0]["listen"].append(f"127.0.0.1:{free_port()}")
    assert daemon.reload(both).startswith("reloaded: ")
    return daemon, both, without


def assert_served(config):
    for address in config["sites"][0]["listen"]:
        with RawClient(address) as client:
            assert client.request().status == 200


def test_an_address_that_has_just_left_comes_back_with_the_upgrade(two, line):
    daemon, both, without = two
    assert daemon.reload(without).startswith("reloaded: ")
    daemon.write(both)
    line.upgrade()
    assert_served(both)


def test_an_address_that_left_with_the_upgrade_comes_back_at_once(two, line):
    daemon, both, without = two
    daemon.write(without)
    line.upgrade()
    daemon.write(both)
    done = ctl(daemon, "reload")
    assert done.returncode == 0, done.stderr
    assert_served(both)


def test_an_address_that_left_comes_back_as_a_wildcard_with_the_next_upgrade(two, line):
    daemon, both, without = two
    daemon.write(without)
    line.upgrade()
    wild = copy.deepcopy(both)
    wild["sites"][0]["listen"][1] = both["sites"][0]["listen"][1].replace("127.0.0.1", "0.0.0.0")
    daemon.write(wild)
    line.upgrade()
    assert_served(both)
