"""Fixtures of the tests against real S3 servers: one cluster of each kind per pytest session, and
s3gate in front of it."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import minio_nodes  # noqa: E402
import rgw  # noqa: E402
from support_real import ADDRESSES, S3gate, s3_site, s3gate_binary  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def daemon_program():
    """Without the daemon every test skips before it starts anything else."""
    s3gate_binary()


@pytest.fixture(scope="session")
def cluster():
    store = rgw.Cluster(gateways=3)
    yield store
    store.stop()


def gateway_site(store, **extra):
    """RGW has no MinIO health page; /swift/healthcheck is its anonymous equivalent. Recovery is
    quick, to keep tests short."""
    return s3_site(
        "rgw",
        f"{ADDRESSES.take()}:9000",
        store.addresses,
        health={
            "path": "/swift/healthcheck",
            "reject_headers": {},
            "interval": "1s",
            "timeout": "1s",
            "fall": 2,
            "rise": 2,
        },
        passive={"max_fails": 3, "fail_timeout": "3s"},
        balance={"salt": "a-salt-for-tests"},
        **extra,
    )


@pytest.fixture(scope="session")
def gate(cluster):
    with S3gate([gateway_site(cluster)]) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def minio_cluster():
    """Four MinIO nodes; skips where there is no MinIO server."""
    store = minio_nodes.Cluster()
    yield store
    store.stop()
