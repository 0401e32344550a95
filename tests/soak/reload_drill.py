#!/usr/bin/python3
"""No client sees a reload: sound nodes, clients without retries, a reload every second, and a
judgement of every single request.

    S3GATE_BIN=build/dev/s3gate tests/soak/reload_drill.py --seconds 60
    S3GATE_BIN=build/release/s3gate tests/soak/reload_drill.py --requests 1000000
    S3GATE_BIN=build/release/s3gate tests/soak/reload_drill.py --mode limits --requests 300000

The clients (soak_client) do GET, HEAD, PUT, DELETE and whole multipart uploads on kept connections
and on one connection for each request, as many as they can; PUTs and GETs of a minute; POSTs on
connections that were quiet for 5 to 20 s; tunnels that talk all the time. A refused or reset
connect is a failure as any other, and so is a kept connection that is closed between two requests.

Each reload (SIGHUP and the control socket in turn) changes servers, weights, limits, timeouts and
sites; an address comes and goes, which clients use while it is there; another one is now a wildcard
and now specific. Beside what soak.py judges by:

- no request fails;
- no key of a server that never changes is served by another one.

The modes beside `plain` (drill_modes.py): `limits` near what the clients use, `grace` for requests
that began before a reload, `names` whose addresses flip, and reloads that wait for a `confirm`.
`upgrade` (drill_upgrade.py) is `plain` with an upgrade every ten seconds besides.
"""

import argparse
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from drill_modes import MODES  # noqa: E402
from drill_upgrade import WithUpgrades  # noqa: E402

MODES = {**MODES, "upgrade": WithUpgrades}


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=MODES, default="plain")
    parser.add_argument("--seconds", type=float, default=60.0, help="at least so long")
    parser.add_argument("--requests", type=int, help="at least so many")
    parser.add_argument("--connections", type=int, default=48)
    parser.add_argument("--slow-seconds", type=float, default=60.0, help="of one slow request")
    parser.add_argument("--upgrade-seconds", type=float, default=10.0, help="between two upgrades")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--report", help="a file for the JSON report")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all records")
    options = parser.parse_args(arguments)
    options.user = ""
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1, 1 << 31)
    return options


def main(arguments=None):
    options = parse(arguments)
    return MODES[options.mode](options).run()


if __name__ == "__main__":
    sys.exit(main())
