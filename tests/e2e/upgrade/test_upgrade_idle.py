"""An upgrade closes no idle client, however many follow. A client that sends a POST at the moment
of such a close could not know whether to repeat it.
"""

import threading

QUIET = 2.5  # seconds: more than a process that drains leaves to quiet clients


def test_idle_clients_of_a_fifth_old_process_are_served_once_more(serve, line):
    daemon, _ = serve()
    clients = []
    for _ in range(5):
        clients.append(daemon.client())
        assert clients[-1].request().status == 200
        line.upgrade()
    daemon.wait_stderr("many upgrades: tunnels end now")
    threading.Event().wait(QUIET)
    for client in clients:
        answer = client.request()
        assert (answer.status, answer.header("connection")) == (200, "close")
        client.expect_close()
        client.close()
    assert daemon.wait_exit() == 0
    for successor in line.successors[:-1]:
        assert successor.wait_exit() == 0
