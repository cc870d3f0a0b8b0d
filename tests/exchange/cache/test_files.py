from pathlib import Path

import attrs
import pytest
import trustme

from exchanger.exchange.cache.files import StoreFiles, read_files
from exchanger.util.regular_file import UnusableFile
from tests.exchange.cache.fake_store import shared_settings


def test_key_password_and_authority_files_are_read_together(tmp_path: Path) -> None:
    password, authorities = tmp_path / "password", tmp_path / "ca"
    password.write_text(" päss word \r\n")
    trustme.CA().cert_pem.write_to_path(authorities)
    found = read_files(attrs.evolve(shared_settings(tmp_path, "one", "two"), password_file=password, ca_file=authorities))

    assert isinstance(found, StoreFiles)
    assert len(found.keys) == 2
    assert found.password is not None
    assert found.password.reveal() == " päss word "
    assert found.ca_pem == authorities.read_text()
    assert "päss" not in repr(found)


PASSWORDS = [None, b"", b"\n", b" \n", b"canary\rtwo", b"canary\ntwo\n", b"canary\0", b"canary\xff", b"x" * (16 * 1024 + 1)]
AUTHORITIES = [None, b"", b"canary", b"\xff", b"-----BEGIN CERTIFICATE-----\ncanary\n", b"x" * 2_000_000]


@pytest.mark.parametrize(
    ("what", "content"), [*(("password", content) for content in PASSWORDS), *(("ca", content) for content in AUTHORITIES)]
)
def test_a_file_that_is_of_no_use(tmp_path: Path, what: str, content: bytes | None) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    found = read_files(attrs.evolve(shared_settings(tmp_path), **{f"{what}_file": file}))  # type: ignore[arg-type]  # a path each

    assert isinstance(found, UnusableFile)
    assert found.reason.startswith(f"TOKEN_CACHE_{what.upper()}_FILE {file} ")
    assert "canary" not in found.reason


def test_a_key_file_that_is_a_folder(tmp_path: Path) -> None:
    found = read_files(attrs.evolve(shared_settings(tmp_path), key_file=tmp_path))

    assert isinstance(found, UnusableFile)
    assert found.reason == f"TOKEN_CACHE_KEY_FILE {tmp_path} cannot be read: Is a directory"
