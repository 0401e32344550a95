"""Random configurations for reloads: everything that may change in a running process does, and what
the runs judge by stays.

The first three nodes are in each of them with the same weight, so the keys that they have in common
with all others never move.
"""

import copy
import random

STEADY = 3  # nodes that never change


class Changes:
    def __init__(self, config, nodes, seed):
        """`config`: with all nodes in its first site; the variations are made of it."""
        self.whole = config
        self.nodes = nodes
        self.random = random.Random(seed)

    def next(self):
        config = copy.deepcopy(self.whole)
        site = config["sites"][0]
        site["backends"]["servers"] = self._servers()
        self._settings(site)
        if self.random.random() < 0.3:
            config["sites"].append(self._other_site())
        return config

    def _servers(self):
        choose = self.random.choice
        servers = [node.server for node in self.nodes[:STEADY]]
        for node in self.nodes[STEADY:]:
            if self.random.random() < 0.7:
                servers.append({"address": node.server, "weight": choose([1, 1, 2, 5])})
        self.random.shuffle(servers)
        return servers

    def _settings(self, site):
        choose = self.random.choice
        site["backends"]["max_connections"] = choose(["off", 400, 600])
        site["backends"]["idle_timeout"] = choose(["2s", "3s", "4s"])
        site["limits"] = {
            "connections": choose(["off", 5000, 6000]),
            "per_client": choose(["off", 2000, 3000]),
            "requests_per_client": choose(["off", "100000/s", "90000/s"]),
            "head": choose(["64KiB", "128KiB"]),
        }
        site["timeouts"]["tunnel_idle"] = choose(["30m", "1h"])
        site["timeouts"]["client_head"] = choose(["20s", "30s"])

    def _other_site(self):
        """A site that nobody asks, with checks of its own."""
        nodes = self.random.sample(self.nodes[:STEADY], 2)
        return {
            "name": f"other-{self.random.randrange(3)}",
            "listen": [self._other_address()],
            "backends": {"servers": [node.server for node in nodes]},
            "balance": {"salt": "other"},
            "health": {"interval": "1s"},
        }

    def _other_address(self):
        # The network of the nodes' addresses is this run's own, and so is that of their ports.
        host, _, port = self.nodes[0].address.rpartition(":")
        return f"{host.rsplit('.', 1)[0]}.{100 + self.random.randrange(3)}:{port}"
