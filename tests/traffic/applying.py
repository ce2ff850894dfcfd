"""Run at a sandbox's balancer: applies farms files one after the other.

    python applying.py LIBRARY PAUSE FILE ...

Says how many of them changed something.
"""

from __future__ import annotations

import sys
import time


def main() -> None:
    library, pause, *files = sys.argv[1:]
    sys.path[:0] = library.split(":")
    from nftlbc import pipeline
    from nftlbc.nft import lock
    from nftlbc.plan import planning

    changed = 0
    for file in files:
        farms, _ = pipeline.read(file)
        with lock.held():
            changed += not planning.apply(farms).empty
        time.sleep(float(pause))
    print(changed)


main()
