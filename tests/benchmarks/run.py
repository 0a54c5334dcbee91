"""Measures the workloads W1 to W6 and S1 to S3 (README.md beside this file).

python tests/benchmarks/run.py [--only W1,W2] [--engine ENGINE] [--rows N] [--repeat N]
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' own modules
    from benchmarks.report import main

    main()
