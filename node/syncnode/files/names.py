"""Names of files as the network knows them: relative, with `/`, exact in every letter.

File names are case-sensitive where most sites run, so names are compared exactly, and a system
that takes two of them for one parks the second (`folder.py`).
"""

import posixpath

OWN = ".syncnode"
"""The folder of ours in each directory: parts, trash and notes; never replicated."""
NAME_BYTES_MAX = 1_024
PART_BYTES_MAX = 255  # what Linux, macOS and Windows allow for one component
PARTS_MAX = 32


def name_fault(name: object) -> str | None:
    """Why a name may not be used; None if it may.

    What passes stays within the directory: it is relative, has no `..`, and is not ours.
    """
    if not isinstance(name, str):
        return "the name is no text"
    try:
        encoded = name.encode("utf-8")
    except UnicodeEncodeError:
        return "the name is no Unicode text"
    if not name or len(encoded) > NAME_BYTES_MAX:
        return f"the name is empty or longer than {NAME_BYTES_MAX} bytes"
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        return "the name holds a control character"
    if "\\" in name:
        return "the name holds a backslash"
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "the name leads out of the directory"
    if parts[0].casefold() == OWN:
        return f"the name is in {OWN}, which is kept by syncnode itself"
    if len(parts) > PARTS_MAX or any(len(one.encode("utf-8")) > PART_BYTES_MAX for one in parts):
        return "the name is too long for file systems"
    return None


def beside(name: str, digest: bytes) -> str:
    """The name under which content that gave way stays visible: `xray~1f09ab.jpg`."""
    folder, base = posixpath.split(name)
    stem, ending = posixpath.splitext(base)
    mark = f"~{digest.hex()[:6]}"
    room = PART_BYTES_MAX - len(f"{mark}{ending}".encode())
    stem = stem.encode("utf-8")[: max(room, 0)].decode("utf-8", "ignore")
    return posixpath.join(folder, f"{stem}{mark}{ending}")
