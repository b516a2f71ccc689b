"""The report of a run, as text."""

from __future__ import annotations

from harness.command import Report

COUNTS = ("lost", "duplicated", "out of order", "never committed", "mismatched", "wrong counts")


def as_text(report: Report) -> str:
    clients, delay = report["clients"], report["delay seconds"]
    transactions = report["transactions"]
    lines = [
        f"Seed {report['seed']}: {'passed' if report['passed'] else 'FAILED'}"
        f" in {report['seconds']:.0f} s",
        f"  committed       {report['committed notifications']:,} notifications, "
        f"{report['committed broadcasts']:,} broadcasts, "
        f"in {transactions['committed']:,} transactions; "
        f"{transactions['rolled back']:,} rolled back",
        f"  faults          {sum(report['faults'].values())}: {_listed(report['faults'])}",
        f"  while numbering {report['frozen while numbering']} producers were frozen",
        f"  layer messages  {_listed(report['layer messages'])}",
        f"  {clients['number']} clients     {_listed(clients)}",
        *(f"  {name:<15} {report[name]}" for name in COUNTS),
        f"  delay           median {delay['median']} s, 99 % {delay['99 %']} s, "
        f"longest {delay['longest']} s; "
        f"all caught up {report['seconds until caught up']} s after the end",
    ]
    counted = report["counts in frames"]
    lines += [
        f"  counts          {_listed(counted)}",
        "  slowest after   "
        + ", ".join(f"{kind} {s} s" for kind, s in report["slowest recovery seconds"].items()),
    ]
    if not report["recovered in time"]:
        lines.append("  TOO SLOW: see the longest delays in the report")
    lines += [f"  LEFT OUT: {name}" for name in report["left out"]]
    lines += [f"  PROBLEM: {problem}" for problem in report["problems"]]
    lines += [f"  {name}: {case}" for name, cases in report["cases"].items() for case in cases]
    return "\n".join(lines)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
