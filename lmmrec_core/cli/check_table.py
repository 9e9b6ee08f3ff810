"""``lmmrec check-table``: print what a table of results cannot be, and what in it is odd."""

import argparse
from itertools import groupby
from pathlib import Path

from lmmrec_core.audit.checks import FINDINGS, banded, check_printed, require_reference
from lmmrec_core.audit.printed import read_printed
from lmmrec_core.names import BASELINE


def check_table(arguments: argparse.Namespace) -> int:
    """Check a file and print the findings. The exit status: 1 if something is impossible, else 0."""
    table = read_printed(Path(arguments.file), percent=arguments.percent)
    if arguments.reference:
        require_reference(table, arguments.reference)
    reference = arguments.reference or BASELINE
    findings = check_printed(table, arguments.held_out, reference)
    rows = sum(len(cells) for cells in table.values())
    assumed = arguments.held_out or "not said"
    print(f"{arguments.file}: {rows} numbers in {len(table)} rows; held-out items of a user: {assumed}")
    if table.absent:
        print(f"{table.absent} cells hold no number")
    if table.unchecked:
        print(f"no relation is known for {', '.join(table.unchecked)}: only repetitions, stars and bands are looked at")
    print(f"published bands exist for {sum(1 for _ in banded(table, reference))} of the numbers")
    for kind, meaning in FINDINGS.items():
        found = [finding for finding in findings if finding.kind == kind]
        print(f"\n{kind} ({meaning}): {len(found) or 'none'}")
        for names, group in groupby(found, key=lambda finding: finding.rows):
            print(f"  {' = '.join(names)}", *(f"    {finding.text}" for finding in group), sep="\n")
    return 1 if any(finding.kind == "impossible" for finding in findings) else 0
