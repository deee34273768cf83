import json
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

pytest.importorskip("cryptography", reason="the extra loom-ops[crypt] is not installed")

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from loom_ops._audit.chain import AuditFact, AuditHead
from loom_ops._audit.signing import sign_head, verified_head
from loom_ops._audit.trail import AuditTrail
from loom_ops._errors import AuditError

HEAD = AuditHead(7, "ab" * 32)


def write_pair(
    folder: Path, name: str, key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
) -> tuple[Path, Path]:
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return write_pair(tmp_path, "ops", ed25519.Ed25519PrivateKey.generate())


def test_a_signed_head_is_read_with_the_public_key(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    (tmp_path / "head.json").write_text(sign_head(HEAD, pair[0]))
    assert verified_head(tmp_path / "head.json", pair[1]) == HEAD


def test_another_key_or_another_head_is_refused(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    signed = json.loads(sign_head(HEAD, pair[0]))
    (tmp_path / "head.json").write_text(json.dumps(signed))
    _, other = write_pair(tmp_path, "other", ed25519.Ed25519PrivateKey.generate())
    with pytest.raises(AuditError, match="Do not trust this head"):
        verified_head(tmp_path / "head.json", other)
    (tmp_path / "head.json").write_text(json.dumps({**signed, "head": f"6:{'ab' * 32}"}))
    with pytest.raises(AuditError, match="Do not trust this head"):
        verified_head(tmp_path / "head.json", pair[1])


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"head": 7, "signature": "x"}', '{"head": "7:x", "signature": ""}', "null"]
)
def test_a_malformed_signed_head_is_reported_in_one_line(tmp_path: Path, pair: tuple[Path, Path], text: str) -> None:
    (tmp_path / "head.json").write_text(text)
    with pytest.raises(AuditError):
        verified_head(tmp_path / "head.json", pair[1])


def test_a_file_that_is_not_a_key_is_reported_in_one_line(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    curve = write_pair(tmp_path, "curve", ec.generate_private_key(ec.SECP256R1()))
    (tmp_path / "head.json").write_text(sign_head(HEAD, pair[0]))
    (tmp_path / "text").write_text("no key")
    for key in (tmp_path / "text", tmp_path / "none", curve[0], pair[1]):
        with pytest.raises(AuditError):
            sign_head(HEAD, key)
    for key in (tmp_path / "text", tmp_path / "none", curve[1], pair[0]):
        with pytest.raises(AuditError):
            verified_head(tmp_path / "head.json", key)


def test_the_commands_sign_and_verify(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    trail = AuditTrail(tmp_path / "ops.sqlite")
    for number in (1, 2):
        trail.append([AuditFact(f"x/{number}", "x", "2026-11-21T00:00:00Z", "approval.refused", "me", {})])
    trail.close()

    def audit(*words: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "loom_ops", "audit", *words]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ended.returncode == code, ended.stderr
        return ended.stdout + ended.stderr

    (tmp_path / "head.json").write_text(audit("head", "--sign", "ops.pem"))
    assert "ok  entries: 3" in audit("verify", "--signed", "head.json", "--public-key", "ops.pub")
    db = apsw.Connection(str(tmp_path / "ops.sqlite"))
    db.execute("DROP TRIGGER audit_is_not_cut; DELETE FROM audit WHERE number = 3")
    db.close()
    assert "ends at entry 2" in audit("verify", "--signed", "head.json", "--public-key", "ops.pub", code=1)
    assert "--signed with --public-key" in audit("verify", "--signed", "head.json", code=2)
