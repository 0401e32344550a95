"""A connect timeout is retried if retry.on has `timeout`; `error` is for backends that refuse.

An operator who disabled retries after timeouts still got them, one connect timeout later.
"""

import pytest

from support.config import Blackhole


@pytest.mark.parametrize("switch", ["error", "timeout"])
def test_switch(make_backend, gate, switch):
    backend = make_backend()
    hole = Blackhole()
    try:
        daemon = gate(
            [hole.address, backend],
            passive="off",
            balance={"method": "round_robin"},
            retry={"on": [switch]},
            timeouts={"connect": "300ms"},
            top={"workers": 1},
        )
        statuses = []
        for number in range(4):
            with daemon.client() as client:
                statuses.append(client.request(target=f"/b/{number}").status)
    finally:
        hole.close()
    if switch == "timeout":
        assert statuses == [200] * 4
    else:
        assert sorted(set(statuses)) == [200, 503], statuses
