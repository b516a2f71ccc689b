"""The report of a run, as text."""

from __future__ import annotations

from harness.command import Report


def as_text(report: Report) -> str:
    size = report["size"]
    lines = [
        f"Seed {report['seed']}: {'passed' if report['passed'] else 'FAILED'} "
        f"in {report['seconds']:.0f} s",
        f"  {size['rounds']} times {size['connections']:,} connections "
        f"of {size['accounts']:,} accounts for {size['minutes']:g} minutes, "
        f"{size['actions_per_second']:g} actions a second",
        "  " + ", ".join(f"{name} {count:,}" for name, count in report["counts"].items()),
    ]
    for name, counts in report["rounds"][0].items():
        lines.append(f"  {name}")
        for key in counts:
            after = [_shown(key, counts[name][key]) for counts in report["rounds"]]
            during = [_shown(key, sample[name][key]) for sample in _some(report, name, key)]
            lines.append(
                f"    {key:<21} after each round {', '.join(after)}"
                + (f"; meanwhile {' '.join(during)}" if during else "")
            )
    lines += [f"  LEAK: {line}" for line in report["leaks"]]
    lines += [f"  PROBLEM: {problem}" for problem in report["problems"]]
    return "\n".join(lines)


def _some(report: Report, name: str, key: str) -> list[Report]:
    """Return about six samples, spread over the whole run."""
    samples = [sample for sample in report["samples"] if key in sample[name]]
    return samples[:: max(1, len(samples) // 6)]


def _shown(key: str, count: int) -> str:
    return f"{count / 2**20:.1f} MB" if key == "memory" else f"{count:,}"
