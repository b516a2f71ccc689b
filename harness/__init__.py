"""
What tries the site from outside, beside the tests: benchmarks, faults, soaks, fuzzing.

It imports the app and the site, never the tests; they share the modules of this folder.
"""
