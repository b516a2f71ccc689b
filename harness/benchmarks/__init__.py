"""
Compares Notify Site with other servers: `make bench`, or `python -m harness.benchmarks`.

All servers run on the loopback interface of the same machine, so compare the
ratios rather than the figures.
"""

# Where our servers report how long their event loop was blocked. Not in site.py, which loads
# the site's settings and must be imported by these servers only.
BLOCKED_PATH = "/benchmark/blocked/"
