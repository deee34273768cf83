"""Signed decisions: what a signature covers, whose key counts, what the files must be."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cryptography", reason="the extra loom-ops[crypt] is not installed")

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from loom_ops._audit.decision_signatures import check_signature, sign_decision
from loom_ops._audit.private_keys import load_private_key, new_private_key, private_key_file
from loom_ops._audit.public_keys import public_key_of, public_text
from loom_ops._audit.trusted_keys import TrustedKeys, read_trusted_keys, revoke_key, trust_key
from loom_ops._errors import AuditError

DECISION = {
    "run": "x:sub:executor",
    "call": "1",
    "final_hash": "ab" * 32,
    "person": "alice",
    "verdict": "approve",
    "time": "2026-11-29T16:30:00.000000+00:00",
}


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def trusted(tmp_path: Path, key: Ed25519PrivateKey) -> TrustedKeys:
    trust_key(tmp_path, "alice", public_text(key.public_key()))
    return read_trusted_keys(tmp_path)


def test_the_signature_of_a_trusted_key_is_the_persons(key: Ed25519PrivateKey, trusted: TrustedKeys) -> None:
    assert check_signature(trusted, sign_decision(key, **DECISION), **DECISION) is None


@pytest.mark.parametrize("name", DECISION)
def test_it_covers_every_part_of_the_decision(key: Ed25519PrivateKey, trusted: TrustedKeys, name: str) -> None:
    signature = sign_decision(key, **{**DECISION, name: "other"})
    assert check_signature(trusted, signature, **DECISION) == "the signature of alice is not one of this decision"


def test_parts_cannot_be_moved_from_one_to_the_next(key: Ed25519PrivateKey, trusted: TrustedKeys) -> None:
    signature = sign_decision(key, **{**DECISION, "run": 'x:sub:executor", "1', "call": ""})
    assert check_signature(trusted, signature, **DECISION) is not None


@pytest.mark.parametrize("signature", ["", ":", "x", "é:é", "a:b:c", "AAAA" * 11 + ":AAAA"])
def test_what_is_not_a_signature_is_refused(trusted: TrustedKeys, signature: str) -> None:
    assert check_signature(trusted, signature, **DECISION) is not None


def test_a_key_counts_only_for_its_person(key: Ed25519PrivateKey, trusted: TrustedKeys) -> None:
    decision = {**DECISION, "person": "bob"}
    assert "does not trust for bob" in str(check_signature(trusted, sign_decision(key, **decision), **decision))
    stranger = sign_decision(Ed25519PrivateKey.generate(), **DECISION)
    assert "does not trust for alice" in str(check_signature(trusted, stranger, **DECISION))


def test_the_signature_of_a_head_is_not_one_of_a_decision(key: Ed25519PrivateKey, trusted: TrustedKeys) -> None:
    import base64

    signature = base64.b64encode(key.sign(b"loom-ops audit head 1:" + b"ab" * 32)).decode()
    assert check_signature(trusted, f"{public_text(key.public_key())}:{signature}", **DECISION) is not None


def test_a_revoked_key_no_longer_allows_a_start_and_still_verifies_what_was_before(
    tmp_path: Path, key: Ed25519PrivateKey, trusted: TrustedKeys
) -> None:
    signature = sign_decision(key, **DECISION)
    revoke_key(tmp_path, public_text(key.public_key())[:8])
    after = read_trusted_keys(tmp_path)
    assert "was revoked" in str(check_signature(after, signature, **DECISION))
    assert check_signature(after, signature, **DECISION, at_use=False) is None
    late = {**DECISION, "time": "2999-01-01T00:00:00.000000+00:00"}
    assert "was revoked" in str(check_signature(after, sign_decision(key, **late), **late, at_use=False))
    with pytest.raises(AuditError, match="it was revoked at"):
        revoke_key(tmp_path, public_text(key.public_key()))


def test_a_new_private_key_is_its_owners_only_and_never_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = private_key_file("laptop")
    public = new_private_key(file)
    assert file == tmp_path / "loom-ops/keys/laptop.pem" and file.stat().st_mode & 0o777 == 0o600
    assert public_text(load_private_key(file).public_key()) == public
    with pytest.raises(AuditError, match="never overwritten"):
        new_private_key(file)
    file.chmod(0o640)
    with pytest.raises(AuditError, match="others can read"):
        load_private_key(file)
    monkeypatch.setenv("LOOM_OPS_KEY", "work")
    assert private_key_file().name == "work.pem"
    with pytest.raises(AuditError, match="there is no key"):
        load_private_key(private_key_file())


@pytest.mark.parametrize("name", ["../x", "/x", ".x", "a" * 65, "x\n"])
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(AuditError, match="cannot use the key"):
        private_key_file(name)


def test_a_public_key_is_read_from_a_text_a_file_and_pem(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    public = public_text(key.public_key())
    (tmp_path / "alice.pub").write_text(public + "\n")
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "alice.pem").write_bytes(pem)
    for text in (public, str(tmp_path / "alice.pub"), str(tmp_path / "alice.pem")):
        assert public_key_of(text) == public


@pytest.mark.parametrize("text", ["", "x", "QUJD", "/none", "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----"])
def test_what_is_not_a_public_key_is_refused(text: str) -> None:
    with pytest.raises(AuditError, match="cannot trust"):
        public_key_of(text)


def test_a_private_key_is_not_taken_for_a_public_one(tmp_path: Path) -> None:
    new_private_key(tmp_path / "k.pem")
    with pytest.raises(AuditError, match="this is a private key"):
        public_key_of(str(tmp_path / "k.pem"))


def test_keys_that_others_can_write_are_not_trusted(tmp_path: Path, trusted: TrustedKeys) -> None:
    (tmp_path / "loom-ops.keys.toml").chmod(0o666)
    with pytest.raises(AuditError, match="others can write the file"):
        read_trusted_keys(tmp_path)


def test_keys_behind_a_link_that_others_can_replace_are_not_trusted(tmp_path: Path, trusted: TrustedKeys) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    (tmp_path / "loom-ops.keys.toml").rename(folder / "keys.toml")
    folder.chmod(0o777)
    (tmp_path / "loom-ops.keys.toml").symlink_to(folder / "keys.toml")
    with pytest.raises(AuditError, match="others can write"):
        read_trusted_keys(tmp_path)


@pytest.mark.parametrize(
    "text", ["key = 5", "key = [5]", "[[key]]\nperson = 'a'", "[[key]]\nperson = 'a'\npublic = 'b'\nmore = 'c'", "["]
)
def test_a_malformed_file_of_keys_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "loom-ops.keys.toml").write_text(text)
    with pytest.raises(AuditError, match="cannot read"):
        read_trusted_keys(tmp_path)


def test_a_key_is_trusted_for_one_person_once(tmp_path: Path, key: Ed25519PrivateKey, trusted: TrustedKeys) -> None:
    with pytest.raises(AuditError, match="has it already, for alice"):
        trust_key(tmp_path, "bob", public_text(key.public_key()))
    other = public_text(Ed25519PrivateKey.generate().public_key())
    trust_key(tmp_path, 'al"ice\\ é', other)
    assert read_trusted_keys(tmp_path).find('al"ice\\ é', other) is not None


def test_without_the_library_one_line_says_what_to_install(
    key: Ed25519PrivateKey, trusted: TrustedKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(name: str) -> Any:
        return None

    signature = sign_decision(key, **DECISION)
    monkeypatch.setattr("importlib.util.find_spec", without)
    for work in (lambda: check_signature(trusted, signature, **DECISION), lambda: load_private_key(Path("x"))):
        with pytest.raises(AuditError, match=r"Install loom-ops\[crypt\]"):
            work()
