"""`python -m solver`."""

import os
import sys
from contextlib import suppress

from .cli import main

if __name__ == "__main__":
    code = main()
    with suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)  # all files are closed; libraries' threads (a lost Dask scheduler's, say) must not hold the end back
