"""The memory that a process takes, its own alone."""

import resource
import sys
from pathlib import Path


def peak_mib() -> float:
    """Most memory that this process has had at once, MiB, since its program started.

    Linux counts what a process had before ``exec`` in ``ru_maxrss``: that of the parent, which may be large.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / (1 << 20)
