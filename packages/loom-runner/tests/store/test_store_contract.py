"""The SQLite store passes the contract with every option."""

import pytest
from loom_runner import KeyRing, SQLiteStore
from loom_runner.testing import StoreContract


class TestSQLiteStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        with SQLiteStore(tmp_path / "runs.sqlite", "process") as store:
            yield store

    def again(self, store):
        return SQLiteStore(store.description, "process")


class TestEncryptedStore(StoreContract):
    KEYS = KeyRing({"k1": b"1" * 32})

    @pytest.fixture
    def store(self, tmp_path):
        with SQLiteStore(tmp_path / "runs.sqlite", "process", keys=self.KEYS) as store:
            yield store

    def again(self, store):
        return SQLiteStore(store.description, "process", keys=self.KEYS)


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self):
        with SQLiteStore(":memory:") as store:
            yield store
