"""Takes per-user metrics of two systems, gives their comparison: difference, interval, p-value, equivalence."""

from lmmrec_core.significance.equivalence import equivalence
from lmmrec_core.significance.paired import compare, compare_seeds

COMPARISONS = {"paired": compare, "paired_seeds": compare_seeds, "equivalence": equivalence}
