"""
How fast Notify Site is beside other servers: `make bench`, or `python -m benchmarks`.

Everything runs on the loopback interface, on this machine, in this run: what
counts are the ratios.
"""
