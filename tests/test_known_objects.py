"""What the products create in a database is what `loom_runner` expects in it."""

import sys
from pathlib import Path

from loom_runner._store.sqlite.known_objects import DIGESTS

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import known_objects


def test_every_object_that_a_product_creates_is_known():
    missing = {name for digest, name in known_objects.made_now().items() if DIGESTS.get(digest) != name}
    assert not missing, "run tools/known_objects.py"


def test_no_text_of_an_object_has_a_comment():
    """White space does not count in a digest, and would end a comment."""
    assert not [row[1] for row in known_objects.rows_now() if "--" in row[3]]
