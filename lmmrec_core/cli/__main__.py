"""``python -m lmmrec_core.cli`` is ``lmmrec``."""

from lmmrec_core.cli.main import main

raise SystemExit(main())
