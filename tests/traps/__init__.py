"""
Traps that others fell into, each shown to be one, and that Notify Site does not fall in.

A trial is done in the same way to plain Channels (the tutorial's consumer), to
the design that this project started from, in Go, and to Notify Site. It asserts
what happens to each, so a trap that is mended elsewhere fails the test as well:
then the rule that it is the reason for can be looked at again.
"""
