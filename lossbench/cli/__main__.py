"""`python -m lossbench.cli` is `lossbench`."""

import sys

from lossbench.cli import main

sys.exit(main())
