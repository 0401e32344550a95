"""Requests of attackers, odd clients and broken software, and the required result of each.

There are two verdicts. Refuse: an answer of the 4xx class and the end of the connection; no byte
upstream. Forward: the backend receives exactly the messages named here, and a request after them is
the next message. The order of rows does not matter. One file per group of rows; rows.py defines
their parts.

Sources: RFC 9110 and 9112, published work on request smuggling (differing lengths, hidden codings,
chunk extensions and line ends, absolute targets, expectations), and requests of real S3 clients.
"""

from support.request_table.ambiguities import ambiguities
from support.request_table.bodies import bodies
from support.request_table.chunk_faults import chunk_faults
from support.request_table.expectations import expectations
from support.request_table.forwarding_fields import forwarding_fields
from support.request_table.hop_by_hop import hop_by_hop
from support.request_table.hosts import hosts
from support.request_table.legal_chunks import legal_chunks
from support.request_table.line_ends import line_ends
from support.request_table.lookalikes import lookalikes
from support.request_table.names_and_values import names_and_values
from support.request_table.old_version import old_version
from support.request_table.pipelines import pipelines
from support.request_table.rows import Forward, ThenRefuse, expected_of, forward, put, refuse
from support.request_table.sizes import sizes
from support.request_table.start_lines import start_lines
from support.request_table.targets import targets

__all__ = ["GROUPS", "Forward", "ThenRefuse", "expected_of", "forward", "put", "refuse"]

GROUPS = (
    ambiguities,
    lookalikes,
    line_ends,
    names_and_values,
    start_lines,
    targets,
    hosts,
    bodies,
    chunk_faults,
    legal_chunks,
    hop_by_hop,
    forwarding_fields,
    old_version,
    expectations,
    sizes,
    pipelines,
)
