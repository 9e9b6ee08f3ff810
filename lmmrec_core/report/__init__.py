"""Takes Results and the paper's printed figures, gives Tables, figures and verdicts."""

from collections.abc import Callable

from lmmrec_core.flow import Table
from lmmrec_core.report.tables import ablation, floor, table1, table3, table4, table5

TABLES: dict[str, Callable[..., Table]] = {
    "floor": floor,
    "table1": table1,
    "table3": table3,
    "table4": table4,
    "table5": table5,
    "ablation": ablation,
}
