"""The report of a run, as text."""

from __future__ import annotations

from harness.command import Report


def as_text(report: Report) -> str:
    size = report["size"]
    lines = [
        f"Seed {report['seed']}: {'passed' if report['passed'] else 'FAILED'} "
        f"in {report['seconds']:.0f} s",
        f"  {size['rounds']} times {size['sockets']:,} sockets of {size['accounts']:,} accounts "
        f"for {size['minutes']:g} minutes, {size['changes_per_second']:g} changes a second",
        "  " + ", ".join(f"{what} {count:,}" for what, count in report["happened"].items()),
    ]
    for name, counts in report["rounds"][0].items():
        lines.append(f"  {name}")
        for what in counts:
            after = [_shown(what, left[name][what]) for left in report["rounds"]]
            during = [_shown(what, sample[name][what]) for sample in _some(report, name, what)]
            lines.append(
                f"    {what:<21} after each round {', '.join(after)}"
                + (f"; meanwhile {' '.join(during)}" if during else "")
            )
    lines += [f"  LEFT: {line}" for line in report["left"]]
    lines += [f"  PROBLEM: {problem}" for problem in report["problems"]]
    return "\n".join(lines)


def _some(report: Report, name: str, what: str) -> list[Report]:
    """Return six samples of the whole time."""
    samples = [sample for sample in report["samples"] if what in sample[name]]
    return samples[:: max(1, len(samples) // 6)]


def _shown(what: str, count: int) -> str:
    return f"{count / 2**20:.1f} MB" if what == "memory" else f"{count:,}"
