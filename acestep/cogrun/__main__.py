"""`python -m acestep.cogrun` is `./script/predict`."""

from __future__ import annotations

import sys

from acestep.cogrun.main import main

if __name__ == "__main__":
    sys.exit(main())
