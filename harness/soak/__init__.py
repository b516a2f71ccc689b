"""
Whether a server that lives long keeps something of those who have gone: `make soak`.

A crowd connects, is notified, reads, logs out, is cut off and falls asleep, for
as long as one likes; when all have left, nothing of them may be there.
"""

PATH = "/soak"  # where a server tells what it holds
