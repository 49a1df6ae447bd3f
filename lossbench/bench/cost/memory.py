"""What the C library does with memory that is freed, which may cost more than a loss.

By default glibc gives large blocks back to the system, or not, depending on the sizes that were
freed before. Taking them anew costs about 0.3 ms a MB in page faults, which fall on whichever
program is just above a threshold. Told to keep them, it treats all contestants alike.
"""

import ctypes

# From glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8

KEPT = "kept by the process"
DEFAULT = "as the C library does"


def keep_freed_memory() -> str:
    """Keeps freed memory in this process from here on; says what will be done with it.

    To be called before there are threads: each would get an arena of its own, which holds no more
    than 64 MB.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return DEFAULT
    mallopt.argtypes, mallopt.restype = [ctypes.c_int, ctypes.c_int], ctypes.c_int
    settings = {_M_ARENA_MAX: 1, _M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: 2**31 - 1}
    kept = [mallopt(name, value) for name, value in settings.items()]
    return KEPT if all(kept) else DEFAULT
