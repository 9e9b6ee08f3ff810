"""``lmmrec check-table``: print what a table of results cannot be, and what in it is odd."""

import argparse
from itertools import groupby
from pathlib import Path

from lmmrec_core.audit.checks import FINDINGS, check_printed, require_reference
from lmmrec_core.audit.printed import read_printed
from lmmrec_core.names import BASELINE


def check_table(arguments: argparse.Namespace) -> int:
    """Check a file and print the findings. The exit status: 1 if something is impossible, else 0."""
    table = read_printed(Path(arguments.file))
    if arguments.reference:
        require_reference(table, arguments.reference)
    findings = check_printed(table, arguments.held_out, arguments.reference or BASELINE)
    rows = sum(len(cells) for cells in table.values())
    print(f"{arguments.file}: {rows} numbers in {len(table)} rows; held-out items of a user: {arguments.held_out}")
    for kind, meaning in FINDINGS.items():
        found = [finding for finding in findings if finding.kind == kind]
        print(f"\n{kind} ({meaning}): {len(found) or 'none'}")
        for names, group in groupby(found, key=lambda finding: finding.rows):
            print(f"  {' = '.join(names)}", *(f"    {finding.text}" for finding in group), sep="\n")
    return 1 if any(finding.kind == "impossible" for finding in findings) else 0
