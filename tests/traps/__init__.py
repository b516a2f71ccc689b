"""
Traps of other designs, and how Notify Site avoids them.

Each test does the same to plain Channels (the tutorial's consumer), to the Go
server that this project started from, and to Notify Site. It asserts what
happens to each, so it also fails once a trap is fixed elsewhere. Then the rule
that it is the reason for can be reconsidered.
"""
