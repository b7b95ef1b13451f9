"""Files that contain secrets: reads those of one secret, and warns of those that others can use."""

import errno
import logging
import os
import shlex
import stat
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from shared.configuration.resolve import BadSettings, plain_key

log = logging.getLogger(__name__)
_FILES_OF_SECRETS = ("password_file", "passphrase_file", "key_file")
_SECRETS = ("password", "passphrase", "secret")
OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""Rights of the group and of all other users."""


def secret(text: str, file: str) -> str:
    """Returns a secret: the content of the file without the end of its line, or the text if no file is named.

    Raises:
        OSError: the file cannot be read, or is not text in UTF-8.
    """
    if not file:
        return text
    try:
        return Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise OSError(errno.EILSEQ, "not text in UTF-8", file) from None


def secret_setting(named: str, text: str, file: str) -> str:
    """Returns a secret as `secret` does; `named` begins the error, such as `kafka:`.

    Raises:
        BadSettings: the file cannot be read.
    """
    try:
        return secret(text, file)
    except OSError as error:
        raise BadSettings(f"{named} {file}: {error.strerror or error}") from None


def secret_files(*sections: Any) -> set[str]:
    """Returns the files of passwords, passphrases and private keys that sections or endpoints name."""
    found = set()
    for section in sections:
        named = {field.name: getattr(section, field.name) for field in fields(section)}
        found |= {value for name, value in named.items() if name.endswith(_FILES_OF_SECRETS)}
        if not named.get("key_file"):
            found.add(named.get("cert_file", ""))  # the key is in the same file
    return found - {""}


def has_secret(found: Any) -> bool:
    """Returns True if the content of a configuration file contains a password, also one in a URL."""
    if not isinstance(found, Mapping):
        return False
    return any(
        (bool(value) and (plain_key(key).endswith(_SECRETS) or (plain_key(key) == "url" and "@" in str(value))))
        or has_secret(value)
        for key, value in found.items()
    )  # fmt: skip


def rights_of_others(file: Path, uid: int) -> int:
    """Returns the rights that other users have to a file of ours; 0 if it is not ours to change, or is mounted.

    A mounted Secret of Kubernetes belongs to root or is reached through a link whose name begins with two dots; its
    rights are those of the volume, in a container of its own.

    Args:
        file: the file.
        uid: the user of this process.
    """
    try:
        found, target = file.stat(), file.resolve()
    except OSError:
        return 0  # it is reported where it is needed
    is_mounted = any(part.startswith("..") for part in target.parts)
    is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == uid
    return found.st_mode & OTHERS if is_ours and not is_mounted else 0


def warn_of_readable(files: Iterable[str]) -> None:
    """Logs a warning for each file of secrets to which other users have rights, with the command that removes them."""
    for file in sorted(set(files)):
        if rights_of_others(Path(file), os.getuid()):
            mode, remedy = f"{Path(file).stat().st_mode & 0o777:04o}", f"chmod go= {shlex.quote(file)}"
            log.warning("secret file accessible to others", extra={"file": file, "mode": mode, "remedy": remedy})
