"""Write a file so that it is complete or absent, never half written."""

import os
from contextlib import suppress

from flow_xray._errors import TraceOutputError


def write_whole(path: "str | os.PathLike[str]", content: bytes) -> None:
    """Write a temporary file next to the target and rename it; a link stays a link.

    A target that is not a regular file (`/dev/stdout`, a pipe) is written to directly.

    Raises:
        TraceOutputError: The file cannot be written; an existing file is unchanged.
    """
    given = os.fspath(path)
    target = os.path.realpath(given)
    partial = f"{target}.{os.getpid()}.partial"
    try:
        if os.path.isdir(given):  # noqa: PTH112  pathlib costs 9 ms at import
            raise IsADirectoryError(21, "it is a folder", given)
        if os.path.exists(target) and not os.path.isfile(target):  # noqa: PTH110,PTH113  as above
            with open(target, "wb") as stream:  # noqa: PTH123  as above
                stream.write(content)
            return
        with open(partial, "wb") as stream:  # noqa: PTH123  as above
            stream.write(content)
        os.replace(partial, target)  # noqa: PTH105  as above
    except OSError as error:
        with suppress(OSError):
            os.unlink(partial)  # noqa: PTH108  as above
        raise TraceOutputError(
            f"cannot write {given!r}: because {error.strerror or error}. Give a path in a folder that can be written."
        ) from error
