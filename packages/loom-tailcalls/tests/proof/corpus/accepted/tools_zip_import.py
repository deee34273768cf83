"""A module imported from a zip file."""

import importlib
import os
import sys
import tempfile
import zipfile

from subject import tailrec


SOURCE = '''from subject import tailrec
@tailrec
async def zipped(n):
    if n == 0:
        return "zipped", __file__.endswith("zipped_program.py")
    return await zipped(n - 1)
'''


async def main():
    with tempfile.TemporaryDirectory() as folder:
        archive = os.path.join(folder, "archive.zip")
        with zipfile.ZipFile(archive, "w") as z:
            z.writestr("zipped_program.py", SOURCE)
        sys.path.insert(0, archive)
        try:
            module = importlib.import_module("zipped_program")
            return await module.zipped(3)
        finally:
            sys.path.remove(archive)
            sys.modules.pop("zipped_program", None)
            sys.path_importer_cache.pop(archive, None)
