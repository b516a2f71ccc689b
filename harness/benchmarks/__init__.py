"""
How fast Notify Site is beside other servers: `make bench`, or `python -m harness.benchmarks`.

Everything runs on the loopback interface, on this machine, in this run: what
counts are the ratios.
"""

# Where the servers of this site say how long their event loop was held; see site.py, which
# loads the site's settings and so is imported by these servers only.
HELD_PATH = "/benchmark/held/"
