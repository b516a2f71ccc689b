"""
Tools that exercise the site from outside: benchmarks, fault injection, soaks and fuzzing.

They import the app and the site, never the tests. The tests share some of these modules.
"""
